"""Lists and the page go over the wire compressed; what is compressed already, streams and secrets
do not.
"""

import re

from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# JPEG and PNG tiles, zips and event streams are among starlette's own.
_NOT_SMALLER = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES,
    "application/dicom",
    "application/octet-stream",
    "application/pdf",
    "application/vnd.apache.parquet",
)
# Level 9 costs three times as much for 2 % less.
_LEVEL = 5
_SMALLEST_BYTES = 1000


class Compression:
    """gzip for whoever accepts it.

    The length of a compressed answer that holds a secret beside what a stranger chose tells of the
    secret (BREACH, 2013). Keys and sessions are the only secrets in answers; they stay as they are.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._plain = app
        self._compressed = GZipMiddleware(
            app, _SMALLEST_BYTES, _LEVEL, exclude_content_types=_NOT_SMALLER
        )
        self._secret = re.compile(rf"/login|{prefix}/(session|keys)(/.*)?")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_http = scope["type"] == "http"
        if not is_http or self._secret.fullmatch(scope["path"]):
            await self._plain(scope, receive, send)
        else:
            await self._compressed(scope, receive, send)
