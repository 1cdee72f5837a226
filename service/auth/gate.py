"""Every request passes here: who is it, may they, and the note for the audit log."""

import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio.to_thread
from fastapi import Request

from service.auth.repository import AuditLog, KeyRepository
from service.auth.rules import AUDITED_READS, RULES, UNAUDITED, Role
from service.errors import ForbiddenError, UnauthorizedError

_log = logging.getLogger(__name__)

COOKIE = "wsi_session"
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Principal:
    """Who makes a request."""

    key_id: str | None
    name: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class Note:
    """An entry of the audit log that lacks only how the request ended."""

    audit: AuditLog
    key_id: str | None
    who: str
    role: str
    action: str
    target: str
    client: str

    def write(self, status: int) -> None:
        """Add the entry."""
        values = {name: value for name, value in vars(self).items() if name != "audit"}
        self.audit.add(**values, status=status)


ANYBODY = Principal(None, "anybody", Role.PUBLIC)
LOCAL = Principal(None, "local", Role.ADMIN)
"""Everybody, where the service listens on loopback with keys switched off."""


class Gate:
    """Knows keys and rules.

    Args:
        keys: API keys.
        audit: where notes go.
        enabled: whether keys are asked for at all.
    """

    def __init__(self, keys: KeyRepository, audit: AuditLog, *, enabled: bool) -> None:
        self._keys = keys
        self._audit = audit
        self._enabled = enabled

    def check(self, request: Request, template: str, who: Principal) -> None:
        """Whether they may.

        Args:
            request: the request.
            template: path of its endpoint below the API's prefix.
            who: who makes it.

        Raises:
            UnauthorizedError: no key, or none that is valid.
            ForbiddenError: a key whose role does not reach so far.
        """
        method = "GET" if request.method == "HEAD" else request.method
        needed = RULES.get((method, template))
        if needed is None:
            _log.error("no rule for %s %s: refused", request.method, template)
            raise ForbiddenError("this endpoint has no rule")
        if who.role < needed:
            if who is ANYBODY:
                raise UnauthorizedError("send a key: Authorization: Bearer wsk_...")
            raise ForbiddenError(f"a {who.role.name.lower()} may not do this")

    def note(self, request: Request, template: str, who: Principal) -> "Note | None":
        """What the audit log is to hold of a request, where it deserves an entry."""
        changes = request.method not in _SAFE
        if template in UNAUDITED or not (changes or template in AUDITED_READS):
            return None
        return Note(
            audit=self._audit,
            key_id=who.key_id,
            who=who.name,
            role=who.role.name,
            action=f"{request.method} {template}",
            target=" ".join(f"{key}={value}" for key, value in request.path_params.items()),
            client=request.client.host if request.client else "",
        )

    async def who(self, request: Request) -> Principal:
        """Who makes a request. Raises ``ForbiddenError`` for one that another site forged."""
        if not self._enabled:
            # Any page in the user's browser can send requests to loopback: those are refused.
            _refuse_rebound(request)
            refuse_forged(request)
            return LOCAL
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            secret = request.cookies.get(COOKIE, "")
            if secret:
                refuse_forged(request)
        if not secret:
            return ANYBODY
        key = await anyio.to_thread.run_sync(self._keys.find, secret.strip())
        return Principal(key.id, key.name, key.role) if key else ANYBODY


def _refuse_rebound(request: Request) -> None:
    """Refuse a name that somebody made point at loopback (DNS rebinding)."""
    if request.url.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ForbiddenError(f"this service is called localhost, not {request.url.hostname}")


def refuse_forged(request: Request) -> None:
    """Refuse a change that another site made the browser send (CSRF)."""
    if request.method in _SAFE:
        return
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "none")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or site not in ("same-origin", "none"):
        raise ForbiddenError("this request was sent by another site")
