"""Errors as problem details (RFC 9457).

An error of the service carries its status, kind, title and headers on its class. The library's
errors know nothing of HTTP: ``LIBRARY`` gives theirs.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from wsi import errors

_log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
_RETRY = {"Retry-After": "5"}


class ServiceError(errors.WsiError):
    """Root of the errors that the service itself raises.

    Attributes:
        status: HTTP status of the answer.
        kind: a stable, machine-readable word for what is wrong.
        title: of the problem document; the status's own phrase where empty.
        headers: of the answer.
    """

    status: ClassVar[int] = HTTPStatus.UNPROCESSABLE_ENTITY
    kind: str = "error"
    title: ClassVar[str] = ""
    headers: Mapping[str, str] = {}


class NotFoundError(ServiceError):
    """There is nothing with this id."""

    status = HTTPStatus.NOT_FOUND
    kind = "not_found"


class TooLargeError(ServiceError):
    """The request is larger than this service accepts."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    kind = "too_large"


class DiskFullError(ServiceError):
    """The disk of the service is full."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    kind = "disk_full"


class BadRequestError(ServiceError):
    """The request cannot be read."""

    status = HTTPStatus.BAD_REQUEST
    kind = "bad_request"


class ForbiddenPathError(ServiceError):
    """A path outside the folders that may be registered."""

    status = HTTPStatus.FORBIDDEN
    kind = "forbidden_path"


class TusVersionError(ServiceError):
    """Another version of the upload protocol."""

    status = HTTPStatus.PRECONDITION_FAILED
    kind = "tus_version"
    headers: Mapping[str, str] = {"Tus-Version": "1.0.0"}


class OffsetError(ServiceError):
    """The offset is not where the upload stands."""

    status = HTTPStatus.CONFLICT
    kind = "offset"


class UploadBusyError(ServiceError):
    """Another request is writing to this upload."""

    status = HTTPStatus.LOCKED
    kind = "upload_busy"


class ChecksumError(ServiceError):
    """The data does not match its checksum."""

    # The upload protocol's own status, which HTTP knows nothing of.
    status = 460
    kind = "checksum"
    title = "Checksum Mismatch"


class UnauthorizedError(ServiceError):
    """No key, or none that is valid."""

    status = HTTPStatus.UNAUTHORIZED
    kind = "unauthorized"
    headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class IdentityProviderUnavailableError(ServiceError):
    """The identity provider does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    kind = "identity_provider_unavailable"
    headers: Mapping[str, str] = _RETRY


class TooManyRequestsError(ServiceError):
    """The caller makes more requests than allowed.

    Attributes:
        wait_s: seconds after which there is room for another.
    """

    status = HTTPStatus.TOO_MANY_REQUESTS
    kind = "too_many_requests"

    def __init__(self, message: str, wait_s: int) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        self.headers = {"Retry-After": str(wait_s)}


class ForbiddenError(ServiceError):
    """The caller is not allowed to do this."""

    status = HTTPStatus.FORBIDDEN
    kind = "forbidden"


class BusyError(ServiceError):
    """Jobs are using it."""

    status = HTTPStatus.CONFLICT
    kind = "busy"


class ExternallyManagedError(ServiceError):
    """The file was registered in place: this service does not change it."""

    status = HTTPStatus.CONFLICT
    kind = "externally_managed"


class NotFinishedError(ServiceError):
    """The job has no result (yet).

    Attributes:
        kind: why, such as ``job_queued``, or the reason for which the job failed.
    """

    status = HTTPStatus.CONFLICT
    kind = "not_finished"

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class StaleError(ServiceError):
    """Somebody else saved a newer version."""

    status = HTTPStatus.PRECONDITION_FAILED
    kind = "stale"


class PreconditionMissingError(ServiceError):
    """The request does not say which version it changes."""

    status = HTTPStatus.PRECONDITION_REQUIRED
    kind = "precondition_required"


class SignedError(ServiceError):
    """It is signed; it can only be amended."""

    status = HTTPStatus.CONFLICT
    kind = "signed"


class ReviewError(ServiceError):
    """The review lacks what its status needs."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    kind = "review"


LIBRARY: Mapping[type[errors.WsiError], tuple[int, str]] = {
    errors.WsiError: (HTTPStatus.UNPROCESSABLE_ENTITY, "error"),
    errors.AnnotationError: (HTTPStatus.UNPROCESSABLE_ENTITY, "annotation"),
    errors.SlideError: (HTTPStatus.UNPROCESSABLE_ENTITY, "slide_error"),
    errors.SlideUnavailableError: (HTTPStatus.SERVICE_UNAVAILABLE, "slide_unavailable"),
    errors.ChangedSlideError: (HTTPStatus.CONFLICT, "changed"),
    errors.JobError: (HTTPStatus.CONFLICT, "job"),
    errors.JobNotFoundError: (HTTPStatus.NOT_FOUND, "not_found"),
    errors.JobStoreUnavailableError: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    errors.StoreError: (HTTPStatus.INTERNAL_SERVER_ERROR, "store"),
    errors.ArtifactMissingError: (HTTPStatus.NOT_FOUND, "not_found"),
    errors.ModelError: (HTTPStatus.UNPROCESSABLE_ENTITY, "model"),
    errors.ConfigError: (HTTPStatus.UNPROCESSABLE_ENTITY, "config"),
    errors.MissingExtraError: (HTTPStatus.NOT_IMPLEMENTED, "not_installed"),
}
"""Status and kind of the library's errors; a class without a line takes its parent's."""


# For this release: clients that switch on the words of before find them in ``former_kind``.
FORMER_KINDS: Mapping[str, str] = {
    "slide_unavailable": "slide_away",
    "identity_provider_unavailable": "provider_away",
    "externally_managed": "not_ours",
}


def status_of(kind: type[errors.WsiError]) -> int:
    """The HTTP status that errors of this class are answered with."""
    return int(kind.status) if issubclass(kind, ServiceError) else _line(kind)[0]


def kind_of(error: errors.WsiError) -> str:
    """A stable, machine-readable word for an error."""
    return str(getattr(error, "kind", None) or _line(type(error))[1])


def _line(kind: type[errors.WsiError]) -> tuple[int, str]:
    return next(LIBRARY[parent] for parent in kind.__mro__ if parent in LIBRARY)


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem document. The handler of the nearest class answers."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(errors.WsiError, _library_error)
    for kind in (OperationalError, InterfaceError, errors.JobStoreUnavailableError):
        app.add_exception_handler(kind, _database_unavailable)
    app.add_exception_handler(DataError, _data_error)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unknown)


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    title: str = "",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """A problem document."""
    body = {
        "type": f"urn:wholeslide:problem:{kind}",
        "title": title or HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "kind": kind,
        **more,
    }
    if kind in FORMER_KINDS:
        body["former_kind"] = FORMER_KINDS[kind]
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=PROBLEM_JSON)


def _service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    _log_failure(request, error.status, error)
    return problem(error.status, error.kind, str(error), title=error.title, headers=error.headers)


def _library_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.WsiError)
    status = status_of(type(error))
    _log_failure(request, status, error)
    headers = _RETRY if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    slide = getattr(error, "slide", None)
    more = {} if slide is None else {"slide": slide}
    return problem(status, kind_of(error), str(error), headers=headers, **more)


def _database_unavailable(request: Request, error: Exception) -> JSONResponse:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    _log_failure(request, status, error)
    # The driver's text names hosts and statements, which are no business of a client.
    text = "the database did not answer; try again"
    return problem(status, "unavailable", text, headers=_RETRY)


def _data_error(request: Request, error: Exception) -> JSONResponse:
    # A NUL in a text, or a number without end: PostgreSQL takes neither.
    text = "a text or number in the request cannot be stored"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", text)


def _log_failure(request: Request, status: int, error: Exception) -> None:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.url.path, error)


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
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "internal error; it was logged")
