"""Many slides at once."""

import csv
import io
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from service.batches.repository import REFUSED, Item, NewItem
from service.batches.schemas import (
    BatchIn,
    BatchOut,
    BatchPage,
    ItemPage,
    batch_out,
    item_out,
)
from service.context import Context, Ctx
from service.errors import NotFoundError
from service.events import Watch
from service.jobs.endpoints import request_for
from service.jobs.schemas import JobIn
from wsi.errors import ModelError, SlideError, StoreError
from wsi.jobs import JobStatus

router = APIRouter(prefix="/batches", tags=["batches"])


@router.post("", status_code=202)
def start_batch(wish: BatchIn, context: Ctx) -> BatchOut:
    """Queue many slides. One that cannot be scored is refused by itself, with its reason."""
    for pipeline in wish.pipelines:
        context.models.choose(pipeline, None)
    items = [
        _new_item(context, slide_id, pipeline, wish)
        for slide_id in dict.fromkeys(wish.slide_ids)
        for pipeline in dict.fromkeys(wish.pipelines)
    ]
    batch = context.batches.add(wish.name, items, priority=wish.priority)
    context.reconciler.wake()
    return batch_out(batch)


@router.get("")
def list_batches(
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> BatchPage:
    """Batches, newest first."""
    found, total = context.batches.page(limit=limit, offset=offset)
    return BatchPage(items=[batch_out(batch) for batch in found], total=total)


@router.get("/{batch_id}")
def get_batch(batch_id: str, context: Ctx) -> BatchOut:
    """How far a batch is."""
    return batch_out(context.batches.get(batch_id))


@router.get("/{batch_id}/items")
def list_items(
    batch_id: str,
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> ItemPage:
    """The slides of a batch, each with its job or the reason why it was refused."""
    batch = context.batches.get(batch_id)
    found = context.batches.items(batch_id, limit=limit, offset=offset)
    return ItemPage(items=[item_out(item) for item in found], total=batch.total)


@router.get("/{batch_id}/events")
async def watch_batch(batch_id: str, context: Ctx) -> StreamingResponse:
    """Server-sent events: ``event: batch`` at each change, until every item has ended."""

    def look() -> tuple[BatchOut, bool]:
        batch = context.batches.get(batch_id)
        return batch_out(batch), batch.is_final

    return await Watch("batch", look).response()


@router.post("/{batch_id}/retry", status_code=202)
def retry_failed(batch_id: str, context: Ctx) -> BatchOut:
    """Queue the failed items again, and only those."""
    context.batches.get(batch_id)
    if context.batches.retry_failed(batch_id):
        context.reconciler.wake()
    return batch_out(context.batches.get(batch_id))


@router.post("/{batch_id}/cancel")
def cancel_batch(batch_id: str, context: Ctx) -> BatchOut:
    """Cancel what has not ended yet."""
    context.batches.get(batch_id)
    for item in context.batches.items(batch_id):
        if item.job is not None and not item.job.status.is_final:
            context.jobs.request_cancel(item.job.id)
    return batch_out(context.batches.get(batch_id))


@router.get("/{batch_id}/results.csv")
def export_csv(batch_id: str, context: Ctx) -> Response:
    """One line an item: status, probabilities by class, or the error."""
    context.batches.get(batch_id)
    rows = [_csv_row(context, item) for item in context.batches.items(batch_id)]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    # Probabilities last, in a fixed order, whatever item comes first.
    columns.sort(key=lambda name: name.startswith("probability "))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return Response(
        buffer.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="batch-{batch_id}.csv"'},
    )


def _new_item(context: Context, slide_id: str, pipeline: str, wish: BatchIn) -> NewItem:
    one = JobIn(slide_id=slide_id, pipeline=pipeline, mpp=wish.mpp)
    try:
        request = request_for(context, context.slides.get(slide_id), one)
    except NotFoundError as error:
        return _refused(slide_id, pipeline, "not_found", error)
    except SlideError as error:
        return _refused(slide_id, pipeline, error.kind, error)
    except ModelError as error:
        return _refused(slide_id, pipeline, "model", error)
    return NewItem(slide_id=slide_id, pipeline=pipeline, request=request)


def _refused(slide_id: str, pipeline: str, kind: str, error: Exception) -> NewItem:
    return NewItem(slide_id=slide_id, pipeline=pipeline, refusal_kind=kind, refusal=str(error))


def _csv_row(context: Context, item: Item) -> dict[str, object]:
    job = item.job
    row: dict[str, object] = {
        "slide": _cell(item.slide_name or ""),
        "slide_id": item.slide_id,
        "pipeline": item.pipeline,
        "model": _cell(job.request.model) if job else "",
        "job_id": job.id if job else "",
        "status": job.status.value if job else REFUSED,
        "outcome": "",
        "error": _cell((job.error if job else item.refusal) or ""),
        "finished_at": job.finished_at.isoformat() if job and job.finished_at else "",
    }
    if job is not None and job.status is JobStatus.SUCCEEDED:
        try:
            summary = context.results.summary(job)
        except StoreError as error:
            return {**row, "error": _cell(str(error))}
        row["outcome"] = summary.outcome
        for name, value in summary.probabilities.items():
            row[f"probability {name}"] = value
    return row


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
