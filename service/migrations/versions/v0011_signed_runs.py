"""Which results a signature stands on."""

from collections.abc import Iterable
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_REVIEWS = sa.table(
    "reviews",
    sa.column("slide_id", sa.String),
    sa.column("version", sa.Integer),
    sa.column("saved_at", _TIME),
    sa.column("body", sa.JSON),
    sa.column("runs", sa.JSON),
)
_JOBS = sa.table(
    "jobs",
    sa.column("id", sa.String),
    sa.column("slide_id", sa.String),
    sa.column("pipeline", sa.String),
    sa.column("model", sa.String),
    sa.column("mpp", sa.Float),
    sa.column("status", sa.String),
    sa.column("created_at", _TIME),
    sa.column("finished_at", _TIME),
    sa.column("result_id", sa.String),
)


def upgrade() -> None:
    """Add the column. What was signed before stands on the newest results of its time."""
    op.add_column("reviews", sa.Column("runs", sa.JSON))
    connection = op.get_bind()
    for review in connection.execute(sa.select(_REVIEWS)).all():
        if not isinstance(review.body, dict) or review.body.get("status") != "signed":
            continue
        there = (
            sa.select(_JOBS)
            .where(
                _JOBS.c.slide_id == review.slide_id,
                _JOBS.c.status == "SUCCEEDED",
                _JOBS.c.finished_at <= review.saved_at,
            )
            .order_by(_JOBS.c.created_at.desc(), _JOBS.c.id.desc())
        )
        runs = _newest(connection.execute(there))
        if runs:
            connection.execute(
                sa.update(_REVIEWS)
                .where(_REVIEWS.c.slide_id == review.slide_id, _REVIEWS.c.version == review.version)
                .values(runs=runs)
            )


def _newest(jobs: Iterable[Any]) -> list[dict[str, Any]]:
    """One of each pipeline, as the service writes them."""
    runs: dict[str, dict[str, Any]] = {}
    for job in jobs:
        finished = job.finished_at
        if finished.tzinfo is None:  # SQLite's times have no zone, and are UTC.
            finished = finished.replace(tzinfo=UTC)
        run = {
            "pipeline": job.pipeline,
            "job_id": job.id,
            "result_id": job.result_id,
            "model": job.model,
            "mpp": job.mpp,
            "finished_at": finished.isoformat(),
        }
        runs.setdefault(job.pipeline, run)
    return list(runs.values())
