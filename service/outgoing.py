"""Requests that the service itself makes: to the identity provider and to webhooks."""

import ssl
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import httpx


def request(
    method: str, url: str, *, timeout_s: float, **options: Any
) -> AbstractContextManager[httpx.Response]:
    """Send a request; the body of the answer is read only where the caller reads it.

    Args:
        method: such as ``GET``.
        url: where to.
        timeout_s: for connecting and for each read and write.
        options: as of ``httpx.stream``.

    Raises:
        httpx.HTTPError: there is no answer.
        httpx.InvalidURL: ``url`` is not valid.
    """
    return httpx.stream(method, url, timeout=timeout_s, verify=_trusted(), **options)


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    # The authorities that this machine trusts, a hospital's own among them; httpx alone would
    # believe those of certifi only.
    return ssl.create_default_context()
