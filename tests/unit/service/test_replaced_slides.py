"""A file that is registered where it lies, and replaced: refused until it is registered again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from service.context import Context
from service.slides import intake as intake_module
from service.tables import slides as slides_table
from service.tiles import open_slides as open_slides_module
from tests.integration.toy_pipeline import ToyPipeline
from tests.unit.service.conftest import upload, work_off, write_slide
from wsi.jobs import JobStatus
from wsi.storage import SlideStore


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    (tmp_path / "share").mkdir()
    return write_slide(tmp_path / "share" / "case.tif")


def register(client: TestClient, path: Path, status: int = 201) -> dict[str, Any]:
    answer = client.post("slides/registrations", json={"path": str(path)})
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def start(client: TestClient, slide_id: str) -> dict[str, Any]:
    answer = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"})
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


def replace(path: Path) -> None:
    """By a slide of the same name, size and resolution."""
    write_slide(path.with_name("new.tif"), seed=90).replace(path)


def edit(path: Path) -> None:
    """In place: name, size and inode stay."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(7, 7))


@pytest.mark.parametrize("change", [replace, edit])
def test_a_job_on_a_replaced_slide_fails_and_says_so(
    client: TestClient, context: Context, mounted: Path, change: Callable[[Path], None]
) -> None:
    slide = register(client, mounted)
    queued = start(client, slide["id"])
    change(mounted)
    work_off(context)
    job = context.jobs.get(queued["id"])
    assert (job.status, job.error_kind) == (JobStatus.FAILED, "changed")
    assert str(job.error).startswith("case.tif: the file is not the one that was registered")
    assert str(mounted.parent) not in str(job.error)
    answer = client.post("jobs", json={"slide_id": slide["id"], "pipeline": "patch"})
    assert (answer.status_code, answer.json()["kind"]) == (409, "changed")


def test_a_slide_replaced_while_it_is_scored_has_no_result(
    client: TestClient, context: Context, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = start(client, register(client, mounted)["id"])
    monkeypatch.setattr(ToyPipeline, "_work", lambda *_: replace(mounted))
    work_off(context)
    job = context.jobs.get(queued["id"])
    assert (job.status, job.error_kind) == (JobStatus.FAILED, "changed")
    assert SlideStore(job.request.store_url).digests("results") == ()


def test_the_replaced_slide_registered_again_is_a_slide_of_its_own(
    client: TestClient, context: Context, mounted: Path
) -> None:
    old = register(client, mounted)
    replace(mounted)
    new = register(client, mounted)
    assert new["id"] != old["id"]
    assert new["sha256"] != old["sha256"]
    queued = start(client, new["id"])
    work_off(context)
    assert context.jobs.get(queued["id"]).status is JobStatus.SUCCEEDED
    result = client.get(f"jobs/{queued['id']}/result").json()
    assert len(result["slide_digest"]) == 32
    # And the old one is still refused.
    answer = client.post("jobs", json={"slide_id": old["id"], "pipeline": "patch"})
    assert answer.status_code == 409


def test_pictures_of_a_replaced_slide_are_refused(
    client: TestClient, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_slides_module, "_TRUSTED_S", 0.0)
    slide = register(client, mounted)
    tile = f"slides/{slide['id']}/slide_files/9/0_0.jpeg"
    assert client.get(tile).status_code == 200
    replace(mounted)
    for path in (tile, f"slides/{slide['id']}/thumbnail.jpg", f"slides/{slide['id']}/associated"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["kind"]) == (409, "changed"), path
    mounted.unlink()
    assert client.get(tile).status_code == 422


def test_pictures_of_a_slide_that_an_earlier_version_registered_are_refused_too(
    client: TestClient, context: Context, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_slides_module, "_TRUSTED_S", 0.0)
    slide = register(client, mounted)
    with context.engine.execution_options(wsi_write=True).begin() as connection:
        connection.execute(sa.update(slides_table).values(digest=None, stamp=None))
    tile = f"slides/{slide['id']}/slide_files/9/0_0.jpeg"
    shutil.copyfile(mounted, mounted.with_name("copy.tif"))
    mounted.with_name("copy.tif").replace(mounted)
    assert client.get(tile).status_code == 200  # read whole: it is the same
    replace(mounted)
    for path in (tile, f"slides/{slide['id']}/thumbnail.jpg"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["kind"]) == (409, "changed"), path


def test_results_are_shown_without_the_file(
    client: TestClient, context: Context, mounted: Path
) -> None:
    slide = register(client, mounted)
    queued = start(client, slide["id"])
    work_off(context)
    mounted.unlink()
    assert client.get(f"jobs/{queued['id']}/result").status_code == 200
    assert client.get(f"slides/{slide['id']}").status_code == 200


def test_a_slide_that_was_only_touched_or_copied_back_is_scored(
    client: TestClient, context: Context, mounted: Path, tmp_path: Path
) -> None:
    slide = register(client, mounted)
    shutil.copyfile(mounted, tmp_path / "copy.tif")
    (tmp_path / "copy.tif").replace(mounted)
    os.utime(mounted, ns=(7, 7))
    queued = start(client, slide["id"])
    work_off(context)
    assert context.jobs.get(queued["id"]).status is JobStatus.SUCCEEDED


def test_the_same_content_registered_elsewhere_is_read_from_there(
    client: TestClient, context: Context, mounted: Path
) -> None:
    slide = register(client, mounted)
    moved = Path(shutil.copy(mounted, mounted.with_name("moved.tif")))
    replace(mounted)
    assert register(client, moved, 200)["id"] == slide["id"]
    queued = start(client, slide["id"])
    work_off(context)
    assert context.jobs.get(queued["id"]).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("strip", [False, True])
def test_an_upload_of_what_was_replaced_takes_its_place(
    client: TestClient, context: Context, mounted: Path, tmp_path: Path, strip: bool
) -> None:
    slide = register(client, mounted)
    kept = Path(shutil.copy(mounted, tmp_path / "kept.tif"))
    replace(mounted)
    with kept.open("rb") as file:
        answer = client.post(
            "slides", files={"file": (kept.name, file)}, params={"strip_labels": strip}
        )
    assert (answer.status_code, answer.json()["id"]) == (200, slide["id"])
    assert bool(answer.json()["stripped_sha256"]) is strip
    queued = start(client, slide["id"])
    work_off(context)
    assert context.jobs.get(queued["id"]).status is JobStatus.SUCCEEDED
    assert mounted.exists()


def test_a_file_that_is_written_to_while_it_is_registered_is_not_taken(
    client: TestClient, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = intake_module.content_sha256

    def meanwhile(path: Path) -> tuple[str, int]:
        found = whole(path)
        os.utime(path, ns=(7, 7))
        return found

    monkeypatch.setattr(intake_module, "content_sha256", meanwhile)
    answer = client.post("slides/registrations", json={"path": str(mounted)})
    assert (answer.status_code, answer.json()["kind"]) == (409, "changed")
    assert client.get("slides").json()["total"] == 0


@pytest.mark.parametrize("change", [None, replace])
def test_a_slide_registered_by_an_earlier_version_is_read_whole_for_its_job(
    client: TestClient, context: Context, mounted: Path, change: Callable[[Path], None] | None
) -> None:
    slide = register(client, mounted)
    with context.engine.execution_options(wsi_write=True).begin() as connection:
        connection.execute(sa.update(slides_table).values(digest=None, stamp=None))
    queued = start(client, slide["id"])
    if change is not None:
        change(mounted)
    work_off(context)
    job = context.jobs.get(queued["id"])
    wanted = JobStatus.SUCCEEDED if change is None else JobStatus.FAILED
    assert job.status is wanted
    # Registered again, it is known by its digest.
    if change is None:
        register(client, mounted, 200)
        assert context.slides.get(slide["id"]).digest


def test_a_stored_copy_is_the_services_own(client: TestClient, context: Context) -> None:
    path = write_slide(context.settings.data_dir / "up.tif")
    queued = start(client, str(upload(client, path)["id"]))
    assert context.jobs.get(queued["id"]).request.slide_identity is None
