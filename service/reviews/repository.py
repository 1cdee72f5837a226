"""Reviews in the database: versions are added and never changed."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from service.errors import StaleError
from service.reviews.schemas import ReviewOut
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

    def add(self, review: ReviewOut) -> ReviewOut:
        """Store a version.

        Raises:
            StaleError: this version is there already: somebody else was faster.
        """
        body = review.model_dump(mode="json", exclude={"slide_id", "version", "saved_at"})
        try:
            with writing(self._engine) as connection:
                connection.execute(
                    sa.insert(reviews).values(
                        slide_id=review.slide_id,
                        version=review.version,
                        saved_at=review.saved_at,
                        body=body,
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
    return ReviewOut(slide_id=row.slide_id, version=row.version, saved_at=row.saved_at, **row.body)
