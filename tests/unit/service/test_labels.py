"""Label and macro images, and removing slides, over HTTP."""

import io
import zipfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service.context import Context
from service.settings import Settings
from tests.unit.service.conftest import upload, work_off, write_slide
from tests.unit.slides.svs import SECRETS, write_svs


def stored(settings: Settings) -> bytes:
    """Everything that the service keeps of slides."""
    kept = [path for path in settings.data_dir.absolute().rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in kept if "wholeslide.db" not in path.name)


@pytest.fixture
def svs(tmp_path: Path) -> Path:
    return write_svs(tmp_path / "a.svs")


def test_associated_images_are_shown_to_those_who_ask_and_each_look_is_audited(
    client: TestClient, svs: Path
) -> None:
    slide = f"slides/{upload(client, svs)['id']}"
    names = client.get(f"{slide}/associated").json()["names"]
    assert sorted(names) == ["label", "macro", "thumbnail"]
    answer = client.get(f"{slide}/associated/label.jpg")
    assert Image.open(io.BytesIO(answer.content)).size == (50, 60)
    assert answer.headers["cache-control"] == "no-store"
    assert client.get(f"{slide}/associated/nothing.jpg").status_code == 404
    looks = [entry["action"] for entry in client.get("audit").json()]
    assert looks.count("GET /slides/{slide_id}/associated/{name}.jpg") == 2


def test_an_upload_can_be_stored_without_labels(
    client: TestClient, settings: Settings, svs: Path
) -> None:
    with svs.open("rb") as file:
        answer = client.post("slides?strip_labels=true", files={"file": ("a.svs", file)})
    assert answer.status_code == 201, answer.text
    slide = answer.json()
    assert slide["stripped_sha256"] != slide["sha256"]
    assert slide["stripped_at"]
    assert client.get(f"slides/{slide['id']}/associated").json()["names"] == ["thumbnail"]
    assert not [secret for secret in SECRETS if secret.encode() in stored(settings)]
    # The same file again is known by what was sent.
    assert upload(client, svs)["id"] == slide["id"]


def test_a_stored_slide_is_redacted_in_its_place(
    client: TestClient, context: Context, settings: Settings, svs: Path
) -> None:
    slide = upload(client, svs)
    assert slide["stripped_sha256"] is None
    before = client.get(f"slides/{slide['id']}/thumbnail.jpg").content
    redacted = client.post(f"slides/{slide['id']}/redact").json()
    assert redacted["sha256"] == slide["sha256"]
    assert redacted["stripped_sha256"] is not None
    assert not [secret for secret in SECRETS if secret.encode() in stored(settings)]
    assert client.get(f"slides/{slide['id']}/associated").json()["names"] == ["thumbnail"]
    assert client.get(f"slides/{slide['id']}/thumbnail.jpg").content == before
    assert client.post(f"slides/{slide['id']}/redact").json() == redacted


def test_uploading_a_known_slide_with_labels_stripped_strips_the_stored_one(
    client: TestClient, svs: Path
) -> None:
    slide = upload(client, svs)
    with svs.open("rb") as file:
        again = client.post("slides?strip_labels=true", files={"file": ("a.svs", file)}).json()
    assert (again["id"], again["stripped_sha256"] is None) == (slide["id"], False)


def test_a_zipped_dicom_slide_is_redacted_with_all_that_lies_beside_it(
    client: TestClient, context: Context, real_data: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "slide.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in (real_data / "wsi" / "dicom_cmu1_small_region").iterdir():
            zipped.write(file, f"study/{file.name}")
        zipped.writestr("study/more/letter.txt", "Dear Jane Doe")
    slide = upload(client, archive)
    assert len(client.get(f"slides/{slide['id']}/associated").json()["names"]) == 3
    answer = client.post(f"slides/{slide['id']}/redact")
    assert answer.status_code == 200, answer.text
    assert client.get(f"slides/{slide['id']}/associated").json()["names"] == ["thumbnail"]
    folder = context.settings.slides / str(slide["id"])
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2


def test_a_registered_file_is_never_changed_or_removed(
    client: TestClient, settings: Settings
) -> None:
    share = settings.slide_roots[0]
    share.mkdir()
    svs = write_svs(share / "a.svs")
    before = svs.read_bytes()
    slide = client.post("slides/registrations", json={"path": str(svs)}).json()
    refused = client.post(f"slides/{slide['id']}/redact")
    assert (refused.status_code, refused.json()["kind"]) == (409, "externally_managed")
    assert client.delete(f"slides/{slide['id']}").status_code == 204
    assert svs.read_bytes() == before


def test_a_format_that_labels_cannot_be_taken_out_of_is_refused_whole(
    client: TestClient, settings: Settings, svs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi.slides.strip._TIFF", ())
    with svs.open("rb") as file:
        answer = client.post("slides?strip_labels=true", files={"file": ("a.svs", file)})
    assert answer.status_code == 422
    assert "labels cannot be removed from this format (aperio)" in answer.json()["detail"]
    assert client.get("slides").json()["total"] == 0
    assert stored(settings) == stored(settings).replace(b"DOE^JANE", b"")


def test_a_deleted_slide_is_gone_with_its_results_and_review(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    slide_id = str(upload(client, write_slide(tmp_path / "a.tif"))["id"])
    job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()
    busy = client.delete(f"slides/{slide_id}")
    assert (busy.status_code, busy.json()["kind"]) == (409, "busy")
    work_off(context)
    assert client.get(f"jobs/{job['id']}/result").status_code == 200
    assert client.delete(f"slides/{slide_id}").status_code == 204
    assert client.get(f"slides/{slide_id}").status_code == 404
    # Neither from disk nor from memory.
    assert client.get(f"jobs/{job['id']}/result").status_code == 404
    assert not list(context.settings.data_dir.rglob(f"*{slide_id}*"))
    assert client.get("jobs").json()["total"] == 1
    done = [entry for entry in client.get("audit").json() if entry["status"] == 204]
    assert [entry["action"] for entry in done] == ["DELETE /slides/{slide_id}"]
    assert slide_id in done[0]["target"]
    # It may come back.
    assert upload(client, tmp_path / "a.tif")["id"] != slide_id


def test_a_signed_review_is_not_removed_by_accident(client: TestClient, slide_file: Path) -> None:
    slide_id = upload(client, slide_file)["id"]
    review = {"status": "signed", "reviewer": "A", "diagnosis": "benign"}
    saved = client.put(f"slides/{slide_id}/review", json=review, headers={"If-Match": '"0"'})
    assert saved.status_code == 200, saved.text
    kept = client.delete(f"slides/{slide_id}")
    assert (kept.status_code, kept.json()["kind"]) == (409, "signed")
    assert client.delete(f"slides/{slide_id}?with_review=true").status_code == 204
