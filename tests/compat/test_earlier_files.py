"""What an installation of an earlier version left on disk opens, migrates and means the same.

``make.py`` made the files with the code of the version that they are called after.
"""

import json
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from wsi.models.aggregators.stored import load_aggregator
from wsi.pipelines.base import load_pipeline
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore, get_result

ARCHIVES = sorted(Path(__file__).parent.glob("files/*.tar.xz"))
MODELS = {"patch": "patch-with-forest", "whole-slide": "whole-slide", "fusion": "both"}


@dataclass(frozen=True)
class Kept:
    """An unpacked installation, and what its clients were told when it was made."""

    data: Path
    expected: dict[str, Any]

    @property
    def slide(self) -> Path:
        """The file of the slide that was uploaded."""
        return self.data / "slides" / self.expected["uploaded"] / "first.tif"

    def store(self) -> SlideStore:
        """Of the slide that was uploaded."""
        return SlideStore(str(self.data / "stores" / f"{self.expected['uploaded']}.zarr"))


@pytest.fixture(scope="module", params=ARCHIVES, ids=lambda path: path.name)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    data = folder / "data"
    _move_to(data)
    return Kept(data, json.loads((data / "expected.json").read_text()))


def _move_to(data: Path) -> None:
    """Let the database say where the files lie now; the archive says ``/data``."""
    connection = sqlite3.connect(data / "wholeslide.db")
    for table, column in (
        ("slides", "path"),
        ("slides", "store_url"),
        ("jobs", "slide_path"),
        ("jobs", "store_url"),
    ):
        connection.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, 6) WHERE {column} LIKE '/data/%'",
            [str(data)],
        )
    connection.commit()
    connection.close()


@pytest.fixture(scope="module")
def client(kept: Kept) -> Iterator[TestClient]:
    settings = Settings(data_dir=kept.data, slide_roots=(kept.data / "share",), auth="on")
    with TestClient(create_app(settings), base_url="http://localhost/api/v1/") as client:
        # A key that was made before opens the door still.
        client.headers["Authorization"] = f"Bearer {kept.expected['key']}"
        yield client


def answer(client: TestClient, path: str) -> Any:
    """The body of a GET that succeeds."""
    got = client.get(path)
    assert got.status_code == 200, got.text
    return got.json()


def test_there_are_files_of_an_earlier_version() -> None:
    assert ARCHIVES


def test_people_slides_and_jobs_are_those_that_were_there(kept: Kept, client: TestClient) -> None:
    said = kept.expected
    assert {key["name"] for key in answer(client, "keys")} == {"first key", "A. Reader"}
    assert {slide["id"] for slide in answer(client, "slides")["items"]} == {
        said["uploaded"],
        said["registered"],
    }
    # Its worker was killed long ago: the next round puts the job back.
    client.app.state.context.reconciler.step()  # type: ignore[attr-defined]
    assert {
        name: answer(client, f"jobs/{said[name]}")["status"]
        for name in ("waiting", "running", "cancelled")
    } == {"waiting": "QUEUED", "running": "QUEUED", "cancelled": "CANCELLED"}
    batch = answer(client, f"batches/{said['batch']}/items")["items"]
    assert [item["job"]["status"] for item in batch] == ["SUCCEEDED", "SUCCEEDED"]
    assert {entry["who"] for entry in answer(client, "audit")} >= {"first key", "A. Reader"}


def test_a_job_that_waited_is_claimed(kept: Kept, client: TestClient) -> None:
    jobs = client.app.state.context.jobs  # type: ignore[attr-defined]
    job = jobs.claim("a worker of today", lease_s=60)
    assert job.id == kept.expected["waiting"]
    assert job.request.slide_path == str(kept.data / "share" / "second.tif")


@pytest.mark.parametrize("pipeline", MODELS)
def test_results_are_shown_as_they_were(kept: Kept, client: TestClient, pipeline: str) -> None:
    job = kept.expected["jobs"][pipeline]
    shown = answer(client, f"jobs/{job}/result")
    assert shown["probabilities"] == kept.expected["probabilities"][pipeline]
    for maps in shown["urls"]["heatmaps"].values():
        for url in maps.values():
            assert client.get(url.removeprefix("/api/v1/")).content.startswith(b"\x89PNG")


def test_a_signed_review_and_its_annotation_keep_their_versions(
    kept: Kept, client: TestClient
) -> None:
    place = f"slides/{kept.expected['uploaded']}"
    review = answer(client, f"{place}/review")
    assert (review["status"], review["reviewer"], review["diagnosis"]) == (
        "signed",
        "A. Reader",
        "cancer",
    )
    assert {run["job_id"] for run in review["runs"]} <= {
        job["id"] for job in answer(client, "jobs")["items"]
    }
    assert len(answer(client, f"{place}/review/history")["items"]) == 2
    history = answer(client, f"{place}/annotations/annotation-1/history")["items"]
    assert [version["comment"] for version in history] == ["invades the muscle", "invades"]


@pytest.mark.parametrize(("pipeline", "model"), MODELS.items())
def test_a_bundle_scores_a_slide_as_it_did(
    kept: Kept, pipeline: str, model: str, tmp_path: Path
) -> None:
    loaded = load_pipeline(pipeline, kept.data / "models" / model)
    with open_slide(kept.slide) as slide:
        result = loaded.analyze(slide, SlideStore(str(tmp_path / "new.zarr")), no_progress)
    before = kept.expected["probabilities"][pipeline]
    # Sums may come in another order on another processor.
    assert result.probabilities == pytest.approx(before, abs=1e-4)
    stored = get_result(kept.store(), f"{kept.expected['jobs'][pipeline]}-1")
    assert stored.probabilities == before
    assert stored.grid == result.grid
    assert [layer.kind for layer in stored.layers] == [layer.kind for layer in result.layers]


def test_a_new_result_goes_into_a_store_that_was_there(kept: Kept, tmp_path: Path) -> None:
    url = tmp_path / "store.zarr"
    shutil.copytree(kept.store().url, url)
    with open_slide(kept.slide) as slide:
        result = load_pipeline("patch", kept.data / "models" / "patch").analyze(
            slide, SlideStore(str(url)), no_progress
        )
    assert result.outcome == "scored"
    assert set(SlideStore(str(url)).digests("tissue")) >= set(kept.store().digests("tissue"))


@pytest.mark.parametrize(("name", "needs_embeddings"), [("clam", True), ("forest", False)])
def test_an_aggregator_is_read(kept: Kept, name: str, needs_embeddings: bool) -> None:
    card, aggregator = load_aggregator(kept.data / "models" / name)
    assert card.classes == ("benign", "cancer")
    assert aggregator.needs_embeddings is needs_embeddings
