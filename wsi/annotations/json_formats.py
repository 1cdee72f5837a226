"""JSON of NCRF, V7 Darwin, Sectra PathologyCore and Girder (Digital Slide Archive)."""

import math
from collections.abc import Iterator
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import UNCLASSIFIED, Drawing, Shape
from wsi.annotations.points import (
    XY,
    even_odd,
    line_or_point,
    polygon,
    text_of,
    turned_ellipse,
)
from wsi.errors import AnnotationError
from wsi.geometry import Size

_SECTRA_AREAS = ("area", "polygon", "freehandarea")
_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def is_ncrf(data: Any) -> bool:
    """Whether parsed JSON is NCRF's."""
    return (
        isinstance(data, dict) and "type" not in data and ("positive" in data or "negative" in data)
    )


def read_ncrf(source: str, data: dict[str, Any]) -> Drawing:
    """NCRF (Li and Ping, 2018): lists of polygons under ``positive`` and ``negative``, level 0.

    Negative polygons are normal tissue inside a tumour: they are cut out of the positive ones.
    """
    drawing = Drawing("NCRF JSON", frame="level0")
    for class_name in ("positive", "negative"):
        for number, item in enumerate(data.get(class_name) or [], 1):
            where = f"{class_name} {number}"
            try:
                points = [(float(x), float(y)) for x, y in item["vertices"]]
                name = text_of(item.get("name"))
            except _UNREADABLE as error:
                raise AnnotationError(f"{source}: {where} has no readable vertices") from error
            cuts = "class" if class_name == "negative" else "no"
            shape = Shape(where, class_name, name, polygon(points), cuts=cuts)  # type: ignore[arg-type]
            drawing.shapes.append(shape)
    return drawing


def is_darwin(data: Any) -> bool:
    """Whether parsed JSON is Darwin's, of whatever version."""
    return (
        isinstance(data, dict)
        and isinstance(data.get("annotations"), list)
        and ("item" in data or "schema_ref" in data or "dataset" in data)
    )


def read_darwin(source: str, data: dict[str, Any]) -> Drawing:
    """V7 Darwin 2.0. The class is the annotation's name; several paths of a polygon are even-odd.

    Raises:
        AnnotationError: it is of another version, of several images, or malformed.
    """
    if str(data.get("version", "")).split(".")[0] != "2" or not isinstance(data.get("item"), dict):
        raise AnnotationError(
            f"{source}: Darwin JSON of version {data.get('version', '1.0')}; 2.0 is read: export "
            "it from V7 as Darwin 2.0"
        )
    slots = [slot for slot in data["item"].get("slots") or [] if isinstance(slot, dict)]
    if len(slots) > 1:
        raise AnnotationError(f"{source}: it is of {len(slots)} images; export a single slide")
    drawing = Drawing("Darwin V7 JSON")
    if slots and slots[0].get("width") and slots[0].get("height"):
        drawing.image_size = Size(int(slots[0]["width"]), int(slots[0]["height"]))
    for number, item in enumerate(data["annotations"], 1):
        class_name = text_of(item.get("name")) if isinstance(item, dict) else ""
        where = f"annotation {number} ({class_name or UNCLASSIFIED})"
        try:
            geometry = _darwin_geometry(item)
        except _UNREADABLE as error:
            raise AnnotationError(f"{source}: {where} has no readable shape: {error}") from error
        if geometry is None:
            drawing.ignore(_darwin_kind(item))
            continue
        comment = text_of((item.get("text") or {}).get("text"))
        drawing.shapes.append(Shape(where, class_name or UNCLASSIFIED, "", geometry, comment))
    return drawing


def _darwin_geometry(item: dict[str, Any]) -> BaseGeometry | None:
    if not isinstance(item, dict):
        raise TypeError("it is not an object")
    if "polygon" in item:
        shape = item["polygon"]
        rings = shape["paths"] if "paths" in shape else [shape["path"]]
        return even_odd([_xy(point) for point in ring] for ring in rings)
    if "ellipse" in item:
        shape = item["ellipse"]
        (x, y), (radius_x, radius_y) = _xy(shape["center"]), _xy(shape["radius"])
        return turned_ellipse(x, y, radius_x, radius_y, float(shape.get("angle") or 0))
    if "line" in item:
        return line_or_point([_xy(point) for point in item["line"]["path"]])
    if "keypoint" in item:
        return shapely.Point(_xy(item["keypoint"]))
    others = ("raster_layer", "mask", "skeleton", "cuboid", "tag", "table", "graph")
    if "bounding_box" in item and not any(kind in item for kind in others):
        box = {key: float(item["bounding_box"][key]) for key in "xywh"}
        return shapely.box(box["x"], box["y"], box["x"] + box["w"], box["y"] + box["h"])
    return None


def _darwin_kind(item: dict[str, Any]) -> str:
    known = {"id", "name", "slot_names", "properties", "bounding_box", "annotators", "reviewers"}
    kind = next((key for key in item if key not in known), "annotation without a shape")
    return kind.replace("_", " ")


def _xy(point: dict[str, Any]) -> XY:
    return float(point["x"]), float(point["y"])


def is_sectra(data: Any) -> bool:
    """Whether parsed JSON is Sectra PathologyCore's, one annotation or a list."""
    first = data[0] if isinstance(data, list) and data else data
    return isinstance(first, dict) and "slideId" in first and "content" in first


def read_sectra(source: str, data: Any, slide_size: Size | None) -> Drawing:
    """Sectra PathologyCore. Both coordinates are shares of the image's **width**.

    The class is the annotation's name.

    Raises:
        AnnotationError: the slide's size is not known, or an annotation is malformed.
    """
    if slide_size is None:
        raise AnnotationError(
            f"{source}: Sectra states coordinates as shares of the slide's width, so the slide "
            "is needed to read them"
        )
    drawing, width = Drawing("Sectra PathologyCore JSON"), slide_size.width
    items = data if isinstance(data, list) else [data]
    for number, item in enumerate(items, 1):
        name = text_of(item.get("name")) if isinstance(item, dict) else ""
        where = f"annotation {number} ({name or UNCLASSIFIED})"
        try:
            kind = str(item["type"])
            points = [(x * width, y * width) for x, y in map(_xy, item["content"])]
            geometry = _sectra_geometry(kind.lower(), points)
        except _UNREADABLE as error:
            raise AnnotationError(f"{source}: {where} has no readable content: {error}") from error
        if geometry is None:
            drawing.ignore(f"annotation of type {kind}")
            continue
        drawing.shapes.append(Shape(where, name or UNCLASSIFIED, "", geometry))
    slides = {item["slideId"] for item in items}
    if len(slides) > 1:
        raise AnnotationError(f"{source}: it is of {len(slides)} slides; export a single slide")
    return drawing


def _sectra_geometry(kind: str, points: list[XY]) -> BaseGeometry | None:
    if kind in _SECTRA_AREAS:
        return polygon(points)
    if kind in ("polyline", "line", "distance", "arrow"):
        return line_or_point(points)
    return None


def is_girder(data: Any) -> bool:
    """Whether parsed JSON is a Girder annotation, as its editor or its API writes it."""
    first = data[0] if isinstance(data, list) and data else data
    if isinstance(first, dict) and isinstance(first.get("annotation"), dict):
        first = first["annotation"]
    return isinstance(first, dict) and isinstance(first.get("elements"), list)


def read_girder(source: str, data: Any) -> Drawing:
    """Girder annotations (large_image), level-0 px.

    The class is the element's group, else its label, else the annotation's name.

    Raises:
        AnnotationError: an element is malformed.
    """
    drawing = Drawing("Girder annotation JSON", frame="level0")
    for title, number, element in _elements(data):
        class_name = girder_class(element, title)
        where = f"element {number} ({class_name})"
        kind = text_of(element.get("type"))
        try:
            geometry = _girder_geometry(kind, element)
        except _UNREADABLE as error:
            raise AnnotationError(f"{source}: {where} has no readable shape: {error}") from error
        if geometry is None:
            drawing.ignore(f"element of type {kind}")
            continue
        label = _label(element)
        name = label if label != class_name else ""
        drawing.shapes.append(Shape(where, class_name, name, geometry))
    return drawing


def girder_class(element: dict[str, Any], title: str = "") -> str:
    """The class of an element or of a GeoJSON feature's properties: group, label or title."""
    group = text_of(element.get("group"))
    return (group if group != "default" else "") or _label(element) or title or UNCLASSIFIED


def _label(element: dict[str, Any]) -> str:
    label = element.get("label")
    return text_of(label.get("value") if isinstance(label, dict) else label)


def _elements(data: Any) -> Iterator[tuple[str, int, dict[str, Any]]]:
    number = 0
    for document in data if isinstance(data, list) else [data]:
        if isinstance(document.get("annotation"), dict):
            document = document["annotation"]
        for element in document["elements"]:
            number += 1
            yield text_of(document.get("name")), number, element


def _girder_geometry(kind: str, element: dict[str, Any]) -> BaseGeometry | None:
    if kind == "point":
        return shapely.Point(_girder_xy(element["center"]))
    if kind == "polyline":
        points = [_girder_xy(point) for point in element["points"]]
        if not element.get("closed"):
            return line_or_point(points)
        holes = [[_girder_xy(point) for point in hole] for hole in element.get("holes") or []]
        return polygon(points, holes)
    if kind in ("rectangle", "ellipse", "circle"):
        x, y = _girder_xy(element["center"])
        if kind == "circle":
            return turned_ellipse(x, y, float(element["radius"]), float(element["radius"]))
        width, height = float(element["width"]), float(element["height"])
        angle = float(element.get("rotation") or 0)
        if kind == "ellipse":
            return turned_ellipse(x, y, width / 2, height / 2, angle)
        return _turned_box(x, y, width, height, angle)
    return None


def _turned_box(x: float, y: float, width: float, height: float, angle: float) -> BaseGeometry:
    cos, sin = math.cos(angle), math.sin(angle)
    corners = [(-width, -height), (width, -height), (width, height), (-width, height)]
    return shapely.Polygon(
        [(x + (a * cos - b * sin) / 2, y + (a * sin + b * cos) / 2) for a, b in corners]
    )


def _girder_xy(point: Any) -> XY:
    return float(point[0]), float(point[1])
