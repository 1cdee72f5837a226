"""Annotations as QuPath's GeoJSON, in and out."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import shapely

from service.annotations.repository import AnnotationRepository
from service.annotations.rules import Wish, check_signature, content_key, geometry_of
from service.annotations.schemas import AnnotationIn, AnnotationOut, ImportOut
from service.slides.repository import StoredSlide
from wsi.annotations import (
    UNCLASSIFIED,
    Annotation,
    AnnotationSpec,
    annotations_of_geojson,
    feature_of,
)
from wsi.errors import AnnotationError
from wsi.geometry import Size

_LONGEST_CLASS = 64
_LONGEST_COMMENT = 4000
_MOST = 20_000


def to_feature_collection(items: Sequence[AnnotationOut]) -> dict[str, Any]:
    """A FeatureCollection that QuPath imports as annotations; holes and parts are kept."""
    return {"type": "FeatureCollection", "features": [_feature(item) for item in items]}


def _feature(item: AnnotationOut) -> dict[str, Any]:
    shape = shapely.geometry.shape(item.geometry)
    feature = feature_of(Annotation(item.class_name, shape, comment=item.comment))
    feature["properties"].setdefault("metadata", {})["author"] = item.author
    return {"type": "Feature", "id": item.id, **feature}


def import_features(
    repository: AnnotationRepository,
    slide: StoredSlide,
    data: Any,
    *,
    known: Sequence[str] | None,
    repair: bool,
    who: str,
    reason: str,
) -> ImportOut:
    """Add all annotations of a file, or none.

    Args:
        repository: where they go.
        slide: whose they are.
        data: parsed GeoJSON.
        known: the classes that may occur; ``None`` takes any.
        repair: repair outlines that cross themselves.
        who, reason: as for a single annotation.

    Raises:
        AnnotationError: a feature is wrong; names it.
        SignedError: the slide is signed, and no reason is given.
    """
    spec = AnnotationSpec(
        classes=None if known is None else {name: name for name in (*known, UNCLASSIFIED)},
        crossing="repair" if repair else "error",
    )
    found = annotations_of_geojson("the file", data, Size(slide.width, slide.height), spec)
    if len(found.items) > _MOST:
        raise AnnotationError(
            f"the file holds {len(found.items)} annotations; {_MOST} are taken at most: leave out "
            "what a program has detected"
        )
    wishes = [_wish(number, item) for number, item in enumerate(found, start=1)]
    added = 0
    with repository.changing(slide.id) as annotations:
        check_signature(annotations.signed, reason)
        there = {content_key(item) for item in annotations.shown()}
        for wish in wishes:
            key = content_key(wish)
            if key in there:
                continue
            there.add(key)
            new = Wish(content=wish, expected=0, who=who, reason=reason)
            annotations.apply(str(uuid4()), new)
            added += 1
    return ImportOut(added=added, already_there=len(wishes) - added, warnings=list(found.warnings))


def _wish(number: int, item: Annotation) -> AnnotationIn:
    where = f"the file: feature {number} ({item.class_name})"
    if len(item.class_name) > _LONGEST_CLASS or not item.class_name.isprintable():
        raise AnnotationError(
            f"{where}: a class name has at most {_LONGEST_CLASS} characters, all printable"
        )
    name = item.name if item.name != item.class_name else ""
    comment = (item.comment or name).replace("\x00", "")
    if len(comment) > _LONGEST_COMMENT:
        raise AnnotationError(f"{where}: its text is longer than {_LONGEST_COMMENT} characters")
    return AnnotationIn(
        geometry=geometry_of(item.geometry, where), class_name=item.class_name, comment=comment
    )
