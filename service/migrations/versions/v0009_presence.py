"""Who has a slide open; reviews by the time they were saved."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the index."""
    op.create_table(
        "presence",
        sa.Column("reader_id", sa.String(32), primary_key=True),
        sa.Column("slide_id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_reviews_saved", "reviews", ["saved_at"])
