"""A report as PDF. Imported when one is asked for: layout and fonts take a while to load."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import shapely
from reportlab.lib.units import inch
from reportlab.platypus import Flowable, Spacer
from shapely.geometry import shape

from service.annotations.schemas import AnnotationOut
from service.exports.layout import (
    AMBER,
    GREY,
    RED,
    WIDTH,
    ColourScale,
    Picture,
    beside,
    build,
    facts,
    heading,
    text,
)
from service.exports.pictures import Crop, Pictures
from service.exports.report import ReportOut, RunOut, SpotOut
from service.exports.timeline import percent, seen_then, turns
from service.reviews.schemas import ReviewOut
from service.slides.repository import StoredSlide
from wsi.malignancy import probability_text
from wsi.storage.overlay import colorize

NOTICE = "Research software. Not a medical device; not for diagnosis."
_LISTED = 60
_PICTURE_HEIGHT = 1.9 * inch
_CROP = 1.15 * inch


def draw(
    slide: StoredSlide,
    report: ReportOut,
    pictures: Pictures,
    history: Sequence[ReviewOut],
    annotations: Sequence[AnnotationOut],
) -> bytes:
    """The report as PDF, A4: the same content that the page shows and prints."""
    story = [
        *_head(slide, report, pictures),
        *_decision(report, history),
        *_timeline(history),
        *_annotations(slide, annotations),
    ]
    for run in report.runs:
        story += _run(run, pictures)
    if not report.runs:
        story += [heading("Pipelines"), text("No pipeline had scored this slide.")]
    return build(
        story,
        title=f"Report of {slide.name}",
        foot=f"wholeslide {report.software}; slide {slide.id}",
        notice=NOTICE,
    )


def _head(slide: StoredSlide, report: ReportOut, pictures: Pictures) -> Iterator[Flowable]:
    yield text(f"Slide {slide.name}", size=15, bold=True)
    yield text(NOTICE, size=9, bold=True, textColor=RED)
    yield text(f"Created {_time(report.made_at)}", size=8, textColor=GREY, spaceAfter=4)
    picture = Picture(pictures.slide, WIDTH / 2, _PICTURE_HEIGHT)
    picture.hAlign = "LEFT"
    yield picture
    yield Spacer(0, 4)
    rows = [
        ("Size", f"{slide.width} x {slide.height} px"),
        ("Resolution", report.resolution),
        ("Scanner format", slide.vendor),
        ("Received", _time(slide.created_at)),
        ("SHA-256", slide.sha256),
    ]
    if slide.stripped_sha256:
        rows.append(("Labels removed", f"SHA-256 of the stored copy {slide.stripped_sha256}"))
    yield facts(rows)


def _decision(report: ReportOut, history: Sequence[ReviewOut]) -> Iterator[Flowable]:
    review = report.review
    yield heading("Decision")
    if review.version == 0:
        yield text("Nobody has reviewed this slide yet.")
        return
    state = "draft, not signed"
    if review.status == "signed":
        state = f"{'amended and ' if review.amends else ''}signed by {review.reviewer}, "
        state += _time(review.saved_at)
    rows = [("Diagnosis", review.diagnosis or "none yet"), ("State", state)]
    if review.contradicts:
        rows.append(("Contradicts", ", ".join(review.contradicts)))
    if review.agreed_beyond:
        said = ", ".join(f"{count} {name}" for name, count in review.agreed_beyond.items())
        rows.append(("Agreed with", f"hotspots: {said}"))
    rows += [("Reason", review.reason)] if review.reason else []
    rows += [("Comment", review.comment)] if review.comment else []
    rows += [
        ("Before", f"{old.diagnosis or ''}, signed by {old.reviewer}, {_time(old.saved_at)}")
        for old in history
        if old.status == "signed" and old.version < review.version
    ]
    yield facts(rows)
    for run in report.newer_runs:
        words = f"A newer run exists: {run.pipeline} ({run.model}, {_time(run.finished_at)}). "
        yield text(f"{words}This report shows the run that was signed.", textColor=AMBER)


def _timeline(history: Sequence[ReviewOut]) -> Iterator[Flowable]:
    rows = turns(history)
    if not rows:
        return
    yield heading("What was seen when")
    for review, said in zip(rows, seen_then(rows), strict=True):
        state = ""
        if review.status == "signed":
            state = ", amended and signed" if review.amends else ", signed"
        who = review.reviewer or "no name"
        words = f"{_time(review.saved_at)}, {who}: {review.diagnosis or 'none'}{state}"
        yield text(words, keepWithNext=True)
        yield text(f"The models said: {said}", size=8, indent=0.2, textColor=GREY)


def _annotations(slide: StoredSlide, items: Sequence[AnnotationOut]) -> Iterator[Flowable]:
    if not items:
        return
    yield heading("Annotations")
    groups: dict[str, list[AnnotationOut]] = defaultdict(list)
    for item in items:
        groups[item.class_name].append(item)
    for name, group in groups.items():
        area = sum(shapely.area(shape(item.geometry)) for item in group)
        size = f", {_area(area, slide.mpp)}" if area else ""
        yield text(f"{name}: {len(group)}{size}", bold=True)
    for number, item in enumerate(items[:_LISTED], start=1):
        outline = shape(item.geometry)
        size = f", {_area(outline.area, slide.mpp)}" if outline.area else ""
        who = item.author or "no name"
        yield text(f"{number}. {item.class_name}{size}, {who}, {_time(item.changed_at)}")
        if item.comment:
            yield text(item.comment, indent=0.2)
    if len(items) > _LISTED:
        more = f"{len(items) - _LISTED} more are counted above and not listed."
        yield text(more, textColor=GREY)


def _run(run: RunOut, pictures: Pictures) -> Iterator[Flowable]:
    overlay = pictures.overlays.get(run.job_id)
    title = run.pipeline.replace("-", " ").capitalize()
    yield heading(title + (": decisions on an earlier run" if run.earlier else ""))
    if run.outcome_text:
        yield text(run.outcome_text, bold=True, textColor=AMBER)
    rows = [(name, percent(value)) for name, value in run.probabilities.items()]
    rows += [
        ("Model", f"{run.model}, weights {run.model_digest[:16]}, {_time(run.finished_at)}"),
        ("Scored at", run.resolution),
    ]
    yield facts(rows)
    for warning in run.warnings:
        yield text(warning, textColor=AMBER)
    if overlay is not None and run.map is not None:
        yield Spacer(0, 6)
        colours = colorize(np.linspace(0, 1, 256, dtype=np.float32)[None, :])
        legend = [
            text(f"{run.map.kind} of {run.map.class_name}", size=7.5),
            ColourScale(colours, 0.4 * WIDTH),
        ]
        picture = Picture(overlay, WIDTH / 2 - 9, _PICTURE_HEIGHT)
        yield beside(picture, legend, left_width=WIDTH / 2)
    for spot in run.spots:
        yield from _spot(spot, pictures.crops.get((run.job_id, spot.number)))
    if run.spots_note:
        yield text(run.spots_note, textColor=GREY, spaceBefore=3)


def _spot(spot: SpotOut, crop: Crop | None) -> Iterator[Flowable]:
    said = spot.decision or ("seen, not decided" if spot.seen else "not decided")
    x, y = spot.centre_level0
    title = f"{spot.number}. {spot.class_name}, peak {probability_text(spot.score, 2)}"
    place = f"{_micrometres(spot.area_um2)}, x {x:.0f}, y {y:.0f} px"
    lines = [text(title, bold=True), text(place, textColor=GREY), text(f"Reader: {said}")]
    picture: Flowable = Spacer(_CROP, 0)
    if crop is not None:
        bar = _bar(crop.side_um) if crop.side_um else 0.0
        share = bar / crop.side_um if crop.side_um else 0.0
        picture = Picture(crop.pixels, _CROP, _CROP, outline=crop.outline, bar=share)
        if bar:
            lines.append(text(f"Bar: {bar:g} µm", size=7.5, textColor=GREY))
    yield Spacer(0, 6)
    yield beside(picture, lines, left_width=1.3 * inch)
    if spot.comment:
        yield text(f"Comment: {spot.comment}", indent=0.2)


def _bar(side_um: float) -> float:
    """A round length of about a third of the picture."""
    most = side_um / 3
    power = 10.0 ** np.floor(np.log10(most))
    return float(next(step * power for step in (5, 2, 1) if step * power <= most))


def _area(px2: float, mpp: float | None) -> str:
    return f"{px2:.0f} px²" if mpp is None else _micrometres(px2 * mpp**2)


def _micrometres(um2: float) -> str:
    return f"{um2 / 1e6:.3g} mm²" if um2 >= 1e4 else f"{um2:.3g} µm²"


def _time(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC") if time else ""
