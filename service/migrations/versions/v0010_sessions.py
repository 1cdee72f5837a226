"""Which key a session of the page was opened with, so that it ends with that key."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Sessions of before last twelve hours at most, and are ended here."""
    op.add_column("api_keys", sa.Column("opened_with", sa.String(36)))
    op.create_index("ix_api_keys_opened_with", "api_keys", ["opened_with"])
    keys = sa.table("api_keys", sa.column("expires_at"), sa.column("revoked_at"))
    op.execute(
        sa.update(keys)
        .where(keys.c.expires_at.is_not(None), keys.c.revoked_at.is_(None))
        .values(revoked_at=sa.func.current_timestamp())
    )
