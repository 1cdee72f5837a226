"""Resolutions over HTTP: what is implausible, contradicted or too coarse is refused at once."""

import base64
import json
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.batches.arrivals import register_next
from service.context import Context
from service.slides.repository import StoredSlide
from tests.unit.service.conftest import upload, work_off, write_slide

PRINTER = 25_400 / 300  # 300 dpi


@pytest.fixture
def printed(client: TestClient, tmp_path: Path) -> dict[str, object]:
    """A slide whose file states a printer's resolution."""
    return upload(client, write_slide(tmp_path / "printed.tif", mpp=PRINTER))


def queued(client: TestClient, slide: dict[str, object], **more: object) -> tuple[int, str]:
    """Status and detail of a wish for a job."""
    wish = {"slide_id": slide["id"], "pipeline": "patch", **more}
    answer = client.post("jobs", json=wish)
    return answer.status_code, str(answer.json().get("detail"))


def with_model(context: Context, **card: object) -> None:
    """Have the installed model say this of itself."""
    path = context.settings.models / "toy" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | card))


def test_an_implausible_resolution_is_shown_with_the_reason_and_is_not_used(
    client: TestClient, printed: dict[str, object]
) -> None:
    assert printed["mpp"] is None
    assert printed["stated_mpp"] == pytest.approx(PRINTER)
    assert "300 dpi, a resolution for printing" in str(printed["mpp_problem"])
    status, detail = queued(client, printed)
    assert status == 422
    assert "its resolution of 84.67 um/px is implausible" in detail
    assert client.get("jobs").json()["total"] == 0


def test_an_implausible_resolution_is_replaced_by_a_given_one(
    client: TestClient, context: Context, printed: dict[str, object]
) -> None:
    changed = client.patch(f"slides/{printed['id']}", json={"mpp": 0.5}).json()
    assert (changed["mpp"], changed["given_mpp"]) == (0.5, 0.5)
    assert changed["stated_mpp"] == pytest.approx(PRINTER)
    assert queued(client, printed)[0] == 202
    work_off(context)
    (job,) = client.get("jobs").json()["items"]
    assert job["status"] == "SUCCEEDED"
    assert client.get(f"slides/{printed['id']}/thumbnail.jpg").status_code == 200


@pytest.mark.parametrize("how", ["change", "upload again", "resumable", "job", "batch"])
def test_a_resolution_that_contradicts_the_file_is_refused_with_both_unless_it_is_forced(
    client: TestClient, context: Context, tmp_path: Path, how: str
) -> None:
    path = write_slide(tmp_path / "s.tif", mpp=0.25)
    slide = upload(client, path)

    def give(**more: str) -> tuple[int, str]:
        force = {"force_mpp": True} if more else {}
        if how == "change":
            answer = client.patch(f"slides/{slide['id']}", json={"mpp": 0.5, **force})
        elif how == "upload again":
            with path.open("rb") as file:
                answer = client.post(
                    "slides", files={"file": ("s.tif", file)}, data={"mpp": "0.5", **more}
                )
        elif how == "resumable":
            about = {"filename": "s.tif", "mpp": "0.5", **more}
            told = ",".join(
                f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in about.items()
            )
            content, tus = path.read_bytes(), {"Tus-Resumable": "1.0.0"}
            about_it = {"Upload-Length": str(len(content)), "Upload-Metadata": told}
            place = client.post("uploads", headers=tus | about_it).headers["Location"]
            kind = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            answer = client.patch(
                place.removeprefix("/api/v1/"), content=content, headers=tus | kind
            )
        elif how == "job":
            return queued(client, slide, mpp=0.5, **force)
        else:
            wish = {"slide_ids": [slide["id"]], "pipelines": ["patch"], "mpp": 0.5, **force}
            batch = client.post("batches", json=wish).json()
            (item,) = client.get(f"batches/{batch['id']}/items").json()["items"]
            return (202 if item["job"] else 422), str(item["error"])
        return answer.status_code, answer.text

    status, text = give()
    assert status == 422
    assert "0.5 um/px was given, but the file states 0.25 um/px" in text
    assert give(force_mpp="true")[0] in (200, 202, 204)
    if how in ("change", "upload again", "resumable"):
        assert client.get(f"slides/{slide['id']}").json()["mpp"] == 0.5
    else:
        work_off(context)
        assert client.get("jobs").json()["items"][0]["status"] == "SUCCEEDED"


def test_a_new_upload_with_a_contradicting_resolution_is_not_kept(
    client: TestClient, tmp_path: Path
) -> None:
    path = write_slide(tmp_path / "s.tif", mpp=0.25)
    for fields, status in (({}, 422), ({"force_mpp": "maybe"}, 400)):
        with path.open("rb") as file:
            answer = client.post(
                "slides", files={"file": ("s.tif", file)}, data={"mpp": "0.5", **fields}
            )
        assert answer.status_code == status, answer.text
    assert client.get("slides").json()["total"] == 0
    forced = upload(client, path, mpp="0.5", force_mpp="true")
    assert (forced["mpp"], forced["stated_mpp"]) == (0.5, pytest.approx(0.25))


def test_a_resolution_that_agrees_with_the_file_is_the_files(
    client: TestClient, tmp_path: Path
) -> None:
    slide = upload(client, write_slide(tmp_path / "s.tif", mpp=0.2501), mpp="0.25")
    assert slide["given_mpp"] is None
    assert slide["mpp"] == pytest.approx(0.2501, rel=1e-5)


def test_a_registered_table_and_folder_take_the_rule_of_their_batch(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    write_slide(share / "s.tif", mpp=0.25)
    for force, status in ((False, 422), (True, 201)):
        wish = {"path": str(share / "s.tif"), "mpp": 0.5, "force_mpp": force}
        assert client.post("slides/registrations", json=wish).status_code == status
    (share / "s.tif").unlink()
    write_slide(share / "t.tif", mpp=0.25, seed=3)
    table = f"slide,mpp\n{share / 't.tif'},0.5\n"
    refused, taken = (
        client.post(
            "batches/table", content=table, params={"force_mpp": force},
            headers={"Content-Type": "text/csv"},
        ).json()
        for force in ("false", "true")
    )  # fmt: skip
    while register_next(context) or "ARRIVING" in str(
        [client.get(f"batches/{one['id']}").json()["counts"] for one in (refused, taken)]
    ):
        time.sleep(0.01)  # the service registers, too
    (item,) = client.get(f"batches/{refused['id']}/items").json()["items"]
    assert "but the file states 0.25 um/px" in item["error"]
    (item,) = client.get(f"batches/{taken['id']}/items").json()["items"]
    assert item["error"] is None


def test_a_slide_coarser_than_the_model_is_refused_with_both_before_it_is_queued(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    with_model(context, mpp=2.0)
    coarse = upload(client, write_slide(tmp_path / "c.tif", mpp=4.0, seed=1))
    status, detail = queued(client, coarse)
    assert status == 422
    assert "the slide has 4 um/px, and the model 'toy' needs 2 um/px" in detail
    close = upload(client, write_slide(tmp_path / "d.tif", mpp=2.5, seed=2))
    assert queued(client, close)[0] == 202
    batch = client.post(
        "batches", json={"slide_ids": [coarse["id"], close["id"]], "pipelines": ["patch"]}
    ).json()
    assert batch["counts"].get("REFUSED") == 1


def test_a_fusion_is_refused_where_a_member_would_be(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    with_model(context, mpp=0.5, weights_sha256="ab")
    fused = context.settings.models / "both"
    fused.mkdir()
    card = json.loads((context.settings.models / "toy" / "model.json").read_text())
    members = {"members": [{"pipeline": "patch", "model": "toy", "digest": "ab"}]}
    card |= {"pipeline": "fusion", "mpp": 0, "input_px": 0, "settings": members}
    (fused / "model.json").write_text(json.dumps(card | {"weights_sha256": "cd"}))
    coarse = upload(client, write_slide(tmp_path / "c.tif", mpp=4.0, seed=1))
    status, detail = queued(client, coarse, pipeline="fusion")
    assert status == 422
    assert "the slide has 4 um/px, and the model 'toy' needs 0.5 um/px" in detail


def test_a_result_of_another_resolution_says_so(
    client: TestClient, context: Context, slide_file: Path
) -> None:
    slide = upload(client, slide_file)
    assert queued(client, slide)[0] == 202
    work_off(context)
    (brief,) = client.get(f"slides/{slide['id']}").json()["results"]
    assert (brief["mpp"], brief["other_mpp"]) == (pytest.approx(0.5), False)
    change = {"mpp": 0.25, "force_mpp": True}
    (brief,) = client.patch(f"slides/{slide['id']}", json=change).json()["results"]
    assert (brief["mpp"], brief["other_mpp"]) == (pytest.approx(0.5), True)
    (brief,) = client.patch(f"slides/{slide['id']}", json={"mpp": None}).json()["results"]
    assert brief["other_mpp"] is False


def test_a_resolution_given_for_a_job_alone_is_no_other_one(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    bare = upload(client, write_slide(tmp_path / "bare.tif", mpp=None, seed=1))
    stated = upload(client, write_slide(tmp_path / "stated.tif", seed=2))
    for slide, mpp in ((bare, 0.5), (stated, None)):
        assert queued(client, slide, **({"mpp": mpp} if mpp else {}))[0] == 202
    work_off(context)
    (brief,) = client.get(f"slides/{bare['id']}").json()["results"]
    assert (brief["mpp"], brief["other_mpp"]) == (pytest.approx(0.5), False)
    # A result of another resolution counts for nothing in the order.
    client.patch(f"slides/{stated['id']}", json={"mpp": 0.25, "force_mpp": True})
    order = client.get("slides", params={"sort": "suspicion"}).json()["items"]
    assert [slide["id"] for slide in order] == [bare["id"], stated["id"]]


def test_objects_are_judged_by_what_was_read_when_they_were_registered() -> None:
    stored = StoredSlide(
        id="1", name="a.tif", sha256="", size_bytes=1, path="s3://b/a.tif", store_url="",
        vendor="generic-tiff", width=3000, height=2400, levels=1, stated_mpp=PRINTER,
        given_mpp=None, magnification=None, created_at=None,  # type: ignore[arg-type]
    )  # fmt: skip
    assert stored.mpp is None
    assert "300 dpi" in stored.resolution.doubt
    assert stored.resolution_with(0.5, force=False).given == 0.5
