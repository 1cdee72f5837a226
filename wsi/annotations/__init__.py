"""Annotations of slides: eight formats in, QuPath GeoJSON out, one rule for labels."""

from wsi.annotations.annotation import (
    UNCLASSIFIED,
    Annotation,
    Annotations,
    AnnotationSpec,
)
from wsi.annotations.colours import colour_of, known_colour
from wsi.annotations.frame import scanned_bounds
from wsi.annotations.geojson import (
    KINDS,
    classification_of,
    feature_collection,
    feature_of,
    to_geojson,
    write_geojson,
)
from wsi.annotations.label import (
    NO_LABEL,
    label_patches,
    largest_share,
    overlaps,
    rasterize,
    shares_of,
)
from wsi.annotations.read import (
    annotations_of_geojson,
    annotations_of_json,
    read_annotations,
    read_slide_annotations,
)
from wsi.annotations.rule import LabelAreas, Overlap, describe_overlaps, label_areas

__all__ = [
    "KINDS",
    "NO_LABEL",
    "UNCLASSIFIED",
    "Annotation",
    "AnnotationSpec",
    "Annotations",
    "LabelAreas",
    "Overlap",
    "annotations_of_geojson",
    "annotations_of_json",
    "classification_of",
    "colour_of",
    "describe_overlaps",
    "feature_collection",
    "feature_of",
    "known_colour",
    "label_areas",
    "label_patches",
    "largest_share",
    "overlaps",
    "rasterize",
    "read_annotations",
    "read_slide_annotations",
    "scanned_bounds",
    "shares_of",
    "to_geojson",
    "write_geojson",
]
