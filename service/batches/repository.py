"""Batches in the database: items that point at jobs."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.errors import NotFoundError
from service.tables import batch_items, batches, slides
from service.webhooks import repository as webhooks
from wsi.jobs import Job, JobRequest, JobStatus, SqlJobStore
from wsi.jobs.database import reading, writing
from wsi.jobs.sql_store import job_from_row
from wsi.jobs.tables import jobs
from wsi.tracing import trace_parent

REFUSED = "REFUSED"
ARRIVING = "ARRIVING"
"""An item whose slide is still to be registered."""


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """A slide for a pipeline: a request to queue, why it was refused, or what to register.

    Attributes:
        slide_id: empty where the slide is not known (yet).
        priority: of its job; ``None``: the batch's.
        path: where a slide lies that is to be registered first.
        options: of its job then: fields of ``JobIn``.
    """

    slide_id: str
    pipeline: str
    request: JobRequest | None = None
    priority: int | None = None
    path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    refusal_kind: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """An item that one service has claimed, to register it."""

    batch_id: str
    number: int
    path: str
    pipeline: str
    options: Mapping[str, Any]


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
        counts: items by the status of their job, or ``REFUSED``, or ``ARRIVING``.
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
        running = (ARRIVING, JobStatus.QUEUED, JobStatus.RUNNING)
        return not any(self.counts.get(status) for status in running)


@dataclass(frozen=True)
class Refusal:
    """Why a slide has no job of a batch, and when that was."""

    kind: str
    text: str
    at: datetime


class BatchRepository:
    """Reads and writes batches."""

    def __init__(self, engine: sa.Engine, job_store: SqlJobStore) -> None:
        self._engine = engine
        self._jobs = job_store

    def add(
        self, name: str, items: Sequence[NewItem], *, priority: int, callback_url: str | None = None
    ) -> Batch:
        """A batch with all its jobs and notifications, in one transaction: all or nothing."""
        batch_id, now = str(uuid.uuid4()), datetime.now(UTC)
        with writing(self._engine) as connection:
            connection.execute(sa.insert(batches).values(id=batch_id, name=name, created_at=now))
            if callback_url is not None:
                webhooks.insert(connection, "batch", batch_id, callback_url)
            for number, item in enumerate(items):
                connection.execute(
                    sa.insert(batch_items).values(
                        batch_id=batch_id,
                        number=number,
                        pipeline=item.pipeline,
                        path=item.path,
                        options={"priority": priority, **item.options} if item.path else None,
                        **self._outcome(connection, item, now, priority),
                    )
                )
        return self.get(batch_id)

    def take_arriving(self, *, lease_s: float) -> Arriving | None:
        """An item to register; for ``lease_s`` seconds no other service takes it."""
        now = datetime.now(UTC)
        query = (
            sa.select(batch_items)
            .join(batches, batches.c.id == batch_items.c.batch_id)
            .where(
                _IS_ARRIVING,
                sa.or_(batch_items.c.claimed_until.is_(None), batch_items.c.claimed_until <= now),
            )
            .order_by(batches.c.created_at, batch_items.c.number)
            .limit(1)
            .with_for_update(of=batch_items, skip_locked=True)
        )
        with writing(self._engine) as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            connection.execute(
                sa.update(batch_items)
                .where(batch_items.c.batch_id == row.batch_id, batch_items.c.number == row.number)
                .values(claimed_until=now + timedelta(seconds=lease_s))
            )
        return Arriving(
            batch_id=row.batch_id,
            number=row.number,
            path=row.path,
            pipeline=row.pipeline,
            options=row.options,
        )

    def settle(self, arriving: Arriving, item: NewItem) -> None:
        """What became of an item, with its job; one that was settled meanwhile stays as it is."""
        with writing(self._engine) as connection:
            still = connection.execute(
                sa.select(batch_items.c.number)
                .where(_IS_ARRIVING, *_is(arriving.batch_id, arriving.number))
                .with_for_update()
            ).first()
            if still is None:
                return
            outcome = self._outcome(connection, item, datetime.now(UTC), item.priority or 0)
            connection.execute(
                sa.update(batch_items)
                .where(*_is(arriving.batch_id, arriving.number))
                .values(claimed_until=None, **outcome)
            )

    def cancel_arriving(self, batch_id: str) -> None:
        """Register no more slides of a batch."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(batch_items)
                .where(_IS_ARRIVING, batch_items.c.batch_id == batch_id)
                .values(refusal_kind="cancelled", refusal="cancelled before it was registered")
            )

    def get(self, batch_id: str) -> Batch:
        """One batch. Raises ``NotFoundError``."""
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(batches).where(batches.c.id == batch_id)).first()
            if row is None:
                raise NotFoundError(f"no batch {batch_id}")
            return _batch(connection, row)

    def some(self, ids: Sequence[str]) -> list[Batch]:
        """Those of these batches that exist."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(batches).where(batches.c.id.in_(ids))).all()
            return [_batch(connection, row) for row in rows]

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
                batch_items.c.path,
                batch_items.c.job_id.label("item_job_id"),
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

    def refusals(self, slide_ids: Sequence[str]) -> dict[str, Refusal]:
        """Why each of these slides was last refused by a batch, if it was."""
        query = (
            sa.select(
                batch_items.c.slide_id,
                batch_items.c.refusal_kind,
                batch_items.c.refusal,
                batches.c.created_at,
            )
            .join(batches, batches.c.id == batch_items.c.batch_id)
            .where(
                batch_items.c.slide_id.in_(slide_ids),
                batch_items.c.refusal.is_not(None),
                batch_items.c.refusal_kind != "cancelled",
            )
            .order_by(batches.c.created_at)
        )
        with reading(self._engine) as connection:
            return {
                row.slide_id: Refusal(row.refusal_kind, row.refusal, row.created_at)
                for row in connection.execute(query)
            }

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
                # The retry belongs to the request that asked for it, not to the first one.
                request = replace(old.request, trace_parent=trace_parent())
                job_id = self._queue(connection, request, now, old.priority)
                connection.execute(
                    sa.update(batch_items)
                    .where(batch_items.c.batch_id == batch_id, batch_items.c.number == row.number)
                    .values(job_id=job_id)
                )
            if rows:
                webhooks.call_again(connection, batch_id)
        return len(rows)

    def _outcome(
        self, connection: sa.Connection, item: NewItem, now: datetime, priority: int
    ) -> dict[str, Any]:
        """Columns of an item; where it has a request, that is queued."""
        job_id = None
        if item.request is not None:
            urgency = priority if item.priority is None else item.priority
            job_id = self._queue(connection, item.request, now, urgency)
        return {
            "slide_id": item.slide_id,
            "job_id": job_id,
            "refusal_kind": item.refusal_kind,
            "refusal": item.refusal,
        }

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


_IS_ARRIVING = sa.and_(batch_items.c.job_id.is_(None), batch_items.c.refusal.is_(None))


def _is(batch_id: str, number: int) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return batch_items.c.batch_id == batch_id, batch_items.c.number == number


def _batch(connection: sa.Connection, row: sa.Row[Any]) -> Batch:
    standing = sa.case(
        (_IS_ARRIVING, ARRIVING), (jobs.c.id.is_(None), REFUSED), else_=jobs.c.status
    )
    query = (
        sa.select(standing.label("standing"), sa.func.count(), sa.func.sum(jobs.c.progress))
        .select_from(batch_items)
        .outerjoin(jobs, jobs.c.id == batch_items.c.job_id)
        .where(batch_items.c.batch_id == row.id)
        .group_by("standing")
    )
    counts: Counter[str] = Counter()
    done = 0.0
    for status, number, progress in connection.execute(query):
        counts[status] += number
        ended = status == REFUSED or (status != ARRIVING and JobStatus(status).is_final)
        done += number if ended else float(progress or 0.0)
    return Batch(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        counts=dict(counts),
        progress=done / max(1, counts.total()),
    )


def _name(row: sa.Row[Any]) -> str | None:
    """What people call the slide: before it is registered, and where that failed, its file."""
    if row.item_slide_name is None and row.path is not None and row.item_job_id is None:
        return Path(row.path).name
    return str(row.item_slide_name) if row.item_slide_name is not None else None


def _item(row: sa.Row[Any]) -> Item:
    return Item(
        number=row.item_number,
        slide_id=row.item_slide_id,
        slide_name=_name(row),
        pipeline=row.item_pipeline,
        job=job_from_row(row) if row.id is not None else None,
        refusal_kind=row.refusal_kind,
        refusal=row.refusal,
    )
