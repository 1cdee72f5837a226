"""Whether the service lives, and whether it can work."""

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from service.context import Ctx
from wsi.errors import JobStoreUnavailableError
from wsi.jobs.database import reading

router = APIRouter(tags=["health"])


@router.get("/health")
def health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"description": "The database does not answer."}})
def ready(context: Ctx) -> JSONResponse:
    """The database answers: requests can be served."""
    try:
        with reading(context.engine) as connection:
            connection.execute(sa.text("SELECT 1"))
    except JobStoreUnavailableError:
        return JSONResponse({"status": "the database does not answer"}, 503)
    return JSONResponse({"status": "ready"})
