"""Slides as clients see them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.results.reader import ResultReader
from service.slides.repository import StoredSlide
from wsi.errors import StoreError
from wsi.jobs import Job, JobStatus

MppIn = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class SlideChange(BaseModel):
    """What may be changed: the resolution (micrometres per pixel) where the file states none."""

    model_config = ConfigDict(extra="forbid")

    mpp: MppIn | None


class Registration(BaseModel):
    """A slide on a mount that the service sees."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4096)
    mpp: MppIn | None = None


class ResultBrief(BaseModel):
    """The newest job of a pipeline for a slide."""

    job_id: str
    pipeline: str
    model: str
    status: JobStatus
    progress: float
    stage: str
    outcome: str | None
    probabilities: Mapping[str, float]
    classes: list[str]
    error: str | None
    finished_at: datetime | None


class SlideOut(BaseModel):
    """A slide: level-0 pixels, micrometres per level-0 pixel."""

    id: str
    name: str
    sha256: str
    size_bytes: int
    vendor: str
    width: int
    height: int
    levels: int
    mpp: float | None
    magnification: float | None
    created_at: datetime
    results: list[ResultBrief]


class SlidePage(BaseModel):
    """Some slides, and how many there are in all."""

    items: list[SlideOut]
    total: int


def slide_out(slide: StoredSlide, jobs: list[Job], results: ResultReader) -> SlideOut:
    """A slide for clients: no paths of the server."""
    return SlideOut(
        id=slide.id,
        name=slide.name,
        sha256=slide.sha256,
        size_bytes=slide.size_bytes,
        vendor=slide.vendor,
        width=slide.width,
        height=slide.height,
        levels=slide.levels,
        mpp=slide.mpp,
        magnification=slide.magnification,
        created_at=slide.created_at,
        results=[_brief(job, results) for job in jobs],
    )


def _brief(job: Job, results: ResultReader) -> ResultBrief:
    outcome, probabilities, classes, error = None, {}, [], job.error
    if job.status is JobStatus.SUCCEEDED:
        try:
            summary = results.summary(job)
            outcome = summary.outcome
            probabilities, classes = dict(summary.probabilities), list(summary.classes)
        except StoreError as problem:
            # One lost store must not hide the list of all slides.
            error = str(problem)
    return ResultBrief(
        job_id=job.id,
        pipeline=job.request.pipeline,
        model=job.request.model,
        status=job.status,
        progress=job.progress,
        stage=job.stage,
        outcome=outcome,
        probabilities=probabilities,
        classes=classes,
        error=error,
        finished_at=job.finished_at,
    )
