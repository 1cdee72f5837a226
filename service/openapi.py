"""The OpenAPI document: what follows from an endpoint's own description is filled in here."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from service import errors
from service.responses import InvalidError, Problem, Responses, refusals
from wsi.errors import WsiError

GENERAL_REFUSALS: Responses = refusals(
    errors.ForbiddenError,
    errors.TooLargeError,
    InvalidError,
    errors.IdentityProviderUnavailableError,
    errors.TooManyRequestsError,
)
"""What every endpoint may refuse with."""


def install_openapi(app: FastAPI) -> None:
    """Make ``app.openapi()`` complete."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    implied = refusals(*_implied(path, operation))
                    for status, response in implied.items():
                        operation["responses"].setdefault(str(status), response)
            document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _implied(path: str, operation: Mapping[str, Any]) -> Iterator[type[WsiError]]:
    """The refusals that follow from what an operation asks for."""
    if "security" in operation:
        yield errors.UnauthorizedError
    if "{" in path or "requestBody" in operation:
        yield errors.NotFoundError
    if "requestBody" in operation:
        yield errors.BadRequestError
    if "if-match" in (item["name"].lower() for item in operation.get("parameters", ())):
        yield errors.StaleError
        yield errors.PreconditionMissingError
