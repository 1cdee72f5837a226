"""Annotations in the database: versions are added and never changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from service.annotations.rules import AnnotationChange, next_version
from service.annotations.schemas import AnnotationOut
from service.errors import NotFoundError
from service.slides.repository import lock_slide
from service.tables import annotations, reviews
from wsi.jobs.database import reading, writing


class SlideAnnotations:
    """The annotations of one slide, within a transaction that nobody else can come between.

    Attributes:
        signed: the slide is signed off.
    """

    def __init__(self, connection: sa.Connection, slide_id: str) -> None:
        self._connection = connection
        self._slide_id = slide_id
        mine = annotations.c.slide_id == slide_id
        newest = sa.select(sa.func.max(annotations.c.change)).where(mine)
        self._change: int = connection.execute(newest).scalar() or 0
        review = sa.select(reviews.c.body).where(reviews.c.slide_id == slide_id)
        body = connection.execute(review.order_by(reviews.c.version.desc()).limit(1)).scalar()
        self.signed: bool = body is not None and body["status"] == "signed"

    def shown(self) -> list[AnnotationOut]:
        """Those that are on the slide now."""
        return _newest(self._connection, self._slide_id, since=0)

    def versions(self, annotation_id: str) -> list[AnnotationOut]:
        """Of one annotation, oldest first."""
        return _versions(self._connection, self._slide_id, annotation_id)

    def apply(self, annotation_id: str, change: AnnotationChange) -> AnnotationOut:
        """Make a change; returns the newest version after it.

        Raises:
            StaleError: somebody else changed it since the version that was seen.
            SignedError: the slide is signed, and no reason is given.
        """
        versions = self.versions(annotation_id)
        following = next_version(
            versions,
            change,
            slide_id=self._slide_id,
            id=annotation_id,
            number=self._change + 1,
            signed=self.signed,
        )
        if following is None:
            return versions[-1]
        self._change += 1
        self._connection.execute(sa.insert(annotations).values(**following.model_dump()))
        return following


class AnnotationRepository:
    """Reads versions of annotations, and adds the next."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def changing(self, slide_id: str) -> Iterator[SlideAnnotations]:
        """Change a slide's annotations, all of it or nothing.

        One writer a slide at a time: so the numbers of changes have no gap that a reader who asks
        for what is new could fall into. Raises ``NotFoundError``.
        """
        with writing(self._engine) as connection:
            lock_slide(connection, slide_id)
            yield SlideAnnotations(connection, slide_id)

    def of_slide(self, slide_id: str, since: int = 0) -> tuple[list[AnnotationOut], int]:
        """Newest versions that came after a change, and the number of the newest change.

        Those deleted are among them, but for ``since=0``.
        """
        newest = sa.select(sa.func.max(annotations.c.change))
        with reading(self._engine) as connection:
            # First the number: what comes between the two looks is then sent again, not missed.
            change = connection.execute(newest.where(annotations.c.slide_id == slide_id)).scalar()
            return _newest(connection, slide_id, since=since), change or 0

    def history(self, slide_id: str, annotation_id: str) -> list[AnnotationOut]:
        """All versions, newest first. Raises ``NotFoundError``."""
        with reading(self._engine) as connection:
            found = _versions(connection, slide_id, annotation_id)
        if not found:
            raise NotFoundError(f"slide {slide_id} has no annotation {annotation_id}")
        return found[::-1]

    def class_names(self, limit: int = 200) -> list[str]:
        """Classes that were ever given, in order of the alphabet."""
        query = sa.select(annotations.c.class_name).distinct().order_by(annotations.c.class_name)
        with reading(self._engine) as connection:
            return list(connection.execute(query.limit(limit)).scalars())


def _newest(connection: sa.Connection, slide_id: str, *, since: int) -> list[AnnotationOut]:
    of_slide = annotations.c.slide_id == slide_id
    last = (
        sa.select(sa.func.max(annotations.c.change).label("change"))
        .where(of_slide, annotations.c.change > since)
        .group_by(annotations.c.id)
        .subquery()
    )
    query = (
        sa.select(annotations)
        .join(last, annotations.c.change == last.c.change)
        .where(of_slide)
        .order_by(annotations.c.change)
    )
    found = [_annotation(row) for row in connection.execute(query)]
    return [item for item in found if since or not item.deleted]


def _versions(connection: sa.Connection, slide_id: str, annotation_id: str) -> list[AnnotationOut]:
    query = (
        sa.select(annotations)
        .where(annotations.c.slide_id == slide_id, annotations.c.id == annotation_id)
        .order_by(annotations.c.version)
    )
    return [_annotation(row) for row in connection.execute(query)]


def _annotation(row: sa.Row[Any]) -> AnnotationOut:
    return AnnotationOut(**row._mapping)
