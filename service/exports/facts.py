"""What a report of a slide holds, gathered before it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain

from service.context import Context
from service.reviews.schemas import ReviewOut
from service.slides.repository import StoredSlide
from wsi.geometry import Region, Size
from wsi.jobs import Job, JobStatus
from wsi.slides import RGB, SlideReader, thumbnail
from wsi.storage import Hotspot, SlideResult, render_overlay

PIPELINES = 3
HOTSPOTS = 5
_THUMBNAIL_PX = 900
_CROP_PX = 240
_MIN_CROP_UM = 150.0


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one pipeline says.

    Attributes:
        overlay: (height, width, 3) uint8, the slide under its heatmap; ``None`` without one.
        shown: which heatmap that is, such as ``probability of cancer``.
    """

    result: SlideResult
    job: Job
    overlay: RGB | None
    shown: str


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A hotspot's picture, (height, width, 3) uint8, ``side_um`` micrometres wide."""

    pixels: RGB
    pipeline: str
    spot: Hotspot
    side_um: float | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A report before it is drawn."""

    slide: StoredSlide
    picture: RGB
    scored: Sequence[Scored]
    crops: Sequence[Crop]
    review: ReviewOut
    decisions: Mapping[str, int]
    software: str
    made_at: datetime


def gather(context: Context, slide: StoredSlide) -> Facts:
    """Everything about a slide that its report shows: the newest result of each pipeline."""
    newest: dict[str, Job] = {}
    for job in context.jobs.find(slide_id=slide.id, status=JobStatus.SUCCEEDED):
        newest.setdefault(job.request.pipeline, job)
    reader = context.open_slides.get(slide)
    picture = thumbnail(reader, _THUMBNAIL_PX)
    scored = [
        _scored(context.results.of(job), job, reader, picture)
        for job in list(newest.values())[:PIPELINES]
    ]
    review = context.reviews.latest(slide.id)
    said = [spot.decision for spot in review.hotspots if spot.decision is not None]
    return Facts(
        slide=slide,
        picture=picture,
        scored=scored,
        crops=[_crop(reader, one.result.pipeline, spot) for one, spot in _worst(scored)],
        review=review,
        decisions={word: said.count(word) for word in dict.fromkeys(said)},
        software=version("wholeslide"),
        made_at=datetime.now(UTC),
    )


def _scored(result: SlideResult, job: Job, reader: SlideReader, picture: RGB) -> Scored:
    layer = result.layer("probability") or next(iter(result.layers), None)
    if layer is None or result.grid is None:
        return Scored(result=result, job=job, overlay=None, shown="")
    # The last class is the one that matters most, as for hotspots.
    overlay = render_overlay(picture, reader.size, result.grid, layer.values_chw[-1])
    shown = f"{layer.kind} of {result.classes[-1]}"
    return Scored(result=result, job=job, overlay=overlay, shown=shown)


def _worst(scored: Sequence[Scored]) -> list[tuple[Scored, Hotspot]]:
    """The first hotspots of each pipeline in turn."""
    each = [[(one, spot) for spot in one.result.hotspots[:HOTSPOTS]] for one in scored]
    turns = [[spots[turn] for spots in each if turn < len(spots)] for turn in range(HOTSPOTS)]
    return list(chain.from_iterable(turns))[:HOTSPOTS]


def _crop(reader: SlideReader, pipeline: str, spot: Hotspot) -> Crop:
    """A square around a hotspot, no smaller than what a pathologist would look at."""
    xs, ys = zip(*spot.polygon_level0, strict=True)
    mpp = reader.mpp.mean if reader.mpp else None
    side = max(max(xs) - min(xs), max(ys) - min(ys), _MIN_CROP_UM / mpp if mpp else 0.0, 1.0)
    side = min(side, float(max(reader.size.width, reader.size.height)))
    centre = spot.centre_level0
    square = Region(centre.x - side / 2, centre.y - side / 2, side, side)
    return Crop(
        pixels=reader.read_region(square, Size(_CROP_PX, _CROP_PX)),
        pipeline=pipeline,
        spot=spot,
        side_um=side * mpp if mpp else None,
    )
