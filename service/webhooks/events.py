"""What a call says: which batch or job, and how it ended. No names of slides, no results."""

from typing import Any

from service.context import Context


def what_ended(context: Context, kind: str, target_id: str) -> dict[str, Any]:
    """The body of a call but for its kind; the rest is read from ``url``, with a key."""
    if kind == "batch":
        batch = context.batches.get(target_id)
        return {
            "id": batch.id,
            "name": batch.name,
            "counts": dict(batch.counts),
            "url": f"/api/v1/batches/{batch.id}",
        }
    job = context.jobs.get(target_id)
    return {
        "id": job.id,
        "slide_id": job.request.slide_id,
        "pipeline": job.request.pipeline,
        "status": job.status.value,
        "error_kind": job.error_kind,
        "url": f"/api/v1/jobs/{job.id}",
    }
