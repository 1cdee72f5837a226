"""One call: whom it may go to, how it is signed, how it is sent."""

import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.parse import urlsplit

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
    """POST it. Raises ``CallError`` unless the answer is 2xx."""
    request = urllib.request.Request(url, body, dict(fields), method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=_TIMEOUT_S):
            return
    except urllib.error.HTTPError as error:
        error.close()
        raise CallError(f"the receiver answered {error.code}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise CallError(f"{type(error).__name__}: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A receiver that is allowed must not lead to one that is not."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None
