"""Training starts from what was drawn and decided in a running service."""

import csv
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import shapely
import uvicorn
from click.testing import CliRunner

from service.settings import Settings
from tests.support.apps import app_for
from wsi.cli.client import ServiceError
from wsi.cli.main import main
from wsi.cli.reviews import export_reviews
from wsi.errors import DatasetError
from wsi.models.card import read_card
from wsi.testing.slides import SyntheticSlide, synthetic_slide


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A service of this process on a free port of loopback."""
    app = app_for(Settings(data_dir=tmp_path / "data", reconcile_interval_s=60))
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


def drawn(api: httpx.Client, slide: SyntheticSlide, *, sign: bool) -> None:
    """Upload a slide, draw its cancer and its other tissue, and sign it."""
    with slide.path.open("rb") as file:
        slide_id = api.post("/slides", files={"file": (slide.path.name, file)}).json()["id"]
    cancer = shapely.union_all(slide.cancer_polygons)
    benign = shapely.union_all(slide.tissue_polygons).difference(cancer)
    for number, (name, shape) in enumerate((("cancer", cancer), ("Benign tissue", benign))):
        answer = api.put(
            f"/slides/{slide_id}/annotations/drawn-{number:04}",
            json={"geometry": shapely.geometry.mapping(shape), "class_name": name},
            headers={"If-Match": "0"},
        )
        assert answer.status_code == 200, answer.text
    review = {"status": "signed" if sign else "draft", "reviewer": "Ann", "diagnosis": "cancer"}
    api.put(f"/slides/{slide_id}/review", json=review, headers={"If-Match": "0"})


def test_training_starts_from_regions_drawn_through_the_api(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    slides = [
        synthetic_slide(folder / f"{name}.tif", 1024, 0.5, seed=seed)
        for seed, name in enumerate(("a", "b", "not-signed"))
    ]
    with httpx.Client(base_url=f"{url}/api/v1", timeout=60) as api:
        for slide in slides:
            drawn(api, slide, sign=slide.path.stem != "not-signed")
    out = tmp_path / "model"
    arguments = (
        f"train patch --from-reviews {url} --slides {folder} --out {out} --mpp 1 --patch-px 32 "
        "--classes benign,cancer --architecture resnet10 --epochs 1 --device cpu"
    ).split()
    result = CliRunner().invoke(main, [*arguments, "--class-map", "Benign tissue=benign"])
    assert result.exit_code == 0, result.output
    assert "not-signed.tif: left out: its review is not signed" in result.output
    assert "Patients are not known" in result.output
    assert read_card(out).classes == ("benign", "cancer")
    with (tmp_path / "model-reviews" / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert sorted(Path(line["slide"]).name for line in table) == ["a.tif", "b.tif"]
    # The folder that was written trains as well, and a class that is unknown is named.
    again = CliRunner().invoke(
        main, [*arguments[:3], str(tmp_path / "model-reviews"), *arguments[6:]]
    )
    assert again.exit_code == 2
    assert "unknown class 'Benign tissue'" in again.output


class FakeClient:
    """Answers as a service with one signed slide whose hotspots were decided."""

    def __init__(self, decisions: list[dict[str, Any]], hotspots: list[Any] | None) -> None:
        self._hotspots = hotspots
        review = {"status": "signed", "diagnosis": None}
        slide = {"id": "s1", "name": "a.svs", "size_bytes": 7, "mpp": None, "review": review}
        no_features = {"type": "FeatureCollection", "features": []}
        self._answers: dict[str, dict[str, Any]] = {
            "/slides": {"items": [slide, slide | {"name": "b.svs", "review": None}], "total": 2},
            "/slides/s1/annotations.geojson": no_features,
            "/slides/s1/review": {"hotspots": decisions},
        }

    def json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        return self._answers[path]

    def result(self, job_id: str) -> dict[str, Any]:
        if self._hotspots is None:
            raise ServiceError("404: gone", 404)
        return {"hotspots": self._hotspots}


def decided(index: int, decision: str | None) -> dict[str, Any]:
    return {"job_id": "j", "index": index, "decision": decision}


def test_decided_hotspots_are_exported_and_the_rest_is_said(tmp_path: Path) -> None:
    spots = [
        {"class_name": "cancer", "polygon_level0": [[x, 0], [x + 9, 0], [x + 9, 9], [x, 9]]}
        for x in (0, 100, 200)
    ]
    decisions = [decided(0, "agree"), decided(1, "disagree"), decided(2, "unsure")]
    decisions.append(decided(99, "agree"))
    told: list[str] = []
    client: Any = FakeClient(decisions, spots)
    (tmp_path / "a.svs").write_bytes(b"another size")
    table = export_reviews(client, tmp_path / "out", tmp_path, negative="normal", tell=told.append)
    (file,) = (table.parent / "annotations").iterdir()
    assert [file.read_text().count(f'"name": "{name}"') for name in ("cancer", "normal")] == [1, 1]
    assert "b.svs: left out: was not reviewed" in told
    assert any("no file with this name and size was found" in line for line in told)


def test_a_job_that_is_gone_is_said_and_nothing_is_left_to_train_from(tmp_path: Path) -> None:
    told: list[str] = []
    client: Any = FakeClient([decided(0, "agree")], None)
    with pytest.raises(DatasetError, match="no reviewed slide has a region"):
        export_reviews(client, tmp_path / "out", None, tell=told.append)
    assert any("job j left out: 404" in line for line in told)
    assert "a.svs: left out: no region is drawn, no hotspot decided" in told


def test_a_table_and_reviews_at_once_are_refused(tmp_path: Path) -> None:
    for extra in ([], ["--table", "t.csv", "--from-reviews", "folder"]):
        result = CliRunner().invoke(main, ["train", "patch", "--out", "x", "--mpp", "1", *extra])
        assert result.exit_code == 2
        assert "give one of --table and --from-reviews" in result.output
