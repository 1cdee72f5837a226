"""What a registered slide was, so that a job on another in its place is refused."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of slides from before, each job reads the whole file to be sure."""
    op.add_column("slides", sa.Column("digest", sa.String(32)))
    op.add_column("slides", sa.Column("stamp", sa.String(32)))
    op.add_column("jobs", sa.Column("slide_identity", sa.String(160)))
