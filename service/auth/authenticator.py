"""Authenticates requests: who makes it, whether they may, and its entry in the audit log."""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import anyio.to_thread
from fastapi import Request

from service.auth.limits import Limit, caller_at
from service.auth.oidc import TokenChecker
from service.auth.repository import KEY_PREFIX, AuditLog, KeyRepository
from service.auth.roles import Role
from service.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError

COOKIE = "wsi_session"
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Principal:
    """Who makes a request.

    Attributes:
        key_id: of the key or session that was sent.
        name: for people.
        role: what they may.
        subject: of the token that was sent, as its provider calls them; names may be shared.
        refusal: why what was sent was not believed.
    """

    key_id: str | None
    name: str
    role: Role
    subject: str | None = None
    refusal: str = ""

    @property
    def is_anonymous(self) -> bool:
        """Whether it is not known who they are."""
        return self.key_id is None and self.subject is None and self.role is Role.PUBLIC

    @property
    def label(self) -> str:
        """For the audit log: nobody can take this name who is not the same person."""
        return self.name if self.subject is None else f"{self.name} (token of {self.subject})"


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """An entry of the audit log that lacks only the status of the answer."""

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


ANONYMOUS = Principal(None, "anonymous", Role.PUBLIC)
LOCAL = Principal(None, "local", Role.ADMIN)
"""Everybody, where the service listens on loopback with keys switched off."""


class Authenticator:
    """Knows keys and rules.

    Args:
        keys: API keys.
        audit: where entries go.
        enabled: whether keys are asked for at all; without, nothing is limited either.
        tokens: checks tokens of a provider, where there is one.
        requests: limit for what one caller may ask.
        sign_ins: limit for sign-ins, and for keys and tokens that are refused.
    """

    def __init__(
        self,
        keys: KeyRepository,
        audit: AuditLog,
        *,
        enabled: bool,
        tokens: TokenChecker | None = None,
        requests: Limit | None = None,
        sign_ins: Limit | None = None,
    ) -> None:
        self._keys = keys
        self._audit = audit
        self._enabled = enabled
        self._tokens = tokens
        self._requests = requests
        self._sign_ins = sign_ins

    def check(self, who: Principal, needed: Role) -> None:
        """Refuse a caller without the role that is needed.

        Raises:
            UnauthorizedError: no key, or none that is valid.
            ForbiddenError: a key whose role is not enough.
        """
        if who.role < needed:
            if who.is_anonymous:
                raise UnauthorizedError(
                    who.refusal or "send an API key: Authorization: Bearer wsk_..."
                )
            if who.role is Role.PUBLIC:
                raise ForbiddenError(f"{who.name} has no role here; ask your administrator for one")
            raise ForbiddenError(f"the role {who.role.name.lower()} is not allowed to do this")

    def audit_entry(self, request: Request, template: str, who: Principal) -> "AuditEntry":
        """What the audit log is to hold of a request to the endpoint with this path."""
        return AuditEntry(
            audit=self._audit,
            key_id=who.key_id,
            who=who.label,
            role=who.role.name,
            action=f"{request.method} {template}",
            # PostgreSQL's texts hold no NUL, and nobody shall keep an entry out by sending one.
            target=" ".join(f"{key}={value}" for key, value in request.path_params.items()).replace(
                "\x00", "\ufffd"
            ),
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
            return ANONYMOUS
        return await anyio.to_thread.run_sync(self._owner, secret.strip())

    async def count(self, request: Request, who: Principal, *, is_public: bool) -> bool:
        """Count the request against its caller's limits; returns whether the audit log names it.

        Anonymous callers are counted by address, and strictly: each costs a look-up and an entry in
        the audit log. A valid key is never refused for what others at its address send.

        Raises:
            TooManyRequestsError: it is one too many.
        """
        if not self._enabled:
            return True
        await _consume(self._requests, _caller(request, who))
        if is_public or not who.is_anonymous:
            return True
        try:
            await _consume(self._sign_ins, f"refused {_caller(request, ANONYMOUS)}")
        except TooManyRequestsError:
            # A script is told to wait. A browser whose session ended must hear that (401), so
            # that it asks for a key; only the log hears of it no more.
            if "authorization" in request.headers:
                raise
            return False
        return True

    def count_sign_in(self, request: Request) -> None:
        """Count an attempt to sign in. Raises ``TooManyRequestsError``."""
        if self._enabled and self._sign_ins is not None:
            self._sign_ins.consume(f"sign-in {_caller(request, ANONYMOUS)}")

    def _owner(self, secret: str) -> Principal:
        """Whose key or token it is."""
        if self._tokens is not None and not secret.startswith(KEY_PREFIX):
            try:
                bearer = self._tokens.bearer(secret)
            except UnauthorizedError as error:
                return replace(ANONYMOUS, refusal=str(error))
            return Principal(None, bearer.name, bearer.role, subject=bearer.subject)
        key = self._keys.find(secret)
        if key is None:
            return replace(ANONYMOUS, refusal="this key is not valid or was revoked")
        return Principal(key.id, key.name, key.role)


def _caller(request: Request, who: Principal) -> str:
    """Whose count it is; a token's owner cannot take the place of a key or an address."""
    if who.key_id is not None:
        return f"key {who.key_id}"
    if who.subject is not None:
        return f"token {who.subject}"
    return f"address {caller_at(request.client.host if request.client else '')}"


async def _consume(limit: Limit | None, caller: str) -> None:
    if limit is None:
        return
    if limit.waits:
        await anyio.to_thread.run_sync(limit.consume, caller)
    else:
        limit.consume(caller)


def _refuse_rebound(request: Request) -> None:
    """Refuse a name that somebody made point at loopback (DNS rebinding)."""
    if request.url.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ForbiddenError(f"this service is called localhost, not {request.url.hostname}")


def refuse_forged(request: Request) -> None:
    """Refuse a change that another site made the browser send (CSRF).

    ``Sec-Fetch-Site`` is the browser's own word, which no page can set. Browsers leave it out over
    plain HTTP beyond loopback; there ``Origin`` decides. An origin of "null" is an opaque one (a
    sandboxed frame, a policy that hides it): only the browser's word makes it ours.
    """
    if request.method in _SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if origin == "null":
        ours = site == "same-origin"
    else:
        here = origin is None or urlsplit(origin).netloc == request.headers.get("host")
        ours = here and site in (None, "same-origin", "none")
    if not ours:
        raise ForbiddenError("this request came from another site")
