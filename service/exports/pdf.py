"""Draws a report as PDF. Imported when one is asked for: matplotlib takes a while to load."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import matplotlib
import numpy as np
import shapely
from matplotlib.axes import Axes
from shapely.geometry import shape

from service.annotations.schemas import AnnotationOut
from service.exports.flow import AMBER, FONT, GREY, RED, Flow
from service.exports.pictures import Crop, Pictures
from service.exports.report import ReportOut, RunOut, SpotOut
from service.exports.timeline import percent, seen_then, turns
from service.reviews.schemas import ReviewOut
from service.slides.repository import StoredSlide
from wsi.malignancy import probability_text
from wsi.storage.overlay import colorize

NOTICE = "Research software. Not a medical device; not for diagnosis."
_LISTED = 60
# Drawing reads settings that are matplotlib's own for the whole process.
_DRAWING = threading.Lock()


def draw(
    slide: StoredSlide,
    report: ReportOut,
    pictures: Pictures,
    history: Sequence[ReviewOut],
    annotations: Sequence[AnnotationOut],
) -> bytes:
    """The report as PDF, A4: the same content that the page shows and prints."""
    with _DRAWING, matplotlib.rc_context({"pdf.fonttype": 42, "font.family": FONT}):
        flow = Flow()
        _head(flow, slide, report, pictures)
        _decision(flow, report, history)
        _timeline(flow, history)
        _annotations(flow, slide, annotations)
        for run in report.runs:
            _run(flow, run, pictures)
        if not report.runs:
            flow.heading("Pipelines")
            flow.text("No pipeline had scored this slide.")
        foot = f"wholeslide {report.software}; slide {slide.id}"
        title = f"Report of {slide.name}"
        return flow.pdf(title=title, foot=foot, notice=NOTICE, made_at=report.made_at)


def _head(flow: Flow, slide: StoredSlide, report: ReportOut, pictures: Pictures) -> None:
    flow.text(f"Slide {slide.name}", size=15, weight="bold")
    flow.text(NOTICE, size=9, color=RED, weight="bold")
    flow.text(f"Made {_time(report.made_at)}", size=8, color=GREY)
    (axes, _) = flow.row(1.9, 2)
    axes.imshow(pictures.slide)
    rows = [
        ("Size", f"{slide.width} x {slide.height} px"),
        ("Resolution", report.resolution),
        ("Scanner format", slide.vendor),
        ("Received", _time(slide.created_at)),
        ("SHA-256", slide.sha256),
    ]
    if slide.stripped_sha256:
        rows.append(("Labels removed", f"SHA-256 of the stored copy {slide.stripped_sha256}"))
    flow.facts(rows)


def _decision(flow: Flow, report: ReportOut, history: Sequence[ReviewOut]) -> None:
    review = report.review
    flow.heading("Decision")
    if review.version == 0:
        flow.text("Nobody has reviewed this slide yet.")
        return
    signed = review.status == "signed"
    state = "draft, not signed"
    if signed:
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
    flow.facts(rows)
    for run in report.newer_runs:
        text = f"A newer run exists: {run.pipeline} ({run.model}, {_time(run.finished_at)}). "
        flow.text(f"{text}This report shows the run that was signed.", color=AMBER)


def _timeline(flow: Flow, history: Sequence[ReviewOut]) -> None:
    rows = turns(history)
    if not rows:
        return
    flow.heading("What was seen when")
    for review, said in zip(rows, seen_then(rows), strict=True):
        state = ""
        if review.status == "signed":
            state = ", amended and signed" if review.amends else ", signed"
        who = review.reviewer or "no name"
        flow.text(f"{_time(review.saved_at)}, {who}: {review.diagnosis or 'none'}{state}")
        flow.text(f"The models said: {said}", size=8, indent=0.2, color=GREY)


def _annotations(flow: Flow, slide: StoredSlide, items: Sequence[AnnotationOut]) -> None:
    if not items:
        return
    flow.heading("Annotations")
    groups: dict[str, list[AnnotationOut]] = defaultdict(list)
    for item in items:
        groups[item.class_name].append(item)
    for name, group in groups.items():
        area = sum(shapely.area(shape(item.geometry)) for item in group)
        size = f", {_area(area, slide.mpp)}" if area else ""
        flow.text(f"{name}: {len(group)}{size}", weight="bold")
    for number, item in enumerate(items[:_LISTED], start=1):
        outline = shape(item.geometry)
        size = f", {_area(outline.area, slide.mpp)}" if outline.area else ""
        who = item.author or "no name"
        flow.text(f"{number}. {item.class_name}{size}, {who}, {_time(item.changed_at)}")
        if item.comment:
            flow.text(item.comment, indent=0.2)
    if len(items) > _LISTED:
        flow.text(f"{len(items) - _LISTED} more are counted above, and not listed.", color=GREY)


def _run(flow: Flow, run: RunOut, pictures: Pictures) -> None:
    overlay = pictures.overlays.get(run.job_id)
    title = run.pipeline.replace("-", " ").capitalize()
    title += ": decisions on an earlier run" if run.earlier else ""
    flow.heading(title, beside=1.2)
    if run.outcome_text:
        flow.text(run.outcome_text, color=AMBER, weight="bold")
    rows = [(name, percent(value)) for name, value in run.probabilities.items()]
    rows += [
        ("Model", f"{run.model}, weights {run.model_digest[:16]}, {_time(run.finished_at)}"),
        ("Scored at", run.resolution),
    ]
    flow.facts(rows)
    for warning in run.warnings:
        flow.text(warning, color=AMBER)
    if overlay is not None and run.map is not None:
        flow.gap(0.08)
        axes, scale = flow.row(1.9, 2)
        axes.imshow(overlay)
        _legend(scale, f"{run.map.kind} of {run.map.class_name}")
    for spot in run.spots:
        _spot(flow, spot, pictures.crops.get((run.job_id, spot.number)))
    if run.spots_note:
        flow.text(run.spots_note, color=GREY)


def _legend(axes: Axes, title: str) -> None:
    """The colours of a heatmap from 0 to 1."""
    axes.imshow(
        colorize(np.linspace(0, 1, 100, dtype=np.float32)[None, :]),
        extent=(0, 1, 0, 0.06),
        aspect="equal",
    )
    axes.set_xlim(0, 1.1)
    axes.set_ylim(-0.1, 0.2)
    axes.text(0, 0.09, title, size=7.5, parse_math=False)
    for value in (0.0, 0.5, 1.0):
        axes.text(value, -0.06, f"{value:g}", size=7, ha="center")


def _spot(flow: Flow, spot: SpotOut, crop: Crop | None) -> None:
    said = spot.decision or ("seen, not decided" if spot.seen else "not decided")
    lines: list[tuple[str, Mapping[str, Any]]] = [
        (
            f"{spot.number}. {spot.class_name}, peak {probability_text(spot.score, 2)}",
            {"weight": "bold"},
        ),
        (
            f"{_micrometres(spot.area_um2)}, x {spot.centre_level0[0]:.0f}, "
            f"y {spot.centre_level0[1]:.0f} px",
            {"color": GREY},
        ),
        (f"Reader: {said}", {}),
    ]
    axes, top = flow.beside(1.25, 1.15)
    if crop is not None:
        side = crop.pixels.shape[0]
        axes.imshow(crop.pixels)
        axes.plot(*zip(*crop.outline, strict=True), color="#ffd400", linewidth=1.2)
        axes.set_xlim(0, side)
        axes.set_ylim(side, 0)
        if crop.side_um:
            bar = _bar(crop.side_um)
            x = [side * 0.06, side * (0.06 + bar / crop.side_um)]
            axes.plot(x, [side * 0.93] * 2, color="black", linewidth=2)
            lines.append((f"Bar: {bar:g} µm", {"color": GREY, "size": 7.5}))
    flow.aside(lines, top, 1.3)
    if spot.comment:
        flow.text(f"Comment: {spot.comment}", indent=0.2)


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
