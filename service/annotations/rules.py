"""When an annotation may be changed, and what its next version is."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from service.annotations.schemas import AnnotationIn, AnnotationOut
from service.errors import SignedError, StaleError
from wsi.annotations import KINDS, AnnotationSpec, annotations_of_geojson
from wsi.errors import AnnotationError
from wsi.geometry import Size


@dataclass(frozen=True, kw_only=True)
class AnnotationChange:
    """A change that somebody wants.

    Attributes:
        content: geometry, class and comment; ``None`` deletes.
        expected: the version that they have seen; 0 where they make a new one.
        who: their name.
        reason: why, where the slide is signed.
    """

    content: AnnotationIn | None
    expected: int
    who: str
    reason: str = ""


def next_version(
    versions: list[AnnotationOut],
    change: AnnotationChange,
    *,
    slide_id: str,
    id: str,
    number: int,
    signed: bool,
) -> AnnotationOut | None:
    """The version that follows, or ``None`` where this very change was made before.

    A client whose connection broke does not know whether it was heard, and asks again.

    Args:
        versions: what there is of this annotation, oldest first.
        change: what is wanted.
        slide_id, id: of the slide and the annotation.
        number: of this change on its slide.
        signed: the slide is signed off.

    Raises:
        StaleError: somebody else changed it since the version that was seen.
        SignedError: the slide is signed, and no reason is given.
    """
    newest = versions[-1] if versions else None
    if len(versions) > change.expected and _is_applied(versions[change.expected], change):
        return None
    if len(versions) != change.expected:
        raise StaleError(_stale(newest, change.expected))
    if change.content is None and (newest is None or newest.deleted):
        raise StaleError("this annotation does not exist or was deleted")
    check_signature(signed, change.reason)
    now = datetime.now(UTC)
    content = change.content or newest
    assert content is not None
    return AnnotationOut(
        id=id,
        slide_id=slide_id,
        version=change.expected + 1,
        change=number,
        geometry=content.geometry,
        class_name=content.class_name,
        comment=content.comment,
        author=newest.author if newest else change.who,
        changed_by=change.who,
        created_at=newest.created_at if newest else now,
        changed_at=now,
        reason=change.reason.strip(),
        deleted=change.content is None,
    )


def check_signature(signed: bool, reason: str) -> None:
    """What is signed is only amended. Raises ``SignedError`` where no reason is given."""
    if signed and not reason.strip():
        raise SignedError(
            "this slide is signed off: to amend its annotations, give the reason with the change"
        )


def _stale(newest: AnnotationOut | None, expected: int) -> str:
    if newest is None:
        return f"this annotation has no version {expected}; load the list again"
    what = "deleted" if newest.deleted else "changed"
    return (
        f"this annotation is at version {newest.version}, not {expected}: "
        f"{newest.changed_by or 'somebody else'} {what} it in the meantime; load it and save again"
    )


def _is_applied(version: AnnotationOut, change: AnnotationChange) -> bool:
    if version.changed_by != change.who or version.deleted != (change.content is None):
        return False
    return change.content is None or same_content(version, change.content)


def same_content(a: AnnotationOut | AnnotationIn, b: AnnotationOut | AnnotationIn) -> bool:
    """Whether two mean the same, however their outlines begin or turn."""
    return content_key(a) == content_key(b)


def content_key(
    item: AnnotationOut | AnnotationIn, decimals: int | None = None
) -> tuple[str, str, str]:
    """Equal for annotations that mean the same; with ``decimals``, for those that round to it."""
    shape = shapely.geometry.shape(item.geometry)
    if decimals is not None:
        # Adding nothing makes -0.0 to 0.0.
        shape = shapely.transform(shape, lambda xy: np.round(xy, decimals) + 0.0)
    return item.class_name, item.comment, shapely.normalize(shape).wkt


def checked(annotation: AnnotationIn, size: Size) -> AnnotationIn:
    """The annotation with a valid geometry on the slide.

    A drawn outline that crosses itself is repaired, and what reaches over the border cut off.

    Raises:
        AnnotationError: there is no readable geometry, it is empty, or outside the slide.
    """
    if annotation.geometry.get("type") == "GeometryCollection":
        raise AnnotationError(_no_kind("annotation", "GeometryCollection"))
    feature = {
        "type": "Feature",
        "geometry": annotation.geometry,
        "properties": {"name": annotation.class_name},
    }
    # A measured line may end where it began: it is no area by that.
    (item,) = annotations_of_geojson(
        "annotation", feature, size, AnnotationSpec(), closed_lines_are_areas=False
    )
    geometry = geometry_of(item.geometry, "annotation")
    return annotation.model_copy(update={"geometry": geometry})


def _no_kind(where: str, kind: str) -> str:
    return f"{where}: a {kind} is not an annotation; accepted: {', '.join(KINDS)}"


def geometry_of(geometry: BaseGeometry, where: str) -> dict[str, Any]:
    """GeoJSON of a geometry. Raises ``AnnotationError`` for a collection of several kinds."""
    if geometry.geom_type not in KINDS:
        raise AnnotationError(_no_kind(where, geometry.geom_type))
    found: dict[str, Any] = shapely.geometry.mapping(geometry)
    return found
