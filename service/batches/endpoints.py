"""Many slides at once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.auth.access import Operator, Viewer
from service.batches.folder import slides_in
from service.batches.items import ItemOptions, at_place, from_table, known_slide
from service.batches.repository import Batch, NewItem
from service.batches.schemas import (
    MAX_ITEMS,
    BatchIn,
    BatchOptions,
    BatchOut,
    BatchPage,
    FolderIn,
    ItemPage,
    TableQuery,
    batches_out,
    item_out,
)
from service.batches.table import read_table
from service.context import Batches, BatchEvents, Callbacks, Context, Ctx, JobReconciler
from service.errors import BadRequestError
from service.jobs.schemas import JobIn
from service.webhooks.call import require_allowed
from service.webhooks.repository import WebhookRepository
from wsi.storage.slide_cache import is_object

router = APIRouter(prefix="/batches", tags=["batches"])

_TABLE = {
    "requestBody": {
        "required": True,
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


@router.post("", status_code=202)
def start_batch(body: BatchIn, caller: Operator, context: Ctx) -> BatchOut:
    """Queue many slides. A slide that cannot be scored becomes a refused item with its reason."""
    _require_startable(context, body.pipelines, body.callback_url)
    items = [
        known_slide(
            context,
            JobIn(
                slide_id=slide_id,
                pipeline=pipeline,
                mpp=body.mpp,
                force_mpp=body.force_mpp,
                priority=body.priority,
            ),
        )
        for slide_id in dict.fromkeys(body.slide_ids)
        for pipeline in dict.fromkeys(body.pipelines)
    ]
    return _started(context, body, items)


@router.post("/table", status_code=202, openapi_extra=_TABLE)
async def start_from_table(
    request: Request, caller: Operator, context: Ctx, query: Annotated[TableQuery, Query()]
) -> BatchOut:
    """Queue the slides of a CSV table; a line that cannot be accepted is an item with its reason.

    Columns: ``slide`` (an id of the service, or a path or ``s3://bucket/key`` that may be
    registered), ``mpp``, ``pipeline``, ``model``, ``priority``. Slides given by path are
    registered in the background.
    """
    content = await request.body()

    def start() -> BatchOut:
        _require_startable(context, query.pipelines, query.callback_url)
        lines = read_table(content, max_lines=MAX_ITEMS)
        pipelines = list(dict.fromkeys(query.pipelines))
        defaults = ItemOptions(None, None, query.priority, query.force_mpp)
        return _started(context, query, from_table(context, lines, pipelines, defaults))

    return await anyio.to_thread.run_sync(start)


@router.post("/folder", status_code=202)
def start_from_folder(body: FolderIn, caller: Operator, context: Ctx) -> BatchOut:
    """Queue the slides of a folder that may be registered, and of its subfolders."""
    _require_startable(context, body.pipelines, body.callback_url)
    if is_object(body.path):
        raise BadRequestError("buckets cannot be listed: send a table of the objects' addresses")
    folder = context.intake.require_allowed(Path(body.path))
    one = ItemOptions(body.mpp, None, body.priority, body.force_mpp)
    items = [
        at_place(context, str(path), pipeline, one)
        for path in slides_in(folder, limit=MAX_ITEMS)
        for pipeline in dict.fromkeys(body.pipelines)
    ]
    return _started(context, body, items)


@router.get("")
def list_batches(
    caller: Viewer,
    batches: Batches,
    callbacks: Callbacks,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> BatchPage:
    """Batches, newest first."""
    found, total = batches.page(limit=limit, offset=offset)
    return BatchPage(items=batches_out(callbacks, found), total=total)


@router.get("/{batch_id}")
def get_batch(batch_id: str, caller: Viewer, callbacks: Callbacks, batches: Batches) -> BatchOut:
    """The progress of a batch."""
    return _shown(callbacks, batches.get(batch_id))


@router.get("/{batch_id}/items")
def list_items(
    batch_id: str,
    caller: Viewer,
    batches: Batches,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> ItemPage:
    """The slides of a batch, each with its job or the reason why it was refused."""
    batch = batches.get(batch_id)
    found = batches.items(batch_id, limit=limit, offset=offset)
    return ItemPage(items=[item_out(item) for item in found], total=batch.total)


async def _events(
    batch_id: str, caller: Viewer, batch_events: BatchEvents
) -> AsyncIterator[ServerSentEvent]:
    return await batch_events.open(batch_id)


@router.get("/{batch_id}/events", response_class=EventSourceResponse)
async def watch_batch(
    caller: Viewer, events: Annotated[AsyncIterator[ServerSentEvent], Depends(_events)]
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: ``event: batch`` at each change, until every item has ended."""
    async for event in events:
        yield event


@router.post("/{batch_id}/retry", status_code=202)
def retry_failed(
    batch_id: str,
    caller: Operator,
    callbacks: Callbacks,
    batches: Batches,
    reconciler: JobReconciler,
) -> BatchOut:
    """Queue the failed items again."""
    batches.get(batch_id)
    if batches.retry_failed(batch_id):
        reconciler.wake()
    return _shown(callbacks, batches.get(batch_id))


@router.post("/{batch_id}/cancel")
def cancel_batch(batch_id: str, caller: Operator, context: Ctx) -> BatchOut:
    """Cancel the items that have not ended."""
    context.batches.get(batch_id)
    context.batches.cancel_arriving(batch_id)
    for item in context.batches.items(batch_id):
        if item.job is not None and not item.job.status.is_final:
            context.jobs.request_cancel(item.job.id)
    context.webhooks.wake()
    return _shown(context.callbacks, context.batches.get(batch_id))


def _require_startable(context: Context, pipelines: list[str], callback_url: str | None) -> None:
    for pipeline in pipelines:
        context.models.choose(pipeline, None)
    if callback_url is not None:
        require_allowed(callback_url, context.settings.webhook_hosts)


def _started(context: Context, options: BatchOptions, items: list[NewItem]) -> BatchOut:
    batch = context.batches.add(
        options.name, items, priority=options.priority, callback_url=options.callback_url
    )
    context.reconciler.wake()
    context.arrivals.wake()
    context.webhooks.wake()
    return _shown(context.callbacks, batch)


def _shown(callbacks: WebhookRepository, batch: Batch) -> BatchOut:
    return batches_out(callbacks, [batch])[0]
