"""Whether the service lives, whether it can work, and who works for it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from service.auth.access import Operator, Public
from service.context import Workers
from wsi.errors import JobStoreUnavailableError

router = APIRouter(tags=["health"])


@router.get("/health")
def health(caller: Public) -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"description": "The database does not answer."}})
def ready(caller: Public, workers: Workers) -> JSONResponse:
    """The database answers: requests can be served.

    ``unserved_queues``: how many jobs wait in queues that no worker serves. The API
    works without workers, so the status stays 200.
    """
    try:
        unserved = workers.unserved()
    except JobStoreUnavailableError:
        return JSONResponse({"status": "the database does not answer"}, 503)
    return JSONResponse({"status": "ready", "unserved_queues": unserved})


class WorkerOut(BaseModel):
    """A worker, and what it registered about itself when it was last seen.

    Attributes:
        capabilities: device, processes, free memory (bytes), pipelines and models.
        abilities: the former name of ``capabilities``, in this release only.
    """

    name: str
    queues: list[str]
    capabilities: Mapping[str, Any]
    abilities: Mapping[str, Any] = Field(
        deprecated="called capabilities now; this name goes with the next release"
    )
    started_at: datetime | None
    seen_at: datetime | None


@router.get("/workers")
def list_workers(caller: Operator, workers: Workers) -> list[WorkerOut]:
    """Workers that are running: device, free memory, pipelines and models."""
    return [
        WorkerOut(**{**vars(worker), "queues": list(worker.queues)}, abilities=worker.capabilities)
        for worker in workers.alive()
    ]
