"""Logs and traces of real processes: ids from request to worker, and no secret anywhere."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.deployment import (
    Deployment,
    add_toy,
    deployment,
    submit,
    upload,
    wait_status,
    wait_until,
)
from tests.unit.service.conftest import write_slide

SECRET = "wsk_" + "s3cret" * 6
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1LTE3In0.c2lnbmF0dXJlc2lnbmF0dXJl"


@dataclass
class Collector:
    """An OTLP receiver: the spans that were sent, with their service."""

    url: str
    spans: list[dict[str, Any]] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {item.key: item.value.string_value for item in group.resource.attributes}
            for scope in group.scope_spans:
                for span in scope.spans:
                    attributes = {item.key: item.value for item in span.attributes}
                    self.spans.append(
                        {
                            "service": service["service.name"],
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "failed": span.status.code == 2,
                            "text": str(span),
                            "job": attributes["job.id"].string_value
                            if "job.id" in attributes
                            else "",
                        }
                    )

    def of_job(self, job: str) -> dict[str, Any] | None:
        """The worker's span of a job, once it has come."""
        return next((span for span in self.spans if span["job"] == job), None)


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path == "/v1/traces":
                found.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the output is the tests'."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "broker", ["embedded", pytest.param("rabbitmq", marks=pytest.mark.services)]
)
def test_a_workers_span_is_a_child_of_the_request_that_asked(tmp_path: Path, broker: str) -> None:
    slide = write_slide(tmp_path / "Jane Doe.tif")
    with (
        collector() as traces,
        deployment(
            tmp_path / "data",
            broker=broker,
            traced=True,
            WSI_LOG_FORMAT="json",
            OTEL_EXPORTER_OTLP_ENDPOINT=traces.url,
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as place,
    ):
        add_toy(place)
        _, client = place.start_api()
        place.start("workers")
        trace = "0af7651916cd43dd8448eb211c80319c"
        client.headers["traceparent"] = f"00-{trace}-b7ad6b7169203331-01"
        client.headers["X-Request-ID"] = "from-the-clinic"
        job = submit(client, str(upload(client, slide)["id"]))
        assert wait_status(client, job, "SUCCEEDED", "FAILED")["status"] == "SUCCEEDED"
        done = wait_until(lambda: traces.of_job(job), "the worker's span")
        asked = wait_until(
            lambda: [span for span in traces.spans if span["id"] == done["parent"]],
            "the request's span",
        )[0]
        assert (done["service"], done["name"]) == ("wholeslide-worker", "job patch")
        assert (asked["service"], asked["name"]) == ("wholeslide-api", "POST /api/v1/jobs")
        assert (done["trace"], asked["trace"]) == (trace, trace)
        assert asked["parent"] == "b7ad6b7169203331"
        assert not done["failed"]
        assert not any(
            "/health" in span["name"] or "/ready" in span["name"] for span in traces.spans
        )
        assert not any("Jane" in span["text"] for span in traces.spans)
        lines = log_lines(place)
        assert_ids(lines, job)


def log_lines(place: Deployment) -> list[dict[str, Any]]:
    """Every line of every log; each must be JSON with both ids, be they null."""
    lines: list[dict[str, Any]] = []
    for path in place.folder.glob("*.log"):
        for text in path.read_text().splitlines():
            if text.endswith("calling self.run()"):
                # Of Celery's pool, before any of our code runs in the new process.
                continue
            line = json.loads(text)
            assert {"request_id", "job_id", "trace_id", "message", "level"} <= set(line)
            lines.append(line)
    return lines


def assert_ids(lines: list[dict[str, Any]], job: str) -> None:
    about_job = [line for line in lines if job in line["message"]]
    assert len(about_job) >= 4
    assert {line["job_id"] for line in about_job} == {job}
    requests = [line for line in lines if line["logger"] == "service.requests"]
    assert all(line["request_id"] for line in requests)
    queued = next(line for line in lines if line["message"] == f"job {job} is queued")
    assert queued["request_id"] == "from-the-clinic"
    took = next(line for line in lines if "took" in line["message"])
    assert took["trace_id"] == queued["trace_id"] is not None


def test_no_secret_that_is_sent_reaches_a_log(tmp_path: Path) -> None:
    with deployment(
        tmp_path / "data", WSI_AUTH="on", WSI_SIGN_IN_LIMIT="", WSI_WEBHOOK_SECRET=SECRET
    ) as place:
        _, client = place.start_api()
        root = str(client.base_url).removesuffix("/api/v1/")
        send(client, root)
        first = next(
            line for line in place.logs().splitlines() if line.startswith("The first key")
        ).split()[-1]
        assert client.get("keys", headers={"Authorization": f"Bearer {first}"}).status_code == 200
        client.post("session", json={"key": first})
        logged = "\n".join(
            line for line in place.logs().splitlines() if not line.startswith("The first key")
        )
    assert "GET /api/v1/slides 401" in logged
    for secret in (SECRET, TOKEN, first, client.cookies["wsi_session"]):
        assert secret not in logged
        assert secret[8:40] not in logged


def send(client: httpx.Client, root: str) -> None:
    """Secrets in every place where a client might put one."""
    for secret in (SECRET, TOKEN):
        client.get("slides", headers={"Authorization": f"Bearer {secret}"})
        client.get("slides", headers={"Authorization": secret})
        client.get("slides", headers={"Cookie": f"wsi_session={secret}"})
        client.get("slides", headers={"X-Request-ID": f"{secret}"})
        client.get("slides", params={"key": secret})
        client.get(f"slides/{secret}")
        client.post("session", json={"key": secret})
        client.post("session", content=f'{{"key": "{secret}"')
        client.post("session", json={"secret": secret})
        client.post(f"{root}/login", data={"key": secret})
        client.post("jobs", json={"slide_id": secret, "pipeline": secret})


def test_a_collector_without_the_sdk_is_said_at_the_start(tmp_path: Path) -> None:
    # Shadows the SDK as if it were not installed.
    shadow = tmp_path / "shadow" / "sitecustomize.py"
    shadow.parent.mkdir()
    shadow.write_text("import sys\nsys.modules['opentelemetry.sdk.trace'] = None\n")
    with deployment(
        tmp_path / "data",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        PYTHONPATH=str(shadow.parent),
    ) as place:
        api = place.start("service")
        assert api.wait(60) == 2
        assert "pip install 'wholeslide[otel]'" in place.logs()
