"""What every answer gets and every request must keep to. Plain ASGI: streams stay streams."""

import logging
import re
import time
import uuid
from collections.abc import Mapping
from http import HTTPStatus

import anyio.to_thread
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.auth.authenticator import AuditEntry
from service.errors import problem
from wsi.errors import JobStoreUnavailableError
from wsi.logs import about_request

_log = logging.getLogger("service.requests")

SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": with it a browser sends a form's Origin as "null", even to its own site.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    # The viewer sets styles from scripts and draws pictures out of memory.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class SecurityHeaders:
    """Adds the security headers and a request id to every answer, and logs the request."""

    def __init__(self, app: ASGIApp, open_paths: tuple[str, ...] = ()) -> None:
        self._app = app
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        status, begun = 0, time.monotonic()

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    # The documentation of the API loads its viewer from elsewhere.
                    if name != "Content-Security-Policy" or scope["path"] not in self._open_paths:
                        headers.setdefault(name, value)
            await send(message)

        with about_request(request_id):
            try:
                await self._app(scope, receive, dressed)
            finally:
                _log.info(
                    "%s %s %d %.3fs",
                    scope["method"],
                    scope["path"],
                    status,
                    time.monotonic() - begun,
                    extra={
                        "request_id": request_id,
                        "job_id": scope.get("path_params", {}).get("job_id"),
                    },
                )


class SignInFirst:
    """Sends a browser without a session from the page to the sign-in form.

    A courtesy and no lock: the page holds no data, and the API asks for the key itself.
    """

    def __init__(self, app: ASGIApp, cookie: str) -> None:
        self._app = app
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        on_page = scope["type"] == "http" and scope["path"] == "/"
        # A proxy that signs users in sends their tokens along.
        known = on_page and (
            self._cookie in Request(scope).cookies or "authorization" in Headers(scope=scope)
        )
        if on_page and not known:
            await RedirectResponse("/login", status_code=303)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class AuditTrail:
    """Completes the audit entry of a request once the status of its answer is known."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            entry = scope.get("state", {}).get("audit")
            # Not of a request too many: the log would grow as fast as somebody can send.
            if entry is not None and status != HTTPStatus.TOO_MANY_REQUESTS:
                await self._write(entry, status)

    async def _write(self, entry: AuditEntry, status: int) -> None:
        try:
            await anyio.to_thread.run_sync(entry.write, status)
        except (JobStoreUnavailableError, SQLAlchemyError) as error:
            # The answer is out already; what the log cannot hold must at least be seen.
            _log.error(
                "audit entry lost: %s by %s (%s): %s", entry.action, entry.who, status, error
            )


class BodyLimit:
    """Refuses long bodies where no slide is expected: JSON is read into memory whole."""

    def __init__(self, app: ASGIApp, max_bytes: int, uploads: re.Pattern[str]) -> None:
        self._app = app
        self._max = max_bytes
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._uploads.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._max:
            await self._refusal()(scope, receive, send)
            return
        # Without a declared length the body is gathered here, where it can be counted.
        if "transfer-encoding" in Headers(scope=scope):
            gathered = bytearray()
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    return
                gathered += message.get("body", b"")
                more = message.get("more_body", False)
                if len(gathered) > self._max:
                    await self._refusal()(scope, receive, send)
                    return
            body: Message | None = {"type": "http.request", "body": bytes(gathered)}
            original = receive

            async def once() -> Message:
                nonlocal body
                if body is not None:
                    message, body = body, None
                    return message
                return await original()

            receive = once
        await self._app(scope, receive, send)

    def _refusal(self) -> ASGIApp:
        return problem(413, "too_large", f"the body is over the limit of {self._max} bytes")
