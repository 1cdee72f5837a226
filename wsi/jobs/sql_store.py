"""SqlJobStore: jobs in SQLite or PostgreSQL."""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from wsi.errors import JobNotFoundError, LeaseLostError
from wsi.jobs.database import reading, writing
from wsi.jobs.figures import add_stage_seconds
from wsi.jobs.job import NO_SECONDS, QUEUES, Job, JobRequest, JobStatus, Notification
from wsi.jobs.tables import jobs, outbox

_REQUEST = tuple(JobRequest.__dataclass_fields__)
_STATE = tuple(name for name in Job.__dataclass_fields__ if name != "request")

_MAX_DOUBLINGS = 6


def utc_now() -> datetime:
    """This machine's clock. Leases are long against the clock differences of NTP'd machines."""
    return datetime.now(UTC)


def worker_lost_text(job: Job, losses: int) -> str:
    """Why a job ended that lost its worker too often."""
    return (
        f"{job.request.slide_name}: its worker was lost {losses} times, last at stage "
        f"{job.stage!r}; it ran out of memory, or something in this slide crashes it"
    )


class SqlJobStore:
    """A JobStore over an engine of ``wsi.jobs.database.create_engine``.

    Every move is one UPDATE that names the status and the attempt it starts from, so that of two
    that race exactly one changes a row.

    Args:
        engine: the tables must be there (``service/migrations`` creates them).
        clock: aware UTC time; another one in tests.
        notify_after_s: workers are notified again of a job that is still QUEUED after this time.
    """

    def __init__(
        self,
        engine: sa.Engine,
        clock: Callable[[], datetime] = utc_now,
        *,
        notify_after_s: float = 60.0,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._notify_after_s = notify_after_s

    def is_ready(self) -> bool:
        """Whether the tables are there yet: the service makes them when it starts."""
        with reading(self._engine) as connection:
            return sa.inspect(connection).has_table(jobs.name)

    def add(self, request: JobRequest, *, priority: int = 0) -> Job:
        job = Job(
            id=str(uuid.uuid4()),
            request=request,
            status=JobStatus.QUEUED,
            created_at=self._clock(),
            priority=priority,
        )
        with writing(self._engine) as connection:
            self.insert(connection, job)
        return job

    def insert(self, connection: sa.Connection, job: Job) -> None:
        """Add a QUEUED job and its notification within the caller's transaction."""
        values = {name: getattr(job, name) for name in _STATE}
        request = {name: getattr(job.request, name) for name in _REQUEST}
        connection.execute(
            sa.insert(jobs).values(
                **values, **request, notify_count=0, next_notify_at=job.created_at
            )
        )
        self._enqueue_notification(connection, job.id, job.created_at, notify_count=0)

    def get(self, job_id: str) -> Job:
        with reading(self._engine) as connection:
            return _read(connection, job_id)

    def find(
        self,
        *,
        slide_id: str | None = None,
        status: JobStatus | None = None,
        limit: int = 1000,
        offset: int = 0,
    ) -> list[Job]:
        query = (
            sa.select(jobs)
            .where(*_matching(slide_id, status))
            .order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
            .limit(limit)
            .offset(offset)
        )
        with reading(self._engine) as connection:
            return [job_from_row(row) for row in connection.execute(query)]

    def count(self, *, slide_id: str | None = None, status: JobStatus | None = None) -> int:
        query = sa.select(sa.func.count()).select_from(jobs).where(*_matching(slide_id, status))
        with reading(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def newest(self, slide_ids: Sequence[str], *, status: JobStatus | None = None) -> list[Job]:
        rank = sa.func.row_number().over(
            partition_by=(jobs.c.slide_id, jobs.c.pipeline),
            order_by=(jobs.c.created_at.desc(), jobs.c.id.desc()),
        )
        ranked = (
            sa.select(jobs.c.id, rank.label("rank"))
            .where(jobs.c.slide_id.in_(slide_ids), *_matching(None, status))
            .subquery()
        )
        query = (
            sa.select(jobs)
            .join(ranked, ranked.c.id == jobs.c.id)
            .where(ranked.c.rank == 1)
            .order_by(jobs.c.slide_id, jobs.c.pipeline)
        )
        with reading(self._engine) as connection:
            return [job_from_row(row) for row in connection.execute(query)]

    def claim(
        self,
        worker: str,
        *,
        lease_s: float,
        queues: Collection[str] = QUEUES,
        job_id: str | None = None,
        keep_notification: bool = False,
    ) -> Job | None:
        now = self._clock()
        query = (
            sa.select(jobs.c.id, jobs.c.attempt)
            .where(jobs.c.status == JobStatus.QUEUED, jobs.c.queue.in_(queues))
            .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
            .limit(1)
            # On PostgreSQL claimers do not wait for one another; SQLite has one writer anyway.
            .with_for_update(skip_locked=True)
        )
        if job_id is not None:
            query = query.where(jobs.c.id == job_id)
        with writing(self._engine) as connection:
            found = connection.execute(query).first()
            if found is None:
                return None
            claimed = _move(
                connection,
                found.id,
                JobStatus.QUEUED,
                found.attempt,
                status=JobStatus.RUNNING,
                attempt=found.attempt + 1,
                worker=worker,
                lease_until=now + timedelta(seconds=lease_s),
                started_at=sa.func.coalesce(
                    jobs.c.started_at, sa.bindparam(None, now, jobs.c.started_at.type)
                ),
                progress=0.0,
                stage="starting",
            )
            if claimed is not None and not keep_notification:
                _drop_notifications(connection, claimed.id)
            return claimed

    def heartbeat(
        self, job_id: str, attempt: int, *, lease_s: float, progress: float, stage: str
    ) -> Job:
        return self._move_running(
            job_id,
            attempt,
            lease_until=self._clock() + timedelta(seconds=lease_s),
            progress=progress,
            stage=stage,
        )

    def succeed(
        self,
        job_id: str,
        attempt: int,
        *,
        result_id: str,
        stage_seconds: Mapping[str, float] = NO_SECONDS,
    ) -> Job:
        with writing(self._engine) as connection:
            job = self._moved(
                connection,
                job_id,
                attempt,
                status=JobStatus.SUCCEEDED,
                finished_at=self._clock(),
                lease_until=None,
                result_id=result_id,
                progress=1.0,
                stage="done",
            )
            # In the job's own transaction: counted once, and only for the attempt that won.
            add_stage_seconds(connection, job.request.pipeline, stage_seconds)
            return job

    def fail(self, job_id: str, attempt: int, *, kind: str, reason: str) -> Job:
        return self._end(job_id, attempt, JobStatus.FAILED, error_kind=kind, error=reason)

    def confirm_cancelled(self, job_id: str, attempt: int) -> Job:
        return self._end(job_id, attempt, JobStatus.CANCELLED)

    def release(self, job_id: str, attempt: int) -> Job:
        with writing(self._engine) as connection:
            job = self._moved(connection, job_id, attempt, **_requeued("waiting again"))
            self._enqueue_notification(connection, job_id, self._clock(), notify_count=0)
            return job

    def request_cancel(self, job_id: str) -> Job:
        now = self._clock()
        with writing(self._engine) as connection:
            # Each UPDATE names the status it starts from: a claim or an end that comes between
            # leaves nothing for it to change.
            cancelled = connection.execute(
                sa.update(jobs)
                .where(jobs.c.id == job_id, jobs.c.status == JobStatus.QUEUED)
                .values(status=JobStatus.CANCELLED, cancel_requested=True, finished_at=now)
            )
            if cancelled.rowcount:
                _drop_notifications(connection, job_id)
            else:
                connection.execute(
                    sa.update(jobs)
                    .where(jobs.c.id == job_id, jobs.c.status == JobStatus.RUNNING)
                    .values(cancel_requested=True)
                )
            return _read(connection, job_id)

    def expire_leases_of(self, worker: str) -> int:
        with writing(self._engine) as connection:
            ended = connection.execute(
                sa.update(jobs)
                .where(jobs.c.worker == worker, jobs.c.status == JobStatus.RUNNING)
                .values(lease_until=self._clock())
            )
            return int(ended.rowcount)

    def reconcile(self, *, max_attempts: int) -> list[Job]:
        now = self._clock()
        with writing(self._engine) as connection:
            # One transaction: a crash in between changes nothing, or all of it.
            lost = connection.execute(
                sa.select(jobs)
                .where(jobs.c.status == JobStatus.RUNNING, jobs.c.lease_until <= now)
                .with_for_update(skip_locked=True)
            ).all()
            for row in lost:
                self._requeue_lost(connection, job_from_row(row), now, max_attempts)
            waiting = connection.execute(
                sa.select(jobs.c.id, jobs.c.notify_count)
                .where(jobs.c.status == JobStatus.QUEUED, jobs.c.next_notify_at <= now)
                .order_by(jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)
                .with_for_update(skip_locked=True)
            ).all()
            for row in waiting:
                _drop_notifications(connection, row.id)
                self._enqueue_notification(connection, row.id, now, row.notify_count)
            ids = {row.id for row in (*lost, *waiting)}
            query = sa.select(jobs).where(jobs.c.id.in_(ids), jobs.c.status == JobStatus.QUEUED)
            return [job_from_row(row) for row in connection.execute(query)]

    def outbox(self, *, limit: int = 100) -> list[Notification]:
        query = (
            sa.select(outbox.c.id, outbox.c.job_id, jobs.c.queue)
            .join(jobs, jobs.c.id == outbox.c.job_id)
            .order_by(outbox.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [
                Notification(id=row.id, job_id=row.job_id, queue=row.queue)
                for row in connection.execute(query)
            ]

    def mark_sent(self, notifications: Sequence[Notification]) -> None:
        with writing(self._engine) as connection:
            connection.execute(
                sa.delete(outbox).where(outbox.c.id.in_([one.id for one in notifications]))
            )

    def _enqueue_notification(
        self, connection: sa.Connection, job_id: str, now: datetime, notify_count: int
    ) -> None:
        """Put a notification into the outbox; the next one is due after twice the wait."""
        wait_s = self._notify_after_s * 2 ** min(notify_count, _MAX_DOUBLINGS)
        connection.execute(sa.insert(outbox).values(job_id=job_id, created_at=now))
        connection.execute(
            sa.update(jobs)
            .where(jobs.c.id == job_id)
            .values(notify_count=notify_count + 1, next_notify_at=now + timedelta(seconds=wait_s))
        )

    def _requeue_lost(
        self, connection: sa.Connection, job: Job, now: datetime, max_attempts: int
    ) -> None:
        losses = job.losses + 1
        ended = {"finished_at": now, "lease_until": None}
        values: dict[str, Any]
        if job.cancel_requested:
            values = {"status": JobStatus.CANCELLED, **ended}
        elif losses >= max_attempts:
            values = {
                "status": JobStatus.FAILED,
                "error_kind": "worker_lost",
                "error": worker_lost_text(job, losses),
                **ended,
            }
        else:
            values = _requeued("waiting again: its worker was lost")
        moved = _move(connection, job.id, JobStatus.RUNNING, job.attempt, losses=losses, **values)
        if moved is not None and moved.status is JobStatus.QUEUED:
            self._enqueue_notification(connection, job.id, now, notify_count=0)

    def _end(self, job_id: str, attempt: int, status: JobStatus, **values: Any) -> Job:
        return self._move_running(
            job_id, attempt, status=status, finished_at=self._clock(), lease_until=None, **values
        )

    def _move_running(self, job_id: str, attempt: int, **values: Any) -> Job:
        with writing(self._engine) as connection:
            return self._moved(connection, job_id, attempt, **values)

    def _moved(self, connection: sa.Connection, job_id: str, attempt: int, **values: Any) -> Job:
        job = _move(connection, job_id, JobStatus.RUNNING, attempt, **values)
        if job is not None:
            return job
        now = _read(connection, job_id)
        raise LeaseLostError(
            f"job {job_id}: attempt {attempt} no longer owns it; "
            f"it is {now.status} in attempt {now.attempt}"
        )


def _matching(slide_id: str | None, status: JobStatus | None) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if slide_id is not None:
        wanted.append(jobs.c.slide_id == slide_id)
    if status is not None:
        wanted.append(jobs.c.status == status)
    return wanted


def _move(
    connection: sa.Connection, job_id: str, from_status: JobStatus, from_attempt: int, **values: Any
) -> Job | None:
    """The compare-and-set that every move is; ``None`` where the comparison failed."""
    row = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status == from_status, jobs.c.attempt == from_attempt)
        .values(**values)
        .returning(*jobs.c)
    ).first()
    return job_from_row(row) if row is not None else None


def _requeued(stage: str) -> dict[str, Any]:
    return {
        "status": JobStatus.QUEUED,
        "worker": None,
        "lease_until": None,
        "progress": 0.0,
        "stage": stage,
    }


def _drop_notifications(connection: sa.Connection, job_id: str) -> None:
    """Remove those of a job that needs none; without a broker nothing else empties the outbox."""
    connection.execute(sa.delete(outbox).where(outbox.c.job_id == job_id))


def _read(connection: sa.Connection, job_id: str) -> Job:
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).first()
    if row is None:
        raise JobNotFoundError(f"there is no job {job_id}")
    return job_from_row(row)


def job_from_row(row: sa.Row[Any]) -> Job:
    """A row that holds all columns of ``jobs`` (and may hold more)."""
    values = row._mapping
    state = {name: values[name] for name in _STATE} | {"status": JobStatus(values["status"])}
    return Job(request=JobRequest(**{name: values[name] for name in _REQUEST}), **state)
