"""Which workers there are, what they can run, and which queues nobody serves.

A job whose queue has no worker waits for ever without any error.
``WorkerRegistry.flag_unserved_jobs`` writes that into the jobs themselves, where page, API and
command line show it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from wsi.jobs.database import reading, writing
from wsi.jobs.job import QUEUES, JobStatus
from wsi.jobs.sql_store import utc_now
from wsi.jobs.tables import jobs, workers

HEARTBEAT_INTERVAL_S = 5.0
ALIVE_TIMEOUT_S = 30.0
"""A worker without a heartbeat for so long counts as gone."""
GRACE_S = 10.0
"""A job younger than this is not flagged: workers may be starting at this moment."""
_PRUNE_AFTER_S = 24 * 3600.0
_UNSERVED = "waiting: no worker serves the queue "


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker as it describes itself.

    Attributes:
        name: host and process.
        queues: those whose jobs it takes.
        capabilities: device, processes, free memory (bytes), pipelines and models; JSON-able.
    """

    name: str
    queues: tuple[str, ...]
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    seen_at: datetime | None = None


class WorkerRegistry:
    """The workers table.

    Args:
        engine: as for ``SqlJobStore``.
        clock: aware UTC time.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    def heartbeat(self, worker: Worker) -> None:
        """Register a worker, or renew its registration: due more often than ``ALIVE_TIMEOUT_S``."""
        now = self._clock()
        values = {"queues": list(worker.queues), "capabilities": dict(worker.capabilities)}
        with writing(self._engine) as connection:
            updated = connection.execute(
                sa.update(workers)
                .where(workers.c.name == worker.name)
                .values(**values, seen_at=now)
            )
            if not updated.rowcount:
                connection.execute(
                    sa.insert(workers).values(
                        name=worker.name, **values, started_at=now, seen_at=now
                    )
                )
            connection.execute(
                sa.delete(workers).where(
                    workers.c.seen_at < now - timedelta(seconds=_PRUNE_AFTER_S)
                )
            )

    def unregister(self, name: str) -> None:
        """Remove a worker that stops."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(workers).where(workers.c.name == name))

    def alive(self) -> list[Worker]:
        """Workers with a recent heartbeat, by name."""
        since = self._clock() - timedelta(seconds=ALIVE_TIMEOUT_S)
        query = sa.select(workers).where(workers.c.seen_at > since).order_by(workers.c.name)
        with reading(self._engine) as connection:
            return [
                Worker(**{**row._mapping, "queues": tuple(row.queues)})
                for row in connection.execute(query)
            ]

    def unserved(self) -> dict[str, int]:
        """Waiting jobs by queue, for the queues that have some and no worker."""
        query = (
            sa.select(jobs.c.queue, sa.func.count())
            .where(jobs.c.status == JobStatus.QUEUED)
            .group_by(jobs.c.queue)
        )
        with reading(self._engine) as connection:
            waiting = {str(queue): int(number) for queue, number in connection.execute(query)}
        served = {queue for worker in self.alive() for queue in worker.queues}
        return {queue: number for queue, number in waiting.items() if queue not in served}

    def flag_unserved_jobs(self) -> dict[str, int]:
        """Write into each waiting job that no worker serves its queue; returns ``unserved()``."""
        unserved = self.unserved()
        old_enough = jobs.c.created_at <= self._clock() - timedelta(seconds=GRACE_S)
        for queue in QUEUES:
            text = f"{_UNSERVED}{queue!r}"
            flagged = jobs.c.stage == text
            before, after = (flagged, "waiting")
            if queue in unserved:
                before, after = sa.and_(~flagged, old_enough), text
            wanted = (jobs.c.status == JobStatus.QUEUED, jobs.c.queue == queue, before)
            with reading(self._engine) as connection:
                changes = connection.execute(sa.select(jobs.c.id).where(*wanted).limit(1)).first()
            # Most often there is nothing to write: then the write lock is left alone.
            if changes is not None:
                with writing(self._engine) as connection:
                    connection.execute(sa.update(jobs).where(*wanted).values(stage=after))
        return unserved
