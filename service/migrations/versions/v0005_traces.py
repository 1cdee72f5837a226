"""The trace that a job belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; jobs from before belong to none."""
    op.add_column("jobs", sa.Column("trace_parent", sa.String(64)))
