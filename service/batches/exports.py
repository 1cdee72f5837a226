"""A batch as a table: CSV for spreadsheets, Parquet for programs."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime

from fastapi import APIRouter, Response

from service.auth.access import AuditedViewer
from service.batches.repository import ARRIVING, REFUSED, BatchRepository, Item
from service.context import Batches, Jobs, Results
from service.responses import file_of
from service.results.reader import ResultReader
from wsi.errors import StoreError
from wsi.jobs import Job, JobStatus, JobStore
from wsi.storage.parquet import to_parquet

_AT_ONCE = 500

router = APIRouter(prefix="/batches/{batch_id}", tags=["batches"])


@router.get("/results.csv", response_class=Response, responses=file_of("text/csv"))
def export_csv(
    batch_id: str, caller: AuditedViewer, batches: Batches, jobs: Jobs, results: Results
) -> Response:
    """One row per item: status, probabilities by class, or the error.

    Where the item's own job has no result, the latest one of its slide and pipeline is used:
    ``result_job_id``, ``result_model`` and ``result_finished_at`` identify it.
    """
    columns, rows = _table(batches, jobs, results, batch_id)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return _file(buffer.getvalue(), "text/csv; charset=utf-8", f"batch-{batch_id}.csv")


@router.get(
    "/results.parquet", response_class=Response, responses=file_of("application/vnd.apache.parquet")
)
def export_parquet(
    batch_id: str, caller: AuditedViewer, batches: Batches, jobs: Jobs, results: Results
) -> Response:
    """The same rows with types. 501 where pyarrow is not installed."""
    columns, rows = _table(batches, jobs, results, batch_id)
    content = to_parquet({name: [row.get(name) for row in rows] for name in columns})
    return _file(content, "application/vnd.apache.parquet", f"batch-{batch_id}.parquet")


def _file(content: str | bytes, media_type: str, name: str) -> Response:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=disposition)


def _table(
    batches: BatchRepository, jobs: JobStore, results: ResultReader, batch_id: str
) -> tuple[list[str], list[dict[str, object]]]:
    batches.get(batch_id)
    items = batches.items(batch_id)
    counting = _last_results(jobs, items)
    rows = [_row(results, item, counting) for item in items]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    # Probabilities last, in a fixed order, whatever item comes first.
    columns.sort(key=lambda name: name.startswith("probability "))
    return columns, rows


def _last_results(jobs: JobStore, items: list[Item]) -> dict[tuple[str, str], Job]:
    """The newest result of each slide and pipeline."""
    ids = sorted({item.slide_id for item in items if item.slide_id})
    return {
        (job.request.slide_id, job.request.pipeline): job
        for start in range(0, len(ids), _AT_ONCE)
        for job in jobs.newest(ids[start : start + _AT_ONCE], status=JobStatus.SUCCEEDED)
    }


def _row(
    results: ResultReader, item: Item, counting: Mapping[tuple[str, str], Job]
) -> dict[str, object]:
    job = item.job
    row: dict[str, object] = {
        "slide": item.slide_name,
        "slide_id": item.slide_id or None,
        "pipeline": item.pipeline,
        "model": job.request.model if job else None,
        "job_id": job.id if job else None,
        "status": job.status.value if job else REFUSED if item.refusal else ARRIVING,
        "outcome": None,
        "error": job.error if job else item.refusal,
        "finished_at": job.finished_at if job else None,
        "result_job_id": None,
        "result_model": None,
        "result_finished_at": None,
        "warnings": None,
    }
    if job is None:
        return row
    if item.slide_name is None:
        return {**row, "error": row["error"] or "the slide was removed"}
    own = job if job.status is JobStatus.SUCCEEDED else None
    stands = own or counting.get((item.slide_id, item.pipeline))
    if stands is None:
        return row
    try:
        summary = results.summary(stands)
    except StoreError as error:
        return {**row, "error": row["error"] or str(error)}
    return {
        **row,
        "outcome": summary.outcome,
        "result_job_id": stands.id,
        "result_model": stands.request.model,
        "result_finished_at": stands.finished_at,
        "warnings": " ".join(summary.warnings) or None,
        **{f"probability {name}": value for name, value in summary.probabilities.items()},
    }


def _cell(value: object) -> object:
    """A value for CSV: text that no spreadsheet takes for a formula."""
    if isinstance(value, datetime):
        return value.isoformat()
    is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{value}" if is_formula else value
