"""QuPath GeoJSON in and out."""

import json
from pathlib import Path
from typing import Any

import shapely

from wsi.annotations.annotation import UNCLASSIFIED, Annotation, Annotations, Shape
from wsi.annotations.colours import colour_of
from wsi.errors import AnnotationError

_DESCRIPTION = "ANNOTATION_DESCRIPTION"
"""QuPath's own key for the description of an annotation."""


def shapes_of_geojson(source: str, data: Any) -> list[Shape]:
    """The shapes of parsed GeoJSON: a FeatureCollection, a bare list, or a single Feature.

    The class is QuPath's classification; without one, the object's name.

    Raises:
        AnnotationError: it is no GeoJSON, or a geometry is malformed.
    """
    return [_shape(source, i, feature) for i, feature in enumerate(_features(source, data), 1)]


def _features(source: str, data: Any) -> list[dict[str, Any]]:
    if isinstance(data, dict) and data.get("type") == "FeatureCollection":
        data = data.get("features")
    elif isinstance(data, dict) and data.get("type") == "Feature":
        data = [data]
    elif isinstance(data, dict) and "coordinates" in data:
        data = [{"type": "Feature", "geometry": data, "properties": {}}]
    if not isinstance(data, list) or not all(
        isinstance(item, dict) and item.get("type") == "Feature" for item in data
    ):
        raise AnnotationError(
            f"{source}: not GeoJSON as QuPath exports it (a FeatureCollection, a list of Features "
            "or one Feature)"
        )
    return data


def _shape(source: str, number: int, feature: dict[str, Any]) -> Shape:
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        properties = {}
    classification = properties.get("classification") or {}
    name = _text(properties.get("name"))
    # QuPath before 0.4 writes the classification as its name alone.
    given = classification.get("name") if isinstance(classification, dict) else classification
    class_name = _text(given) or name or UNCLASSIFIED
    metadata = properties.get("metadata")
    comment = _text(metadata.get(_DESCRIPTION)) if isinstance(metadata, dict) else ""
    where = f"feature {number} ({class_name})"
    geometry = feature.get("geometry")
    if not geometry:
        return Shape(where, class_name, name, shapely.MultiPolygon())
    try:
        parsed = shapely.from_geojson(json.dumps(geometry))
        return Shape(where, class_name, name, shapely.force_2d(parsed), comment)
    except (shapely.errors.ShapelyError, ValueError, TypeError) as error:
        raise AnnotationError(f"{source}: {where} has no readable geometry: {error}") from error


def _text(value: Any) -> str:
    """A value as text that can be written; JSON can hold halves of characters that cannot."""
    return str(value or "").encode("utf-8", "replace").decode()


def to_geojson(annotations: Annotations) -> dict[str, Any]:
    """A FeatureCollection that QuPath imports as annotations."""
    return {"type": "FeatureCollection", "features": [feature_of(item) for item in annotations]}


def feature_of(item: Annotation) -> dict[str, Any]:
    """One annotation as QuPath writes it: class with its colour, name, description."""
    properties: dict[str, Any] = {"objectType": "annotation"}
    if item.name:
        properties["name"] = item.name
    if item.class_name != UNCLASSIFIED:
        colour = list(colour_of(item.class_name))
        properties["classification"] = {"name": item.class_name, "color": colour}
    if item.comment:
        properties["metadata"] = {_DESCRIPTION: item.comment}
    return {
        "type": "Feature",
        "geometry": json.loads(shapely.to_geojson(item.geometry)),
        "properties": properties,
    }


def write_geojson(annotations: Annotations, path: Path | str) -> None:
    """Write QuPath GeoJSON, whole or not at all.

    Raises:
        AnnotationError: the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(to_geojson(annotations)), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise AnnotationError(f"{path}: not written: {error.strerror or error}") from error
