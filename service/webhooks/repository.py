"""Webhooks in the database. A row is there before its batch starts and stays until it is taken."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from service.tables import batch_items, webhooks
from wsi.jobs import JobStatus
from wsi.jobs.database import reading, writing
from wsi.jobs.tables import jobs

Kind = Literal["batch", "job"]

WAITING = "WAITING"
DELIVERED = "DELIVERED"
GIVEN_UP = "GIVEN_UP"
_FINAL = [status for status in JobStatus if status.is_final]


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """An address to call when a batch or job has ended.

    Attributes:
        state: ``WAITING``, ``DELIVERED`` or ``GIVEN_UP``.
        attempts: calls made, answered or not.
        error: why the last one failed.
    """

    id: str
    kind: Kind
    target_id: str
    url: str
    state: str
    attempts: int
    due_at: datetime
    error: str | None


class WebhookRepository:
    """Reads and writes webhooks."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, kind: Kind, target_id: str, url: str) -> None:
        """Call ``url`` when this has ended."""
        with writing(self._engine) as connection:
            insert(connection, kind, target_id, url)

    def of(self, target_ids: Sequence[str]) -> dict[str, Webhook]:
        """The webhook of each of these batches or jobs that has one."""
        query = sa.select(webhooks).where(webhooks.c.target_id.in_(target_ids))
        with reading(self._engine) as connection:
            return {row.target_id: _webhook(row) for row in connection.execute(query)}

    def take(self, *, lease_s: float) -> Webhook | None:
        """A webhook to call now; for ``lease_s`` seconds no other service takes it."""
        now = datetime.now(UTC)
        query = (
            sa.select(webhooks)
            .where(webhooks.c.state == WAITING, webhooks.c.due_at <= now, _ended())
            .order_by(webhooks.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        with writing(self._engine) as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            taken = connection.execute(
                sa.update(webhooks)
                .where(webhooks.c.id == row.id)
                .values(attempts=row.attempts + 1, due_at=now + timedelta(seconds=lease_s))
                .returning(*webhooks.c)
            ).one()
            return _webhook(taken)

    def settle(
        self, webhook: Webhook, state: str, *, error: str | None = None, wait_s: float = 0.0
    ) -> None:
        """How a call went. One that was requested again in the meantime does not change."""
        due_at = datetime.now(UTC) + timedelta(seconds=wait_s)
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(webhooks)
                .where(webhooks.c.id == webhook.id, webhooks.c.attempts == webhook.attempts)
                .values(state=state, error=error, due_at=due_at)
            )


def insert(connection: sa.Connection, kind: Kind, target_id: str, url: str) -> None:
    """Add a webhook within the caller's transaction."""
    connection.execute(
        sa.insert(webhooks).values(
            id=str(uuid.uuid4()),
            kind=kind,
            target_id=target_id,
            url=url,
            state=WAITING,
            attempts=0,
            due_at=datetime.now(UTC),
        )
    )


def call_again(connection: sa.Connection, target_id: str) -> None:
    """What had ended goes on: its end is to be told once more. Within the caller's transaction."""
    connection.execute(
        sa.update(webhooks)
        .where(webhooks.c.target_id == target_id)
        .values(state=WAITING, attempts=0, error=None, due_at=datetime.now(UTC))
    )


def _ended() -> sa.ColumnElement[bool]:
    """Whether what a webhook waits for has ended."""
    job = sa.exists().where(jobs.c.id == webhooks.c.target_id, jobs.c.status.in_(_FINAL))
    still_open = (
        sa.select(sa.literal(1))
        .select_from(batch_items.outerjoin(jobs, jobs.c.id == batch_items.c.job_id))
        .where(
            batch_items.c.batch_id == webhooks.c.target_id,
            sa.or_(
                jobs.c.status.not_in(_FINAL),
                sa.and_(batch_items.c.job_id.is_(None), batch_items.c.refusal.is_(None)),
            ),
        )
        .correlate(webhooks)
        .exists()
    )
    return sa.or_(
        sa.and_(webhooks.c.kind == "job", job),
        sa.and_(webhooks.c.kind == "batch", sa.not_(still_open)),
    )


def _webhook(row: sa.Row[Any]) -> Webhook:
    return Webhook(**row._mapping)
