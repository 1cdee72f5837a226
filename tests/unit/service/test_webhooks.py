"""Calls at the end of batches and jobs, to a receiver that is there."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from service.app import create_app
from service.context import Context
from service.settings import Settings
from service.webhooks.call import require_allowed
from tests.support.apps import app_for
from tests.unit.service.conftest import upload, work_off, write_slide
from wsi.errors import ConfigError

SECRET = "shared with the receiver"


@dataclass
class Receiver:
    """A server that answers with the next of ``answers``, then with 204, and keeps what it got."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def wait(self, count: int) -> None:
        wait_until(lambda: len(self.got) >= count)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((dict(self.headers.items()), body))
            self.send_response(found.answers.pop(0) if found.answers else 204)
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(settings: Settings, receiver: Receiver) -> Settings:
    host = receiver.url.split("/")[2]
    more = {
        "webhook_hosts": (host,),
        "webhook_secret": SecretStr(SECRET),
        "webhook_retry_s": 0.05,
        "reconcile_interval_s": 0.05,
    }
    return settings.model_copy(update=more)


def start(client: TestClient, slides: list[str], receiver: Receiver) -> str:
    wish = {"slide_ids": slides, "pipelines": ["patch"], "callback_url": receiver.url}
    answer = client.post("batches", json=wish)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def webhook(client: TestClient, batch_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"batches/{batch_id}").json()["webhook"]
    return found


def test_a_receiver_that_fails_twice_is_called_until_it_answers(
    client: TestClient, context: Context, slide_file: Path, receiver: Receiver
) -> None:
    receiver.answers = [500, 302]
    batch_id = start(client, [str(upload(client, slide_file)["id"]), "nobody"], receiver)
    time.sleep(0.3)
    assert receiver.got == []
    assert webhook(client, batch_id) == {"state": "WAITING", "attempts": 0, "error": None}
    work_off(context)
    receiver.wait(3)
    wait_until(lambda: webhook(client, batch_id)["state"] == "DELIVERED")
    assert webhook(client, batch_id)["attempts"] == 3
    headers, body = receiver.got[2]
    signed = f"{headers['X-Wholeslide-Timestamp']}.".encode() + body
    wanted = "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(headers["X-Wholeslide-Signature"], wanted)
    assert abs(time.time() - int(headers["X-Wholeslide-Timestamp"])) < 60
    assert len({got["X-Wholeslide-Delivery"] for got, _ in receiver.got}) == 1
    told = json.loads(body)
    assert (told["event"], told["id"]) == ("batch.finished", batch_id)
    assert told["counts"] == {"SUCCEEDED": 1, "REFUSED": 1}
    assert slide_file.name not in body.decode()
    # A call that was taken is not made again.
    time.sleep(0.3)
    assert len(receiver.got) == 3


def test_a_restart_loses_no_call(settings: Settings, slide_file: Path, receiver: Receiver) -> None:
    receiver.answers = [503] * 2
    with TestClient(app_for(settings), base_url="http://localhost/api/v1/") as client:
        batch_id = start(client, [str(upload(client, slide_file)["id"])], receiver)
        work_off(client.app.state.context)  # type: ignore[attr-defined]
        receiver.wait(1)
    before = len(receiver.got)
    with TestClient(app_for(settings), base_url="http://localhost/api/v1/") as client:
        wait_until(lambda: webhook(client, batch_id)["state"] == "DELIVERED")
    assert len(receiver.got) == 3 > before


def test_a_job_tells_its_end_and_a_retried_batch_tells_it_again(
    client: TestClient, context: Context, tmp_path: Path, receiver: Receiver
) -> None:
    slide_id = upload(client, write_slide(tmp_path / "a.tif"))["id"]
    wish = {"slide_id": slide_id, "pipeline": "patch", "callback_url": receiver.url}
    job = client.post("jobs", json=wish).json()
    client.post(f"jobs/{job['id']}/cancel")
    receiver.wait(1)
    told = json.loads(receiver.got[0][1])
    assert (told["event"], told["id"], told["status"]) == ("job.finished", job["id"], "CANCELLED")
    batch_id = start(client, [str(slide_id)], receiver)
    claimed = context.jobs.claim("w", lease_s=60)
    assert claimed is not None
    context.jobs.fail(claimed.id, 1, kind="x", reason="y")
    receiver.wait(2)
    wait_until(lambda: webhook(client, batch_id)["state"] == "DELIVERED")
    client.post(f"batches/{batch_id}/retry")
    assert webhook(client, batch_id)["state"] == "WAITING"
    work_off(context)
    receiver.wait(3)
    assert json.loads(receiver.got[2][1])["counts"] == {"SUCCEEDED": 1}


def test_a_receiver_that_never_answers_is_given_up(
    client: TestClient,
    context: Context,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.webhooks.caller._MAX_ATTEMPTS", 2)
    receiver.answers = [500] * 9
    batch_id = start(client, ["nobody"], receiver)
    wait_until(lambda: webhook(client, batch_id)["state"] == "GIVEN_UP")
    assert webhook(client, batch_id)["error"] == "the receiver answered 500"
    assert len(receiver.got) == 2


def test_nobody_is_called_who_is_not_allowed(
    client: TestClient, slide_file: Path, receiver: Receiver
) -> None:
    slide_id = upload(client, slide_file)["id"]
    for url in ("http://169.254.169.254/latest", "http://127.0.0.1:5432/", "file:///etc/passwd"):
        for path, wish in (
            ("batches", {"slide_ids": [slide_id], "pipelines": ["patch"]}),
            ("jobs", {"slide_id": slide_id, "pipeline": "patch"}),
        ):
            answer = client.post(path, json={**wish, "callback_url": url})
            assert (answer.status_code, answer.json()["kind"]) == (422, "config"), url
    assert client.get("jobs").json()["total"] == 0


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://lis.example/hook", True),
        ("https://LIS.example:443/hook", True),
        ("http://lis.example/hook", True),
        ("https://lis.example:8443/hook", False),
        ("https://ris.example:8443/hook", True),
        ("https://ris.example/hook", False),
        ("https://lis.example.evil.example/", False),
        ("https://evil.example/?lis.example", False),
        ("https://evil.example#@lis.example/", False),
        ("https://me:secret@lis.example/", False),
        ("https://lis.example:x/", False),
        ("gopher://lis.example/", False),
        ("//lis.example/", False),
        ("", False),
    ],
)
def test_an_address_is_allowed_by_host_and_port(url: str, allowed: bool) -> None:
    hosts = ("lis.example", "ris.example:8443")
    if allowed:
        require_allowed(url, hosts)
    else:
        with pytest.raises(ConfigError, match="callback_url"):
            require_allowed(url, hosts)


def test_webhooks_need_hosts_and_a_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="webhooks are off"):
        require_allowed("https://lis.example/", ())
    with pytest.raises(ConfigError, match="WSI_WEBHOOK_SECRET"):
        create_app(Settings(data_dir=tmp_path, webhook_hosts=("lis.example",)))
