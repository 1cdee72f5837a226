"""Prometheus metrics say what the database holds."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from service.context import Context
from service.settings import Settings
from tests.integration.services import postgres_url
from tests.integration.toy_pipeline import write_bundle
from tests.support.apps import app_for
from tests.unit.service.conftest import upload, work_off
from wsi.jobs.tables import stage_seconds


def values(client: TestClient) -> dict[str, float]:
    """Samples by name and labels."""
    answer = client.get("metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_an_empty_service_has_zeros(client: TestClient) -> None:
    found = values(client)
    assert found['wsi_jobs{status="QUEUED"}'] == 0
    assert found["wsi_slides"] == 0
    assert found["wsi_oldest_queued_seconds"] == 0


def test_long_sums_keep_all_their_digits(client: TestClient, context: Context) -> None:
    row = {"pipeline": "patch", "stage": "score", "seconds": 12345678.25, "jobs": 2}
    with context.engine.begin() as connection:
        connection.execute(sa.insert(stage_seconds).values(**row))
    labels = '{pipeline="patch",stage="score"}'
    assert values(client)[f"wsi_stage_seconds_sum{labels}"] == 12345678.25
    assert "# TYPE wsi_stage_seconds summary" in client.get("metrics").text


def test_jobs_are_counted_by_status_reason_and_pipeline(
    client: TestClient, context: Context, slide_file: Path
) -> None:
    check(client, context, slide_file)


@pytest.mark.services
def test_metrics_are_the_same_on_postgresql(settings: Settings, slide_file: Path) -> None:
    with postgres_url() as url:
        app = app_for(settings.model_copy(update={"database_url": url}))
        with TestClient(app, base_url="http://localhost/api/v1/") as client:
            check(client, app.state.context, slide_file)


def check(client: TestClient, context: Context, slide_file: Path) -> None:
    write_bundle(context.settings.models, "bad", pipeline="bad", damaged=True)
    slide = upload(client, slide_file)["id"]
    for pipeline in ("patch", "patch", "bad"):
        client.post("jobs", json={"slide_id": slide, "pipeline": pipeline})
    work_off(context)
    client.post("jobs", json={"slide_id": slide, "pipeline": "patch"})
    found = values(client)
    assert found['wsi_jobs{status="SUCCEEDED"}'] == 2
    assert found['wsi_jobs{status="QUEUED"}'] == 1
    assert found['wsi_jobs_failed{kind="damaged"}'] == 1
    assert found['wsi_job_seconds_count{pipeline="patch"}'] == 2
    assert found['wsi_job_seconds_sum{pipeline="patch"}'] > 0
    assert found["wsi_oldest_queued_seconds"] > 0
    for stage in ("load model", "store result"):
        labels = f'{{pipeline="patch",stage="{stage}"}}'
        assert found[f"wsi_stage_seconds_count{labels}"] == 2
        assert 0 <= found[f"wsi_stage_seconds_sum{labels}"] < 60
    assert found["wsi_slides_scored"] == 1
    assert (found["wsi_slides"], found["wsi_outbox"]) == (1, 1)
