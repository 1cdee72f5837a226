"""Text and pictures from the top of a page to its foot, and on to the next (PDF, A4)."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

FONT = "DejaVu Sans"
GREY = "#555555"
RED = "#b00020"
AMBER = "#8a5a00"
_WIDTH, _HEIGHT = 8.27, 11.69
_LEFT, _TOP, _FOOT = 0.5, 0.5, 0.7
_LINE = 1.45
"""Height of a line in font sizes."""


class Flow:
    """Pages that fill from the top; all lengths in inches."""

    def __init__(self) -> None:
        self._pages: list[Figure] = []
        self._y = 0.0
        self._turn()

    @property
    def width(self) -> float:
        """Of what can be filled."""
        return _WIDTH - 2 * _LEFT

    def text(self, text: str, *, size: float = 8.5, indent: float = 0.0, **style: Any) -> None:
        """A paragraph, broken into lines."""
        # Half of the font size is what a letter takes on average.
        letters = int((self.width - indent) * 72 / (size * 0.56))
        for line in textwrap.wrap(clean(text), letters) or [""]:
            self._line(line, size, indent, style)

    def heading(self, text: str, *, beside: float = 0.6) -> None:
        """A heading that does not stand alone at the foot: ``beside`` comes with it."""
        self.need(0.35 + beside)
        self._y += 0.12
        self._line(clean(text), 11, 0.0, {"weight": "bold"})
        self._y += 0.03

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and values, one under the other."""
        for name, value in rows:
            top = self._y
            page = self._pages[-1]
            self.text(value, indent=1.35)
            if self._pages[-1] is not page:
                top = _TOP
            self._write(name, _LEFT, top + 8.5 / 72, 8.5, {"color": GREY})

    def row(self, height: float, count: int) -> list[Axes]:
        """``count`` frames beside each other for pictures."""
        self.need(height)
        width = self.width / count
        frames = []
        for number in range(count):
            left = _LEFT + number * width
            box = (left / _WIDTH, 1 - (self._y + height) / _HEIGHT)
            axes = self._pages[-1].add_axes((*box, (width - 0.12) / _WIDTH, height / _HEIGHT))
            axes.set_axis_off()
            axes.set_anchor("NW")
            frames.append(axes)
        self._y += height + 0.05
        return frames

    def beside(self, height: float, picture: float) -> tuple[Axes, float]:
        """A square frame at the left, and the top from which ``aside`` writes beside it."""
        self.need(height)
        box = (_LEFT / _WIDTH, 1 - (self._y + picture) / _HEIGHT)
        axes = self._pages[-1].add_axes((*box, picture / _WIDTH, picture / _HEIGHT))
        axes.set_axis_off()
        top = self._y
        self._y += height
        return axes, top

    def aside(
        self, lines: Sequence[tuple[str, Mapping[str, Any]]], top: float, left: float
    ) -> None:
        """Lines beside a picture; they do not move what comes below."""
        y = top
        for text, style in lines:
            size = float(style.get("size", 8.5))
            y += size * _LINE / 72
            more = {name: value for name, value in style.items() if name != "size"}
            self._write(text, _LEFT + left, y, size, more)

    def need(self, height: float) -> None:
        """Turn the page where less than this is left."""
        if self._y + height > _HEIGHT - _FOOT:
            self._turn()

    def gap(self, height: float) -> None:
        """Leave room."""
        self._y += height

    def pdf(self, *, title: str, foot: str, notice: str, made_at: datetime) -> bytes:
        """All pages, each with its foot."""
        sink = io.BytesIO()
        about = {"Title": clean(title), "Creator": "wholeslide", "CreationDate": made_at}
        with PdfPages(sink, metadata=about) as pages:
            for number, page in enumerate(self._pages, start=1):
                self._foot(page, notice, f"{foot}; page {number} of {len(self._pages)}")
                pages.savefig(page)
        return sink.getvalue()

    def _foot(self, page: Figure, notice: str, foot: str) -> None:
        y = 0.38 / _HEIGHT
        left = _LEFT / _WIDTH
        page.text(left, y, notice, size=7.5, color=RED, weight="bold", parse_math=False)
        right = 1 - left
        page.text(right, y, clean(foot), size=6.5, color=GREY, ha="right", parse_math=False)

    def _line(self, text: str, size: float, indent: float, style: Mapping[str, Any]) -> None:
        height = size * _LINE / 72
        self.need(height)
        self._write(text, _LEFT + indent, self._y + size / 72, size, style)
        self._y += height

    def _write(self, text: str, x: float, y: float, size: float, style: Mapping[str, Any]) -> None:
        place = (x / _WIDTH, 1 - y / _HEIGHT)
        self._pages[-1].text(*place, clean(text), size=size, parse_math=False, **style)

    def _turn(self) -> None:
        self._pages.append(Figure(figsize=(_WIDTH, _HEIGHT)))
        self._y = _TOP


def clean(text: str) -> str:
    """Text with a question mark for what the font has no sign for."""
    return "".join(char if ord(char) in _signs() else "?" for char in text)


@lru_cache(maxsize=1)
def _signs() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap())
