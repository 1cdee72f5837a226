"""Annotations of slides: QuPath GeoJSON, ASAP XML, Aperio ImageScope XML, NCRF JSON."""

from wsi.annotations.annotation import (
    UNCLASSIFIED,
    Annotation,
    Annotations,
    AnnotationSpec,
)
from wsi.annotations.colours import colour_of
from wsi.annotations.geojson import feature_of, to_geojson, write_geojson
from wsi.annotations.label import NO_LABEL, label_patches, overlaps, rasterize
from wsi.annotations.read import annotations_of_geojson, read_annotations

__all__ = [
    "NO_LABEL",
    "UNCLASSIFIED",
    "Annotation",
    "AnnotationSpec",
    "Annotations",
    "annotations_of_geojson",
    "colour_of",
    "feature_of",
    "label_patches",
    "overlaps",
    "rasterize",
    "read_annotations",
    "to_geojson",
    "write_geojson",
]
