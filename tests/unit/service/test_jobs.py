"""Jobs, results and pictures over HTTP."""

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service.context import Context
from service.settings import Settings
from service.tiles.deepzoom import OVERLAP_PX, TILE_PX, DeepZoom
from service.tiles.open_slides import OpenSlides
from tests.integration.toy_pipeline import write_bundle
from tests.support.apps import app_for
from tests.unit.service.conftest import upload, work_off, write_slide
from wsi.geometry import Region, Size
from wsi.jobs import Worker
from wsi.slides import open_slide
from wsi.storage import SlideStore, get_result


@pytest.fixture
def slide_id(client: TestClient, slide_file: Path) -> str:
    return str(upload(client, slide_file)["id"])


@pytest.fixture
def done(client: TestClient, context: Context, slide_id: str) -> str:
    """The id of a job that has succeeded."""
    answer = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"})
    assert answer.status_code == 202
    work_off(context)
    return str(answer.json()["id"])


def test_a_new_job_waits_with_what_was_asked(client: TestClient, slide_id: str) -> None:
    answer = client.post(
        "jobs", json={"slide_id": slide_id, "pipeline": "patch", "model": "toy", "priority": 7}
    )
    job = answer.json()
    assert answer.status_code == 202
    assert (job["status"], job["pipeline"], job["model"]) == ("QUEUED", "patch", "toy")
    assert (job["slide_id"], job["slide_name"], job["priority"]) == (slide_id, "a slide.tif", 7)
    assert client.get(f"jobs/{job['id']}").json() == job
    assert client.get("jobs", params={"slide_id": slide_id}).json() == {"items": [job], "total": 1}
    assert client.get("jobs", params={"status": "FAILED"}).json() == {"items": [], "total": 0}


def test_without_a_name_the_newest_model_of_the_pipeline_is_taken(
    client: TestClient, context: Context, slide_id: str
) -> None:
    folder = context.settings.models
    write_bundle(folder, "newer")
    card = folder / "newer" / "model.json"
    card.write_text(card.read_text().replace("2026-01-01", "2026-02-01"))
    write_bundle(folder, "other", pipeline="whole-slide")
    job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()
    assert job["model"] == "newer"


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"slide_id": "nothing"}, 404, "not_found"),
        ({"pipeline": "nothing"}, 422, "model"),
        ({"model": "nothing"}, 422, "model"),
        ({"mpp": -1}, 422, "invalid"),
        ({"mpp": 1e9}, 422, "mpp"),
        ({"unknown": 1}, 422, "invalid"),
    ],
)
def test_a_job_that_cannot_be_is_refused(
    client: TestClient, slide_id: str, change: dict[str, object], status: int, kind: str
) -> None:
    answer = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch", **change})
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("jobs").json()["total"] == 0


def test_a_slide_without_resolution_is_refused_until_one_is_given(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    slide = upload(client, write_slide(tmp_path / "bare.tif", mpp=None))
    wish = {"slide_id": slide["id"], "pipeline": "patch"}
    answer = client.post("jobs", json=wish)
    assert (answer.status_code, answer.json()["kind"]) == (422, "mpp")
    assert "bare.tif" in answer.json()["detail"]
    assert '"mpp": 0.5' in answer.json()["detail"]
    assert client.post("jobs", json={**wish, "mpp": 0.5}).status_code == 202
    client.patch(f"slides/{slide['id']}", json={"mpp": 0.5})
    assert client.post("jobs", json=wish).status_code == 202
    work_off(context)
    assert client.get("jobs", params={"status": "SUCCEEDED"}).json()["total"] == 2


def test_a_waiting_job_can_be_cancelled(client: TestClient, slide_id: str) -> None:
    job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()
    cancelled = client.post(f"jobs/{job['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "CANCELLED")
    answer = client.get(f"jobs/{job['id']}/result")
    assert (answer.status_code, answer.json()["kind"]) == (409, "job_cancelled")
    assert client.post("jobs/nothing/cancel").status_code == 404


def test_the_result_is_what_the_worker_stored(
    client: TestClient, context: Context, done: str, slide_id: str
) -> None:
    body = client.get(f"jobs/{done}/result").json()
    job = context.jobs.get(done)
    assert job.result_id is not None
    stored = get_result(SlideStore(job.request.store_url), job.result_id)
    assert body["probabilities"] == stored.probabilities
    assert (body["job_id"], body["slide_id"], body["outcome"]) == (done, slide_id, "scored")
    for url in body["urls"]["heatmaps"]["probability"].values():
        assert client.get(f"http://localhost{url}").status_code == 200
    assert client.get("http://localhost" + body["urls"]["hotspots"]).status_code == 200


def test_a_slide_shows_its_newest_result(client: TestClient, done: str, slide_id: str) -> None:
    (brief,) = client.get(f"slides/{slide_id}").json()["results"]
    assert (brief["job_id"], brief["status"], brief["outcome"]) == (done, "SUCCEEDED", "scored")
    assert sum(brief["probabilities"].values()) == pytest.approx(1)
    assert brief["classes"] == ["benign", "cancer"]


def test_a_result_before_its_time_is_a_conflict(client: TestClient, slide_id: str) -> None:
    job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()
    for path in ("result", "hotspots.geojson", "heatmaps/probability/cancer.png"):
        answer = client.get(f"jobs/{job['id']}/{path}")
        assert (answer.status_code, answer.json()["kind"]) == (409, "job_queued")


def test_a_failed_job_gives_its_reason_instead_of_a_result(
    client: TestClient, context: Context, slide_id: str
) -> None:
    write_bundle(context.settings.models, "bad", pipeline="breaks", damaged=True)
    job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "breaks"}).json()
    work_off(context)
    shown = client.get(f"jobs/{job['id']}").json()
    assert (shown["status"], shown["error_kind"]) == ("FAILED", "damaged")
    answer = client.get(f"jobs/{job['id']}/result")
    assert (answer.status_code, answer.json()["kind"]) == (409, "damaged")
    assert "made so by the test" in answer.json()["detail"]


def test_a_heatmap_holds_the_raw_scores_and_says_where_nothing_was_looked_at(
    client: TestClient, context: Context, done: str
) -> None:
    answer = client.get(f"jobs/{done}/heatmaps/probability/cancer.png")
    image = Image.open(io.BytesIO(answer.content))
    assert (answer.headers["content-type"], image.mode) == ("image/png", "LA")
    luminance, alpha = (np.asarray(band) for band in image.split())
    layer = context.results.of(context.jobs.get(done)).layer("probability")
    assert layer is not None
    values = layer.values_chw[1]
    assert np.array_equal(alpha == 255, ~np.isnan(values))
    assert set(np.unique(alpha)) == {0, 255}
    seen = alpha == 255
    assert np.array_equal(luminance[seen], np.rint(values[seen] * 255))


def test_an_overlay_is_the_thumbnail_with_colours(client: TestClient, done: str) -> None:
    url = f"jobs/{done}/heatmaps/probability/cancer/overlay.png"
    coloured = np.asarray(Image.open(io.BytesIO(client.get(f"{url}?max_px=100").content)))
    clear = np.asarray(Image.open(io.BytesIO(client.get(f"{url}?max_px=100&alpha=0").content)))
    assert coloured.shape == clear.shape == (100, 100, 3)
    assert not np.array_equal(coloured, clear)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("probability/nothing.png", 404),
        ("gradcam/cancer.png", 404),
        ("nothing/cancer.png", 404),
        ("probability/cancer/overlay.png?max_px=1000000", 422),
    ],
)
def test_a_heatmap_that_is_not_there_is_an_error(
    client: TestClient, done: str, path: str, status: int
) -> None:
    answer = client.get(f"jobs/{done}/heatmaps/{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_hotspots_are_geojson_annotations(client: TestClient, done: str) -> None:
    answer = client.get(f"jobs/{done}/hotspots.geojson")
    assert answer.headers["content-type"] == "application/geo+json"
    (feature,) = answer.json()["features"]
    assert feature["properties"]["objectType"] == "annotation"
    ring = feature["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]


def test_events_tell_each_change_and_end_with_the_job(client: TestClient, done: str) -> None:
    with client.stream("GET", f"jobs/{done}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert lines[0] == "event: job"
    assert json.loads(lines[1].removeprefix("data: "))["status"] == "SUCCEEDED"
    assert len(lines) == 2
    assert client.get("jobs/nothing/events").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["thumbnail.jpg", "slide.dzi", "slide_files/10/0_0.jpeg"],
)
def test_pictures_are_cached_for_good(client: TestClient, slide_id: str, path: str) -> None:
    first = client.get(f"slides/{slide_id}/{path}")
    assert first.status_code == 200
    assert "immutable" in first.headers["cache-control"]
    assert "private" in first.headers["cache-control"]
    again = client.get(
        f"slides/{slide_id}/{path}", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_deep_zoom_tiles_put_together_are_the_slide(
    client: TestClient, slide_id: str, slide_file: Path
) -> None:
    root = ET.fromstring(client.get(f"slides/{slide_id}/slide.dzi").text)
    size = root[0].attrib
    assert (size["Width"], size["Height"]) == ("600", "600")
    zoom = DeepZoom(Size(600, 600))
    whole = np.zeros((600, 600, 3), np.uint8)
    for column in range(3):
        for row in range(3):
            answer = client.get(f"slides/{slide_id}/slide_files/{zoom.top}/{column}_{row}.jpeg")
            tile = np.asarray(Image.open(io.BytesIO(answer.content)))
            x = column * TILE_PX - (OVERLAP_PX if column else 0)
            y = row * TILE_PX - (OVERLAP_PX if row else 0)
            whole[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    with open_slide(slide_file) as slide:
        expected = slide.read_region(Region.whole(slide.size), slide.size)
    difference = np.abs(whole.astype(int) - expected)
    # JPEG again costs a little, most of it at the sharp edges.
    assert difference.mean() < 2
    assert np.percentile(difference, 99) <= 8


@pytest.mark.parametrize("tile", ["99/0_0", "10/9_0", "10/0_9", "10/-1_0", "-1/0_0"])
def test_a_tile_outside_the_slide_is_not_found(
    client: TestClient, slide_id: str, tile: str
) -> None:
    assert client.get(f"slides/{slide_id}/slide_files/{tile}.jpeg").status_code == 404


@pytest.mark.parametrize("size", [Size(1, 1), Size(600, 600), Size(4443, 3567), Size(255, 100_001)])
def test_the_tiles_of_every_level_cover_it_without_gaps(size: Size) -> None:
    zoom = DeepZoom(size)
    assert zoom.level_size(zoom.top) == size
    assert zoom.level_size(0) == Size(1, 1)
    for level in range(zoom.top + 1):
        whole = zoom.level_size(level)
        last = (whole.width - 1) // TILE_PX, (whole.height - 1) // TILE_PX
        region, tile = zoom.tile(level, *last)
        assert (region.right, region.bottom) == (size.width, size.height)
        assert 0 < tile.width <= TILE_PX + 2 * OVERLAP_PX
        assert 0 < tile.height <= TILE_PX + 2 * OVERLAP_PX


def test_models_are_listed_and_a_damaged_one_hides_no_other(
    client: TestClient, context: Context
) -> None:
    broken = context.settings.models / "broken"
    broken.mkdir()
    (broken / "model.json").write_text("{")
    (model,) = client.get("models").json()
    assert (model["name"], model["pipeline"], model["classes"]) == (
        "toy",
        "patch",
        ["benign", "cancer"],
    )
    assert model["digest"] == "0" * 64


def test_only_so_many_slides_stay_open(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    few = OpenSlides(2, context.slide_cache)
    slides = [
        context.slides.get(str(upload(client, write_slide(tmp_path / f"{n}.tif", seed=n))["id"]))
        for n in range(3)
    ]
    readers = [few.get(slide) for slide in slides]
    assert few.get(slides[2]) is readers[2]
    assert few.get(slides[0]) is not readers[0]


def test_jobs_of_the_named_pipelines_and_models_go_to_the_gpu_queue(
    settings: Settings, slide_file: Path
) -> None:
    for name, pipeline in (("big", "patch"), ("small", "patch"), ("whole", "whole-slide")):
        write_bundle(settings.models, name, pipeline=pipeline)
    chosen = settings.model_copy(update={"gpu_jobs": ("whole-slide", "big")})
    app = app_for(chosen)
    with TestClient(app, base_url="http://localhost/api/v1/") as client:
        slide = upload(client, slide_file)["id"]
        queues = {
            model: client.post(
                "jobs", json={"slide_id": slide, "pipeline": pipeline, "model": model}
            ).json()["queue"]
            for model, pipeline in (("big", "patch"), ("small", "patch"), ("whole", "whole-slide"))
        }
        assert queues == {"big": "gpu", "small": "cpu", "whole": "gpu"}
        ready = client.get("ready").json()
        assert ready == {"status": "ready", "unserved_queues": {"cpu": 1, "gpu": 2}}
        app.state.context.workers.heartbeat(
            Worker(name="w", queues=("cpu",), capabilities={"device": "cpu"})
        )
        assert client.get("ready").json()["unserved_queues"] == {"gpu": 2}
        (shown,) = client.get("workers").json()
        assert (shown["name"], shown["queues"]) == ("w", ["cpu"])
