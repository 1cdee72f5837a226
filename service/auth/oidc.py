"""Bearer tokens of an OpenID Connect provider: whose they are, and which role they give."""

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from service.auth.roles import Role
from service.errors import IdentityProviderUnavailableError, UnauthorizedError
from service.outgoing import request

_log = logging.getLogger(__name__)

# By a key pair only: with HS256 whoever knows the public key could sign, and "none" is none.
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)

_TIMEOUT_S = 5.0
_MAX_DOCUMENT = 1 << 20
_MAX_TOKEN = 16 << 10
_MAX_NAME = 200
_LEEWAY_S = 30
_KEYS_LAST_S = 3600.0
# How soon the provider is asked again: for a key nobody knows, and after it did not answer.
_ASK_AGAIN_S = 30.0
_RETRY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Provider:
    """What is believed of whom.

    Attributes:
        issuer: its URL, as in the tokens' ``iss``.
        audience: what the tokens' ``aud`` must name.
        roles_claim: where a token lists roles or groups; ``a.b`` is ``b`` inside ``a``.
        roles: our role for each of theirs.
        name_claim: where a token says whose it is, for people.
    """

    issuer: str
    audience: str
    roles_claim: str
    roles: Mapping[str, Role]
    name_claim: str


@dataclass(frozen=True)
class Bearer:
    """The owner of a valid token. ``subject`` is the provider's own name, which never changes."""

    subject: str
    name: str
    role: Role


class TokenChecker:
    """Checks tokens against the keys of their provider."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._keys = SigningKeys(provider.issuer)

    def bearer(self, token: str) -> Bearer:
        """Whose token it is. May wait for the provider: not for the event loop.

        Raises:
            UnauthorizedError: it is not valid (any more), or was made for somebody else.
            IdentityProviderUnavailableError: its key is unknown, and the provider does not answer.
        """
        if len(token) > _MAX_TOKEN:
            raise UnauthorizedError("the token is too long")
        try:
            key = self._keys.get(_key_id(token))
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._provider.audience,
                issuer=self._provider.issuer,
                leeway=_LEEWAY_S,
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.PyJWTError as error:
            raise UnauthorizedError(f"the token is not valid: {error}") from None
        subject = str(claims["sub"])
        return Bearer(subject, self._name(claims) or subject, self._role(claims))

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = str(claims.get(self._provider.name_claim) or "")
        return "".join(char for char in name if char.isprintable()).strip()[:_MAX_NAME]

    def _role(self, claims: Mapping[str, Any]) -> Role:
        """The highest role that the token gives; ``PUBLIC`` where it gives none."""
        found: Any = claims
        for part in self._provider.roles_claim.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
        theirs = [name for name in names if isinstance(name, str)]
        return max(
            (self._provider.roles.get(name, Role.PUBLIC) for name in theirs), default=Role(0)
        )


class SigningKeys:
    """The provider's public keys: fetched when wanted, kept an hour, at a bounded rate."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._lock = threading.Lock()
        self._known: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at = self._ask_at = float("-inf")
        self._failure = ""

    def get(self, key_id: str) -> jwt.PyJWK:
        """The key of this id. Raises as ``TokenChecker.bearer`` does."""
        key = self._fresh(key_id)
        if key is not None:
            return key
        with self._lock:
            # Another thread may have fetched it while this one waited.
            if self._fresh(key_id) is None and time.monotonic() >= self._ask_at:
                self._fetch()
        key = self._fresh(key_id)
        if key is not None:
            return key
        if self._failure:
            raise IdentityProviderUnavailableError(
                f"tokens cannot be checked at present: {self._issuer} did not answer "
                f"({self._failure})"
            )
        raise UnauthorizedError("the token is not valid: its provider has no such signing key")

    def _fresh(self, key_id: str) -> jwt.PyJWK | None:
        if time.monotonic() - self._fetched_at > _KEYS_LAST_S:
            return None
        return self._known.get(key_id)

    def _fetch(self) -> None:
        try:
            self._known = _signing_keys(self._issuer)
        # Broken JSON and addresses that are not safe are ValueErrors.
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            self._failure = f"{type(error).__name__}: {error}"
            self._ask_at = time.monotonic() + _RETRY_S
            _log.warning("could not load signing keys from %s: %s", self._issuer, self._failure)
            return
        self._failure = ""
        self._fetched_at = time.monotonic()
        self._ask_at = self._fetched_at + _ASK_AGAIN_S
        _log.info("%d signing keys from %s", len(self._known), self._issuer)


def require_safe_url(url: str) -> None:
    """Raises ``ValueError`` unless it is https, or http on this machine."""
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ValueError(f"{url} must start with https:// (http:// on this machine only)")


def _key_id(token: str) -> str:
    header = jwt.get_unverified_header(token)
    if header.get("alg") not in ALGORITHMS:
        raise UnauthorizedError("the token is not valid: its signature algorithm is not accepted")
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise UnauthorizedError("the token is not valid: it does not name its signing key")
    return key_id


def _signing_keys(issuer: str) -> dict[str, jwt.PyJWK]:
    """The keys that the provider's discovery document leads to."""
    discovery = _document(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if discovery.get("issuer") != issuer:
        raise ValueError(f"the provider calls itself {discovery.get('issuer')!r}")
    keys = _document(str(discovery.get("jwks_uri"))).get("keys")
    if not isinstance(keys, list):
        raise ValueError("the provider's key set holds no keys")
    found = {}
    for data in keys:
        if not isinstance(data, dict) or data.get("use", "sig") != "sig" or "kid" not in data:
            continue
        try:
            key = jwt.PyJWK(data)
        except jwt.PyJWTError as error:
            # A kind of key that this library does not know must not hide the others.
            _log.info("ignored a key of %s: %s", issuer, type(error).__name__)
            continue
        if key.algorithm_name in ALGORITHMS:
            found[str(data["kid"])] = key
    return found


def _document(url: str) -> dict[str, Any]:
    require_safe_url(url)
    with request("GET", url, timeout_s=_TIMEOUT_S, follow_redirects=True) as answer:
        # A redirect must not lead where the first address may not.
        for step in (*answer.history, answer):
            require_safe_url(str(step.url))
        answer.raise_for_status()
        content = bytearray()
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > _MAX_DOCUMENT:
                raise ValueError(f"{url} is longer than {_MAX_DOCUMENT} bytes")
    document = json.loads(content)
    if not isinstance(document, dict):
        raise ValueError(f"{url} is not a JSON object")
    return document
