"""What a report of a slide says: one content for the screen, for print and for PDF.

A signed slide's report shows the results that were signed, whatever was scored since.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version

from pydantic import BaseModel

from service.context import Context
from service.reviews.evidence import newest_results
from service.reviews.schemas import HotspotDecision, ReviewOut, SignedRun
from service.slides.repository import StoredSlide
from wsi.errors import JobNotFoundError, StoreError
from wsi.jobs import Job, JobStatus
from wsi.storage import Hotspot, SlideResult

UNDECIDED = 3
"""So many hotspots are shown where nothing was said of any."""

OUTCOMES = {
    "no_tissue": "No tissue was found on this slide, so nothing was scored.",
    "tissue_unclear": "Something is on this slide, but no tissue was recognized, so nothing was "
    "scored. A person must look at it.",
}


class SpotOut(BaseModel):
    """A hotspot, and what was said of it.

    Attributes:
        number: its place in the run's list, from 1.
        polygon_level0, centre_level0: level-0 pixels.
    """

    number: int
    class_name: str
    score: float
    area_um2: float
    polygon_level0: list[tuple[float, float]]
    centre_level0: tuple[float, float]
    decision: str | None
    comment: str
    seen: bool


class MapOut(BaseModel):
    """The heatmap that a report shows of a run."""

    kind: str
    class_name: str


class RunOut(BaseModel):
    """One pipeline's answer, as the report shows it.

    Attributes:
        outcome_text: why nothing was scored; empty where something was.
        resolution: what was scored at, and who said so.
        spots: hotspots that were decided or commented on; of others the first few, and only where
            nothing was said of any.
        spots_note: what is not listed, in words.
        earlier: decisions belong to this run, which is not the one that counts.
    """

    pipeline: str
    model: str
    model_digest: str
    job_id: str
    finished_at: datetime | None
    outcome: str | None
    outcome_text: str
    probabilities: dict[str, float]
    resolution: str
    warnings: list[str]
    map: MapOut | None
    spots: list[SpotOut]
    spots_note: str
    earlier: bool = False


class NewerOut(BaseModel):
    """A run that came after the signature, and is not in the report."""

    pipeline: str
    model: str
    finished_at: datetime | None


class ReportOut(BaseModel):
    """A report of one slide.

    Attributes:
        resolution: of the slide, and who said so.
        runs: what the report stands on: the runs that were signed, else the newest results; then
            earlier ones that decisions belong to.
        newer_runs: results that came after the signature.
    """

    slide_id: str
    resolution: str
    review: ReviewOut
    runs: list[RunOut]
    newer_runs: list[NewerOut]
    software: str
    made_at: datetime


def gather(context: Context, slide: StoredSlide) -> ReportOut:
    """The report of a slide as it stands."""
    review = context.reviews.latest(slide.id)
    newest = newest_results(context, slide.id)
    if review.status == "signed":
        runs = [_signed_run(context, slide, review, run) for run in review.runs]
    else:
        runs = [_run(context, slide, review, job) for job in newest.values()]
    shown = {run.job_id for run in runs}
    runs += _earlier(context, slide, review, shown)
    return ReportOut(
        slide_id=slide.id,
        resolution=_resolution(slide.mpp, given=slide.given_mpp is not None),
        review=review,
        runs=runs,
        newer_runs=[
            NewerOut(
                pipeline=job.request.pipeline, model=job.request.model, finished_at=job.finished_at
            )
            for job in newest.values()
            if job.id not in shown
        ],
        software=version("wholeslide"),
        made_at=datetime.now(UTC),
    )


def _signed_run(context: Context, slide: StoredSlide, review: ReviewOut, run: SignedRun) -> RunOut:
    """A run that was signed; where its result is lost, what was kept with the signature."""
    with suppress(JobNotFoundError):
        return _run(context, slide, review, context.jobs.get(run.job_id), run)
    return _kept(run, slide)


def _run(
    context: Context,
    slide: StoredSlide,
    review: ReviewOut,
    job: Job,
    signed: SignedRun | None = None,
    *,
    earlier: bool = False,
) -> RunOut:
    try:
        result = context.results.of(job)
    except StoreError:
        if signed is not None:
            return _kept(signed, slide)
        run = SignedRun(
            pipeline=job.request.pipeline,
            job_id=job.id,
            model=job.request.model,
            mpp=job.request.mpp,
            warnings=["The result of this run cannot be read. Tell your administrator."],
        )
        return _kept(run, slide, lost=False)
    said = {spot.index: spot for spot in review.hotspots if spot.job_id == job.id}
    chosen, note = choose_spots(
        result.hotspots, said, only_decided=earlier, total=result.hotspot_total
    )
    layer = result.layer("probability") or next(iter(result.layers), None)
    given = job.request.mpp
    return RunOut(
        pipeline=job.request.pipeline,
        model=job.request.model,
        model_digest=result.model_digest,
        job_id=job.id,
        finished_at=job.finished_at,
        outcome=result.outcome,
        outcome_text=outcome_text(result.outcome),
        probabilities=dict(result.probabilities),
        resolution=_resolution(given or slide.stated_mpp, given=given is not None),
        warnings=[*result.warnings, *_damaged(result)],
        map=MapOut(kind=layer.kind, class_name=result.first_map(layer.kind)) if layer else None,
        spots=[spot_out(at, result.hotspots[at], said.get(at)) for at in chosen],
        spots_note=note if result.outcome == "scored" else "",
        earlier=earlier,
    )


def _kept(run: SignedRun, slide: StoredSlide, *, lost: bool = True) -> RunOut:
    """What was kept with the signature, where the result itself is gone."""
    gone = ["The result itself cannot be read any more: this is what was kept with the signature."]
    return RunOut(
        pipeline=run.pipeline,
        model=run.model,
        model_digest=run.model_digest,
        job_id=run.job_id,
        finished_at=run.finished_at,
        outcome=run.outcome,
        outcome_text=outcome_text(run.outcome),
        probabilities=run.probabilities,
        resolution=_resolution(run.mpp or slide.stated_mpp, given=run.mpp is not None),
        warnings=[*run.warnings, *(gone if lost else [])],
        map=None,
        spots=[],
        spots_note="",
    )


def outcome_text(outcome: str | None) -> str:
    """Why nothing was scored; empty where something was."""
    if outcome in (None, "scored"):
        return ""
    name = str(outcome).replace("_", " ")
    return OUTCOMES.get(
        str(outcome), f"This slide was not scored ({name}). A person must look at it."
    )


def _earlier(
    context: Context, slide: StoredSlide, review: ReviewOut, shown: set[str]
) -> list[RunOut]:
    """Runs that are not shown, and that something was said of."""
    found = []
    said = (spot.job_id for spot in review.hotspots if _is_said(spot))
    for job_id in dict.fromkeys(said):
        if job_id in shown:
            continue
        with suppress(JobNotFoundError):
            job = context.jobs.get(job_id)
            if job.request.slide_id == slide.id and job.status is JobStatus.SUCCEEDED:
                found.append(_run(context, slide, review, job, earlier=True))
    return found


def _is_said(spot: HotspotDecision) -> bool:
    return spot.decision is not None or spot.comment != ""


def choose_spots(
    hotspots: Sequence[Hotspot],
    said: Mapping[int, HotspotDecision],
    *,
    only_decided: bool,
    total: int | None = None,
) -> tuple[list[int], str]:
    """Which hotspots a report lists (by index), and what it says of the rest.

    Every one that was decided or commented on; where there is none, the first few. ``total``: how
    many the run found, where its list ends before.
    """
    total = max(total or 0, len(hotspots))
    if total == 0:
        return [], "No hotspots."
    decided = [at for at in range(len(hotspots)) if at in said and _is_said(said[at])]
    if decided or only_decided:
        rest = total - len(decided)
        were, are = ("was", "is") if rest == 1 else ("were", "are")
        note = f"{rest} of {total} hotspots {were} not decided on and {are} not listed."
        return decided, note if rest else ""
    note = f"None of the {total} hotspots was decided on."
    if total > UNDECIDED:
        note += f" Listed are the first {UNDECIDED}."
    return list(range(min(len(hotspots), UNDECIDED))), note


def spot_out(at: int, spot: Hotspot, said: HotspotDecision | None) -> SpotOut:
    """A hotspot for a report."""
    return SpotOut(
        number=at + 1,
        class_name=spot.class_name,
        score=spot.score,
        area_um2=spot.area_um2,
        polygon_level0=list(spot.polygon_level0),
        centre_level0=(spot.centre_level0.x, spot.centre_level0.y),
        decision=said.decision if said else None,
        comment=said.comment if said else "",
        seen=said.seen if said else False,
    )


def _damaged(result: SlideResult) -> Sequence[str]:
    count = len(result.damaged)
    if count == 0:
        return []
    regions = "1 damaged region" if count == 1 else f"{count} damaged regions"
    return [f"{regions} could not be read and {'was' if count == 1 else 'were'} left out."]


def _resolution(mpp: float | None, *, given: bool) -> str:
    if mpp is None:
        return "unknown"
    return f"{mpp:.4g} µm/px, {'given by a user' if given else 'as the file states'}"
