"""How suspicious a slide is, as the API says it, and the order that follows from it."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service.context import Context
from service.results.reader import Summary
from service.slides.order import rank
from tests.unit.service.conftest import upload, write_slide
from wsi.geometry import Point
from wsi.storage import HeatmapGrid, HeatmapLayer, Hotspot, SlideResult, SlideStore, put_result

CLASSES = ("normal", "dcis", "invasive carcinoma")


def spot(area_um2: float, score: float) -> Hotspot:
    return Hotspot(
        polygon_level0=((0, 0), (9, 0), (9, 9), (0, 0)),
        centre_level0=Point(5, 4),
        class_name="dcis",
        score=score,
        mean_score=score,
        area_um2=area_um2,
    )


def result(*chances: float, spots: tuple[Hotspot, ...] = (), **changes: Any) -> SlideResult:
    grid = HeatmapGrid(origin_level0=Point(0, 0), cell_level0=(100, 100), shape=(1, 2), mpp=50)
    values = np.repeat(np.array(chances, np.float32)[:, None, None], 2, axis=2)
    return SlideResult(
        slide="s",
        pipeline="patch",
        model="toy",
        model_digest="d",
        classes=CLASSES,
        probabilities=dict(zip(CLASSES, chances, strict=True)),
        grid=grid,
        layers=(HeatmapLayer(kind="probability", values_chw=values),),
        hotspots=spots,
        hotspot_total=131 if spots else 0,
        hotspot_area_um2=float(sum(s.area_um2 for s in spots)),
        **changes,
    )


def score(client: TestClient, context: Context, slide_id: str, what: SlideResult) -> str:
    """Have a slide scored with this result, without a pipeline."""
    job_id = str(client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()["id"])
    job = context.jobs.claim("test", lease_s=60)
    assert job is not None
    put_result(SlideStore(job.request.store_url), job_id, what)
    context.jobs.succeed(job_id, job.attempt, result_id=job_id)
    return job_id


@pytest.fixture
def named(client: TestClient, tmp_path: Path) -> dict[str, str]:
    """Slides by name, without results."""
    return {
        name: str(upload(client, write_slide(tmp_path / f"{name}.tif", seed=seed, side=300))["id"])
        for seed, name in enumerate(("benign", "half-and-half", "large", "unscored"))
    }


def test_the_order_is_suspicion_then_area_then_highest_score(
    client: TestClient, context: Context, named: dict[str, str]
) -> None:
    score(client, context, named["benign"], result(0.3, 0.7, 0.0, spots=(spot(9e6, 0.9),)))
    half = result(0.0, 0.5, 0.5, spots=(spot(2e6, 0.9),))
    score(client, context, named["half-and-half"], half)
    # Shown as "> 99.9 %" as well, so its larger area decides.
    large = result(0.0005, 0.0, 0.9995, spots=(spot(3e6, 0.9), spot(1e6, 0.8)))
    score(client, context, named["large"], large)
    page = client.get("slides", params={"sort": "suspicion"}).json()
    assert page["total"] == 4
    ids = [slide["id"] for slide in page["items"]]
    assert ids == [named[name] for name in ("large", "half-and-half", "benign", "unscored")]
    part = client.get("slides", params={"sort": "suspicion", "limit": 2, "offset": 1}).json()
    assert [slide["id"] for slide in part["items"]] == ids[1:3]
    (brief,) = page["items"][1]["results"]
    assert brief["suspicion"] == 1.0
    assert brief["malignant"] == ["invasive carcinoma", "dcis"]
    assert (brief["hotspot_total"], brief["hotspot_area_um2"], brief["hotspot_score"]) == (
        131,
        2e6,
        0.9,
    )
    (unscored,) = [slide for slide in page["items"] if slide["id"] == named["unscored"]]
    assert unscored["results"] == []


def test_a_lost_store_ranks_last_and_hides_nothing(
    client: TestClient, context: Context, named: dict[str, str]
) -> None:
    score(client, context, named["benign"], result(0.9, 0.1, 0.0))
    job_id = score(client, context, named["large"], result(0.0, 0.0, 1.0))
    from wsi.storage.store import remove_store

    remove_store(context.jobs.get(job_id).request.store_url)
    ids = [s["id"] for s in client.get("slides", params={"sort": "suspicion"}).json()["items"]]
    assert ids[0] == named["benign"]
    assert len(ids) == 4


def test_ranks_go_by_what_is_shown() -> None:
    some = Summary("scored", {}, (), suspicion=0.9991, hotspot_area_um2=5.0)
    same = dataclasses.replace(some, suspicion=1.0, hotspot_area_um2=4.0)
    assert rank([some]) > rank([same])
    assert rank([dataclasses.replace(same, hotspot_score=0.9)]) > rank([same])
    assert rank([dataclasses.replace(some, suspicion=0.999)]) < rank([same])
    assert rank([]) < rank([dataclasses.replace(some, suspicion=0.0)])
    assert rank([dataclasses.replace(some, suspicion=None)]) == rank([])


def test_a_result_has_the_map_of_all_that_is_malignant(
    client: TestClient, context: Context, named: dict[str, str]
) -> None:
    job_id = score(client, context, named["benign"], result(0.2, 0.5, 0.3, spots=(spot(1, 0.9),)))
    body = client.get(f"jobs/{job_id}/result").json()
    assert body["suspicion"] == pytest.approx(0.8)
    assert body["malignant"] == ["invasive carcinoma", "dcis"]
    assert (body["hotspot_total"], len(body["hotspots"])) == (131, 1)
    url = body["urls"]["heatmaps"]["probability"]["all-malignant"]
    png = client.get(url.removeprefix("/api/v1/")).content
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    assert (pixels[..., 0] == round(0.8 * 255)).all()
    spots = client.get(f"jobs/{job_id}/hotspots.geojson").json()
    assert spots["properties"]["total"] == 131
    assert client.get(f"slides/{named['benign']}/report.pdf").status_code == 200


def test_models_say_what_they_take_for_malignant(client: TestClient) -> None:
    assert all("malignant" in model for model in client.get("models").json())
