"""A slide in through HTTP, scored by a real worker process, its result out through HTTP."""

import io
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.integration.deployment import (
    Deployment,
    add_toy,
    deployment,
    event_data,
    submit,
    upload,
    wait_status,
)
from tests.integration.real_models import install
from tests.unit.service.conftest import write_slide

# Both brokers in make test, not both in each test.
REDIS = pytest.param("redis", marks=pytest.mark.services)
RABBITMQ = pytest.param("rabbitmq", marks=pytest.mark.services)
REDIS_LONG = pytest.param("redis", marks=[pytest.mark.services, pytest.mark.long])
RABBITMQ_LONG = pytest.param("rabbitmq", marks=[pytest.mark.services, pytest.mark.long])


Running = tuple[Deployment, httpx.Client]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An installation that several tests send their slides to."""
    with deployment(tmp_path_factory.mktemp("shared") / "d") as place:
        add_toy(place)
        _, client = place.start_api()
        place.start("workers")
        yield place, client


@pytest.mark.parametrize(
    ("broker", "database"),
    [
        ("embedded", "sqlite"),
        pytest.param("embedded", "postgresql", marks=pytest.mark.services),
        pytest.param("redis", "sqlite", marks=pytest.mark.services),
        pytest.param("redis", "postgresql", marks=pytest.mark.services),
        pytest.param("rabbitmq", "sqlite", marks=[pytest.mark.services, pytest.mark.long]),
        pytest.param("rabbitmq", "postgresql", marks=pytest.mark.services),
    ],
)
def test_a_slide_goes_in_and_its_probabilities_and_heatmap_come_out(
    tmp_path: Path, broker: str, database: str
) -> None:
    slide_file = write_slide(tmp_path / "s.tif")
    traced = database == "sqlite"
    with deployment(tmp_path / "d", broker=broker, database=database, traced=traced) as place:
        add_toy(place, steps=5)
        _, client = place.start_api()
        worker = place.start("workers")
        slide = upload(client, slide_file)
        events = event_data(client, submit(client, slide["id"]))
        assert events[-1]["status"] == "SUCCEEDED", place.logs()
        statuses = list(dict.fromkeys(event["status"] for event in events))
        assert statuses[-2:] in (["RUNNING", "SUCCEEDED"], ["QUEUED", "SUCCEEDED"])
        job_id = events[-1]["id"]
        result = client.get(f"jobs/{job_id}/result").json()
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        picture = client.get(f"jobs/{job_id}/heatmaps/probability/cancer.png")
        assert Image.open(io.BytesIO(picture.content)).mode == "LA"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


def test_every_edge_file_is_read_or_refused_with_a_reason_and_the_worker_lives(
    running: Running, real_data: Path
) -> None:
    edge = real_data / "wsi" / "edge"
    place, client = running
    kinds = {}
    for path in sorted(path for path in edge.iterdir() if path.is_file()):
        with path.open("rb") as file:
            answer = client.post("slides", files={"file": (path.name, file)})
        if answer.status_code == 201:
            job = submit(client, answer.json()["id"], mpp=0.5, force_mpp=True)
            kinds[path.name] = wait_status(client, job, "SUCCEEDED", "FAILED")["status"]
            continue
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["detail"].startswith(path.name)
        kinds[path.name] = problem["kind"]
    assert kinds == {
        "boxes.png": "not_a_slide",
        "boxes.tiff": "SUCCEEDED",
        "broken.svs": "not_a_slide",
        "hs2p-test-mask.tif": "unsupported",
        "small.svs": "SUCCEEDED",
        "unopenable.tiff": "unsupported",
        "unreadable.svs": "damaged",
    }
    assert list((place.folder / "incoming").iterdir()) == []
    assert [process.poll() for process in place.processes] == [None, None]


def test_a_slide_damaged_after_its_upload_fails_its_job_and_not_the_worker(
    tmp_path: Path,
) -> None:
    slide_file = write_slide(tmp_path / "s.tif")
    with deployment(tmp_path / "d") as place:
        add_toy(place)
        _, client = place.start_api()
        slide = upload(client, slide_file)
        first = submit(client, slide["id"])
        (kept,) = (place.folder / "slides" / slide["id"]).iterdir()
        kept.write_bytes(kept.read_bytes()[:3000])
        worker = place.start("workers")
        failed = wait_status(client, first, "FAILED", "SUCCEEDED")
        assert (failed["status"], failed["error_kind"]) == ("FAILED", "damaged")
        assert failed["error"].startswith("s.tif")
        other = upload(client, write_slide(tmp_path / "o.tif", seed=1))
        assert wait_status(client, submit(client, other["id"]), "SUCCEEDED", "FAILED")[
            "status"
        ] == ("SUCCEEDED")
        assert worker.poll() is None


@pytest.mark.parametrize("broker", ["embedded", REDIS, RABBITMQ_LONG])
def test_a_running_job_is_cancelled_within_seconds(tmp_path: Path, broker: str) -> None:
    slide_file = write_slide(tmp_path / "s.tif")
    with deployment(tmp_path / "d", broker=broker) as place:
        add_toy(place, steps=5000)
        _, client = place.start_api()
        place.start("workers")
        job_id = submit(client, upload(client, slide_file)["id"])
        wait_status(client, job_id, "RUNNING")
        client.post(f"jobs/{job_id}/cancel")
        wait_status(client, job_id, "CANCELLED")
        answer = client.get(f"jobs/{job_id}/result")
        assert (answer.status_code, answer.json()["kind"]) == (409, "job_cancelled")


@pytest.mark.parametrize("broker", ["embedded", REDIS_LONG, RABBITMQ])
def test_a_worker_told_to_stop_gives_its_job_back_and_the_next_one_ends_it(
    tmp_path: Path, broker: str
) -> None:
    slide_file = write_slide(tmp_path / "s.tif")
    with deployment(tmp_path / "d", broker=broker, traced=True) as place:
        add_toy(place, steps=60)
        _, client = place.start_api()
        first = place.start("workers")
        job_id = submit(client, upload(client, slide_file)["id"])
        wait_status(client, job_id, "RUNNING")
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
        assert wait_status(client, job_id, "QUEUED")["attempt"] == 1
        place.start("workers")
        ended = wait_status(client, job_id, "SUCCEEDED", "FAILED")
        assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 2), place.logs()


def test_both_pipelines_score_a_real_slide_through_the_api(tmp_path: Path, real_data: Path) -> None:
    slide_file = real_data / "wsi" / "CMU-1-Small-Region.svs"
    loader = "wsi.pipelines.base:load_pipeline"
    with deployment(tmp_path / "d", WSI_PIPELINE_LOADER=loader) as place:
        install(place.models)
        _, client = place.start_api()
        place.start("workers")
        slide = upload(client, slide_file)
        jobs = {name: submit(client, slide["id"], name) for name in ("patch", "whole-slide")}
        for pipeline, job_id in jobs.items():
            ended = wait_status(client, job_id, "SUCCEEDED", "FAILED")
            assert ended["status"] == "SUCCEEDED", ended["error"]
            result = client.get(f"jobs/{job_id}/result").json()
            assert result["pipeline"] == pipeline
            assert sum(result["probabilities"].values()) == pytest.approx(1)
            for kind, classes in result["urls"]["heatmaps"].items():
                for name in classes:
                    heatmap = client.get(f"jobs/{job_id}/heatmaps/{kind}/{name}.png")
                    size = Image.open(io.BytesIO(heatmap.content)).size
                    assert size == tuple(result["grid"]["shape"][::-1])
                    overlay = client.get(f"jobs/{job_id}/heatmaps/{kind}/{name}/overlay.png")
                    assert Image.open(io.BytesIO(overlay.content)).size == (766, 1024)
        shown = client.get(f"slides/{slide['id']}").json()
        assert {brief["pipeline"] for brief in shown["results"]} == {"patch", "whole-slide"}


def test_a_real_slide_without_mpp_is_refused_until_it_is_given(
    running: Running, real_data: Path
) -> None:
    _, client = running
    slide_file = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
    slide = upload(client, slide_file)
    answer = client.post("jobs", json={"slide_id": slide["id"], "pipeline": "patch"})
    assert (answer.status_code, answer.json()["kind"]) == (422, "mpp")
    assert slide_file.name in answer.json()["detail"]
    job_id = submit(client, slide["id"], mpp=0.5)
    assert wait_status(client, job_id, "SUCCEEDED", "FAILED")["status"] == "SUCCEEDED"


def test_a_zipped_dicom_folder_is_a_slide(
    running: Running, tmp_path: Path, real_data: Path
) -> None:
    _, client = running
    folder = real_data / "wsi" / "dicom_cmu1_small_region"
    archive = Path(shutil.make_archive(str(tmp_path / "dicom"), "zip", folder))
    slide = upload(client, archive)
    assert (slide["vendor"], slide["width"], slide["height"]) == ("dicom", 2220, 2967)
    tile = client.get(f"slides/{slide['id']}/slide_files/12/3_3.jpeg")
    assert Image.open(io.BytesIO(tile.content)).size == (256, 256)
