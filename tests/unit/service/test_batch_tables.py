"""Batches from tables and folders: each line by itself."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from service.batches.arrivals import _outcome, register_next
from service.context import Context
from service.settings import Settings
from tests.integration.services import postgres_url
from tests.support.apps import app_for
from tests.unit.service.conftest import upload, work_off, write_slide
from wsi.testing.dicom import Kind, tissue_picture, write_pyramid


@pytest.fixture
def share(settings: Settings) -> Path:
    folder = settings.slide_roots[0]
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slides are registered when a test says so, not in the background."""
    monkeypatch.setattr("wsi.repeating.RepeatingThread.start", lambda *_, **__: None)


def table(client: TestClient, text: str | bytes, **query: Any) -> dict[str, Any]:
    answer = client.post("batches/table", content=text, params=query)
    assert answer.status_code == 202, answer.text
    body: dict[str, Any] = answer.json()
    return body


def items(client: TestClient, batch: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"batches/{batch['id']}/items").json()["items"]
    return found


def arrive(context: Context) -> None:
    while register_next(context):
        pass


def test_good_lines_run_and_bad_lines_say_why(
    client: TestClient, context: Context, share: Path, tmp_path: Path
) -> None:
    known = upload(client, write_slide(tmp_path / "known.tif", seed=1))["id"]
    bare = write_slide(share / "bare.tif", seed=2, mpp=None)
    (share / "text.tif").write_text("no slide")
    lines = [
        "Slide;mpp;pipeline;model;priority",
        f"{known};;;;7",
        f"{bare};half;;;",
        f"{bare};0,5;;;",
        f"{share}/text.tif;;;;",
        f"{share}/none.tif;;;;",
        "/etc/passwd;;;;",
        f"{known};;patch;other;",
        "",
        "nobody;;;;",
    ]
    batch = table(client, "\ufeff" + "\r\n".join(lines), name="Monday", pipelines="patch")
    assert batch["counts"] == {"QUEUED": 1, "ARRIVING": 2, "REFUSED": 5}
    assert not batch["finished"]
    arrive(context)
    found = items(client, batch)
    assert [item["error_kind"] for item in found] == [
        None,
        "bad_request",
        None,
        "not_a_slide",
        "unreadable",
        "forbidden_path",
        "model",
        "not_found",
    ]
    assert "line 3: mpp" in found[1]["error"]
    assert [item["job"]["priority"] for item in found if item["job"]] == [7, -10]
    assert (found[2]["slide_name"], found[3]["slide_name"]) == ("bare.tif", "text.tif")
    work_off(context)
    done = client.get(f"batches/{batch['id']}").json()
    assert (done["counts"], done["finished"]) == ({"SUCCEEDED": 2, "REFUSED": 6}, True)
    assert done["progress"] == 1.0


@pytest.mark.services
def test_on_postgresql_too(settings: Settings, share: Path) -> None:
    good = write_slide(share / "a.tif")
    more = {
        "webhook_hosts": ("lis.example",),
        "webhook_secret": SecretStr("s"),
    }
    with postgres_url() as url, ExitStack() as stack:
        app = app_for(settings.model_copy(update={"database_url": url, **more}))
        client = stack.enter_context(TestClient(app, base_url="http://localhost/api/v1/"))
        context: Context = app.state.context
        text = f"path\n{good}\n/etc/passwd\n"
        batch = table(client, text, callback_url="https://lis.example/")
        assert batch["counts"] == {"ARRIVING": 1, "REFUSED": 1}
        arrive(context)
        assert context.callbacks.take(lease_s=60) is None
        work_off(context)
        assert client.get(f"batches/{batch['id']}").json()["counts"]["SUCCEEDED"] == 1
        taken = context.callbacks.take(lease_s=60)
        assert taken is not None
        assert context.callbacks.take(lease_s=60) is None
        context.callbacks.settle(taken, "DELIVERED")
        assert client.delete(f"slides/{items(client, batch)[0]['slide_id']}").status_code == 204


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"slide,colour\na,red\n", "it says: slide, colour"),
        (b"mpp\n0.5\n", "it says: mpp"),
        (b"slide,slide\na,b\n", "name the columns"),
        (b"slide\n", "1 to 10000 lines, not 0"),
        (b"", "it says: nothing"),
        (b"slide\n\xff\n", "UTF-8"),
        (b'slide\n"open\n', "not a CSV file"),
    ],
)
def test_what_is_no_table_is_refused_whole(client: TestClient, text: bytes, reason: str) -> None:
    answer = client.post("batches/table", content=text)
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]
    assert client.get("batches").json()["total"] == 0


def test_a_folder_is_queued_with_what_is_below_it(
    client: TestClient, context: Context, share: Path
) -> None:
    (share / "day" / "more").mkdir(parents=True)
    write_slide(share / "day" / "b.tif", seed=1)
    write_slide(share / "day" / "more" / "A.TIFF", seed=2)
    (share / "day" / "notes.txt").write_text("x")
    (share / "day" / "broken.svs").write_bytes(b"II*\0")
    wish = {"path": str(share / "day"), "pipelines": ["patch"], "priority": 3}
    answer = client.post("batches/folder", json=wish)
    assert answer.status_code == 202, answer.text
    assert answer.json()["counts"] == {"ARRIVING": 3}
    arrive(context)
    found = items(client, answer.json())
    assert [item["slide_name"] for item in found] == ["b.tif", "broken.svs", "A.TIFF"]
    assert [item["error_kind"] is None for item in found] == [True, False, True]
    assert {item["job"]["priority"] for item in found if item["job"]} == {3}


def test_a_folder_that_may_not_be_read_is_refused(client: TestClient, share: Path) -> None:
    for path, status in (("/etc", 403), (str(share / "none"), 400), (str(share), 400)):
        wish = {"path": path, "pipelines": ["patch"]}
        assert client.post("batches/folder", json=wish).status_code == status


def test_a_dicom_folder_is_one_slide(
    client: TestClient, context: Context, settings: Settings, real_data: Path
) -> None:
    object.__setattr__(settings, "slide_roots", (real_data,))
    wish = {"path": str(real_data / "wsi" / "dicom_cmu1_small_region"), "pipelines": ["patch"]}
    batch = client.post("batches/folder", json=wish).json()
    arrive(context)
    found = items(client, batch)
    assert [item["slide_name"] for item in found] == ["dicom_cmu1_small_region"]
    assert found[0]["job"]["status"] == "QUEUED"


def test_each_dicom_slide_of_a_folder_is_an_item_with_a_name_of_its_own(
    client: TestClient, context: Context, share: Path
) -> None:
    for number, width in ((1, 768), (2, 512)):
        kind = Kind(uid=(1, number, 0))
        write_pyramid(share / f"x{number}", tissue_picture(width), kind=kind)
        for file in (share / f"x{number}").iterdir():
            (share / "case").mkdir(exist_ok=True)
            file.rename(share / "case" / f"{number}-{file.name}")
    write_pyramid(share / "alone", tissue_picture(256), kind=Kind(uid=(2, 1, 0)))
    wish = {"path": str(share), "pipelines": ["patch"]}
    batch = client.post("batches/folder", json=wish).json()
    arrive(context)
    found = items(client, batch)
    assert [item["slide_name"] for item in found] == ["alone", "case-S1-1", "case-S1-2"]
    slides = [client.get(f"slides/{item['slide_id']}").json() for item in found]
    assert [slide["width"] for slide in slides] == [256, 768, 512]
    refused = client.post("slides/registrations", json={"path": str(share / "case")})
    assert (refused.status_code, refused.json()["kind"]) == (422, "unsupported")
    assert "it holds 2 slides" in refused.json()["detail"]


def test_cancelling_stops_registering(client: TestClient, context: Context, share: Path) -> None:
    write_slide(share / "a.tif")
    batch = table(client, f"path\n{share}/a.tif\n")
    cancelled = client.post(f"batches/{batch['id']}/cancel").json()
    assert (cancelled["counts"], cancelled["finished"]) == ({"REFUSED": 1}, True)
    assert not register_next(context)


def test_of_two_services_one_registers_an_item_and_another_goes_on_after_a_crash(
    client: TestClient, context: Context, share: Path
) -> None:
    write_slide(share / "a.tif")
    batch = table(client, f"path\n{share}/a.tif\n")
    crashed = context.batches.take_arriving(lease_s=0.0)
    assert crashed is not None
    slow = context.batches.take_arriving(lease_s=60)
    assert slow == crashed
    assert context.batches.take_arriving(lease_s=60) is None
    context.batches.settle(slow, _outcome(context, slow))
    # The one that was thought to be dead comes back: nothing happens twice.
    context.batches.settle(crashed, _outcome(context, crashed))
    assert client.get(f"batches/{batch['id']}").json()["counts"] == {"QUEUED": 1}
    assert client.get("jobs").json()["total"] == 1
