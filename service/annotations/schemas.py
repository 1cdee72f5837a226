"""Annotations as clients see them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from wsi.annotations import UNCLASSIFIED

# PostgreSQL's texts hold no NUL.
_TEXT = r"^[^\x00]*$"
Text = Annotated[str, Field(max_length=4000, pattern=_TEXT)]
Name = Annotated[str, Field(max_length=200, pattern=_TEXT)]
ClassName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$"
    ),
]


class AnnotationIn(BaseModel):
    """An annotation to save.

    Attributes:
        geometry: GeoJSON in level-0 px: a polygon with or without holes, a point, or a line (which
            is a measurement), or several of one of these.
        author: who draws; used only where keys are off, since a key names its owner.
        reason: why, which a change to a signed slide must say.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [[[100, 100], [900, 120], [500, 800], [100, 100]]],
                    },
                    "class_name": "cancer",
                    "comment": "invades the muscle",
                }
            ]
        },
    )

    geometry: dict[str, Any]
    class_name: ClassName = UNCLASSIFIED
    comment: Text = ""
    author: Name = ""
    reason: Text = ""


class AnnotationOut(BaseModel):
    """One version of an annotation.

    Attributes:
        version: from 1; what the next change must name in If-Match.
        change: number of the change on its slide, from 1: what ``since`` asks for.
        author: who drew it.
        changed_by: who made this version.
        deleted: it was deleted; its versions stay.
    """

    id: str
    slide_id: str
    version: int
    change: int
    geometry: dict[str, Any]
    class_name: str
    comment: str
    author: str
    changed_by: str
    created_at: datetime
    changed_at: datetime
    reason: str = ""
    deleted: bool = False


class AnnotationList(BaseModel):
    """Annotations of a slide.

    Attributes:
        change: the newest change: ask for what comes after it.
        signed: the slide is signed off, so that a change needs a reason.
    """

    items: list[AnnotationOut]
    change: int
    signed: bool


class AnnotationHistory(BaseModel):
    """Every version of an annotation, newest first."""

    items: list[AnnotationOut]


class ImportOut(BaseModel):
    """What an import did.

    Attributes:
        added: annotations that are new on the slide.
        already_there: those that were on it before.
        ignored: objects that were not imported, such as detections; the warnings say which.
        warnings: what was repaired, cut, assumed or ignored.
    """

    added: int
    already_there: int
    ignored: int
    warnings: list[str]


class ClassList(BaseModel):
    """Classes to choose from; others may be written as well."""

    items: list[str]
