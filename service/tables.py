"""Tables of the service beside those of ``wsi.jobs``. ``migrations`` creates them."""

import sqlalchemy as sa

from wsi.jobs.tables import UtcDateTime, metadata

slides = sa.Table(
    "slides",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    # Of what was sent: a file, or the zip of a multi-file slide.
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("store_url", sa.Text, nullable=False),
    sa.Column("vendor", sa.String(64), nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("levels", sa.Integer, nullable=False),
    sa.Column("stated_mpp", sa.Float),
    sa.Column("given_mpp", sa.Float),
    sa.Column("magnification", sa.Float),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_slides_created", "created_at"),
)

__all__ = ["metadata", "slides"]
