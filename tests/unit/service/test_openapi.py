"""The OpenAPI document, and what is asked for beside it."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_refusal_is_a_problem_document(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        responses = operation["responses"]
        assert {"403", "422", "429", "503"} <= set(responses), (method, path)
        for status, response in responses.items():
            if status >= "400" and not path.endswith("/ready"):
                assert list(response["content"]) == ["application/problem+json"], (path, status)
                assert response["description"]


def test_what_asks_for_a_key_says_so(document: dict[str, Any]) -> None:
    named = {path for _, path, operation in operations(document) if "security" in operation}
    assert "/api/v1/slides" in named
    assert "/api/v1/health" not in named
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_a_generated_client_has_a_name_for_everything(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in document["components"]["schemas"]


def test_files_are_described_as_what_they_are(document: dict[str, Any]) -> None:
    tile = document["paths"]["/api/v1/slides/{slide_id}/slide_files/{level}/{column}_{row}.jpeg"]
    assert list(tile["get"]["responses"]["200"]["content"]) == ["image/jpeg"]
    assert "304" in tile["get"]["responses"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "nothing", 404, None),
        ("GET", "", 404, None),
        ("PUT", "slides", 405, "GET, POST"),
        ("PUT", "slides/registrations", 405, "POST"),
        ("POST", "health", 405, "GET"),
    ],
)
def test_what_is_no_endpoint_is_a_problem_that_says_what_there_is(
    client: TestClient, method: str, path: str, status: int, allow: str | None
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("allow") == allow
