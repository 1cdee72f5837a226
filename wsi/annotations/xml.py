"""ASAP XML and Aperio ImageScope XML. Both state level-0 pixels."""

from xml.etree.ElementTree import Element

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import UNCLASSIFIED, Shape
from wsi.errors import AnnotationError

_ELLIPSE_POINTS = 128


def shapes_of_asap(source: str, root: Element) -> list[Shape]:
    """The shapes of ASAP (``ASAP_Annotations``). The class is the group; without one, the name.

    A spline is taken through its points by straight lines.
    """
    shapes = []
    for number, element in enumerate(root.iter("Annotation"), 1):
        name = element.get("Name", "")
        group = element.get("PartOfGroup", "None")
        class_name = group if group not in ("", "None") else name or UNCLASSIFIED
        where = f"annotation {number} ({name or class_name})"
        points = [
            (_number(source, where, point, "X"), _number(source, where, point, "Y"))
            for point in sorted(
                element.iter("Coordinate"),
                key=lambda point: _number(source, where, point, "Order"),
            )
        ]
        kind = element.get("Type", "Polygon")
        geometry: BaseGeometry
        if kind in ("Dot", "PointSet"):
            geometry = shapely.Point(points[0]) if len(points) == 1 else shapely.MultiPoint(points)
        elif kind == "Measurement":
            geometry = shapely.LineString(points if len(points) > 1 else [])
        else:
            geometry = _polygon(points)
        shapes.append(Shape(where, class_name, name, geometry))
    return shapes


def shapes_of_imagescope(source: str, root: Element) -> list[Shape]:
    """The shapes of Aperio ImageScope (``Annotations``).

    The class is the layer's name, else its first attribute's, else the region's text. Negative
    regions are cut out of the others in their layer.
    """
    shapes = []
    for layer in root.iter("Annotation"):
        layer_class = layer.get("Name") or _attribute(layer)
        regions = list(layer.iter("Region"))
        negative = [
            shapely.make_valid(_region(source, _where(layer, region), region))
            for region in regions
            if region.get("NegativeROA") == "1"
        ]
        holes = shapely.union_all(negative) if negative else None
        for region in regions:
            if region.get("NegativeROA") == "1":
                continue
            where = _where(layer, region)
            geometry = _region(source, where, region)
            if holes is not None:
                geometry = shapely.make_valid(geometry).difference(holes)
            text = region.get("Text") or ""
            shapes.append(Shape(where, layer_class or text or UNCLASSIFIED, text, geometry))
    return shapes


def _where(layer: Element, region: Element) -> str:
    return f"layer {layer.get('Id', '?')} region {region.get('Id', '?')}"


def _attribute(layer: Element) -> str:
    """The layer's first attribute that is more than ImageScope's own default."""
    for attribute in layer.findall("Attributes/Attribute"):
        name = attribute.get("Value") or attribute.get("Name") or ""
        if name and name != "Description":
            return name
    return ""


def _region(source: str, where: str, region: Element) -> BaseGeometry:
    points = [
        (_number(source, where, vertex, "X"), _number(source, where, vertex, "Y"))
        for vertex in region.iter("Vertex")
    ]
    kind = region.get("Type", "0")
    if kind == "2" and 2 <= len(points) <= 4:
        return _ellipse(points)
    if kind == "1" and len(points) == 2:
        return shapely.box(*np.min(points, axis=0), *np.max(points, axis=0))
    if kind in ("3", "4") and len(points) >= 2:
        return shapely.LineString(points)
    if len(points) == 1:
        return shapely.Point(points[0])
    return _polygon(points)


def _ellipse(points: list[tuple[float, float]]) -> BaseGeometry:
    """The ellipse in the rectangle that the points span."""
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_POINTS, endpoint=False)
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return shapely.Polygon((low + high) / 2 + unit * (high - low) / 2)


def _polygon(points: list[tuple[float, float]]) -> BaseGeometry:
    """A polygon, empty where there are too few points for one."""
    return shapely.Polygon(points) if len(points) >= 3 else shapely.Polygon()


def _number(source: str, where: str, element: Element, key: str) -> float:
    text = element.get(key)
    try:
        return float(text or "")
    except ValueError:
        raise AnnotationError(f"{source}: {where} has {key}={text!r}, no number") from None
