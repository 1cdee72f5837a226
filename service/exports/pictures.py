"""The pictures of a report: the slide, heatmaps over it, hotspots with their outlines."""

from dataclasses import dataclass

from service.context import Context
from service.exports.report import ReportOut, RunOut, SpotOut
from service.slides.repository import StoredSlide
from wsi.errors import StoreError
from wsi.geometry import Region, Size
from wsi.slides import RGB, SlideReader, thumbnail
from wsi.storage import render_overlay

_THUMBNAIL_PX = 900
_CROP_PX = 240
_MIN_CROP_UM = 150.0


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A hotspot's picture.

    Attributes:
        pixels: (height, width, 3) uint8, square.
        outline: (x, y) in its pixels.
        side_um: its width in micrometres, where the resolution is known.
    """

    pixels: RGB
    outline: list[tuple[float, float]]
    side_um: float | None


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """All pictures of a report.

    Attributes:
        slide: (height, width, 3) uint8.
        overlays: the slide under the heatmap of a run, by job.
        crops: of hotspots, by job and number.
    """

    slide: RGB
    overlays: dict[str, RGB]
    crops: dict[tuple[str, int], Crop]


def take(context: Context, slide: StoredSlide, report: ReportOut) -> Pictures:
    """Read them from the slide and its results."""
    reader = context.open_slides.get(slide)
    picture = thumbnail(reader, _THUMBNAIL_PX)
    overlays = {run.job_id: _overlay(context, reader, picture, run) for run in report.runs}
    crops = {
        (run.job_id, spot.number): _crop(reader, spot) for run in report.runs for spot in run.spots
    }
    shown = {job_id: pixels for job_id, pixels in overlays.items() if pixels is not None}
    return Pictures(slide=picture, overlays=shown, crops=crops)


def _overlay(context: Context, reader: SlideReader, picture: RGB, run: RunOut) -> RGB | None:
    if run.map is None:
        return None
    try:
        result = context.results.of(context.jobs.get(run.job_id))
    except StoreError:
        return None
    values = result.map_of(run.map.kind, run.map.class_name)
    if values is None or result.grid is None:
        return None
    return render_overlay(picture, reader.size, result.grid, values)


def _crop(reader: SlideReader, spot: SpotOut) -> Crop:
    """A square around a hotspot, no smaller than what a pathologist would look at."""
    xs, ys = zip(*spot.polygon_level0, strict=True)
    mpp = reader.mpp.mean if reader.mpp else None
    wide = max(max(xs) - min(xs), max(ys) - min(ys)) * 1.2
    side = max(wide, _MIN_CROP_UM / mpp if mpp else 0.0, 1.0)
    side = min(side, float(max(reader.size.width, reader.size.height)))
    left = (max(xs) + min(xs)) / 2 - side / 2
    top = (max(ys) + min(ys)) / 2 - side / 2
    pixels = reader.read_region(Region(left, top, side, side), Size(_CROP_PX, _CROP_PX))
    scale = _CROP_PX / side
    return Crop(
        pixels=pixels,
        outline=[((x - left) * scale, (y - top) * scale) for x, y in spot.polygon_level0],
        side_um=side * mpp if mpp else None,
    )
