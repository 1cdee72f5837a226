"""Jobs as clients see them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from wsi.jobs import Job, JobStatus


class JobIn(BaseModel):
    """A slide to score with a pipeline."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"slide_id": "1b0f2c1e-9a57-4d0c-8f6b-2f4b7e0f7a11", "pipeline": "patch"}]
        },
    )

    slide_id: str = Field(max_length=36)
    pipeline: str = Field(max_length=64)
    model: str | None = Field(default=None, max_length=255)
    mpp: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    # It counts also where the slide's file states another one.
    force_mpp: bool = False
    priority: int = Field(default=0, ge=-100, le=100)
    # Called (POST, signed) when the job has ended.
    callback_url: str | None = Field(default=None, min_length=1, max_length=2000)


class JobOut(BaseModel):
    """The status of a job."""

    id: str
    slide_id: str
    slide_name: str
    pipeline: str
    model: str
    status: JobStatus
    progress: float
    stage: str
    attempt: int
    priority: int
    queue: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error_kind: str | None
    error: str | None
    cancel_requested: bool


class JobPage(BaseModel):
    """Some jobs, and how many there are in all."""

    items: list[JobOut]
    total: int


def job_out(job: Job) -> JobOut:
    """A job for clients: no paths of the server."""
    return JobOut(
        id=job.id,
        slide_id=job.request.slide_id,
        slide_name=job.request.slide_name,
        pipeline=job.request.pipeline,
        model=job.request.model,
        status=job.status,
        progress=job.progress,
        stage=job.stage,
        attempt=job.attempt,
        priority=job.priority,
        queue=job.request.queue,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        error_kind=job.error_kind,
        error=job.error,
        cancel_requested=job.cancel_requested,
    )
