"""Reading an annotation file of any kind, and checking it against its slide."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import (
    UNCLASSIFIED,
    Annotation,
    Annotations,
    AnnotationSpec,
    Shape,
)
from wsi.annotations.geojson import shapes_of_geojson
from wsi.annotations.xml import shapes_of_asap, shapes_of_imagescope
from wsi.errors import AnnotationError
from wsi.geometry import Size

_KINDS = "QuPath GeoJSON, ASAP XML, Aperio ImageScope XML and NCRF JSON"
_FARTHEST_PX = 1e9
"""Geometry fails over numbers that no slide reaches."""
_MOST_CROSSINGS = 1000
"""Repairing takes time by the square of them: a minute for a scribble of 400 points."""
_BORDER_PX = 1.0
"""A drawing program may round half a pixel over the border: that is no news."""


def read_annotations(
    path: Path | str, slide_size: Size | None = None, spec: AnnotationSpec | None = None
) -> Annotations:
    """Read annotations; the kind of file is told from its content.

    Args:
        path: QuPath GeoJSON, ASAP XML, Aperio ImageScope XML or NCRF (Camelyon16) JSON.
        slide_size: level-0 size; without it nothing is checked against the slide.
        spec: class map, and what to do with shapes that are broken or outside.

    Raises:
        AnnotationError: the file cannot be read, is of no known kind, has a class that the map
            does not know, an empty shape, one outside the slide, or one that crosses itself where
            that is not to be repaired. The message names the file and the shape.
    """
    source = Path(path).name
    return _checked_all(source, _shapes(Path(path), source), slide_size, spec)


def annotations_of_geojson(
    source: str, data: Any, slide_size: Size | None = None, spec: AnnotationSpec | None = None
) -> Annotations:
    """As ``read_annotations``, of parsed QuPath GeoJSON; ``source`` is its name in messages."""
    return _checked_all(source, shapes_of_geojson(source, data), slide_size, spec)


def _checked_all(
    source: str, shapes: Iterable[Shape], slide_size: Size | None, spec: AnnotationSpec | None
) -> Annotations:
    spec = spec or AnnotationSpec()
    items: list[Annotation] = []
    warnings: list[str] = []
    for shape in shapes:
        class_name = _class_of(source, shape, spec)
        if class_name is None:
            continue
        geometry = _checked(source, shape, slide_size, spec, warnings)
        if geometry is not None:
            items.append(Annotation(class_name, geometry, shape.name, shape.comment))
    return Annotations(source, tuple(items), tuple(warnings))


def _shapes(path: Path, source: str) -> list[Shape]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read: {error.strerror or error}") from error
    head = text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if head == b"<":
        return _xml(source, text)
    if head in (b"{", b"["):
        return _json(source, text)
    raise AnnotationError(f"{source}: no annotation file of a known kind; read are {_KINDS}")


def _xml(source: str, text: bytes) -> list[Shape]:
    # No such file needs a document type; entities in one can grow without end.
    if b"<!DOCTYPE" in text[:4096]:
        raise AnnotationError(f"{source}: XML with a document type is not read")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise AnnotationError(f"{source}: broken XML: {error}") from error
    if root.tag == "ASAP_Annotations":
        return shapes_of_asap(source, root)
    if root.tag == "Annotations":
        return shapes_of_imagescope(source, root)
    raise AnnotationError(f"{source}: XML of an unknown kind ({root.tag}); read are {_KINDS}")


def _json(source: str, text: bytes) -> list[Shape]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise AnnotationError(f"{source}: broken JSON: {error}") from error
    if isinstance(data, dict) and "type" not in data and ("positive" in data or "negative" in data):
        return _ncrf(source, data)
    return shapes_of_geojson(source, data)


def _ncrf(source: str, data: dict[str, Any]) -> list[Shape]:
    """NCRF (Li and Ping, 2018): lists of polygons under ``positive`` and ``negative``."""
    shapes = []
    for class_name in ("positive", "negative"):
        for number, item in enumerate(data.get(class_name) or [], 1):
            where = f"{class_name} {number}"
            try:
                points = [(float(x), float(y)) for x, y in item["vertices"]]
                name = str(item.get("name", ""))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise AnnotationError(f"{source}: {where} has no readable vertices") from error
            polygon = shapely.Polygon(points) if len(points) >= 3 else shapely.Polygon()
            shapes.append(Shape(where, class_name, name, polygon))
    return shapes


def _class_of(source: str, shape: Shape, spec: AnnotationSpec) -> str | None:
    if spec.classes is None:
        return shape.class_name
    if shape.class_name not in spec.classes:
        known = ", ".join(repr(name) for name in spec.classes) or "none"
        hint = (
            f"add it to the class map, or map it to nothing to leave it out; known are: {known}"
            if shape.class_name != UNCLASSIFIED
            else f"give it a class, or add {UNCLASSIFIED!r} to the class map; known are: {known}"
        )
        raise AnnotationError(
            f"{source}: {shape.where} has the unknown class {shape.class_name!r}; {hint}"
        )
    return spec.classes[shape.class_name]


def _checked(
    source: str,
    shape: Shape,
    slide_size: Size | None,
    spec: AnnotationSpec,
    warnings: list[str],
) -> BaseGeometry | None:
    """The geometry, valid and inside the slide; ``None`` where it is dropped."""
    geometry = shape.geometry
    if geometry.is_empty:
        raise AnnotationError(f"{source}: {shape.where} is empty: it has no point or no area")
    # No number compares as no place, too.
    if not (np.abs(shapely.get_coordinates(geometry)) < _FARTHEST_PX).all():
        raise AnnotationError(
            f"{source}: {shape.where} has a coordinate that is no place in a slide"
        )
    if not geometry.is_valid:
        geometry = _repaired(source, shape, spec, warnings)
    if slide_size is None:
        return geometry
    return _inside(source, shape, geometry, slide_size, spec, warnings)


def _crosses_more_often(geometry: BaseGeometry, most: int) -> bool:
    """Whether its lines cross one another more than ``most`` times."""
    coordinates, ring = shapely.get_coordinates(geometry), _ring_of_each_point(geometry)
    ends = np.stack([coordinates[:-1], coordinates[1:]], axis=1)[ring[:-1] == ring[1:]]
    lines = shapely.linestrings(ends)
    tree, found = shapely.STRtree(lines), 0
    for start in range(0, len(lines), 8):
        # Each crossing is found from both of its lines.
        found += tree.query(lines[start : start + 8], predicate="crosses").shape[1]
        if found > 2 * most:
            return True
    return False


def _ring_of_each_point(geometry: BaseGeometry) -> NDArray[np.intp]:
    parts = shapely.get_parts(geometry)
    rings = shapely.get_rings(parts) if shapely.get_dimensions(geometry) == 2 else parts
    return np.repeat(np.arange(len(rings)), shapely.get_num_coordinates(rings))


def _repaired(source: str, shape: Shape, spec: AnnotationSpec, warnings: list[str]) -> BaseGeometry:
    why = shapely.is_valid_reason(shape.geometry)
    if spec.crossing == "error":
        raise AnnotationError(
            f"{source}: {shape.where} crosses itself ({why}); draw it again, or have it repaired"
        )
    if _crosses_more_often(shape.geometry, _MOST_CROSSINGS):
        raise AnnotationError(
            f"{source}: {shape.where} crosses itself more than {_MOST_CROSSINGS} times, which "
            "cannot be repaired; draw it again"
        )
    repaired = shapely.make_valid(shape.geometry)
    if shape.geometry.geom_type in ("Polygon", "MultiPolygon"):
        # Spikes without area become lines: they are no annotation.
        parts = [part for part in _parts(repaired) if part.area > 0]
        repaired = shapely.union_all(parts) if parts else shapely.MultiPolygon()
    if repaired.is_empty:
        raise AnnotationError(f"{source}: {shape.where} has no area ({why})")
    warnings.append(
        f"{shape.where} crossed itself ({why}) and was repaired: "
        f"area {shape.geometry.area:.0f} -> {repaired.area:.0f} px"
    )
    return repaired


def _parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    return list(shapely.get_parts(shapely.get_parts(geometry)))


def _inside(
    source: str,
    shape: Shape,
    geometry: BaseGeometry,
    size: Size,
    spec: AnnotationSpec,
    warnings: list[str],
) -> BaseGeometry | None:
    frame = shapely.box(0, 0, size.width, size.height)
    if shapely.box(*shapely.bounds(frame.buffer(_BORDER_PX))).covers(geometry):
        return geometry
    kept = geometry.intersection(frame)
    share = _measure(kept) / _measure(geometry)
    if share >= 0.5:
        warnings.append(f"{shape.where} reached over the slide's border: {1 - share:.1%} cut off")
        return kept
    left, top, right, bottom = geometry.bounds
    text = (
        f"{shape.where} lies {'wholly' if share == 0 else f'{1 - share:.0%}'} outside the slide "
        f"(x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}; the slide is "
        f"{size.width} x {size.height})"
    )
    if spec.outside == "drop":
        warnings.append(f"{text}; dropped")
        return None
    raise AnnotationError(f"{source}: {text}; was it drawn on another slide or level?")


def _measure(geometry: BaseGeometry) -> float:
    """Area, else length, else the number of points: what a shape has most of."""
    return float(geometry.area or geometry.length or shapely.get_num_coordinates(geometry))
