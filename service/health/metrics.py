"""GET /metrics: Prometheus text. Read from the database, so every API process says the same."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from service.auth.access import Viewer
from service.context import Context, Ctx
from service.tables import slides
from wsi.jobs import QUEUES, JobStatus
from wsi.jobs.database import reading
from wsi.jobs.tables import jobs, outbox, stage_seconds

router = APIRouter(tags=["health"])

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_Sample = tuple[Mapping[str, str], float]


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(caller: Viewer, context: Ctx) -> PlainTextResponse:
    """Queue depth, workers, jobs and their seconds by pipeline and stage, failures, slides."""
    with reading(context.engine) as connection:
        text = "".join((*_job_families(connection), *_table_families(connection)))
    text += "".join(_queue_families(context))
    return PlainTextResponse(text, media_type=_TYPE)


def _job_families(connection: sa.Connection) -> Iterable[str]:
    count = sa.func.count()
    rows = connection.execute(sa.select(jobs.c.status, count).group_by(jobs.c.status))
    by_status = {str(status): int(number) for status, number in rows}
    yield _family(
        "wsi_jobs",
        "gauge",
        "Jobs by status.",
        [({"status": status}, by_status.get(status.value, 0)) for status in JobStatus],
    )
    failed = connection.execute(
        sa.select(jobs.c.error_kind, count)
        .where(jobs.c.status == JobStatus.FAILED)
        .group_by(jobs.c.error_kind)
    )
    yield _family(
        "wsi_jobs_failed",
        "gauge",
        "Failed jobs by reason.",
        [({"kind": kind or "unknown"}, number) for kind, number in failed],
    )
    ended = connection.execute(
        sa.select(jobs.c.pipeline, count, sa.func.sum(_seconds(connection)))
        .where(jobs.c.status == JobStatus.SUCCEEDED)
        .group_by(jobs.c.pipeline)
    ).all()
    yield _family(
        "wsi_job_seconds_sum",
        "counter",
        "Seconds from first claim to success, added up.",
        [({"pipeline": pipeline}, float(seconds)) for pipeline, _, seconds in ended],
    )
    yield _family(
        "wsi_job_seconds_count",
        "counter",
        "Jobs that succeeded.",
        [({"pipeline": pipeline}, number) for pipeline, number, _ in ended],
    )
    stages = connection.execute(
        sa.select(stage_seconds).order_by(stage_seconds.c.pipeline, stage_seconds.c.stage)
    ).all()
    for name, text, column in (
        ("sum", "Seconds of jobs that succeeded, by stage, added up.", "seconds"),
        ("count", "Jobs that succeeded and had this stage.", "jobs"),
    ):
        yield _family(
            f"wsi_stage_seconds_{name}",
            "counter",
            text,
            [
                ({"pipeline": row.pipeline, "stage": row.stage}, row._mapping[column])
                for row in stages
            ],
        )


def _queue_families(context: Context) -> Iterable[str]:
    with reading(context.engine) as connection:
        query = (
            sa.select(jobs.c.queue, sa.func.count())
            .where(jobs.c.status == JobStatus.QUEUED)
            .group_by(jobs.c.queue)
        )
        depth = {str(queue): int(number) for queue, number in connection.execute(query)}
    alive = context.workers.alive()
    serving = {queue: sum(queue in worker.queues for worker in alive) for queue in QUEUES}
    for name, text, by_queue in (
        ("wsi_queue_depth", "Jobs waiting, by queue.", depth),
        ("wsi_workers", "Workers that serve a queue.", serving),
        (
            "wsi_queue_unserved",
            "Jobs waiting in a queue that no worker serves.",
            {queue: number for queue, number in depth.items() if not serving.get(queue)},
        ),
    ):
        yield _family(
            name, "gauge", text, [({"queue": queue}, by_queue.get(queue, 0)) for queue in QUEUES]
        )


def _table_families(connection: sa.Connection) -> Iterable[str]:
    count = sa.func.count()
    oldest = connection.execute(
        sa.select(sa.func.min(jobs.c.created_at)).where(jobs.c.status == JobStatus.QUEUED)
    ).scalar()
    waits = (datetime.now(UTC) - oldest).total_seconds() if oldest else 0.0
    yield _family("wsi_oldest_queued_seconds", "gauge", "Longest wait in the queue.", [({}, waits)])
    scored = connection.execute(
        sa.select(sa.func.count(sa.distinct(jobs.c.slide_id))).where(
            jobs.c.status == JobStatus.SUCCEEDED
        )
    ).scalar_one()
    yield _family("wsi_slides_scored", "gauge", "Slides with a result.", [({}, scored)])
    for name, table, text in (
        ("wsi_slides", slides, "Slides in the service."),
        ("wsi_outbox", outbox, "Notifications waiting in the outbox."),
    ):
        number = connection.execute(sa.select(count).select_from(table)).scalar_one()
        yield _family(name, "gauge", text, [({}, number)])


def _seconds(connection: sa.Connection) -> sa.ColumnElement[float]:
    """Seconds between start and end of a job, in the database's own words."""
    if connection.dialect.name == "sqlite":
        days = sa.func.julianday(jobs.c.finished_at) - sa.func.julianday(jobs.c.started_at)
        return days * 86400.0
    return sa.cast(sa.extract("epoch", jobs.c.finished_at - jobs.c.started_at), sa.Float)


def _family(name: str, kind: str, text: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        lines.append(f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:g}")
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
