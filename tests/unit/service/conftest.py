"""A service in this process, with slides made here."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fastapi.testclient import TestClient
from pypdf import PdfReader

from service.context import Context
from service.settings import Settings
from tests.integration.toy_pipeline import load, write_bundle
from tests.support.apps import app_for
from tests.support.checks import check_here
from workers.loaded import LoadedPipelines
from workers.run_job import JobRunner


def write_slide(
    path: Path,
    *,
    seed: int = 0,
    mpp: float | None = 0.5,
    side: int = 600,
    compression: str | None = "jpeg",
) -> Path:
    """A small tiled TIFF that OpenSlide opens; ``mpp=None`` leaves the resolution out."""
    ramp = np.linspace(100, 250, side)
    planes = np.broadcast_arrays(ramp[:, None], ramp[None, :], 120.0 + seed)
    pixels = np.stack(planes, axis=-1).astype(np.uint8)
    pixels[: side // 3, : side // 3] = (150, 60, 140)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        compression=compression,
        resolution=(1e4 / mpp, 1e4 / mpp) if mpp else None,
        resolutionunit="CENTIMETER" if mpp else None,
    )
    return path


@pytest.fixture(autouse=True)
def slides_are_checked_here(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only tests of the check itself start a process for each slide."""
    if "slide_process" not in request.keywords:
        monkeypatch.setattr("service.slides.intake.check_in_process", check_here)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    write_bundle(data / "models")
    return Settings(data_dir=data, slide_roots=(tmp_path / "share",), reconcile_interval_s=60)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(
        app_for(settings), base_url="http://localhost/api/v1/", raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def context(client: TestClient) -> Context:
    found = client.app.state.context  # type: ignore[attr-defined]
    assert isinstance(found, Context)
    return found


@pytest.fixture
def slide_file(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "a slide.tif")


def upload(client: TestClient, path: Path, **fields: str) -> dict[str, object]:
    """Upload a slide that must be taken."""
    with path.open("rb") as file:
        answer = client.post("slides", files={"file": (path.name, file)}, data=fields)
    assert answer.status_code in (200, 201), answer.text
    body: dict[str, object] = answer.json()
    return body


def work_off(context: Context) -> None:
    """Run every queued job in this process, as a worker would."""
    pipelines = LoadedPipelines(context.settings.models, "cpu", load)
    runner = JobRunner(context.jobs, pipelines, context.slide_cache)
    while (job := context.jobs.claim("test", lease_s=60)) is not None:
        runner.run(job)


def text_of(pdf: bytes) -> str:
    """The text of all pages of a PDF; lines are joined."""
    pages = PdfReader(io.BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())
