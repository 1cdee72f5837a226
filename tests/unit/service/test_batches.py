"""Many slides at once, over HTTP."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from service.context import Context
from tests.integration.toy_pipeline import write_bundle
from tests.unit.service.conftest import upload, work_off, write_slide
from wsi.jobs import SqlJobStore
from wsi.jobs.tables import jobs, outbox


@pytest.fixture
def slides(client: TestClient, tmp_path: Path) -> list[str]:
    """Two slides that can be scored and one without mpp."""
    files = [
        write_slide(tmp_path / "one.tif", seed=1),
        write_slide(tmp_path / "=two.tif", seed=2),
        write_slide(tmp_path / "bare.tif", seed=3, mpp=None),
    ]
    return [str(upload(client, path)["id"]) for path in files]


def start(client: TestClient, slides: list[str], *pipelines: str, **more: Any) -> dict[str, Any]:
    wish = {"slide_ids": slides, "pipelines": list(pipelines) or ["patch"], **more}
    answer = client.post("batches", json=wish)
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_each_slide_of_a_batch_is_queued_or_refused_with_its_reason(
    client: TestClient, slides: list[str]
) -> None:
    batch = start(client, [*slides, "nothing"], name="Monday")
    assert (batch["name"], batch["total"], batch["finished"]) == ("Monday", 4, False)
    assert batch["counts"] == {"QUEUED": 2, "REFUSED": 2}
    page = client.get(f"batches/{batch['id']}/items").json()
    assert page["total"] == 4
    kinds = [(item["slide_name"], item["error_kind"]) for item in page["items"]]
    assert kinds == [
        ("one.tif", None),
        ("=two.tif", None),
        ("bare.tif", "mpp"),
        (None, "not_found"),
    ]
    assert "bare.tif" in page["items"][2]["error"]
    assert client.get("batches").json() == {"items": [batch], "total": 1}


def test_a_batch_scores_every_pair_of_slide_and_pipeline_once(
    client: TestClient, context: Context, slides: list[str]
) -> None:
    write_bundle(context.settings.models, "ws", pipeline="whole-slide")
    batch = start(client, [*slides, slides[0]], "patch", "whole-slide", mpp=0.5)
    assert batch["counts"] == {"QUEUED": 6}
    work_off(context)
    done = client.get(f"batches/{batch['id']}").json()
    assert done["counts"] == {"SUCCEEDED": 6}
    assert (done["progress"], done["finished"]) == (1.0, True)


def test_a_single_slide_goes_before_a_batch(
    client: TestClient, context: Context, slides: list[str]
) -> None:
    start(client, slides[:1])
    urgent = client.post("jobs", json={"slide_id": slides[1], "pipeline": "patch"}).json()
    claimed = context.jobs.claim("w", lease_s=60)
    assert claimed is not None
    assert claimed.id == urgent["id"]


def test_only_the_failed_are_retried(
    client: TestClient, context: Context, slides: list[str]
) -> None:
    write_bundle(context.settings.models, "flaky", pipeline="flaky", damaged_name="one.tif")
    batch = start(client, slides[:2], "flaky")
    work_off(context)
    assert client.get(f"batches/{batch['id']}").json()["counts"] == {"FAILED": 1, "SUCCEEDED": 1}
    # What was wrong is put right.
    card = context.settings.models / "flaky" / "model.json"
    card.write_text(card.read_text().replace("one.tif", "none").replace("0" * 64, "1" * 64))
    again = client.post(f"batches/{batch['id']}/retry")
    assert (again.status_code, again.json()["counts"]) == (202, {"QUEUED": 1, "SUCCEEDED": 1})
    assert client.post(f"batches/{batch['id']}/retry").json()["counts"]["QUEUED"] == 1
    work_off(context)
    assert client.get(f"batches/{batch['id']}").json()["counts"] == {"SUCCEEDED": 2}
    # The failed job is still there to be read.
    assert client.get("jobs", params={"status": "FAILED"}).json()["total"] == 1
    assert client.get("jobs").json()["total"] == 3


def test_a_cancelled_batch_keeps_what_has_ended(
    client: TestClient, context: Context, slides: list[str]
) -> None:
    batch = start(client, slides[:2])
    job = context.jobs.claim("w", lease_s=60)
    assert job is not None
    context.jobs.succeed(job.id, 1, result_id="r")
    cancelled = client.post(f"batches/{batch['id']}/cancel").json()
    assert cancelled["counts"] == {"SUCCEEDED": 1, "CANCELLED": 1}
    assert cancelled["finished"]


def test_the_csv_has_a_line_for_each_item_and_no_formula(
    client: TestClient, context: Context, slides: list[str]
) -> None:
    batch = start(client, slides)
    work_off(context)
    answer = client.get(f"batches/{batch['id']}/results.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["slide"] for row in rows] == ["one.tif", "'=two.tif", "bare.tif"]
    assert [row["status"] for row in rows] == ["SUCCEEDED", "SUCCEEDED", "REFUSED"]
    for row in rows[:2]:
        shares = float(row["probability benign"]) + float(row["probability cancer"])
        assert shares == pytest.approx(1)
    assert rows[2]["probability cancer"] == ""
    assert "mpp" in rows[2]["error"]


def test_the_events_of_a_batch_end_with_it(
    client: TestClient, context: Context, slides: list[str]
) -> None:
    batch = start(client, slides[:1])
    work_off(context)
    with client.stream("GET", f"batches/{batch['id']}/events") as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[0] == "event: batch"
    assert json.loads(lines[1].removeprefix("data: "))["finished"]


def test_a_batch_is_stored_whole_or_not_at_all(
    client: TestClient, context: Context, slides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = SqlJobStore.insert
    calls = []

    def second_fails(self: Any, connection: Any, job: Any) -> None:
        calls.append(job)
        if len(calls) == 2:
            raise ZeroDivisionError
        insert(self, connection, job)

    monkeypatch.setattr(SqlJobStore, "insert", second_fails)
    wish = {"slide_ids": slides[:2], "pipelines": ["patch"]}
    assert client.post("batches", json=wish).status_code == 500
    assert client.get("batches").json()["total"] == 0
    with context.engine.connect() as connection:
        for table in (jobs, outbox):
            assert connection.execute(sa.select(table)).all() == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"pipelines": ["nothing"]}, "model"),
        ({"pipelines": []}, "invalid"),
        ({"slide_ids": []}, "invalid"),
        ({"mpp": 0}, "invalid"),
    ],
)
def test_a_batch_that_cannot_be_is_refused(
    client: TestClient, slides: list[str], change: dict[str, Any], kind: str
) -> None:
    wish = {"slide_ids": slides, "pipelines": ["patch"], **change}
    answer = client.post("batches", json=wish)
    assert (answer.status_code, answer.json()["kind"]) == (422, kind)


@pytest.mark.parametrize("path", ["", "/items", "/events", "/results.csv"])
def test_an_unknown_batch_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(f"batches/nothing{path}").status_code == 404
    for action in ("retry", "cancel"):
        assert client.post(f"batches/nothing/{action}").status_code == 404
