"""Batches as clients see them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.batches.repository import Batch, Item
from service.jobs.schemas import JobOut, job_out
from service.slides.schemas import MppIn
from service.webhooks.repository import Webhook, WebhookRepository

MAX_ITEMS = 10_000
CallbackUrl = Annotated[str, Field(min_length=1, max_length=2000)]
_Name = Annotated[str, Field(min_length=1, max_length=64)]


class BatchOptions(BaseModel):
    """What all ways to start a batch have in common.

    Attributes:
        callback_url: is called (POST, signed) when every item has ended.
    """

    name: str = Field(default="", max_length=200)
    pipelines: Annotated[list[_Name], Field(min_length=1, max_length=16)]
    # Below zero, the priority of a single slide that somebody waits for.
    priority: int = Field(default=-10, ge=-100, le=100)
    callback_url: CallbackUrl | None = None


class BatchIn(BatchOptions):
    """Slides to score with each of the pipelines."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "Monday",
                    "slide_ids": ["1b0f2c1e-9a57-4d0c-8f6b-2f4b7e0f7a11"],
                    "pipelines": ["patch", "whole-slide"],
                }
            ]
        },
    )

    slide_ids: Annotated[
        list[Annotated[str, Field(max_length=36)]], Field(min_length=1, max_length=MAX_ITEMS)
    ]
    mpp: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    force_mpp: bool = False


class FolderIn(BatchOptions):
    """All slides of a folder that the service sees, and of its subfolders."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4096)
    mpp: MppIn | None = None
    force_mpp: bool = False


class TableQuery(BatchOptions):
    """What goes for the lines of a table that do not say otherwise."""

    model_config = ConfigDict(extra="forbid")

    pipelines: Annotated[list[_Name], Field(min_length=1, max_length=16)] = ["patch"]
    # Their mpp counts also where a slide states another one.
    force_mpp: bool = False


class WebhookOut(BaseModel):
    """How far the call at the end is: WAITING, DELIVERED or GIVEN_UP; why the last one failed."""

    state: str
    attempts: int
    error: str | None


class BatchOut(BaseModel):
    """The progress of a batch.

    Attributes:
        counts: items by status of their job; REFUSED, or ARRIVING where the slide is still to be
            registered.
    """

    id: str
    name: str
    created_at: datetime
    total: int
    counts: Mapping[str, int]
    progress: float
    finished: bool
    webhook: WebhookOut | None


class BatchPage(BaseModel):
    """Some batches, and how many there are in all."""

    items: list[BatchOut]
    total: int


class ItemOut(BaseModel):
    """A slide of a batch: its job, or why it was refused."""

    number: int
    slide_id: str
    slide_name: str | None
    pipeline: str
    job: JobOut | None
    error_kind: str | None
    error: str | None


class ItemPage(BaseModel):
    """Some items of a batch, and how many there are in all."""

    items: list[ItemOut]
    total: int


def batch_out(batch: Batch, webhook: Webhook | None = None) -> BatchOut:
    """A batch for clients."""
    call = None
    if webhook is not None:
        call = WebhookOut(state=webhook.state, attempts=webhook.attempts, error=webhook.error)
    return BatchOut(
        id=batch.id,
        name=batch.name,
        created_at=batch.created_at,
        total=batch.total,
        counts=batch.counts,
        progress=batch.progress,
        finished=batch.is_final,
        webhook=call,
    )


def item_out(item: Item) -> ItemOut:
    """An item for clients."""
    job = item.job
    return ItemOut(
        number=item.number,
        slide_id=item.slide_id,
        slide_name=item.slide_name,
        pipeline=item.pipeline,
        job=job_out(job) if job else None,
        error_kind=job.error_kind if job else item.refusal_kind,
        error=job.error if job else item.refusal,
    )


def batches_out(callbacks: WebhookRepository, batches: Sequence[Batch]) -> list[BatchOut]:
    """Batches for clients, each with how its webhook went."""
    webhooks = callbacks.of([batch.id for batch in batches])
    return [batch_out(batch, webhooks.get(batch.id)) for batch in batches]
