"""Columns are called what they hold in the field's terms: notifications, capabilities, options."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

RENAMED = (
    ("jobs", "rings", "notify_count"),
    ("jobs", "ring_due_at", "next_notify_at"),
    ("workers", "abilities", "capabilities"),
    ("batch_items", "wish", "options"),
    ("batch_items", "taken_until", "claimed_until"),
)


def upgrade() -> None:
    """Rename in place.

    By plain SQL, which SQLite and PostgreSQL share: Alembic's batch mode would copy the table
    and drop the old one, and with it, by ON DELETE CASCADE, the rows that refer to it.
    """
    for table, before, after in RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {before} TO {after}")
