"""Annotations as QuPath's GeoJSON, in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import shapely

from service.annotations.repository import AnnotationRepository
from service.annotations.rules import AnnotationChange, check_signature, content_key, geometry_of
from service.annotations.schemas import AnnotationIn, AnnotationOut, ImportOut
from service.slides.repository import StoredSlide
from wsi.annotations import (
    UNCLASSIFIED,
    Annotation,
    AnnotationSpec,
    annotations_of_json,
    feature_collection,
    feature_of,
)
from wsi.errors import AnnotationError
from wsi.geometry import Region, Size

_LONGEST_CLASS = 64
_LONGEST_COMMENT = 4000
_MOST = 20_000
_DECIMALS = 2
"""QuPath writes so many: what went there and back is the same."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How somebody wants a file to be taken.

    Attributes:
        known: the classes that may occur; ``None`` takes any.
        repair: repair outlines that cross themselves.
        drop_outside: leave out what lies outside the slide.
        frame: where the coordinates begin, see ``AnnotationSpec``.
    """

    known: Sequence[str] | None
    repair: bool = False
    drop_outside: bool = False
    frame: Literal["auto", "level0", "qupath-bounds"] = "auto"

    def spec(self) -> AnnotationSpec:
        """The same as the readers want it."""
        known = self.known
        return AnnotationSpec(
            classes=None if known is None else {name: name for name in (*known, UNCLASSIFIED)},
            crossing="repair" if self.repair else "error",
            outside="drop" if self.drop_outside else "error",
            frame=self.frame,
        )


def to_feature_collection(
    items: Sequence[AnnotationOut], bounds: Region | None = None
) -> dict[str, Any]:
    """A FeatureCollection that QuPath imports as annotations; holes and parts are kept.

    Args:
        items: level-0 px.
        bounds: the slide's scanned area, from whose corner QuPath counts.
    """
    return feature_collection([_feature(item, bounds) for item in items], bounds)


def _feature(item: AnnotationOut, bounds: Region | None) -> dict[str, Any]:
    shape = shapely.geometry.shape(item.geometry)
    feature = feature_of(Annotation(item.class_name, shape, comment=item.comment), bounds)
    feature["properties"].setdefault("metadata", {})["author"] = item.author
    return {"type": "Feature", "id": item.id, **feature}


def import_features(
    repository: AnnotationRepository,
    slide: StoredSlide,
    data: Any,
    options: ImportOptions,
    *,
    bounds: Region | None,
    who: str,
    reason: str,
) -> ImportOut:
    """Add all annotations of a file, or none.

    Args:
        repository: where they go.
        slide: whose they are.
        data: parsed GeoJSON, or JSON of NCRF, Darwin V7, Sectra or Girder.
        options: how it is to be taken.
        bounds: the slide's scanned area, from whose corner QuPath counts.
        who, reason: as for a single annotation.

    Raises:
        AnnotationError: a feature is wrong; names it.
        SignedError: the slide is signed, and no reason is given.
    """
    size = Size(slide.width, slide.height)
    found = annotations_of_json("the file", data, size, options.spec(), bounds=bounds)
    if len(found.items) > _MOST:
        raise AnnotationError(
            f"the file holds {len(found.items)} annotations; at most {_MOST} are accepted: leave "
            "out what a program has detected"
        )
    drawn = [_annotation(number, item) for number, item in enumerate(found, start=1)]
    added = 0
    with repository.changing(slide.id) as annotations:
        check_signature(annotations.signed, reason)
        there = {content_key(item, _DECIMALS) for item in annotations.shown()}
        for content in drawn:
            key = content_key(content, _DECIMALS)
            if key in there:
                continue
            there.add(key)
            new = AnnotationChange(content=content, expected=0, who=who, reason=reason)
            annotations.apply(str(uuid4()), new)
            added += 1
    return ImportOut(
        added=added,
        already_there=len(drawn) - added,
        ignored=sum(found.ignored.values()),
        warnings=list(found.warnings),
    )


def _annotation(number: int, item: Annotation) -> AnnotationIn:
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
