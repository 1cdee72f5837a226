"""Draws a report of one slide on one page (PDF).

Imported when a report is asked for: matplotlib takes a while to load.
"""

import io
import textwrap
import threading
from datetime import datetime
from functools import lru_cache
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from service.exports.facts import Crop, Facts, Scored

NOTICE = "Research software. Not a medical device; not for diagnosis."
_A4 = (8.27, 11.69)
_FONT = "DejaVu Sans"
_GREY = "#555555"
_RED = "#b00020"
# Drawing reads settings that are matplotlib's own for the whole process.
_DRAWING = threading.Lock()


def draw(facts: Facts) -> bytes:
    """The report as PDF, A4."""
    with _DRAWING, matplotlib.rc_context({"pdf.fonttype": 42, "font.family": _FONT}):
        figure = Figure(figsize=_A4)
        _head(figure, facts)
        _pictures(figure, facts)
        _table(figure, facts)
        _hotspots(figure, facts)
        _review(figure, facts)
        _foot(figure, facts)
        sink = io.BytesIO()
        about = {"Title": f"Report of {_clean(facts.slide.name)}", "Creator": "wholeslide"}
        figure.savefig(sink, format="pdf", metadata={**about, "CreationDate": facts.made_at})
        return sink.getvalue()


def _head(figure: Figure, facts: Facts) -> None:
    slide = facts.slide
    _write(figure, 0.06, 0.958, "Slide report", size=17, weight="bold")
    _write(figure, 0.06, 0.938, NOTICE, size=9, color=_RED, weight="bold")
    _write(figure, 0.94, 0.962, _time(facts.made_at), size=8, color=_GREY, ha="right")
    _write(figure, 0.06, 0.912, textwrap.shorten(slide.name, 80), size=11, weight="bold")
    mpp = f"{slide.mpp:g} µm per pixel" if slide.mpp else "resolution not stated"
    if slide.given_mpp is not None:
        mpp += " (given by a user)"
    sizes = f"{slide.width} x {slide.height} px, {mpp}, {slide.vendor}, "
    sizes += f"received {_time(slide.created_at)}"
    _write(figure, 0.06, 0.896, sizes, size=8, color=_GREY)
    _write(figure, 0.06, 0.882, f"SHA-256 {slide.sha256}", size=7, color=_GREY)
    if slide.stripped_sha256:
        text = f"labels removed; SHA-256 of the stored copy {slide.stripped_sha256}"
        _write(figure, 0.06, 0.870, text, size=7, color=_GREY)


def _pictures(figure: Figure, facts: Facts) -> None:
    shown = [("slide", facts.picture)]
    shown += [
        (f"{one.result.pipeline}: {one.shown}", one.overlay)
        for one in facts.scored
        if one.overlay is not None
    ]
    width = 0.88 / len(shown)
    for number, (title, pixels) in enumerate(shown):
        axes = _frame(figure, 0.06 + number * width, 0.575, width - 0.012, 0.27)
        axes.imshow(pixels)
        _title(axes, title)


def _table(figure: Figure, facts: Facts) -> None:
    top = 0.555
    _write(figure, 0.06, top, "What the models say", size=10, weight="bold")
    if not facts.scored:
        _write(figure, 0.06, top - 0.02, "No pipeline has scored this slide yet.", size=8)
    for number, one in enumerate(facts.scored):
        _row(figure, top - 0.02 - number * 0.052, one)


def _row(figure: Figure, y: float, one: Scored) -> None:
    result = one.result
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in result.probabilities.items())
    said = numbers or "no tissue was found: nothing was scored"
    _write(figure, 0.06, y, result.pipeline, size=9, weight="bold")
    _write(figure, 0.24, y, textwrap.shorten(said, 90), size=9)
    finished = _time(one.job.finished_at) if one.job.finished_at else ""
    lines = (
        f"model {textwrap.shorten(result.model, 40)}, job {one.job.id}, {finished}",
        f"SHA-256 of the model {result.model_digest}",
        "; ".join(result.warnings) or "no warnings",
    )
    for number, line in enumerate(lines, start=1):
        text = textwrap.shorten(line, 120)
        _write(figure, 0.24, y - 0.001 - number * 0.0115, text, size=6.5, color=_GREY)


def _hotspots(figure: Figure, facts: Facts) -> None:
    _write(figure, 0.06, 0.380, "Most suspicious places", size=10, weight="bold")
    if not facts.crops:
        _write(figure, 0.06, 0.360, "None.", size=8)
    for number, crop in enumerate(facts.crops):
        axes = _frame(figure, 0.06 + number * 0.178, 0.253, 0.166, 0.113)
        axes.imshow(crop.pixels)
        _caption(figure, 0.06 + number * 0.178, crop)


def _caption(figure: Figure, x: float, crop: Crop) -> None:
    spot = crop.spot
    wide = f", {crop.side_um:.0f} µm wide" if crop.side_um else ""
    lines = (
        f"{crop.pipeline}: {spot.class_name} {spot.score:.2f}",
        f"x {spot.centre_level0.x:.0f}, y {spot.centre_level0.y:.0f}{wide}",
    )
    for number, line in enumerate(lines):
        _write(figure, x, 0.242 - number * 0.011, textwrap.shorten(line, 40), size=6.5)


def _review(figure: Figure, facts: Facts) -> None:
    review = facts.review
    _write(figure, 0.06, 0.200, "Review", size=10, weight="bold")
    if review.version == 0:
        _write(figure, 0.06, 0.182, "Nobody has reviewed this slide yet.", size=8)
        return
    word = "Signed" if review.status == "signed" else "Draft, not signed"
    saved = _time(review.saved_at) if review.saved_at else ""
    amends = f", amends version {review.amends}" if review.amends else ""
    who = review.reviewer or "nobody"
    if review.saved_by not in ("", review.reviewer):
        who += f" (key of {review.saved_by})"
    lines = [
        f"{word} by {who}, {saved} (version {review.version}{amends})",
        f"Diagnosis: {review.diagnosis or 'none'}",
    ]
    if review.contradicts:
        lines.append(f"It contradicts {' and '.join(review.contradicts)}.")
    if facts.decisions:
        said = ", ".join(f"{word} {count}" for word, count in facts.decisions.items())
        lines.append(f"Hotspots: {said}")
    lines += [f"Reason: {review.reason}"] if review.reason else []
    lines += [f"Comment: {review.comment}"] if review.comment else []
    wrapped = [part for line in lines for part in textwrap.wrap(line, 120)]
    if len(wrapped) > 9:
        wrapped = [*wrapped[:8], "... (the rest is in the service)"]
    for number, line in enumerate(wrapped):
        _write(figure, 0.06, 0.182 - number * 0.0145, line, size=8)


def _foot(figure: Figure, facts: Facts) -> None:
    _write(figure, 0.06, 0.035, NOTICE, size=8, color=_RED, weight="bold")
    ident = f"wholeslide {facts.software}; slide {facts.slide.id}"
    _write(figure, 0.94, 0.035, ident, size=7, color=_GREY, ha="right")


def _frame(figure: Figure, left: float, low: float, width: float, height: float) -> Axes:
    axes = figure.add_axes((left, low, width, height))
    axes.set_axis_off()
    axes.set_anchor("NW")
    return axes


def _title(axes: Axes, text: str) -> None:
    axes.set_title(_clean(textwrap.shorten(text, 48)), size=7.5, loc="left", parse_math=False)


def _write(figure: Figure, x: float, y: float, text: str, **style: Any) -> None:
    figure.text(x, y, _clean(text), parse_math=False, **style)


def _clean(text: str) -> str:
    """Text with a question mark for what the font has no sign for."""
    return "".join(char if ord(char) in _signs() else "?" for char in text)


@lru_cache(maxsize=1)
def _signs() -> frozenset[int]:
    return frozenset(get_font(findfont(_FONT)).get_charmap())


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
