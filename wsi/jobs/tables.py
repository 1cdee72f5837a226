"""The tables of the job store. ``service/migrations`` creates them; here is what code sees."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

metadata = sa.MetaData()


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware UTC times in Python, on databases with time zones and (SQLite) without."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("slide_id", sa.String(36), nullable=False),
    sa.Column("slide_path", sa.Text, nullable=False),
    sa.Column("slide_name", sa.Text, nullable=False),
    sa.Column("store_url", sa.Text, nullable=False),
    sa.Column("pipeline", sa.String(64), nullable=False),
    sa.Column("model", sa.String(255), nullable=False),
    sa.Column("mpp", sa.Float),
    sa.Column("queue", sa.String(16), nullable=False, server_default="cpu"),
    sa.Column("trace_parent", sa.String(64)),
    sa.Column("slide_identity", sa.String(160)),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("losses", sa.Integer, nullable=False, default=0),
    sa.Column("priority", sa.Integer, nullable=False, default=0),
    sa.Column("progress", sa.Float, nullable=False, default=0.0),
    sa.Column("stage", sa.Text, nullable=False, default=""),
    sa.Column("worker", sa.String(255)),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, default=False),
    sa.Column("error_kind", sa.String(64)),
    sa.Column("error", sa.Text),
    sa.Column("result_id", sa.String(64)),
    # How often workers were notified of it, and when a QUEUED job is due for the next time.
    sa.Column("notify_count", sa.Integer, nullable=False, default=0),
    sa.Column("next_notify_at", UtcDateTime, nullable=False),
    sa.Index("ix_jobs_slide", "slide_id", "pipeline", "created_at"),
)
# What claim looks for, in the order it looks for it.
sa.Index("ix_jobs_claim", jobs.c.status, jobs.c.priority.desc(), jobs.c.created_at, jobs.c.id)

outbox = sa.Table(
    "job_outbox",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column(
        "job_id", sa.String(36), sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_job_outbox_job", "job_id"),
)

# Every worker registers here what it can run, and renews that as its heartbeat.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("queues", sa.JSON, nullable=False),
    sa.Column("capabilities", sa.JSON, nullable=False),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
)

# Sums over all jobs that succeeded: what the metrics show, without reading every job's result.
stage_seconds = sa.Table(
    "stage_seconds",
    metadata,
    sa.Column("pipeline", sa.String(64), primary_key=True),
    sa.Column("stage", sa.String(64), primary_key=True),
    sa.Column("jobs", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)
