"""API keys and the audit log in the database."""

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from service.auth.roles import Role
from service.errors import NotFoundError
from service.tables import api_keys, audit
from wsi.jobs.database import reading, writing

KEY_PREFIX = "wsk_"


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key without its secret.

    Attributes:
        expires_at: sessions of the page end; keys proper have ``None``.
    """

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """Who did what, when, and how it ended."""

    id: int
    at: datetime
    key_id: str | None
    who: str
    role: str
    action: str
    target: str
    status: int
    client: str


class KeyRepository:
    """Keys are stored as SHA-256: they hold 256 random bits, which no dictionary contains."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def make(self, name: str, role: Role) -> tuple[Key, str]:
        """A new key, and its secret, which is shown this once and stored nowhere."""
        return self._add(name, role)

    def open_session(self, key: Key, lasts: timedelta) -> str:
        """The secret of a session that may what its key may, and ends with it."""
        return self._add(key.name, key.role, lasts=lasts, opened_with=key.id)[1]

    def _add(
        self,
        name: str,
        role: Role,
        *,
        lasts: timedelta | None = None,
        opened_with: str | None = None,
    ) -> tuple[Key, str]:
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        key = Key(
            id=str(uuid.uuid4()),
            name=name,
            role=role,
            created_at=now,
            expires_at=now + lasts if lasts else None,
            revoked_at=None,
        )
        with writing(self._engine) as connection:
            connection.execute(
                sa.insert(api_keys).values(
                    **{**vars(key), "role": role.name},
                    digest=_digest(secret),
                    opened_with=opened_with,
                )
            )
        return key, secret

    def make_first(self) -> str | None:
        """The secret of an admin key where there is no key at all yet, else ``None``."""
        with reading(self._engine) as connection:
            if connection.execute(sa.select(api_keys.c.id).limit(1)).first() is not None:
                return None
        return self.make("first key", Role.ADMIN)[1]

    def find(self, secret: str) -> Key | None:
        """The valid key of this secret."""
        now = datetime.now(UTC)
        query = sa.select(api_keys).where(
            api_keys.c.digest == _digest(secret),
            api_keys.c.revoked_at.is_(None),
            sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now),
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).first()
        return _key(row) if row is not None else None

    def list(self) -> list[Key]:
        """All keys but those of sessions, newest first."""
        query = (
            sa.select(api_keys)
            .where(api_keys.c.expires_at.is_(None))
            .order_by(api_keys.c.created_at.desc())
        )
        with reading(self._engine) as connection:
            return [_key(row) for row in connection.execute(query)]

    def revoke(self, key_id: str) -> None:
        """End a key, and the sessions that were opened with it. Raises ``NotFoundError``."""
        now = datetime.now(UTC)
        with writing(self._engine) as connection:
            ended = connection.execute(
                sa.update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )
            connection.execute(
                sa.update(api_keys)
                .where(api_keys.c.opened_with == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )
        if not ended.rowcount:
            raise NotFoundError(f"no valid key {key_id}")


class AuditLog:
    """Rows are only ever added; triggers in the database refuse everything else."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, **entry: Any) -> None:
        """Write an entry: the attributes of AuditEntry but ``id`` and ``at``."""
        with writing(self._engine) as connection:
            connection.execute(sa.insert(audit).values(at=datetime.now(UTC), **entry))

    def page(self, *, limit: int, offset: int) -> list[AuditEntry]:
        """Entries, newest first."""
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit).offset(offset)
        with reading(self._engine) as connection:
            return [AuditEntry(**row._mapping) for row in connection.execute(query)]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: sa.Row[Any]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        role=Role[row.role],
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
