"""GET /metrics: Prometheus text. Read from the database, so every API process says the same."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from service.auth.access import Viewer
from service.context import Database, Workers
from service.tables import slides
from wsi.jobs import QUEUES, JobStatus, WorkerRegistry
from wsi.jobs.database import reading
from wsi.jobs.tables import jobs, outbox, stage_seconds

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(caller: Viewer, engine: Database, workers: Workers) -> PlainTextResponse:
    """Queue depth, workers, jobs and their seconds by pipeline and stage, failures, slides."""
    registry = CollectorRegistry()
    registry.register(DatabaseCollector(engine, workers))
    return PlainTextResponse(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class DatabaseCollector(Collector):
    """The metrics as the database holds them at the time of a scrape."""

    def __init__(self, engine: sa.Engine, workers: WorkerRegistry) -> None:
        self._engine = engine
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        """All metrics. Raises ``OperationalError`` where the database does not answer."""
        with reading(self._engine) as connection:
            yield from _job_metrics(connection)
            yield from _stage_metrics(connection)
            yield from _table_metrics(connection)
            yield from _queue_metrics(connection, self._workers)


def _job_metrics(connection: sa.Connection) -> Iterator[Metric]:
    count = sa.func.count()
    rows = connection.execute(sa.select(jobs.c.status, count).group_by(jobs.c.status))
    by_status = {str(status): int(number) for status, number in rows}
    yield _gauge(
        "wsi_jobs",
        "Jobs by status.",
        "status",
        {str(status): by_status.get(status.value, 0) for status in JobStatus},
    )
    failed = connection.execute(
        sa.select(jobs.c.error_kind, count)
        .where(jobs.c.status == JobStatus.FAILED)
        .group_by(jobs.c.error_kind)
    )
    by_kind = {kind or "unknown": number for kind, number in failed}
    yield _gauge("wsi_jobs_failed", "Failed jobs by reason.", "kind", by_kind)
    ended = connection.execute(
        sa.select(jobs.c.pipeline, count, sa.func.sum(_seconds(connection)))
        .where(jobs.c.status == JobStatus.SUCCEEDED)
        .group_by(jobs.c.pipeline)
    )
    seconds = SummaryMetricFamily(
        "wsi_job_seconds", "Seconds from first claim to success.", labels=["pipeline"]
    )
    for pipeline, number, total in ended:
        seconds.add_metric([pipeline], count_value=number, sum_value=float(total))
    yield seconds


def _stage_metrics(connection: sa.Connection) -> Iterator[Metric]:
    seconds = SummaryMetricFamily(
        "wsi_stage_seconds",
        "Seconds of jobs that succeeded, by stage.",
        labels=["pipeline", "stage"],
    )
    query = sa.select(stage_seconds).order_by(stage_seconds.c.pipeline, stage_seconds.c.stage)
    for row in connection.execute(query):
        seconds.add_metric(
            [row.pipeline, row.stage], count_value=row.jobs, sum_value=float(row.seconds)
        )
    yield seconds


def _table_metrics(connection: sa.Connection) -> Iterator[Metric]:
    count = sa.func.count()
    oldest = connection.execute(
        sa.select(sa.func.min(jobs.c.created_at)).where(jobs.c.status == JobStatus.QUEUED)
    ).scalar()
    waits = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
    yield GaugeMetricFamily("wsi_oldest_queued_seconds", "Longest wait in the queue.", value=waits)
    scored = connection.execute(
        sa.select(sa.func.count(sa.distinct(jobs.c.slide_id))).where(
            jobs.c.status == JobStatus.SUCCEEDED
        )
    ).scalar_one()
    yield GaugeMetricFamily("wsi_slides_scored", "Slides with a result.", value=scored)
    for name, table, text in (
        ("wsi_slides", slides, "Slides in the service."),
        ("wsi_outbox", outbox, "Notifications waiting in the outbox."),
    ):
        number = connection.execute(sa.select(count).select_from(table)).scalar_one()
        yield GaugeMetricFamily(name, text, value=number)


def _queue_metrics(connection: sa.Connection, workers: WorkerRegistry) -> Iterator[Metric]:
    query = (
        sa.select(jobs.c.queue, sa.func.count())
        .where(jobs.c.status == JobStatus.QUEUED)
        .group_by(jobs.c.queue)
    )
    found = {str(queue): int(number) for queue, number in connection.execute(query)}
    alive = workers.alive()
    depth = {queue: found.get(queue, 0) for queue in QUEUES}
    serving = {queue: sum(queue in worker.queues for worker in alive) for queue in QUEUES}
    unserved = {queue: 0 if serving[queue] else depth[queue] for queue in QUEUES}
    yield _gauge("wsi_queue_depth", "Jobs waiting, by queue.", "queue", depth)
    yield _gauge("wsi_workers", "Workers that serve a queue.", "queue", serving)
    text = "Jobs waiting in a queue that no worker serves."
    yield _gauge("wsi_queue_unserved", text, "queue", unserved)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value_of, value in values.items():
        family.add_metric([value_of], value)
    return family


def _seconds(connection: sa.Connection) -> sa.ColumnElement[float]:
    """Seconds between start and end of a job, in the database's own words."""
    if connection.dialect.name == "sqlite":
        days = sa.func.julianday(jobs.c.finished_at) - sa.func.julianday(jobs.c.started_at)
        return days * 86400.0
    return sa.cast(sa.extract("epoch", jobs.c.finished_at - jobs.c.started_at), sa.Float)
