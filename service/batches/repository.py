"""Batches in the database: items that point at jobs."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from service.errors import NotFoundError
from service.tables import batch_items, batches, slides
from wsi.jobs import Job, JobRequest, JobStatus, SqlJobStore
from wsi.jobs.database import reading, writing
from wsi.jobs.sql_store import job_from_row
from wsi.jobs.tables import jobs

REFUSED = "REFUSED"


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """A slide for a pipeline: a request to queue, or why it was refused."""

    slide_id: str
    pipeline: str
    request: JobRequest | None = None
    refusal_kind: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item as it stands."""

    number: int
    slide_id: str
    slide_name: str | None
    pipeline: str
    job: Job | None
    refusal_kind: str | None
    refusal: str | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch and how far it is.

    Attributes:
        counts: items by the status of their job, or ``REFUSED``.
        progress: mean share done over all items, in [0, 1].
    """

    id: str
    name: str
    created_at: datetime
    counts: Mapping[str, int]
    progress: float

    @property
    def total(self) -> int:
        """Number of items."""
        return sum(self.counts.values())

    @property
    def is_final(self) -> bool:
        """Whether every item has ended."""
        return not any(self.counts.get(status) for status in (JobStatus.QUEUED, JobStatus.RUNNING))


class BatchRepository:
    """Reads and writes batches."""

    def __init__(self, engine: sa.Engine, job_store: SqlJobStore) -> None:
        self._engine = engine
        self._jobs = job_store

    def add(self, name: str, items: Sequence[NewItem], *, priority: int) -> Batch:
        """A batch with all its jobs and their bells, in one transaction: all of it or nothing."""
        batch_id, now = str(uuid.uuid4()), datetime.now(UTC)
        with writing(self._engine) as connection:
            connection.execute(sa.insert(batches).values(id=batch_id, name=name, created_at=now))
            for number, item in enumerate(items):
                job_id = None
                if item.request is not None:
                    job_id = self._queue(connection, item.request, now, priority)
                connection.execute(
                    sa.insert(batch_items).values(
                        batch_id=batch_id,
                        number=number,
                        slide_id=item.slide_id,
                        pipeline=item.pipeline,
                        job_id=job_id,
                        refusal_kind=item.refusal_kind,
                        refusal=item.refusal,
                    )
                )
        return self.get(batch_id)

    def get(self, batch_id: str) -> Batch:
        """One batch. Raises ``NotFoundError``."""
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(batches).where(batches.c.id == batch_id)).first()
            if row is None:
                raise NotFoundError(f"there is no batch {batch_id}")
            return _batch(connection, row)

    def page(self, *, limit: int, offset: int) -> tuple[list[Batch], int]:
        """Batches, newest first, and how many there are in all."""
        query = sa.select(batches).order_by(batches.c.created_at.desc(), batches.c.id)
        with reading(self._engine) as connection:
            total = connection.execute(sa.select(sa.func.count()).select_from(batches)).scalar_one()
            rows = connection.execute(query.limit(limit).offset(offset)).all()
            return [_batch(connection, row) for row in rows], int(total)

    def items(self, batch_id: str, *, limit: int | None = None, offset: int = 0) -> list[Item]:
        """Items in the order they were given."""
        query = (
            sa.select(
                jobs,
                batch_items.c.number.label("item_number"),
                batch_items.c.slide_id.label("item_slide_id"),
                batch_items.c.pipeline.label("item_pipeline"),
                batch_items.c.refusal_kind,
                batch_items.c.refusal,
                slides.c.name.label("item_slide_name"),
            )
            .select_from(batch_items)
            .outerjoin(jobs, jobs.c.id == batch_items.c.job_id)
            .outerjoin(slides, slides.c.id == batch_items.c.slide_id)
            .where(batch_items.c.batch_id == batch_id)
            .order_by(batch_items.c.number)
            .limit(limit)
            .offset(offset)
        )
        with reading(self._engine) as connection:
            return [_item(row) for row in connection.execute(query)]

    def retry_failed(self, batch_id: str) -> int:
        """Queue the failed items again, each as a new job; returns how many.

        The old jobs stay as they are. Two retries at once queue each item once: the second one
        finds items whose job has not failed.
        """
        now = datetime.now(UTC)
        failed = (
            sa.select(batch_items.c.number, jobs)
            .join(jobs, jobs.c.id == batch_items.c.job_id)
            .where(batch_items.c.batch_id == batch_id, jobs.c.status == JobStatus.FAILED)
            .with_for_update(of=batch_items)
        )
        with writing(self._engine) as connection:
            rows = connection.execute(failed).all()
            for row in rows:
                old = job_from_row(row)
                job_id = self._queue(connection, old.request, now, old.priority)
                connection.execute(
                    sa.update(batch_items)
                    .where(batch_items.c.batch_id == batch_id, batch_items.c.number == row.number)
                    .values(job_id=job_id)
                )
        return len(rows)

    def _queue(
        self, connection: sa.Connection, request: JobRequest, now: datetime, priority: int
    ) -> str:
        job = Job(
            id=str(uuid.uuid4()),
            request=request,
            status=JobStatus.QUEUED,
            created_at=now,
            priority=priority,
        )
        self._jobs.insert(connection, job)
        return job.id


def _batch(connection: sa.Connection, row: sa.Row[Any]) -> Batch:
    query = (
        sa.select(jobs.c.status, sa.func.count(), sa.func.sum(jobs.c.progress))
        .select_from(batch_items)
        .outerjoin(jobs, jobs.c.id == batch_items.c.job_id)
        .where(batch_items.c.batch_id == row.id)
        .group_by(jobs.c.status)
    )
    counts: Counter[str] = Counter()
    done = 0.0
    for status, number, progress in connection.execute(query):
        counts[status or REFUSED] += number
        ended = status is None or JobStatus(status).is_final
        done += number if ended else float(progress or 0.0)
    return Batch(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        counts=dict(counts),
        progress=done / max(1, counts.total()),
    )


def _item(row: sa.Row[Any]) -> Item:
    return Item(
        number=row.item_number,
        slide_id=row.item_slide_id,
        slide_name=row.item_slide_name,
        pipeline=row.item_pipeline,
        job=job_from_row(row) if row.id is not None else None,
        refusal_kind=row.refusal_kind,
        refusal=row.refusal,
    )
