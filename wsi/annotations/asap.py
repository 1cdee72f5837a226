"""ASAP XML, which states level-0 pixels."""

from xml.etree.ElementTree import Element

import shapely
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import UNCLASSIFIED, Drawing, Shape
from wsi.annotations.points import XY, XmlNumbers, line_or_point, polygon

_EXCLUSIONS = ("_2", "exclusion")
"""Camelyon's groups of what is cut out of tumours; of ``_0``, ``_1`` and ``Tumor`` are tumours."""


def read_asap(source: str, root: Element) -> Drawing:
    """The shapes of ASAP (``ASAP_Annotations``). The class is the group; without one, the name.

    Camelyon's exclusions, the groups ``_2`` and ``Exclusion``, are cut out of what lies around
    them. A spline is taken through its points by straight lines.
    """
    drawing, numbers = Drawing("ASAP XML", frame="level0"), XmlNumbers(source, root)
    splines = 0
    for number, element in enumerate(root.iter("Annotation"), 1):
        name = element.get("Name", "")
        group = element.get("PartOfGroup", "None")
        class_name = group if group not in ("", "None") else name or UNCLASSIFIED
        where = f"annotation {number} ({name or class_name})"
        ordered = sorted(
            element.iter("Coordinate"), key=lambda point: numbers.number(where, point, "Order")
        )
        points = [numbers.point(where, point) for point in ordered]
        kind = element.get("Type", "Polygon")
        splines += kind == "Spline"
        geometry = _geometry(kind, points)
        cuts = class_name.strip().lower() in _EXCLUSIONS and shapely.get_dimensions(geometry) == 2
        shapes = Shape(where, class_name, name, geometry, cuts="class" if cuts else "no")
        drawing.shapes.append(shapes)
    numbers.note(drawing)
    if splines:
        drawing.notes.append(f"splines read with straight lines between their points: {splines}")
    return drawing


def _geometry(kind: str, points: list[XY]) -> BaseGeometry:
    if not points:
        return shapely.Polygon()
    if kind in ("Dot", "PointSet"):
        return shapely.Point(points[0]) if len(points) == 1 else shapely.MultiPoint(points)
    if kind == "Measurement":
        return line_or_point(points)
    return polygon(points)
