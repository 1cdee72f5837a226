"""Errors as problem details (RFC 9457): the one table from exception to HTTP status."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from wsi import errors

_log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"


class NotFoundError(errors.WsiError):
    """Nothing of this id is here."""


class TooLargeError(errors.WsiError):
    """What was sent is larger than this service takes."""


class DiskFullError(errors.WsiError):
    """The disk of the service has no room for it."""


class BadRequestError(errors.WsiError):
    """The request cannot be read."""


class ForbiddenPathError(errors.WsiError):
    """A path outside the folders that may be registered."""


class TusVersionError(errors.WsiError):
    """Another version of the upload protocol."""


class OffsetError(errors.WsiError):
    """The next bytes of an upload do not go where the client thinks."""


class UploadBusyError(errors.WsiError):
    """Two requests write to one upload."""


class ChecksumError(errors.WsiError):
    """Bytes of an upload were changed on their way."""


class UnauthorizedError(errors.WsiError):
    """No key, or none that is valid."""


class ProviderAwayError(errors.WsiError):
    """Who vouches for tokens does not answer."""


class TooManyRequestsError(errors.WsiError):
    """A caller that makes more requests than allowed."""

    def __init__(self, message: str, wait_s: int) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class ForbiddenError(errors.WsiError):
    """Somebody who may not do this."""


class BusyError(errors.WsiError):
    """Jobs are at work on it."""


class NotOursError(errors.WsiError):
    """A file that was registered where it lies: this service does not change it."""


class NotFinishedError(errors.WsiError):
    """The job has no result (yet)."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class StaleError(errors.WsiError):
    """Somebody else saved a newer version of the same thing."""


class PreconditionMissingError(errors.WsiError):
    """A save that does not say which version it was made from."""


class SignedError(errors.WsiError):
    """What is signed is not changed; it can be amended."""


class ReviewError(errors.WsiError):
    """A review lacks what its state asks for."""


# The first line that fits decides, so children stand before their parents.
STATUS: Mapping[type[Exception], tuple[int, str]] = {
    NotFoundError: (HTTPStatus.NOT_FOUND, "not_found"),
    TooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"),
    DiskFullError: (HTTPStatus.INSUFFICIENT_STORAGE, "disk_full"),
    BadRequestError: (HTTPStatus.BAD_REQUEST, "bad_request"),
    ForbiddenPathError: (HTTPStatus.FORBIDDEN, "forbidden_path"),
    TusVersionError: (HTTPStatus.PRECONDITION_FAILED, "tus_version"),
    OffsetError: (HTTPStatus.CONFLICT, "offset"),
    UploadBusyError: (HTTPStatus.LOCKED, "upload_busy"),
    # The upload protocol's own status, which HTTP knows nothing of.
    ChecksumError: (460, "checksum"),
    UnauthorizedError: (HTTPStatus.UNAUTHORIZED, "unauthorized"),
    ProviderAwayError: (HTTPStatus.SERVICE_UNAVAILABLE, "provider_away"),
    TooManyRequestsError: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests"),
    ForbiddenError: (HTTPStatus.FORBIDDEN, "forbidden"),
    BusyError: (HTTPStatus.CONFLICT, "busy"),
    NotOursError: (HTTPStatus.CONFLICT, "not_ours"),
    NotFinishedError: (HTTPStatus.CONFLICT, "not_finished"),
    StaleError: (HTTPStatus.PRECONDITION_FAILED, "stale"),
    PreconditionMissingError: (HTTPStatus.PRECONDITION_REQUIRED, "precondition_required"),
    SignedError: (HTTPStatus.CONFLICT, "signed"),
    ReviewError: (HTTPStatus.UNPROCESSABLE_ENTITY, "review"),
    errors.AnnotationError: (HTTPStatus.UNPROCESSABLE_ENTITY, "annotation"),
    errors.SlideAwayError: (HTTPStatus.SERVICE_UNAVAILABLE, "slide_away"),
    errors.ChangedSlideError: (HTTPStatus.CONFLICT, "changed"),
    errors.SlideError: (HTTPStatus.UNPROCESSABLE_ENTITY, "slide_error"),
    errors.JobNotFoundError: (HTTPStatus.NOT_FOUND, "not_found"),
    errors.JobStoreUnavailableError: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    errors.JobError: (HTTPStatus.CONFLICT, "job"),
    errors.ArtifactMissingError: (HTTPStatus.NOT_FOUND, "not_found"),
    errors.StoreError: (HTTPStatus.INTERNAL_SERVER_ERROR, "store"),
    errors.ModelError: (HTTPStatus.UNPROCESSABLE_ENTITY, "model"),
    errors.MissingExtraError: (HTTPStatus.NOT_IMPLEMENTED, "not_installed"),
    errors.ConfigError: (HTTPStatus.UNPROCESSABLE_ENTITY, "config"),
    errors.WsiError: (HTTPStatus.UNPROCESSABLE_ENTITY, "error"),
    OperationalError: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    InterfaceError: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    # A NUL in a text, or a number without end: PostgreSQL takes neither.
    DataError: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
}


_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {460: "Checksum Mismatch"}


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem document."""
    for kind in STATUS:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unknown)


def problem(
    status: int, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A problem document."""
    body = {
        "type": f"urn:wholeslide:problem:{kind}",
        "title": _PHRASES[status],
        "status": int(status),
        "detail": detail,
        "kind": kind,
        **more,
    }
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=PROBLEM_JSON)


def kind_of(error: errors.WsiError) -> str:
    """A stable, machine-readable word for an error."""
    _, kind = next(STATUS[cls] for cls in STATUS if isinstance(error, cls))
    return str(getattr(error, "kind", kind))


def _known(request: Request, error: Exception) -> JSONResponse:
    status, kind = next(STATUS[cls] for cls in STATUS if isinstance(error, cls))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    more = {"slide": error.slide} if isinstance(error, errors.SlideError) else {}
    if isinstance(error, OperationalError | InterfaceError | errors.JobStoreUnavailableError):
        # The driver's text names hosts and statements, which are no business of a client.
        return problem(status, kind, "the database did not answer; try again", headers=_RETRY)
    if isinstance(error, DataError):
        return problem(status, kind, "a text or number in the request cannot be stored")
    headers = _RETRY if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    if isinstance(error, TusVersionError):
        headers = {"Tus-Version": "1.0.0"}
    if isinstance(error, TooManyRequestsError):
        headers = {"Retry-After": str(error.wait_s)}
    if isinstance(error, UnauthorizedError):
        headers = {"WWW-Authenticate": "Bearer"}
    return problem(status, getattr(error, "kind", kind), str(error), headers=headers, **more)


_RETRY = {"Retry-After": "5"}


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = HTTPStatus(error.status_code).name.lower()
    return problem(error.status_code, kind, str(error.detail), headers=error.headers)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    issues = [
        {"where": ".".join(str(part) for part in issue["loc"]), "what": issue["msg"]}
        for issue in error.errors()
    ]
    text = "; ".join(f"{issue['where']}: {issue['what']}" for issue in issues)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", text, errors=issues)


def _unknown(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "something went wrong here; it was logged"
    )
