"""Slides in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from service.errors import NotFoundError
from service.tables import annotations, reviews, slides
from wsi.geometry import Mpp, Size
from wsi.jobs.database import reading, writing
from wsi.slides.registered import Registered
from wsi.slides.resolution import Resolution, settle
from wsi.slides.stated import Stated


@dataclass(frozen=True, kw_only=True)
class StoredSlide:
    """A row of ``slides``. Sizes are level-0 pixels, mpp micrometres per level-0 pixel."""

    id: str
    name: str
    sha256: str
    size_bytes: int
    path: str
    store_url: str
    vendor: str
    width: int
    height: int
    levels: int
    stated_mpp: float | None
    given_mpp: float | None
    magnification: float | None
    created_at: datetime
    stripped_sha256: str | None = None
    stripped_at: datetime | None = None
    digest: str | None = None
    stamp: str | None = None

    @property
    def registered(self) -> Registered:
        """What it was when it was registered; of other slides this says nothing."""
        return Registered(self.sha256, self.digest or "", self.stamp or "")

    @property
    def size(self) -> Size:
        """Of level 0."""
        return Size(self.width, self.height)

    @property
    def resolution(self) -> Resolution:
        """What is known of its resolution, without opening the file."""
        return self.resolution_with(self.given_mpp, force=True)

    def resolution_with(self, given: float | None, *, force: bool) -> Resolution:
        """Its resolution where a user gives one. Raises ``MppError``."""
        stated = Stated(
            mpp=Mpp.square(self.stated_mpp) if self.stated_mpp else None,
            by_tags_alone=self.vendor == "generic-tiff",
        )
        return settle(self.name, stated, self.size, given, force=force)

    @property
    def mpp(self) -> float | None:
        """What a user gave, else what the file states, if that can be true."""
        used = self.resolution.used
        return used.mean if used else None

    @property
    def file(self) -> Path:
        """Where to open it, unless it lies in object storage: see ``SlideCache.local``."""
        return Path(self.path)


class SlideRepository:
    """Reads and writes rows of ``slides``."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, slide: StoredSlide) -> StoredSlide:
        """Store a slide; where the same content is there already, that one is returned."""
        try:
            with writing(self._engine) as connection:
                connection.execute(sa.insert(slides).values(**vars(slide)))
        except IntegrityError:
            existing = self.by_sha256(slide.sha256)
            if existing is None:
                raise
            return existing
        return slide

    def get(self, slide_id: str) -> StoredSlide:
        """One slide. Raises ``NotFoundError``."""
        found = self._one(slides.c.id == slide_id)
        if found is None:
            raise NotFoundError(f"no slide {slide_id}")
        return found

    def by_sha256(self, sha256: str) -> StoredSlide | None:
        """The slide with this content, if it is here."""
        return self._one(slides.c.sha256 == sha256)

    def page(self, *, limit: int, offset: int) -> tuple[Sequence[StoredSlide], int]:
        """Slides, newest first, and how many there are in all."""
        query = (
            sa.select(slides)
            .order_by(slides.c.created_at.desc(), slides.c.id)
            .limit(limit)
            .offset(offset)
        )
        with reading(self._engine) as connection:
            total = connection.execute(sa.select(sa.func.count()).select_from(slides)).scalar_one()
            return [_slide(row) for row in connection.execute(query)], int(total)

    def names(self) -> dict[str, str]:
        """The name of every slide, by id."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(slides.c.id, slides.c.name))
            return {row.id: row.name for row in rows}

    def some(self, ids: Sequence[str]) -> list[StoredSlide]:
        """The slides with these ids that are here, in this order."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(slides).where(slides.c.id.in_(ids)))
            found = {row.id: _slide(row) for row in rows}
        return [found[slide_id] for slide_id in ids if slide_id in found]

    def give_mpp(self, slide_id: str, mpp: float | None) -> StoredSlide:
        """Set, or with ``None`` take back, the resolution a user gives. Raises NotFoundError."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(slides).where(slides.c.id == slide_id).values(given_mpp=mpp)
            )
        return self.get(slide_id)

    def moved(
        self, slide_id: str, place: str, *, digest: str | None = None, stamp: str | None = None
    ) -> StoredSlide:
        """Note where it is read from, and what lies there. Raises ``NotFoundError``."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(slides)
                .where(slides.c.id == slide_id)
                .values(path=place, digest=digest, stamp=stamp)
            )
        return self.get(slide_id)

    def was_stripped(self, slide_id: str, sha256: str) -> StoredSlide:
        """Note that its stored copy has no labels any more. Raises ``NotFoundError``."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(slides)
                .where(slides.c.id == slide_id)
                .values(stripped_sha256=sha256, stripped_at=datetime.now(UTC))
            )
        return self.get(slide_id)

    def remove(self, slide_id: str) -> None:
        """Remove a slide with its reviews and annotations; jobs and audit log stay.

        Raises:
            NotFoundError: somebody else has removed it.
        """
        with writing(self._engine) as connection:
            lock_slide(connection, slide_id)
            for table in (reviews, annotations):
                connection.execute(sa.delete(table).where(table.c.slide_id == slide_id))
            connection.execute(sa.delete(slides).where(slides.c.id == slide_id))

    def _one(self, wanted: sa.ColumnElement[bool]) -> StoredSlide | None:
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(slides).where(wanted)).first()
        return _slide(row) if row is not None else None


def lock_slide(connection: sa.Connection, slide_id: str) -> None:
    """Have what readers say of a slide change by one transaction at a time.

    FOR UPDATE on PostgreSQL; on SQLite a transaction that writes is alone anyway. Raises
    ``NotFoundError``.
    """
    lock = sa.select(slides.c.id).where(slides.c.id == slide_id).with_for_update()
    if connection.execute(lock).scalar() is None:
        raise NotFoundError(f"no slide {slide_id}")


def _slide(row: sa.Row[Any]) -> StoredSlide:
    return StoredSlide(**row._mapping)
