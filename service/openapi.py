"""The OpenAPI document: what every endpoint may answer besides its success, said once for all.

Endpoints say what they give and take. Refusals are alike everywhere, and so are kinds of files;
they are filled in here, so that a generated client knows each status it may meet.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from service import errors
from service.auth.rules import RULES, Role
from service.errors import PROBLEM_JSON, status_of
from wsi.errors import ChangedSlideError, JobError, WsiError

_Endpoint = tuple[str, str]


class Problem(BaseModel):
    """A problem document (RFC 9457). ``kind`` is stable; ``detail`` is for people."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str
    title: str
    status: int
    detail: str
    kind: str


class _InvalidError(WsiError):
    """The request is not as described here, or what it asks for cannot be done."""


# Refusals of an endpoint's own, beside those that all have.
_REFUSALS: Mapping[_Endpoint, tuple[type[WsiError], ...]] = {
    ("POST", "/slides"): (errors.DiskFullError, errors.NotOursError),
    ("POST", "/slides/registrations"): (ChangedSlideError,),
    ("GET", "/slides/{slide_id}/thumbnail.jpg"): (ChangedSlideError,),
    ("GET", "/slides/{slide_id}/slide.dzi"): (ChangedSlideError,),
    ("GET", "/slides/{slide_id}/slide_files/{level}/{column}_{row}.jpeg"): (ChangedSlideError,),
    ("GET", "/slides/{slide_id}/associated"): (ChangedSlideError,),
    ("GET", "/slides/{slide_id}/associated/{name}.jpg"): (ChangedSlideError,),
    ("GET", "/slides/{slide_id}/report.pdf"): (ChangedSlideError,),
    ("POST", "/jobs"): (ChangedSlideError,),
    ("GET", "/jobs/{job_id}/heatmaps/{kind}.dcm"): (ChangedSlideError,),
    ("DELETE", "/slides/{slide_id}"): (errors.BusyError, errors.SignedError),
    ("POST", "/slides/{slide_id}/redact"): (errors.BusyError, errors.DiskFullError),
    ("PUT", "/slides/{slide_id}/review"): (errors.SignedError,),
    ("PUT", "/slides/{slide_id}/annotations/{annotation_id}"): (errors.SignedError,),
    ("DELETE", "/slides/{slide_id}/annotations/{annotation_id}"): (errors.SignedError,),
    ("GET", "/slides/{slide_id}/annotations.geojson"): (ChangedSlideError,),
    ("POST", "/slides/{slide_id}/annotations.geojson"): (errors.SignedError, ChangedSlideError),
    ("POST", "/uploads"): (errors.TusVersionError, errors.DiskFullError),
    ("DELETE", "/uploads/{upload_id}"): (errors.TusVersionError, errors.UploadBusyError),
    ("PATCH", "/uploads/{upload_id}"): (
        errors.TusVersionError,
        errors.OffsetError,
        errors.UploadBusyError,
        errors.ChecksumError,
        errors.DiskFullError,
        errors.NotOursError,
    ),
    ("POST", "/jobs/{job_id}/cancel"): (JobError,),
    ("GET", "/jobs/{job_id}/result"): (errors.NotFinishedError,),
    ("GET", "/jobs/{job_id}/hotspots.geojson"): (errors.NotFinishedError, ChangedSlideError),
    ("GET", "/jobs/{job_id}/heatmaps/{kind}/{class_name}.png"): (errors.NotFinishedError,),
    ("GET", "/jobs/{job_id}/heatmaps/{kind}/{class_name}/overlay.png"): (
        errors.NotFinishedError,
        ChangedSlideError,
    ),
}

# What these endings of a path mean. What is named so can be asked for by its ETag.
_FILES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".dzi": "application/xml",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".geojson": "application/geo+json",
    "/events": "text/event-stream",
}
_CACHED = (".jpg", ".jpeg", ".png", ".dzi", "/review")
# The second time, the slide is there already.
_OR_200 = ("/slides", "/slides/registrations")


def install_openapi(app: FastAPI, prefix: str) -> None:
    """Make ``app.openapi()`` tell all of it. Paths below ``prefix`` are the API."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _complete(operation, (method.upper(), path.removeprefix(prefix)))
            components = document.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
            # FastAPI's own shape of a 422, which this service does not use.
            for unused in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(unused, None)
            components["securitySchemes"] = {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key (wsk_...), or a token of the installation's provider.",
                }
            }
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], endpoint: _Endpoint) -> None:
    method, path = endpoint
    responses = operation["responses"]
    if method == "GET":
        _name_files(responses, path)
    if method == "GET" and path.endswith(_CACHED):
        responses["304"] = {"description": "What the client has is still right."}
    if method == "POST" and path in _OR_200:
        responses["200"] = {**responses["201"], "description": "It was here already."}
    for error in _refusals(operation, endpoint):
        _add_refusal(responses, str(status_of(error)), error)
    if RULES.get(endpoint, Role.ADMIN) > Role.PUBLIC:
        operation["security"] = [{"bearer": []}]


def _name_files(responses: dict[str, Any], path: str) -> None:
    kind = next((kind for ending, kind in _FILES.items() if path.endswith(ending)), None)
    if kind is not None and "200" in responses:
        content: dict[str, Any] = {}
        if kind.endswith("json"):
            content = {"schema": {"type": "object"}}
        elif not kind.startswith("text/"):
            content = {"schema": {"type": "string", "format": "binary"}}
        responses["200"]["content"] = {kind: content}


def _refusals(operation: Mapping[str, Any], endpoint: _Endpoint) -> Iterable[type[WsiError]]:
    """What an endpoint may refuse with, the general ones first."""
    yield errors.ForbiddenError
    yield errors.TooLargeError
    yield _InvalidError
    yield errors.ProviderAwayError
    if RULES.get(endpoint) is not Role.PUBLIC or "session" in endpoint[1]:
        yield errors.UnauthorizedError
    yield errors.TooManyRequestsError
    if "{" in endpoint[1] or "requestBody" in operation:
        yield errors.NotFoundError
    if "requestBody" in operation or endpoint[1].startswith("/uploads"):
        yield errors.BadRequestError
    if "if-match" in (item["name"].lower() for item in operation.get("parameters", ())):
        yield errors.StaleError
        yield errors.PreconditionMissingError
    yield from _REFUSALS.get(endpoint, ())


def _add_refusal(responses: dict[str, Any], status: str, error: type[Exception]) -> None:
    text = (error.__doc__ or "").strip().split("\n")[0]
    before = responses.get(status, {}).get("description", "")
    known = PROBLEM_JSON in responses.get(status, {}).get("content", {})
    responses[status] = {
        "description": f"{before} {text}".strip() if known else text,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
