"""How a report looks on A4: text, tables of facts, pictures, the foot of each page (ReportLab)."""

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from reportlab.lib.colors import HexColor, black
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import inch
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Table

FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"
GREY, RED, AMBER = HexColor("#555555"), HexColor("#b00020"), HexColor("#8a5a00")
_OUTLINE = HexColor("#ffd400")
MARGIN = 0.5 * inch
WIDTH = A4[0] - 2 * MARGIN
_LABEL_WIDTH = 1.35 * inch
_FLUSH = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 0),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
]


@lru_cache(maxsize=1)
def _fonts() -> frozenset[int]:
    """Register the fonts; returns the characters that they have."""
    # The fonts that matplotlib ships: they cover Latin, Greek, Cyrillic and most signs.
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (FONT, BOLD):
        registerFont(TTFont(name, folder / f"{name}.ttf"))
    return frozenset(TTFont(FONT, folder / f"{FONT}.ttf").face.charToGlyph)


def clean(text: str) -> str:
    """Text with a question mark for each character that the font lacks."""
    known = _fonts()
    return "".join(char if ord(char) in known or char == "\n" else "?" for char in text)


def text(
    content: str, *, size: float = 8.5, bold: bool = False, indent: float = 0.0, **style: Any
) -> Paragraph:
    """A paragraph that wraps and goes on over pages; ``style`` as of ``ParagraphStyle``."""
    given = ParagraphStyle(
        "text",
        fontName=BOLD if bold else FONT,
        fontSize=size,
        leading=size * 1.4,
        leftIndent=indent * inch,
        **style,
    )
    # After ``clean``, which registers the fonts.
    return Paragraph(escape(clean(content)).replace("\n", "<br/>"), given)


def heading(content: str) -> Paragraph:
    """A heading that stays with what follows it."""
    return text(content, size=11, bold=True, spaceBefore=9, spaceAfter=3, keepWithNext=True)


def facts(rows: Sequence[tuple[str, str]]) -> Table:
    """Names and values."""
    cells = [[text(name, textColor=GREY), text(value)] for name, value in rows]
    return _table(cells, [_LABEL_WIDTH, WIDTH - _LABEL_WIDTH], splitInRow=True)


def beside(left: Flowable, right: Sequence[Flowable], *, left_width: float) -> Table:
    """Two columns that stay on one page; ``left_width`` in points."""
    return _table([[left, list(right)]], [left_width, WIDTH - left_width])


def _table(cells: list[list[Any]], widths: list[float], **options: Any) -> Table:
    return Table(cells, colWidths=widths, style=_FLUSH, hAlign="LEFT", **options)


class Picture(Flowable):
    """A picture, fitted into a box.

    Args:
        pixels: (height, width, 3) uint8.
        width, height: of the box, in points.
        outline: (x, y) in the picture's pixels, drawn over it.
        bar: length of a scale bar as a share of the picture's width; 0 for none.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        width: float,
        height: float,
        *,
        outline: Sequence[tuple[float, float]] = (),
        bar: float = 0.0,
    ) -> None:
        super().__init__()
        rows, columns = pixels.shape[:2]
        self._scale = min(width / columns, height / rows)
        self.width, self.height = columns * self._scale, rows * self._scale
        self._pixels, self._outline, self._bar = pixels, outline, bar

    def draw(self) -> None:
        """Draw it at the origin, as ReportLab asks for."""
        canvas: Canvas = self.canv
        canvas.drawImage(_jpeg(self._pixels), 0, 0, self.width, self.height)
        if self._outline:
            path = canvas.beginPath()
            for number, (x, y) in enumerate(self._outline):
                go = path.lineTo if number else path.moveTo
                go(x * self._scale, self.height - y * self._scale)
            # What of an outline lies outside the picture is not drawn.
            canvas.saveState()
            frame = canvas.beginPath()
            frame.rect(0, 0, self.width, self.height)
            canvas.clipPath(frame, stroke=0)
            canvas.setStrokeColor(_OUTLINE)
            canvas.setLineWidth(1.2)
            canvas.drawPath(path)
            canvas.restoreState()
        if self._bar:
            canvas.setStrokeColor(black)
            canvas.setLineWidth(2)
            x, y = 0.06 * self.width, 0.07 * self.height
            canvas.line(x, y, x + self._bar * self.width, y)


class ColourScale(Flowable):
    """The colours of a heatmap from 0 to 1, with their values below.

    Args:
        colours: (1, steps, 3) uint8.
        width: in points.
    """

    def __init__(self, colours: NDArray[np.uint8], width: float) -> None:
        super().__init__()
        self._colours = colours
        self.width, self.height = width, 24.0

    def draw(self) -> None:
        """Draw it at the origin, as ReportLab asks for."""
        canvas: Canvas = self.canv
        canvas.drawImage(_png(self._colours), 0, 10, self.width, 10)
        canvas.setFont(FONT, 7)
        canvas.drawString(0, 1, "0")
        canvas.drawCentredString(self.width / 2, 1, "0.5")
        canvas.drawRightString(self.width, 1, "1")


def build(story: list[Flowable], *, title: str, foot: str, notice: str) -> bytes:
    """The PDF: ``story`` over as many pages as it needs, each with its foot."""

    class Pages(Canvas):
        """Holds pages back until it is known how many there are."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._held: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - ReportLab's name
            self._held.append(dict(self.__dict__))
            self._startPage()  # type: ignore[attr-defined]

        def save(self) -> None:
            for number, page in enumerate(self._held, start=1):
                self.__dict__.update(page)
                self._foot(f"{foot}; page {number} of {len(self._held)}")
                super().showPage()
            super().save()

        def _foot(self, right: str) -> None:
            self.setFont(BOLD, 7.5)
            self.setFillColor(RED)
            self.drawString(MARGIN, 0.38 * inch, notice)
            self.setFont(FONT, 6.5)
            self.setFillColor(GREY)
            self.drawRightString(A4[0] - MARGIN, 0.38 * inch, clean(right))

    sink = io.BytesIO()
    document = SimpleDocTemplate(
        sink,
        pagesize=A4,
        leftMargin=MARGIN - 6,
        rightMargin=MARGIN - 6,
        topMargin=MARGIN - 6,
        bottomMargin=0.6 * inch,
        title=clean(title),
        author="",
        subject="",
        creator="wholeslide",
        lang="en",
    )
    document.build(story, canvasmaker=Pages)
    return sink.getvalue()


def _jpeg(pixels: NDArray[np.uint8]) -> ImageReader:
    return _encoded(pixels, "JPEG", quality=90)


def _png(pixels: NDArray[np.uint8]) -> ImageReader:
    return _encoded(pixels, "PNG")


def _encoded(pixels: NDArray[np.uint8], kind: str, **options: Any) -> ImageReader:
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, kind, **options)
    buffer.seek(0)
    return ImageReader(buffer)
