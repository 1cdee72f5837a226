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
    # Of the stored copy, where label and macro images were taken out of it.
    sa.Column("stripped_sha256", sa.String(64)),
    sa.Column("stripped_at", UtcDateTime),
    # Of a slide that is read where it lies: its content and the time of its last change, as they
    # were when it was registered.
    sa.Column("digest", sa.String(32)),
    sa.Column("stamp", sa.String(32)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_slides_created", "created_at"),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("slide_id", sa.String(36), primary_key=True),
    # The pair is the key, so that of two savers of the same version one is refused.
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("saved_at", UtcDateTime, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    # The results that a signature stands on.
    sa.Column("runs", sa.JSON),
    sa.Index("ix_reviews_saved", "saved_at"),
)

annotations = sa.Table(
    "annotations",
    metadata,
    sa.Column("slide_id", sa.String(36), primary_key=True),
    # Number of the change on its slide: what came after one that a reader has seen is news.
    sa.Column("change", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    # GeoJSON, level-0 px.
    sa.Column("geometry", sa.JSON, nullable=False),
    sa.Column("class_name", sa.String(64), nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.UniqueConstraint("slide_id", "id", "version", name="uq_annotations_version"),
    sa.Index("ix_annotations_class", "class_name"),
)

presence = sa.Table(
    "presence",
    metadata,
    # One page of one browser; a page shows one slide at a time.
    sa.Column("reader_id", sa.String(32), primary_key=True),
    sa.Column("slide_id", sa.String(36), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("seen_at", UtcDateTime, nullable=False),
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_batches_created", "created_at"),
)

batch_items = sa.Table(
    "batch_items",
    metadata,
    sa.Column(
        "batch_id",
        sa.String(36),
        sa.ForeignKey("batches.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("slide_id", sa.String(36), nullable=False),
    sa.Column("pipeline", sa.String(64), nullable=False),
    # The job that stands for this item now: a retry puts a new one here.
    sa.Column("job_id", sa.String(36), sa.ForeignKey("jobs.id")),
    # Why there is no job, where the slide was refused.
    sa.Column("refusal_kind", sa.String(64)),
    sa.Column("refusal", sa.Text),
    # A slide that is still to be registered: where it lies, the options of its job, and until when
    # one of several services has claimed it.
    sa.Column("path", sa.Text),
    sa.Column("options", sa.JSON),
    sa.Column("claimed_until", UtcDateTime),
    sa.Index("ix_batch_items_job", "job_id"),
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    # "batch" or "job", and which: the address is called when that has ended.
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("target_id", sa.String(36), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    # WAITING, DELIVERED or GIVEN_UP.
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("error", sa.Text),
    sa.Index("ix_webhooks_due", "state", "due_at"),
    sa.Index("ix_webhooks_target", "target_id"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    # SHA-256 of the secret, which is stored nowhere.
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    # Of a session of the page.
    sa.Column("expires_at", UtcDateTime),
    sa.Column("revoked_at", UtcDateTime),
    # The key that a session was opened with.
    sa.Column("opened_with", sa.String(36)),
    sa.Index("ix_api_keys_opened_with", "opened_with"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("key_id", sa.String(36)),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
)

__all__ = ["api_keys", "audit", "batch_items", "batches", "metadata", "reviews", "slides"]
