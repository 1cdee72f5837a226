"""What goes over the wire compressed, and what does not."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.settings import Settings
from tests.support.apps import app_for
from tests.unit.service.conftest import upload, work_off, write_slide
from tests.unit.service.test_access import bearer, context_of

GZIP = {"Accept-Encoding": "gzip"}


@pytest.fixture
def slide_id(client: TestClient, slide_file: Path) -> str:
    return str(upload(client, slide_file)["id"])


def raw(client: TestClient, url: str, **headers: str) -> tuple[str | None, bytes]:
    """Encoding and bytes as they come over the wire."""
    with client.stream("GET", url, headers={**GZIP, **headers}) as answer:
        assert answer.status_code == 200
        return answer.headers.get("content-encoding"), b"".join(answer.iter_raw())


def test_a_list_is_a_fraction_of_its_size_and_the_same(client: TestClient, tmp_path: Path) -> None:
    for number in range(8):
        upload(client, write_slide(tmp_path / f"case-{number}.tif", seed=number))
    encoding, sent = raw(client, "slides")
    plain = client.get("slides", headers={"Accept-Encoding": "identity"})
    assert encoding == "gzip"
    assert gzip.decompress(sent) == plain.content
    assert len(sent) < len(plain.content) / 3
    assert "Accept-Encoding" in plain.headers["vary"]


@pytest.mark.parametrize("path", ["slides/{}/thumbnail.jpg", "slides/{}/report.pdf"])
def test_what_is_compressed_already_stays_as_it_is(
    client: TestClient, slide_id: str, path: str
) -> None:
    encoding, _ = raw(client, path.format(slide_id))
    assert encoding is None


def test_event_streams_are_not_held_back(client: TestClient, slide_id: str) -> None:
    context = context_of(client)
    job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()
    work_off(context)
    encoding, sent = raw(client, f"jobs/{job['id']}/events")
    assert encoding is None
    assert sent.startswith(b"event: job")


@pytest.fixture
def guarded(settings: Settings) -> Iterator[TestClient]:
    app = app_for(settings.model_copy(update={"auth": "on"}))
    with TestClient(app, base_url="http://localhost/api/v1/") as client:
        yield client


def test_answers_with_secrets_are_not_compressed(guarded: TestClient) -> None:
    context = context_of(guarded)
    from service.auth.roles import Role

    _, secret = context.keys.make("admin", Role.ADMIN)
    for number in range(12):
        context.keys.make(f"key {number}", Role.VIEWER)
    encoding, sent = raw(guarded, "keys", **bearer(secret))
    assert len(sent) > 1000
    assert encoding is None
