"""One call: whom it may go to, how it is signed, how it is sent."""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

import httpx

from service.outgoing import request
from wsi.errors import ConfigError, WsiError

_TIMEOUT_S = 10.0
_PORTS = {"https": 443, "http": 80}
TIMESTAMP = "X-Wholeslide-Timestamp"
SIGNATURE = "X-Wholeslide-Signature"
DELIVERY = "X-Wholeslide-Delivery"


class CallError(WsiError):
    """The receiver did not take the call."""


def require_allowed(url: str, hosts: Collection[str]) -> None:
    """Refuse an address that nobody has allowed: the service sits inside a hospital's network.

    Args:
        url: where to call.
        hosts: ``name`` (on the usual port) or ``name:port``.

    Raises:
        ConfigError: why it may not be called.
    """
    if not hosts:
        raise ConfigError("webhooks are off: set WSI_WEBHOOK_HOSTS and WSI_WEBHOOK_SECRET")
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise ConfigError("callback_url must be an https:// or http:// address") from None
    if parts.username or parts.password:
        raise ConfigError("callback_url must not contain a user name or password")
    host = (parts.hostname or "").lower()
    names = {f"{host}:{port}"} | ({host} if port == _PORTS[parts.scheme] else set())
    if names.isdisjoint(allowed.lower() for allowed in hosts):
        raise ConfigError(f"callback_url: {host}:{port} is not among WSI_WEBHOOK_HOSTS")


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256, in hexadecimal, of timestamp, a full stop, and body."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def headers(secret: str, timestamp: str, delivery: str, body: bytes) -> Mapping[str, str]:
    """What a call says of itself."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "wholeslide",
        TIMESTAMP: timestamp,
        SIGNATURE: f"v1={signature(secret, timestamp, body)}",
        DELIVERY: delivery,
    }


def send(url: str, body: bytes, fields: Mapping[str, str]) -> None:
    """POST it. Redirects are not followed: they could lead to a host that is not allowed.

    Raises:
        CallError: there is no answer, or it is not 2xx.
    """
    try:
        with request("POST", url, timeout_s=_TIMEOUT_S, content=body, headers=fields) as answer:
            status, accepted = answer.status_code, answer.is_success
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise CallError(f"{type(error).__name__}: {error}") from error
    if not accepted:
        raise CallError(f"the receiver answered {status}")
