"""Text that a database or a file system cannot take is refused, on SQLite and PostgreSQL."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service.settings import Settings
from tests.integration.services import postgres_url
from tests.support.apps import app_for
from tests.unit.service.test_access import context_of

STRANGE = [
    ("GET", "slides/%00", None),
    ("GET", "jobs?slide_id=%00", None),
    ("POST", "jobs/%00/cancel", None),
    ("POST", "keys", {"name": "a\x00b", "role": "viewer"}),
    ("POST", "keys", {"name": "\ud800", "role": "viewer"}),
    ("POST", "keys", {"name": "a", "role": "viewer", "\ud800": 1}),
    ("PUT", "slides/x/review", {"diagnosis": "\ud800", "status": "\ud800"}),
    ("POST", "session", {"key": "\ud800"}),
    ("POST", "jobs", {"slide_id": "\x00", "pipeline": "patch"}),
    ("POST", "batches", {"name": "\x00", "slide_ids": ["\x00"], "pipelines": ["patch"]}),
    ("POST", "slides/registrations", {"path": "/a\x00b"}),
    ("POST", "slides/registrations", {"path": "/" + "x" * 4000}),
    ("POST", "batches/folder", {"path": "\x00", "pipelines": ["patch"]}),
]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def either(settings: Settings, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    def client(settings: Settings) -> TestClient:
        app = app_for(settings)
        base = "http://localhost/api/v1/"
        return TestClient(app, base_url=base, raise_server_exceptions=False)

    if request.param == "sqlite":
        with client(settings) as made:
            yield made
        return
    with (
        postgres_url() as url,
        client(settings.model_copy(update={"database_url": url})) as made,
    ):
        yield made


def test_text_that_cannot_be_stored_is_refused_and_nothing_breaks(either: TestClient) -> None:
    for method, path, body in STRANGE:
        sent = json.dumps(body) if body else None
        answer = either.request(
            method, path, content=sent, headers={"Content-Type": "application/json"}
        )
        # SQLite stores a NUL; a key, a batch of that name is then no error.
        assert answer.status_code < 500, (method, path, body, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"


def test_no_request_keeps_itself_out_of_the_audit_log(either: TestClient) -> None:
    either.post("jobs/%00/cancel")
    (entry,) = context_of(either).audit.page(limit=10, offset=0)
    assert (entry.action, entry.target) == ("POST /jobs/{job_id}/cancel", "job_id=\ufffd")
