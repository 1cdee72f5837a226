"""XML with layers of regions, some of them negative: Aperio ImageScope and Indica HALO.

Both begin with ``Annotations``. ImageScope numbers its kinds of region and writes ``Vertex``; HALO
names them and writes ``V``.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

import shapely
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import UNCLASSIFIED, Drawing, Shape
from wsi.annotations.points import (
    XY,
    XmlNumbers,
    ellipse,
    line_or_point,
    polygon,
    rectangle,
)

_LONG_CLOSING = 0.1
"""Closing an outline by more than this share of its own length is worth a word."""

_ReadRegion = Callable[[str, Element, list[XY], Drawing], BaseGeometry]


def is_halo(root: Element) -> bool:
    """Whether a file of ``Annotations`` is HALO's."""
    vertices = next(root.iter("Vertices"), None)
    if vertices is not None and len(vertices):
        return vertices[0].tag == "V"
    region = next(root.iter("Region"), None)
    return region is not None and not (region.get("Type") or "0").isdecimal()


def read_imagescope(source: str, root: Element) -> Drawing:
    """The shapes of Aperio ImageScope, level-0 px.

    The class is the layer's name, else its first attribute's, else the region's text. Negative
    regions are cut out of the others of their layer, but not of islands inside them.
    """
    drawing = Drawing("Aperio ImageScope XML", frame="level0")
    return _read(source, root, drawing, "Vertex", _imagescope_region, _imagescope_class)


def read_halo(source: str, root: Element) -> Drawing:
    """The shapes of Indica HALO (``.annotations``), px of level 0. The class is the layer's name.

    Negative regions are cut out of the others of their layer, but not of islands inside them. HALO
    writes outlines drawn by pen as polygons, and gives them an area, also where they do not close.
    """
    drawing = Drawing("HALO annotations")
    return _read(source, root, drawing, "V", _halo_region, lambda layer: layer.get("Name") or "")


def _read(
    source: str,
    root: Element,
    drawing: Drawing,
    vertex: str,
    read_region: _ReadRegion,
    class_of: Callable[[Element], str],
) -> Drawing:
    numbers = XmlNumbers(source, root)
    for count, layer in enumerate(root.iter("Annotation"), 1):
        layer_class = class_of(layer)
        number = layer.get("Id", str(count))
        for place, region in enumerate(layer.iter("Region"), 1):
            where = f"layer {number} region {region.get('Id', str(place))}"
            points = [numbers.point(where, one) for one in region.iter(vertex)]
            geometry = read_region(where, region, points, drawing)
            text = region.get("Text") or ""
            comment = "\n".join(
                body for one in region.iter("Comment") if (body := one.get("Body", "").strip())
            )
            name = layer_class or text or UNCLASSIFIED
            negative = region.get("NegativeROA") == "1"
            if negative and shapely.get_dimensions(geometry) != 2:
                drawing.ignore("negative region without an area")
                continue
            cuts = "hole" if negative else "no"
            # Layers of one name are several: each cuts its own regions only.
            shape = Shape(where, name, text, geometry, comment, cuts, f"{count}")  # type: ignore[arg-type]
            drawing.shapes.append(shape)
    numbers.note(drawing)
    return drawing


def _imagescope_class(layer: Element) -> str:
    """The layer's name, or its first attribute that is more than ImageScope's own default."""
    if layer.get("Name"):
        return str(layer.get("Name"))
    for attribute in layer.findall("Attributes/Attribute"):
        name = attribute.get("Value") or attribute.get("Name") or ""
        if name and name != "Description":
            return name
    return ""


def _imagescope_region(
    where: str, region: Element, points: list[XY], drawing: Drawing
) -> BaseGeometry:
    kind = region.get("Type", "0")
    if kind == "2" and 2 <= len(points) <= 4:
        return ellipse(points)
    if kind == "1" and len(points) == 2:
        return rectangle(points)
    if kind in ("3", "4") and len(points) >= 2:
        return line_or_point(points)
    if len(points) == 1:
        return line_or_point(points)
    return polygon(points)


def _halo_region(where: str, region: Element, points: list[XY], drawing: Drawing) -> BaseGeometry:
    kind = region.get("Type", "Polygon")
    if kind == "Ellipse" and len(points) == 2:
        return ellipse(points)
    if kind == "Rectangle" and len(points) == 2:
        return rectangle(points)
    if kind in ("Ruler", "Pin") and points:
        return line_or_point(points)
    if len(points) >= 3:
        _note_open(where, points, drawing)
    return polygon(points)


def _note_open(where: str, points: Sequence[XY], drawing: Drawing) -> None:
    """HALO closes its outlines: one whose ends lie far apart may have been meant as a line."""
    length = sum(math.dist(a, b) for a, b in pairwise(points))
    gap = math.dist(points[0], points[-1])
    if gap > _LONG_CLOSING * length:
        drawing.notes.append(
            f"{where} is an outline whose ends lie {gap:,.0f} px apart; it is read as an area, "
            "closed by a straight line, as HALO measures it"
        )
