"""GeoJSON in and out, as QuPath writes and reads it; the Digital Slide Archive's in as well.

QuPath's format is that of ``QuPathTypeAdapters``, ``ROITypeAdapters`` and ``GsonTools`` in its
source (0.2 to 0.7).
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import (
    UNCLASSIFIED,
    Annotation,
    Annotations,
    Drawing,
    Shape,
    of_dimension,
)
from wsi.annotations.colours import colour_of
from wsi.annotations.frame import FRAME_KEY, frame_member, has_offset, read_frame_member
from wsi.annotations.json_formats import girder_class
from wsi.annotations.points import even_odd, text_of, turned_ellipse
from wsi.errors import AnnotationError
from wsi.files import atomic_write
from wsi.geometry import Region

QUPATH = "QuPath GeoJSON"
_DESCRIPTION = "ANNOTATION_DESCRIPTION"
"""QuPath's own key for the description of an annotation."""
KINDS = ("Polygon", "MultiPolygon", "Point", "MultiPoint", "LineString", "MultiLineString")
"""What an annotation may be; QuPath refuses a collection of kinds."""

_NOT_DRAWN = {
    "detection": "detection",
    "PathDetectionObject": "detection",
    "cell": "cell",
    "PathCellObject": "cell",
    "tile": "tile",
    "PathTileObject": "tile",
    "tmaCore": "TMA core",
    "tma_core": "TMA core",
    "TMACoreObject": "TMA core",
    "root": "whole-image object",
    "PathRootObject": "whole-image object",
}
"""QuPath's objects that nobody drew as annotations, by all names that they had."""
_DRAWN = ("annotation", "PathAnnotationObject", "unknown", "")
_DSA_KEYS = ("label", "group", "annotation", "lineColor", "fillColor")
_MALFORMED = (
    shapely.errors.ShapelyError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
)


@dataclass
class _Reading:
    """What is under way while one file is read."""

    source: str
    drawing: Drawing
    closes_lines: bool
    title: str = ""
    closed_lines: int = 0
    unclosed_rings: int = 0
    of_qupath: bool = False
    of_dsa: bool = False


def read_geojson(source: str, data: Any, *, closed_lines_are_areas: bool = True) -> Drawing:
    """The shapes of parsed GeoJSON: a FeatureCollection, a list, one Feature or one geometry.

    The class is QuPath's classification, with all its parts (``Tumor: Positive``); without one, the
    object's name. Objects inside others are taken as well. In GeoJSON of the Digital Slide Archive
    it is the group, else the label. What a program detected is counted, not taken.

    Args:
        source: name of the file, for messages.
        data: parsed JSON.
        closed_lines_are_areas: lines that end where they begin are areas, as other programs than
            QuPath write them; lines in files that were written here stay lines.

    Raises:
        AnnotationError: it is not GeoJSON, or a geometry or a classification is malformed.
    """
    ours = isinstance(data, dict) and FRAME_KEY in data
    reading = _Reading(source, Drawing(QUPATH), closed_lines_are_areas and not ours)
    for number, feature in enumerate(_features(source, data), 1):
        _read_feature(reading, str(number), feature)
    drawing = reading.drawing
    if ours:
        read_frame_member(source, data[FRAME_KEY], drawing)
    elif reading.of_dsa:
        drawing.program, drawing.frame = "Digital Slide Archive GeoJSON", "level0"
    elif not reading.of_qupath:
        drawing.program = "GeoJSON"
    if reading.closed_lines:
        drawing.notes.append(f"closed lines read as areas: {reading.closed_lines}")
    if reading.unclosed_rings:
        drawing.notes.append(f"outlines that were not closed, now closed: {reading.unclosed_rings}")
    return drawing


def _features(source: str, data: Any) -> Iterator[dict[str, Any]]:
    """The features, of collections in lists as well."""
    if isinstance(data, dict) and data.get("type") == "FeatureCollection":
        data = data.get("features")
    elif isinstance(data, dict) and data.get("type") == "Feature":
        yield data
        return
    elif isinstance(data, dict) and ("coordinates" in data or "geometries" in data):
        yield {"type": "Feature", "geometry": data, "properties": {}}
        return
    if not isinstance(data, list):
        raise AnnotationError(
            f"{source}: not GeoJSON as QuPath exports it (a FeatureCollection, a list of Features "
            "or one Feature)"
        )
    for item in data:
        yield from _features(source, item)


def _read_feature(reading: _Reading, number: str, feature: dict[str, Any]) -> None:
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        properties = {}
    kind = _kind_of(feature, properties)
    geometry = feature.get("geometry")
    plane = geometry.get("plane") if isinstance(geometry, dict) else None
    z, t = (plane.get("z", 0), plane.get("t", 0)) if isinstance(plane, dict) else (0, 0)
    if kind in _NOT_DRAWN:
        reading.of_qupath = True
        reading.drawing.ignore(_NOT_DRAWN[kind])
    elif z or t:
        reading.drawing.ignore(f"object on the plane z={z}, t={t}")
    else:
        reading.drawing.shapes.append(_shape(reading, number, feature, properties, kind))
    for key in ("childObjects", "children"):
        for owner in (properties, feature):
            inside = owner.get(key)
            for place, child in enumerate(inside if isinstance(inside, list) else [], 1):
                if not isinstance(child, dict) or child.get("type") != "Feature":
                    raise AnnotationError(
                        f"{reading.source}: feature {number} holds a child that is not a Feature"
                    )
                _read_feature(reading, f"{number}.{place}", child)


def _kind_of(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    """QuPath's object type; the Digital Slide Archive's kind of shape."""
    for key in ("objectType", "object_type", "type"):
        if isinstance(properties.get(key), str):
            return str(properties[key])
    # QuPath 0.2 wrote it as the id.
    legacy = feature.get("id")
    return legacy if isinstance(legacy, str) and legacy.startswith(("Path", "TMA")) else ""


def _shape(
    reading: _Reading, number: str, feature: dict[str, Any], properties: dict[str, Any], kind: str
) -> Shape:
    name = text_of(properties.get("name"))
    of_qupath = any(key in properties for key in ("classification", "objectType", "object_type"))
    of_dsa = not of_qupath and any(key in properties for key in _DSA_KEYS)
    reading.of_qupath |= of_qupath
    reading.of_dsa |= of_dsa
    if of_dsa:
        document = properties.get("annotation")
        if isinstance(document, dict):
            reading.title = text_of(document.get("name"))
        class_name = girder_class(properties, reading.title)
    else:
        given = properties.get("classification")
        class_name = _class_name(reading.source, number, given) or name or UNCLASSIFIED
        if kind not in _DRAWN:
            reading.drawing.notes.append(
                f"feature {number} is of the unknown type {text_of(kind)!r}; read as an annotation"
            )
    metadata = properties.get("metadata")
    comment = text_of(metadata.get(_DESCRIPTION)) if isinstance(metadata, dict) else ""
    where = f"feature {number} ({class_name})"
    geometry = _geometry(reading, where, feature.get("geometry"))
    if of_dsa and kind in ("ellipse", "circle"):
        geometry = _round(geometry)
    return Shape(where, class_name, name, geometry, comment)


def _class_name(source: str, number: str, given: Any) -> str:
    """A classification as text: a string, a name, ``names`` (since 0.4) or one with a parent."""
    if isinstance(given, dict):
        names = given.get("names") or given.get("name") or []
        parts = names if isinstance(names, list) else [names]
        if parts and "parentClass" in given:
            parts = [_class_name(source, number, given["parentClass"]), *parts]
    else:
        parts = [given] if given else []
    if not all(isinstance(part, str) for part in parts):
        raise AnnotationError(f"{source}: feature {number} has a classification without a name")
    return ": ".join(text_of(part) for part in parts if part)


def _geometry(reading: _Reading, where: str, geometry: Any) -> BaseGeometry:
    if not geometry:
        return shapely.MultiPolygon()
    try:
        parsed = _parsed(reading, geometry)
    except _MALFORMED as error:
        raise AnnotationError(
            f"{reading.source}: {where} has no readable geometry: {error}"
        ) from error
    if parsed.geom_type == "GeometryCollection":
        dimension = int(shapely.get_dimensions(parsed))
        if dimension >= 0:
            parsed = of_dimension(parsed, dimension)
            reading.drawing.notes.append(
                f"{where} is a collection of several kinds: only its {parsed.geom_type} is read"
            )
    lines = list(shapely.get_parts(parsed)) if "LineString" in parsed.geom_type else []
    if (
        reading.closes_lines
        and lines
        and all(line.is_closed and len(line.coords) > 3 for line in lines)
    ):
        reading.closed_lines += 1
        if len(lines) == 1:
            return shapely.Polygon(lines[0].coords)
        return even_odd([list(line.coords) for line in lines])
    return parsed


def _parsed(reading: _Reading, geometry: Any) -> BaseGeometry:
    try:
        return shapely.force_2d(shapely.from_geojson(json.dumps(geometry)))
    except shapely.errors.GEOSException:
        closed = _closed(geometry)
        if closed == geometry:
            raise
        reading.unclosed_rings += 1
        return shapely.force_2d(shapely.from_geojson(json.dumps(closed)))


def _closed(geometry: Any) -> Any:
    """A polygon, or several, with each outline closed; anything else as it is."""
    kind = geometry.get("type")
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(geometry.get("coordinates"), list):
        return geometry
    polygons = geometry["coordinates"] if kind == "MultiPolygon" else [geometry["coordinates"]]
    closed = [
        [ring if len(ring) < 3 or ring[0] == ring[-1] else [*ring, ring[0]] for ring in rings]
        for rings in polygons
    ]
    return {**geometry, "coordinates": closed if kind == "MultiPolygon" else closed[0]}


def _round(box: BaseGeometry) -> BaseGeometry:
    """The ellipse that the Digital Slide Archive writes as the rectangle around it."""
    if box.geom_type != "Polygon" or len(box.exterior.coords) != 5:
        return box
    (x0, y0), (x1, y1), (x2, y2) = box.exterior.coords[:3]
    width, height = math.hypot(x1 - x0, y1 - y0), math.hypot(x2 - x1, y2 - y1)
    angle = math.atan2(y1 - y0, x1 - x0)
    return turned_ellipse(box.centroid.x, box.centroid.y, width / 2, height / 2, angle)


def to_geojson(annotations: Annotations, bounds: Region | None = None) -> dict[str, Any]:
    """A FeatureCollection that QuPath imports as annotations.

    Args:
        annotations: level-0 px.
        bounds: the slide's scanned area, to which QuPath crops: see ``scanned_bounds``.

    Raises:
        AnnotationError: one is a collection of several kinds, which QuPath refuses.
    """
    features = [feature_of(item, bounds) for item in annotations]
    return feature_collection(features, bounds)


def feature_collection(features: list[dict[str, Any]], bounds: Region | None) -> dict[str, Any]:
    """Features that were made with these bounds, with a note of where they count from."""
    return {"type": "FeatureCollection", FRAME_KEY: frame_member(bounds), "features": features}


def feature_of(item: Annotation, bounds: Region | None = None) -> dict[str, Any]:
    """One annotation as QuPath writes it: class with its colour, name, description.

    Raises:
        AnnotationError: it is a collection of several kinds, which QuPath refuses.
    """
    if item.geometry.geom_type not in KINDS:
        raise AnnotationError(
            f"{item.class_name}: a {item.geometry.geom_type} cannot be written for QuPath; it "
            f"takes {', '.join(KINDS)}"
        )
    properties: dict[str, Any] = {"objectType": "annotation"}
    if item.name:
        properties["name"] = item.name
    if item.class_name != UNCLASSIFIED:
        properties["classification"] = classification_of(item.class_name)
    if item.comment:
        properties["metadata"] = {_DESCRIPTION: item.comment}
    geometry = item.geometry
    if bounds is not None and has_offset(bounds):
        geometry = shapely.transform(geometry, lambda xy: xy - np.array([bounds.x, bounds.y]))
    return {
        "type": "Feature",
        "geometry": json.loads(shapely.to_geojson(geometry)),
        "properties": properties,
    }


def classification_of(class_name: str) -> dict[str, Any]:
    """A class and its colour as QuPath writes them."""
    return {"name": class_name, "color": list(colour_of(class_name))}


def write_geojson(annotations: Annotations, path: Path | str, bounds: Region | None = None) -> None:
    """Write QuPath GeoJSON, whole or not at all; ``bounds`` as in ``to_geojson``.

    Raises:
        AnnotationError: the file cannot be written.
    """
    path = Path(path)
    text = json.dumps(to_geojson(annotations, bounds))
    try:
        with atomic_write(path) as scratch:
            scratch.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AnnotationError(f"{path}: not written: {error.strerror or error}") from error
