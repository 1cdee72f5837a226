"""Reviews in the database: versions are added and never changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from service.errors import StaleError
from service.reviews.schemas import ReviewBrief, ReviewOut
from service.slides.repository import lock_slide
from service.tables import reviews
from wsi.jobs.database import reading, writing


class ReviewRepository:
    """Reads versions of reviews, and adds the next."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def latest(self, slide_id: str) -> ReviewOut:
        """The newest version; version 0, empty, where nothing was saved yet."""
        return next(
            iter(self._versions(slide_id, limit=1)), ReviewOut(slide_id=slide_id, version=0)
        )

    def history(self, slide_id: str) -> list[ReviewOut]:
        """All versions, newest first."""
        return self._versions(slide_id)

    def of_slides(self, slide_ids: Sequence[str]) -> dict[str, ReviewBrief]:
        """The newest version of each of these slides that has one."""
        found = self._newest(reviews.c.slide_id.in_(slide_ids))
        return {brief.slide_id: brief for brief in found}

    def saved_after(self, time: datetime, *, limit: int) -> list[ReviewBrief]:
        """Newest versions that were saved after ``time``, oldest first."""
        return self._newest(reviews.c.saved_at > time, limit=limit)

    def _newest(
        self, wanted: sa.ColumnElement[bool], limit: int | None = None
    ) -> list[ReviewBrief]:
        newest = (
            sa.select(reviews.c.slide_id, sa.func.max(reviews.c.version).label("version"))
            .where(wanted)
            .group_by(reviews.c.slide_id)
            .subquery()
        )
        query = (
            sa.select(reviews)
            .join(
                newest,
                sa.and_(
                    reviews.c.slide_id == newest.c.slide_id,
                    reviews.c.version == newest.c.version,
                ),
            )
            .order_by(reviews.c.saved_at)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [_brief(row) for row in connection.execute(query)]

    def add(self, review: ReviewOut) -> ReviewOut:
        """Store a version.

        Writers of annotations hold the same lock: what is drawn lands before the signature or
        meets it, never beside it.

        Raises:
            StaleError: this version is there already: somebody else was faster.
            NotFoundError: the slide was removed meanwhile.
        """
        columns = {"slide_id", "version", "saved_at", "runs"}
        body = review.model_dump(mode="json", exclude=columns)
        try:
            with writing(self._engine) as connection:
                lock_slide(connection, review.slide_id)
                connection.execute(
                    sa.insert(reviews).values(
                        slide_id=review.slide_id,
                        version=review.version,
                        saved_at=review.saved_at,
                        body=body,
                        runs=[run.model_dump(mode="json") for run in review.runs] or None,
                    )
                )
        except IntegrityError as error:
            raise StaleError(
                f"version {review.version} of this review was saved by somebody else meanwhile; "
                "read it and save again"
            ) from error
        return review

    def _versions(self, slide_id: str, limit: int | None = None) -> list[ReviewOut]:
        query = (
            sa.select(reviews)
            .where(reviews.c.slide_id == slide_id)
            .order_by(reviews.c.version.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [_review(row) for row in connection.execute(query)]


def _review(row: sa.Row[Any]) -> ReviewOut:
    return ReviewOut(
        slide_id=row.slide_id,
        version=row.version,
        saved_at=row.saved_at,
        runs=row.runs or [],
        **row.body,
    )


def _brief(row: sa.Row[Any]) -> ReviewBrief:
    shown = ("status", "reviewer", "diagnosis", "blind")
    return ReviewBrief(
        slide_id=row.slide_id,
        version=row.version,
        saved_at=row.saved_at,
        **{name: row.body[name] for name in shown},
    )
