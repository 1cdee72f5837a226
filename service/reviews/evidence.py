"""What the models say of a slide when a review of it is saved, and which results that means."""

from collections.abc import Iterable
from contextlib import suppress

from service.context import Context
from service.errors import ReviewError
from service.results.reader import Summary
from service.reviews.rules import Evidence
from service.reviews.schemas import ModelCall, ReviewIn, ReviewOut, SignedRun
from wsi.errors import JobNotFoundError, StoreError
from wsi.jobs import Job, JobStatus


def gather(context: Context, before: ReviewOut, body: ReviewIn) -> Evidence:
    """What the review that is about to be saved stands on.

    Raises:
        ReviewError: it names a run that is none of this slide's results.
    """
    slide_id = before.slide_id
    newest = newest_results(context, slide_id)
    jobs = list(newest.values())
    if body.status == "signed":
        known = {job.id: job for job in jobs}
        if body.shown_runs is not None:
            jobs = [
                known.get(one) or _result_job(context, slide_id, one) for one in body.shown_runs
            ]
        elif before.runs:
            ids = [run.job_id for run in before.runs]
            jobs = [known.get(one) or _result_job(context, slide_id, one) for one in ids]
    seen = {job.id for job in jobs}
    return Evidence(
        calls=[call for job in jobs if (call := _call(job, _summary(context, job)))],
        runs=[_run(job, _summary(context, job)) for job in jobs],
        hotspots=_hotspots(context, slide_id, body),
        unseen=[
            pipeline
            for pipeline, job in newest.items()
            if job.id not in seen and _summary(context, job) is not None
        ],
    )


def newest_results(context: Context, slide_id: str) -> dict[str, Job]:
    """The newest job of each pipeline that has a result."""
    newest: dict[str, Job] = {}
    for job in context.jobs.find(slide_id=slide_id, status=JobStatus.SUCCEEDED):
        newest.setdefault(job.request.pipeline, job)
    return newest


def _result_job(context: Context, slide_id: str, job_id: str) -> Job:
    job: Job | None = None
    with suppress(JobNotFoundError):
        job = context.jobs.get(job_id)
    if job is None or job.request.slide_id != slide_id or job.status is not JobStatus.SUCCEEDED:
        raise ReviewError(
            f"run {job_id} is not a result of this slide: reload the page and sign again"
        )
    return job


def _summary(context: Context, job: Job) -> Summary | None:
    """``None`` where the store has lost it: what is not there cannot be held against a reader."""
    try:
        return context.results.summary(job)
    except StoreError:
        return None


def _call(job: Job, summary: Summary | None) -> ModelCall | None:
    if summary is None or not summary.probabilities:
        return None
    name = max(summary.probabilities, key=lambda key: summary.probabilities[key])
    return ModelCall(
        pipeline=job.request.pipeline,
        model=job.request.model,
        job_id=job.id,
        class_name=name,
        probability=summary.probabilities[name],
    )


def _run(job: Job, summary: Summary | None) -> SignedRun:
    run = SignedRun(
        pipeline=job.request.pipeline,
        job_id=job.id,
        result_id=job.result_id,
        model=job.request.model,
        finished_at=job.finished_at,
        mpp=job.request.mpp,
    )
    if summary is None:
        return run
    return run.model_copy(
        update={
            "model_digest": summary.model_digest,
            "outcome": summary.outcome,
            "probabilities": dict(summary.probabilities),
            "hotspots": summary.hotspots,
            "warnings": list(summary.warnings),
        }
    )


def _hotspots(
    context: Context, slide_id: str, body: ReviewIn
) -> dict[tuple[str, int], tuple[str, tuple[str, ...]]]:
    """The class of each hotspot that the reader agrees with, as far as its result is there."""
    found: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = {}
    agreed = [spot for spot in body.hotspots if spot.decision == "agree"]
    for job_id in _unique(spot.job_id for spot in agreed):
        try:
            job = _result_job(context, slide_id, job_id)
            result = context.results.of(job)
        except (ReviewError, StoreError):
            continue
        for spot in agreed:
            if spot.job_id == job_id and spot.index < len(result.hotspots):
                name = result.hotspots[spot.index].class_name
                found[job_id, spot.index] = (name, result.malignant_classes)
    return found


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
