"""Numbers and outlines, however a file writes them."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import Drawing
from wsi.errors import AnnotationError

XY = tuple[float, float]

_ELLIPSE_POINTS = 128
_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?$", re.I)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+$")


class XmlNumbers:
    """Reads the coordinates of one XML file, also with decimal commas.

    Some programs write numbers as the computer's language has them. A comma is a decimal one where
    that can only be meant; a file in which every comma is followed by three digits is refused, as
    12,345 may be twelve thousand.

    Args:
        source: name of the file, for messages.
        root: its XML.
        keys: attributes that hold coordinates.
    """

    def __init__(self, source: str, root: Element, keys: Sequence[str] = ("X", "Y")) -> None:
        self._source = source
        texts = [text for element in root.iter() for key in keys if (text := element.get(key))]
        commas = [text.strip() for text in texts if "," in text]
        self.commas = len(commas)
        if commas and all(_THOUSANDS.match(text) for text in commas):
            raise AnnotationError(
                f"{source}: coordinates such as {commas[0]!r} may be thousands or decimals; write "
                "them with a decimal point"
            )

    def number(self, where: str, element: Element, key: str) -> float:
        """An attribute's number. Raises ``AnnotationError`` that names it where it is none."""
        text = (element.get(key) or "").strip()
        plain = text.replace(",", ".") if _COMMA.match(text) else text
        try:
            return float(plain)
        except ValueError:
            raise AnnotationError(
                f"{self._source}: {where} has {key}={element.get(key)!r}, which is not a number"
            ) from None

    def point(self, where: str, element: Element) -> XY:
        """The point that ``X`` and ``Y`` state."""
        return self.number(where, element, "X"), self.number(where, element, "Y")

    def note(self, drawing: Drawing) -> None:
        """Say so where there were decimal commas."""
        if self.commas:
            drawing.notes.append(
                f"coordinates with decimal commas, read as decimals: {self.commas}"
            )


def polygon(points: Sequence[XY], holes: Iterable[Sequence[XY]] = ()) -> BaseGeometry:
    """A polygon, closed if it is not; empty where there are too few points for one."""
    if len(points) < 3:
        return shapely.Polygon()
    # A coordinate that is no number is refused with the shape's name when it is checked.
    with np.errstate(invalid="ignore"):
        return shapely.Polygon(points, [hole for hole in holes if len(hole) >= 3])


def even_odd(rings: Iterable[Sequence[XY]]) -> BaseGeometry:
    """What an odd number of rings enclose: outlines with their holes and islands, in any order."""
    found: BaseGeometry = shapely.Polygon()
    for ring in rings:
        one = polygon(ring)
        found = shapely.symmetric_difference(found, shapely.make_valid(one))
    return found


def rectangle(points: Sequence[XY]) -> BaseGeometry:
    """The upright rectangle that the points span."""
    return shapely.box(*np.min(points, axis=0), *np.max(points, axis=0))


def ellipse(points: Sequence[XY]) -> BaseGeometry:
    """The upright ellipse in the rectangle that the points span."""
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    (x, y), (radius_x, radius_y) = (low + high) / 2, (high - low) / 2
    return turned_ellipse(x, y, radius_x, radius_y)


def turned_ellipse(
    x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0
) -> BaseGeometry:
    """An ellipse around a point, turned by ``angle`` radians clockwise as seen on the slide.

    Its 128 corners lie so far outside that it has the area of the ellipse.
    """
    step = 2 * np.pi / _ELLIPSE_POINTS
    out = math.sqrt(step / math.sin(step))
    angles = np.arange(_ELLIPSE_POINTS) * step
    round_ = np.stack([radius_x * out * np.cos(angles), radius_y * out * np.sin(angles)], axis=1)
    cos, sin = math.cos(angle), math.sin(angle)
    return shapely.Polygon(round_ @ np.array([[cos, sin], [-sin, cos]]) + (x, y))


def line_or_point(points: Sequence[XY]) -> BaseGeometry:
    """A line through the points; a point where there is only one."""
    if len(points) == 1:
        return shapely.Point(points[0])
    return shapely.LineString(points)


def text_of(value: Any) -> str:
    """A value as text that can be written; JSON can hold halves of characters that cannot."""
    return str(value or "").encode("utf-8", "replace").decode()
