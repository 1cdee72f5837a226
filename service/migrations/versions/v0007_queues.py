"""A queue for every job; workers that are there; seconds by stage."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Jobs from before wait in the queue of CPU workers, which run every pipeline."""
    op.add_column("jobs", sa.Column("queue", sa.String(16), nullable=False, server_default="cpu"))
    op.drop_index("ix_jobs_queue", "jobs")
    op.create_index(
        "ix_jobs_claim", "jobs", ["status", sa.text("priority DESC"), "created_at", "id"]
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("queues", sa.JSON, nullable=False),
        sa.Column("abilities", sa.JSON, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
    )
    op.create_table(
        "stage_seconds",
        sa.Column("pipeline", sa.String(64), primary_key=True),
        sa.Column("stage", sa.String(64), primary_key=True),
        sa.Column("jobs", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )
