"""Service, worker, command line and the page's list know a pipeline by its name alone.

The third pipeline is one more line of ``PIPELINES``; a fourth comes with another package.
"""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.integration import third_pipeline
from tests.integration.deployment import (
    ROOT,
    Deployment,
    add_toy,
    deployment,
    submit,
    upload,
    wait_status,
)
from tests.unit.service.conftest import write_slide
from wsi.testing.fusions import fusion_bundle

FILE = Path(third_pipeline.__file__)


def lay_out(folder: Path) -> Path:
    """Two pipelines for any Python that has this folder on its path."""
    # As if wsi/pipelines had one more line and one more file.
    (folder / "beside").mkdir(parents=True)
    shutil.copy(FILE, folder / "beside" / "third.py")
    (folder / "sitecustomize.py").write_text(
        f"import sys, wsi.pipelines\nsys.path.append({str(folder / 'beside')!r})\n"
        "wsi.pipelines.PIPELINES['third'] = 'third:DarknessPipeline'\n"
    )
    # Another package, as pip would have installed it.
    shutil.copy(FILE, folder / "somebodys_package.py")
    about = folder / "somebodys_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: somebodys-package\nVersion: 1.0\n"
    )
    (about / "entry_points.txt").write_text(
        "[wholeslide.pipelines]\n"
        "fourth = somebodys_package:DarknessPipeline\n"
        "torn = somebodys_package:Missing\n"
    )
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("names")
    path = f"{lay_out(folder / 'path')}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with deployment(
        folder / "d", WSI_PIPELINE_LOADER="wsi.pipelines.base:load_pipeline", PYTHONPATH=path
    ) as place:
        for name in ("third", "fourth", "torn"):
            add_toy(place, name=f"{name}-model", pipeline=name)
        fusion_bundle(place.models / "both")
        place.start_api()
        place.start("workers")
        yield place


@pytest.fixture(scope="module")
def client(place: Deployment) -> httpx.Client:
    return place.clients[0]


@pytest.fixture(scope="module")
def slide(client: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(upload(client, write_slide(tmp_path_factory.mktemp("s") / "s.tif"))["id"])


def test_the_page_is_told_of_every_pipeline(client: httpx.Client) -> None:
    # The page asks this one address for the pipelines that it offers.
    found = {model["pipeline"] for model in client.get("models").json()}
    assert found == {"patch", "whole-slide", "fusion", "third", "fourth", "torn"}


@pytest.mark.parametrize("name", ["third", "fourth"])
def test_a_pipeline_of_one_file_runs_in_service_and_worker(
    client: httpx.Client, slide: str, name: str
) -> None:
    job_id = submit(client, slide, name)
    ended = wait_status(client, job_id, "SUCCEEDED", "FAILED")
    assert ended["status"] == "SUCCEEDED", ended["error"]
    result = client.get(f"jobs/{job_id}/result").json()
    assert (result["pipeline"], result["layers"]) == (name, ["darkness"])
    picture = client.get(f"jobs/{job_id}/heatmaps/darkness/cancer.png")
    assert Image.open(io.BytesIO(picture.content)).size == tuple(result["grid"]["shape"][::-1])
    there = client.get(f"slides/{slide}").json()["results"]
    assert name in {brief["pipeline"] for brief in there}


def test_a_package_that_does_not_import_fails_its_job_with_the_reason(
    client: httpx.Client, slide: str
) -> None:
    ended = wait_status(client, submit(client, slide, "torn"), "SUCCEEDED", "FAILED")
    assert ended["status"] == "FAILED"
    assert "pipeline 'torn' cannot be loaded from somebodys_package:Missing" in ended["error"]


def test_the_command_line_runs_it(place: Deployment, tmp_path: Path) -> None:
    file = write_slide(tmp_path / "s.tif")
    model, out = place.models / "third-model", tmp_path / "out"
    asked = ["analyze", str(file), "--pipeline", "third", "--model", str(model), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "wsi", *asked],
        cwd=ROOT,
        env={**os.environ, **place.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "s" / "third.json").read_text())["pipeline"] == "third"
    assert (out / "s" / "third-darkness-cancer.png").is_file()


def test_a_fusion_takes_what_a_job_of_its_member_has_left(client: httpx.Client, slide: str) -> None:
    before = wait_status(client, submit(client, slide, "patch"), "SUCCEEDED", "FAILED")
    assert before["status"] == "SUCCEEDED", before["error"]
    job_id = submit(client, slide, "fusion")
    ended = wait_status(client, job_id, "SUCCEEDED", "FAILED")
    assert ended["status"] == "SUCCEEDED", ended["error"]
    result = client.get(f"jobs/{job_id}/result").json()
    members = result["details"]["members"]
    assert [members[name]["from_store"] for name in ("patch", "whole-slide")] == [True, False]
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    assert set(result["urls"]["heatmaps"]) == {
        f"{member}-{kind}"
        for member in ("patch", "whole-slide")
        for kind in ("probability", "gradcam")
    }
    for classes in result["urls"]["heatmaps"].values():
        for url in classes.values():
            assert client.get(url.removeprefix("/api/v1/")).status_code == 200
