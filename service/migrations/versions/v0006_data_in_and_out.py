"""Stripped labels, batches that register paths, webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0009"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the columns and the table."""
    op.add_column("slides", sa.Column("stripped_sha256", sa.String(64)))
    op.add_column("slides", sa.Column("stripped_at", _TIME))
    op.add_column("batch_items", sa.Column("path", sa.Text))
    op.add_column("batch_items", sa.Column("wish", sa.JSON))
    op.add_column("batch_items", sa.Column("taken_until", _TIME))
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target_id", sa.String(36), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_webhooks_due", "webhooks", ["state", "due_at"])
    op.create_index("ix_webhooks_target", "webhooks", ["target_id"])
