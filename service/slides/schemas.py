"""Slides as clients see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.results.reader import ResultReader
from service.reviews.schemas import ReviewBrief
from service.slides.repository import StoredSlide
from wsi.errors import StoreError
from wsi.jobs import Job, JobStatus, JobStore
from wsi.slides.stated import SAME_MPP, differ

MppIn = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class SlideChange(BaseModel):
    """What may be changed: the resolution (micrometres per pixel).

    Attributes:
        mpp: where the file states none, or one that cannot be true.
        force_mpp: it counts also where the file states another one.
    """

    model_config = ConfigDict(extra="forbid")

    mpp: MppIn | None
    force_mpp: bool = False


class Registration(BaseModel):
    """A slide on a mount that the service sees."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4096)
    mpp: MppIn | None = None
    force_mpp: bool = False


class RunBrief(BaseModel):
    """A run of a pipeline that has no result: it waits, runs, failed or was stopped."""

    job_id: str
    model: str
    status: JobStatus
    progress: float
    stage: str
    error_kind: str | None
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class ResultBrief(BaseModel):
    """What a pipeline says of a slide: its newest result, which stands until there is a newer one.

    Where there is no result yet, this is the newest job as it stands.

    Attributes:
        outcome: ``scored``; ``no_tissue`` or ``tissue_unclear`` where a person has to look.
        suspicion: probability that the slide is malignant, the sum over the classes in
            ``malignant`` (most severe first); null where it is not known.
        hotspot_total: how many there are, of which a result lists the first; null in old results.
        hotspot_area_um2: tissue in them.
        hotspot_score: the highest of any.
        warnings: sentences for the reader.
        newer_run: a run after this result that has none itself (yet).
        mpp: micrometres per pixel that the slide was taken to have, where the result says so.
        other_mpp: the slide has another resolution now, so that the result is not of it.
    """

    job_id: str
    pipeline: str
    model: str
    status: JobStatus
    progress: float
    stage: str
    outcome: str | None
    probabilities: Mapping[str, float]
    classes: list[str]
    malignant: list[str]
    suspicion: float | None
    hotspot_total: int | None
    hotspot_area_um2: float | None
    hotspot_score: float | None
    error: str | None
    finished_at: datetime | None
    warnings: list[str]
    newer_run: RunBrief | None
    mpp: float | None = None
    other_mpp: bool = False


class QualityOut(BaseModel):
    """How good a slide is, by the newest result that says so.

    Attributes:
        flagged: too poor to be trusted without a person looking at it.
        usable_share: share of the tissue that nothing covers, 0..1.
        shares: ``blur``, ``pen``, ``fold``, ... to the share of the tissue that it covers.
    """

    flagged: bool
    usable_share: float
    shares: Mapping[str, float]


class SlideOut(BaseModel):
    """A slide: level-0 pixels, micrometres per level-0 pixel.

    Attributes:
        mpp: what a user gave, else what the file states; null where none can be true.
        stated_mpp: what the file states, true or not.
        given_mpp: what a user gave.
        mpp_problem: why ``stated_mpp`` cannot be true; empty where it can.
    """

    id: str
    name: str
    sha256: str
    size_bytes: int
    vendor: str
    width: int
    height: int
    levels: int
    mpp: float | None
    stated_mpp: float | None
    given_mpp: float | None
    mpp_problem: str
    magnification: float | None
    created_at: datetime
    stripped_sha256: str | None
    stripped_at: datetime | None
    results: list[ResultBrief]
    quality: QualityOut | None
    review: ReviewBrief | None
    # Why the slide was last refused, unless something was done about it since.
    refusal: str | None = None


class SlidePage(BaseModel):
    """Some slides, and how many there are in all."""

    items: list[SlideOut]
    total: int


@dataclass(frozen=True)
class Standing:
    """A pipeline on a slide: the job that counts, and the one that was started after it, if any."""

    job: Job
    newer: Job | None = None


def standing(store: JobStore, slide_ids: Sequence[str]) -> dict[str, list[Standing]]:
    """What counts on each of these slides, by pipeline: the last success, else the last job."""
    done = {
        (job.request.slide_id, job.request.pipeline): job
        for job in store.newest(slide_ids, status=JobStatus.SUCCEEDED)
    }
    found: dict[str, list[Standing]] = {}
    for job in store.newest(slide_ids):
        success = done.get((job.request.slide_id, job.request.pipeline), job)
        newer = None if success.id == job.id else job
        found.setdefault(job.request.slide_id, []).append(Standing(success, newer))
    return found


def slide_out(
    slide: StoredSlide,
    standings: Sequence[Standing],
    results: ResultReader,
    review: ReviewBrief | None,
    refusal: str | None = None,
) -> SlideOut:
    """A slide for clients: no paths of the server."""
    jobs = [one.job for one in standings]
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
        stated_mpp=slide.stated_mpp,
        given_mpp=slide.given_mpp,
        mpp_problem=slide.resolution.doubt,
        magnification=slide.magnification,
        created_at=slide.created_at,
        stripped_sha256=slide.stripped_sha256,
        stripped_at=slide.stripped_at,
        results=[_brief(one, results, slide.mpp) for one in standings],
        quality=_quality(jobs, results),
        review=review,
        refusal=refusal,
    )


def _quality(jobs: list[Job], results: ResultReader) -> QualityOut | None:
    done = [job for job in jobs if job.status is JobStatus.SUCCEEDED and job.finished_at]
    for job in sorted(done, key=lambda job: str(job.finished_at), reverse=True):
        try:
            quality = results.summary(job).quality
        except StoreError:
            continue  # Its brief says so.
        if quality is not None:
            return QualityOut.model_validate(quality)
    return None


def is_other_mpp(made_at: float | None, slide_mpp: float | None) -> bool:
    """Whether a result was made at another resolution than its slide has now.

    A slide that has none, as one that was given for a job alone, has no other one.
    """
    return made_at is not None and slide_mpp is not None and differ(made_at, slide_mpp) > SAME_MPP


def _brief(one: Standing, results: ResultReader, slide_mpp: float | None) -> ResultBrief:
    job = one.job
    summary, error = None, job.error
    if job.status is JobStatus.SUCCEEDED:
        try:
            summary = results.summary(job)
        except StoreError as problem:
            # One lost store must not hide the list of all slides.
            error = str(problem)
    mpp = summary.mpp if summary else None
    return ResultBrief(
        job_id=job.id,
        pipeline=job.request.pipeline,
        model=job.request.model,
        status=job.status,
        progress=job.progress,
        stage=job.stage,
        outcome=summary.outcome if summary else None,
        probabilities=dict(summary.probabilities) if summary else {},
        classes=list(summary.classes) if summary else [],
        malignant=list(summary.malignant) if summary else [],
        suspicion=summary.suspicion if summary else None,
        hotspot_total=summary.hotspot_total if summary else None,
        hotspot_area_um2=summary.hotspot_area_um2 if summary else None,
        hotspot_score=summary.hotspot_score if summary else None,
        error=error,
        finished_at=job.finished_at,
        warnings=list(summary.warnings) if summary else [],
        newer_run=_run(one.newer) if one.newer else None,
        mpp=mpp,
        other_mpp=is_other_mpp(mpp, slide_mpp),
    )


def _run(job: Job) -> RunBrief:
    return RunBrief(
        job_id=job.id,
        model=job.request.model,
        status=job.status,
        progress=job.progress,
        stage=job.stage,
        error_kind=job.error_kind,
        error=job.error,
        created_at=job.created_at,
        finished_at=job.finished_at,
    )
