"""Schemathesis against the whole API: each endpoint's own description decides what is sent.

``WSI_FUZZ_EXAMPLES`` random requests per endpoint; where it is set, as ``make test-long`` sets it,
the systematic ones (each limit of each parameter, missed by one) are sent as well.
"""

import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from service.app import PREFIX, create_app
from service.auth.roles import Role
from service.context import Context
from service.settings import Settings
from tests.integration.deployment import free_port, wait_until
from tests.integration.toy_pipeline import write_bundle
from tests.unit.service.conftest import work_off, write_slide

EXAMPLES = int(os.environ.get("WSI_FUZZ_EXAMPLES", "8"))
# What is valid by its description may still be refused: a path that may not be registered, ...
NOT_CHECKED = [positive_data_acceptance]

load_all_checks()
SCHEMA = schemathesis.openapi.from_dict(create_app(Settings(auth="on")).openapi())
SCHEMA.config.update(request_timeout=30.0)
# Every request is sent with a key; whether one is needed is tested in test_access.
SCHEMA.config.generation.update(with_security_parameters=False)
SCHEMA.config.phases.coverage.enabled = "WSI_FUZZ_EXAMPLES" in os.environ
# The upload protocol asks for 412 where its version is not named.
SCHEMA.config.checks.negative_data_rejection.expected_statuses.append("412")


@dataclass(frozen=True)
class Running:
    """A service with a slide, its result, a review, a batch, and what they are called."""

    url: str
    headers: dict[str, str]
    ids: dict[str, str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("fuzz")
    share = folder / "share"
    share.mkdir()
    write_slide(share / "shared.tif", seed=9)
    write_bundle(folder / "models")
    app = create_app(
        Settings(
            data_dir=folder,
            slide_roots=(share,),
            auth="on",
            rate_limit="",
            sign_in_limit="",
            reconcile_interval_s=600,
        )
    )
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the API")
        yield _furnished(app, f"http://127.0.0.1:{port}", folder)
    finally:
        server.should_exit = True
        thread.join()


def _furnished(app: FastAPI, url: str, folder: Path) -> Running:
    context: Context = app.state.context
    _, secret = context.keys.make("fuzz", Role.ADMIN)
    other, _ = context.keys.make("to be revoked", Role.VIEWER)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"{url}{PREFIX}/", headers=headers, timeout=30) as client:
        slide_file = write_slide(folder / "a slide.tif")
        with slide_file.open("rb") as file:
            slide = client.post("slides", files={"file": ("a slide.tif", file)}).json()["id"]
        job = client.post("jobs", json={"slide_id": slide, "pipeline": "patch"}).json()["id"]
        batch = client.post("batches", json={"slide_ids": [slide], "pipelines": ["patch"]})
        work_off(context)
        review = client.put(
            f"slides/{slide}/review", json={"status": "draft"}, headers={"If-Match": '"0"'}
        )
        assert review.status_code == 200, review.text
        drawn = {"geometry": {"type": "Point", "coordinates": [3, 4]}}
        mark = client.put(
            f"slides/{slide}/annotations/a-drawn-one", json=drawn, headers={"If-Match": "0"}
        )
        assert mark.status_code == 200, mark.text
        upload = client.post(
            "uploads",
            headers={
                "Tus-Resumable": "1.0.0",
                "Upload-Length": "1000",
                "Upload-Metadata": "filename cy5zdnM=",
            },
        ).headers["location"]
    ids = {
        "slide_id": slide,
        "job_id": job,
        "batch_id": batch.json()["id"],
        "annotation_id": "a-drawn-one",
        "upload_id": upload.rpartition("/")[2],
        "key_id": other.id,
        "class_name": "cancer",
    }
    return Running(url, headers, ids)


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_description_names(
    case: schemathesis.Case, running: Running
) -> None:
    # Random ids find nothing. Half of the requests are about what is there; none deletes it.
    removes = case.method == "DELETE" and case.path.endswith("{slide_id}")
    sent = repr((case.path_parameters, case.query, case.headers, case.body))
    if zlib.crc32(sent.encode(errors="replace")) % 2 and not removes:
        for name in case.path_parameters.keys() & running.ids.keys():
            case.path_parameters[name] = running.ids[name]
    case.call_and_validate(
        base_url=running.url, headers=running.headers, excluded_checks=NOT_CHECKED
    )
