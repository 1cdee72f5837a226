"""The tus protocol, request by request."""

import base64
import hashlib
import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.context import Context
from service.settings import Settings
from service.uploads.partial import Info, PartialUploads
from tests.unit.slides.svs import write_svs
from wsi.errors import JobStoreUnavailableError

TUS = {"Tus-Resumable": "1.0.0"}


def metadata(**values: str) -> dict[str, str]:
    pairs = (f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())
    return {"Upload-Metadata": ",".join(pairs)}


def create(client: TestClient, length: int, name: str = "a.tif", **more: str) -> str:
    headers = {**TUS, "Upload-Length": str(length), **metadata(filename=name, **more)}
    answer = client.post("uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    assert "GMT" in answer.headers["upload-expires"]
    return "http://localhost" + answer.headers["location"]


def send(client: TestClient, url: str, offset: int, body: Any, **headers: str) -> Any:
    kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.patch(url, content=body, headers={**TUS, **kind, **named})


def offset_of(client: TestClient, url: str) -> int:
    answer = client.head(url, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


def test_a_slide_sent_in_parts_is_taken_in(
    client: TestClient, settings: Settings, slide_file: Path
) -> None:
    content = slide_file.read_bytes()
    url = create(client, len(content), mpp="0.25", force_mpp="true")
    half = len(content) // 2
    first = send(client, url, 0, content[:half])
    assert (first.status_code, first.headers["upload-offset"]) == (204, str(half))
    assert offset_of(client, url) == half
    assert client.get(url).json()["slide_id"] is None
    assert send(client, url, half, content[half:]).status_code == 204
    done = client.get(url).json()
    slide = client.get(f"slides/{done['slide_id']}").json()
    assert slide["sha256"] == hashlib.sha256(content).hexdigest()
    assert (slide["name"], slide["mpp"]) == ("a.tif", 0.25)
    assert offset_of(client, url) == len(content)
    assert not any(path.name == "data" for path in settings.uploads.rglob("*"))


def test_what_is_no_slide_is_refused_at_the_end_and_nothing_kept(
    client: TestClient, settings: Settings
) -> None:
    url = create(client, 9, "notes.svs")
    answer = send(client, url, 0, b"some text")
    assert (answer.status_code, answer.json()["kind"]) == (422, "not_a_slide")
    assert client.head(url, headers=TUS).status_code == 404
    assert list(settings.uploads.iterdir()) == []


def test_labels_are_stripped_where_the_metadata_ask_for_it(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    content = write_svs(tmp_path / "a.svs").read_bytes()
    url = create(client, len(content), "a.svs", strip_labels="true")
    assert send(client, url, 0, content).status_code == 204
    slide = client.get(f"slides/{client.get(url).json()['slide_id']}").json()
    assert slide["sha256"] == hashlib.sha256(content).hexdigest()
    assert slide["stripped_sha256"] not in (None, slide["sha256"])
    assert client.get(f"slides/{slide['id']}/associated").json() == {"names": ["thumbnail"]}
    stored = context.slides.get(slide["id"]).file
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == slide["stripped_sha256"]


def test_a_wish_about_labels_that_cannot_be_read_is_refused_at_once(client: TestClient) -> None:
    headers = {**TUS, "Upload-Length": "9", **metadata(filename="a.svs", strip_labels="perhaps")}
    answer = client.post("uploads", headers=headers)
    assert (answer.status_code, answer.json()["kind"]) == (400, "bad_request")


def test_a_registered_slide_is_not_stripped_through_an_upload(
    client: TestClient, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "share").mkdir()
    path = write_svs(tmp_path / "share" / "a.svs")
    assert client.post("slides/registrations", json={"path": str(path)}).status_code == 201
    content = path.read_bytes()
    url = create(client, len(content), "a.svs", strip_labels="true")
    answer = send(client, url, 0, content)
    assert (answer.status_code, answer.json()["kind"]) == (409, "externally_managed")
    assert client.get(url).status_code == 404
    assert path.read_bytes() == content


def test_an_upload_is_still_whole_after_the_database_was_away_at_its_end(
    client: TestClient, context: Context, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = slide_file.read_bytes()
    url = create(client, len(content))

    def away(slide: object) -> None:
        raise JobStoreUnavailableError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(context.slides, "add", away)
        assert send(client, url, 0, content).status_code == 503
    assert offset_of(client, url) == len(content)
    assert send(client, url, len(content), b"").status_code == 204
    slide = client.get(f"slides/{client.get(url).json()['slide_id']}").json()
    assert slide["sha256"] == hashlib.sha256(content).hexdigest()


def test_bytes_at_the_wrong_place_are_refused(client: TestClient) -> None:
    url = create(client, 100)
    send(client, url, 0, b"x" * 10)
    answer = send(client, url, 5, b"y" * 10)
    assert (answer.status_code, answer.json()["kind"]) == (409, "offset")
    assert offset_of(client, url) == 10


def test_more_bytes_than_announced_are_refused_and_forgotten(client: TestClient) -> None:
    url = create(client, 100)
    send(client, url, 0, b"x" * 10)
    assert send(client, url, 10, b"y" * 200).status_code == 413
    assert offset_of(client, url) == 10


@pytest.mark.parametrize("kind", ["sha1", "sha256", "md5"])
def test_bytes_that_changed_on_their_way_are_forgotten(client: TestClient, kind: str) -> None:
    url = create(client, 100)
    block = b"x" * 10
    digest = base64.b64encode(hashlib.new(kind, block).digest()).decode()
    answer = send(client, url, 0, b"y" * 10, Upload_Checksum=f"{kind} {digest}")
    assert (answer.status_code, answer.json()["kind"]) == (460, "checksum")
    assert offset_of(client, url) == 0
    assert send(client, url, 0, block, Upload_Checksum=f"{kind} {digest}").status_code == 204
    assert offset_of(client, url) == 10


@pytest.mark.parametrize("header", ["crc32 AAAA", "sha1 ***", "sha1"])
def test_an_unknown_checksum_is_a_bad_request(client: TestClient, header: str) -> None:
    url = create(client, 100)
    answer = send(client, url, 0, b"x", Upload_Checksum=header)
    assert answer.status_code in (400, 460)
    assert offset_of(client, url) == 0


def test_an_upload_can_be_given_up(client: TestClient, settings: Settings) -> None:
    url = create(client, 100)
    assert client.delete(url, headers=TUS).status_code == 204
    assert client.head(url, headers=TUS).status_code == 404
    assert list(settings.uploads.iterdir()) == []


def test_two_requests_do_not_write_to_one_upload(client: TestClient, context: Context) -> None:
    url = create(client, 100)
    with context.uploads.get(url.rsplit("/", 1)[1]).locked():
        answer = send(client, url, 0, b"x")
    assert (answer.status_code, answer.json()["kind"]) == (423, "upload_busy")
    assert send(client, url, 0, b"x").status_code == 204


def test_an_upload_that_nobody_goes_on_with_is_removed(settings: Settings) -> None:
    uploads = PartialUploads(settings.uploads, timedelta(hours=1))
    old, new = (uploads.create(Info(length=10, name="a.tif", mpp=None)) for _ in range(2))
    past = time.time() - 2 * 3600
    for path in old.folder.iterdir():
        os.utime(path, (past, past))
    assert uploads.remove_expired() == 1
    assert not old.folder.exists()
    assert new.folder.exists()


def test_the_server_says_what_it_can_do(client: TestClient) -> None:
    answer = client.options("uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    extensions = set(answer.headers["tus-extension"].split(","))
    assert extensions == {"creation", "checksum", "termination", "expiration"}
    assert "sha1" in answer.headers["tus-checksum-algorithm"]


def test_another_version_of_the_protocol_is_refused(client: TestClient) -> None:
    url = create(client, 100)
    for method in ("HEAD", "PATCH", "DELETE"):
        for headers in ({}, {"Tus-Resumable": "0.2.2"}):
            answer = client.request(method, url, headers=headers)
            assert answer.status_code == 412
            assert answer.headers["tus-version"] == "1.0.0"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "-1"}, 422),
        ({"Upload-Length": str(2**60), **metadata(filename="a")}, 413),
        ({"Upload-Length": "10"}, 400),
        ({"Upload-Length": "10", "Upload-Metadata": "filename ***"}, 400),
        ({"Upload-Length": "10", **metadata(filename="a", mpp="x")}, 400),
        ({"Upload-Length": "10", **metadata(filename="../")}, 400),
    ],
)
def test_an_upload_that_cannot_be_is_not_started(
    client: TestClient, settings: Settings, headers: Mapping[str, str], status: int
) -> None:
    assert client.post("uploads", headers={**TUS, **headers}).status_code == status
    assert not settings.uploads.exists() or list(settings.uploads.iterdir()) == []


@pytest.mark.parametrize("upload_id", ["nothing", "..%2F..", "0" * 32])
def test_an_unknown_upload_is_not_found(client: TestClient, upload_id: str) -> None:
    assert client.get(f"uploads/{upload_id}").status_code == 404


def test_a_patch_of_another_kind_is_a_bad_request(client: TestClient) -> None:
    url = create(client, 100)
    wrong = client.patch(url, content=b"x", headers={**TUS, "Upload-Offset": "0"})
    missing = client.patch(
        url, content=b"x", headers={**TUS, "Content-Type": "application/offset+octet-stream"}
    )
    assert (wrong.status_code, missing.status_code) == (400, 400)
