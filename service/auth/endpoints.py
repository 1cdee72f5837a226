"""Keys, sessions of the page, and the audit log."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.auth.access import Admin, AuditedAdmin, Public, Viewer
from service.auth.authenticator import COOKIE
from service.auth.repository import Key
from service.auth.roles import Role
from service.auth.service import Me, me, start_session
from service.context import Audits, Config, Ctx, Keys
from service.errors import UnauthorizedError
from service.responses import refusals

router = APIRouter(tags=["access"])

RoleName = Literal["viewer", "pathologist", "operator", "admin"]


class KeyIn(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    role: RoleName


class KeyOut(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None


class NewKeyOut(KeyOut):
    """A new key. ``secret`` is shown this once."""

    secret: str


class SessionIn(BaseModel):
    """A key, to be exchanged for a session cookie."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(max_length=200)


class AuditOut(BaseModel):
    """An entry of the audit log."""

    at: datetime
    who: str
    role: str
    action: str
    target: str
    status: int
    client: str


@router.post("/session", responses=refusals(UnauthorizedError))
def open_session(
    body: SessionIn, request: Request, response: Response, caller: Public, context: Ctx
) -> Me:
    """Exchange a key for a cookie that scripts cannot read; it lasts twelve hours."""
    return start_session(body.key, request, response, context)


@router.get("/session")
def get_session(caller: Viewer, settings: Config) -> Me:
    """The caller and their role."""
    return me(caller, blind_first_read=settings.blind_first_read)


@router.delete("/session", status_code=204)
def close_session(request: Request, response: Response, caller: Public, keys: Keys) -> None:
    """End the session of this browser."""
    key = keys.find(request.cookies.get(COOKIE, ""))
    if key is not None and key.expires_at is not None:
        keys.revoke(key.id)
    response.delete_cookie(COOKIE)


@router.get("/keys")
def list_keys(caller: Admin, keys: Keys) -> list[KeyOut]:
    """All keys, without their secrets."""
    return [_key_out(key) for key in keys.list()]


@router.post("/keys", status_code=201)
def make_key(body: KeyIn, caller: Admin, keys: Keys) -> NewKeyOut:
    """Create a key. Its secret is shown in this answer only."""
    key, secret = keys.make(body.name, Role[body.role.upper()])
    return NewKeyOut(**_key_out(key).model_dump(), secret=secret)


@router.delete("/keys/{key_id}", status_code=204)
def revoke_key(key_id: str, caller: Admin, keys: Keys) -> None:
    """Revoke a key and the sessions that were opened with it."""
    keys.revoke(key_id)


@router.get("/audit")
def read_audit(
    caller: AuditedAdmin,
    audit: Audits,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> list[AuditOut]:
    """Who saw, changed and exported what, newest first."""
    entries = audit.page(limit=limit, offset=offset)
    return [
        AuditOut(
            at=entry.at,
            who=entry.who,
            role=entry.role.lower(),
            action=entry.action,
            target=entry.target,
            status=entry.status,
            client=entry.client,
        )
        for entry in entries
    ]


def _key_out(key: Key) -> KeyOut:
    return KeyOut(
        id=key.id,
        name=key.name,
        role=key.role.name.lower(),
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )
