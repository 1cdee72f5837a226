"""The last success of a pipeline stands until a newer one succeeds."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.batches.repository import NewItem
from service.context import Context
from tests.unit.service.conftest import upload, work_off, write_slide


@pytest.fixture
def slide_id(client: TestClient, slide_file: Path) -> str:
    return str(upload(client, slide_file)["id"])


def start(client: TestClient, slide_id: str) -> str:
    return str(client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()["id"])


def end(client: TestClient, context: Context, job_id: str, how: str) -> None:
    """Leave a job waiting, running, stopped or failed."""
    if how == "CANCELLED":
        client.post(f"jobs/{job_id}/cancel")
    elif how in ("RUNNING", "FAILED"):
        job = context.jobs.claim("test", lease_s=60)
        assert job is not None
        if how == "FAILED":
            context.jobs.fail(job_id, job.attempt, kind="damaged", reason="a damaged model")


def brief(client: TestClient, slide_id: str) -> Any:
    """What the list and the slide itself say of the only pipeline: the same."""
    (listed,) = client.get("slides").json()["items"][0]["results"]
    (alone,) = client.get(f"slides/{slide_id}").json()["results"]
    assert listed == alone
    return alone


@pytest.mark.parametrize("how", ["QUEUED", "RUNNING", "CANCELLED", "FAILED"])
def test_a_run_without_a_result_leaves_the_last_one_standing(
    client: TestClient, context: Context, slide_id: str, how: str
) -> None:
    first = start(client, slide_id)
    work_off(context)
    before = brief(client, slide_id)
    assert (before["status"], before["newer_run"]) == ("SUCCEEDED", None)
    second = start(client, slide_id)
    end(client, context, second, how)
    now = brief(client, slide_id)
    assert now["job_id"] == first
    assert now["probabilities"] == before["probabilities"] != {}
    assert (now["status"], now["outcome"]) == ("SUCCEEDED", "scored")
    assert (now["newer_run"]["job_id"], now["newer_run"]["status"]) == (second, how)
    assert now["newer_run"]["error"] == ("a damaged model" if how == "FAILED" else None)
    assert client.get(f"slides/{slide_id}/report.pdf").status_code == 200


def test_a_newer_success_takes_its_place(
    client: TestClient, context: Context, slide_id: str
) -> None:
    start(client, slide_id)
    work_off(context)
    second = start(client, slide_id)
    work_off(context)
    now = brief(client, slide_id)
    assert (now["job_id"], now["newer_run"]) == (second, None)


def test_a_first_run_that_failed_is_shown_as_it_is(
    client: TestClient, context: Context, slide_id: str
) -> None:
    job_id = start(client, slide_id)
    end(client, context, job_id, "FAILED")
    now = brief(client, slide_id)
    assert (now["job_id"], now["status"], now["newer_run"]) == (job_id, "FAILED", None)


def test_the_table_of_a_batch_that_was_stopped_keeps_the_numbers_and_says_whose_they_are(
    client: TestClient, context: Context, slide_id: str
) -> None:
    first = start(client, slide_id)
    work_off(context)
    wish = {"slide_ids": [slide_id], "pipelines": ["patch"]}
    batch = client.post("batches", json=wish).json()["id"]
    client.post(f"batches/{batch}/cancel")
    (row,) = csv.DictReader(io.StringIO(client.get(f"batches/{batch}/results.csv").text))
    assert row["status"] == "CANCELLED"
    assert row["job_id"] != row["result_job_id"] == first
    assert (row["outcome"], row["result_model"]) == ("scored", "toy")
    assert 0 < float(row["probability cancer"]) < 1


def test_a_refusal_stays_with_its_slide_until_something_is_done_about_it(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    silent = str(upload(client, write_slide(tmp_path / "silent.tif", mpp=None))["id"])
    wish = {"slide_ids": [silent], "pipelines": ["patch"]}
    client.post("batches", json=wish)
    refused = client.get(f"slides/{silent}").json()["refusal"]
    assert "resolution" in refused
    assert client.get("slides").json()["items"][0]["refusal"] == refused
    client.patch(f"slides/{silent}", json={"mpp": 0.5})
    assert client.get(f"slides/{silent}").json()["refusal"] is None


def test_a_slide_that_no_model_fits_is_refused_until_a_job_is_started(
    client: TestClient, context: Context, slide_id: str
) -> None:
    # A model that is removed between the wish and the start.
    items = [NewItem(slide_id=slide_id, pipeline="patch", refusal_kind="model", refusal="no model")]
    context.batches.add("", items, priority=0)
    assert client.get(f"slides/{slide_id}").json()["refusal"] == "no model"
    start(client, slide_id)
    assert client.get(f"slides/{slide_id}").json()["refusal"] is None
