"""Taking slides in over HTTP."""

import hashlib
import io
import stat
import zipfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from service.context import Context
from service.settings import Settings
from service.slides import multipart
from service.slides.staging import remove_abandoned, staging_folder
from tests.support.apps import app_for
from tests.unit.service.conftest import upload, write_slide

_PART = b"--b\r\nContent-Disposition: form-data; %s\r\n\r\n"


def files_of(settings: Settings) -> set[str]:
    """Every file the service keeps for slides, by name."""
    folders = (settings.incoming, settings.slides)
    return {path.name for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slide_process
def test_an_uploaded_slide_is_described_and_kept_byte_by_byte(
    client: TestClient, settings: Settings, slide_file: Path
) -> None:
    with slide_file.open("rb") as file:
        answer = client.post("slides", files={"file": (slide_file.name, file)})
    assert answer.status_code == 201
    slide = answer.json()
    content = slide_file.read_bytes()
    assert slide["sha256"] == hashlib.sha256(content).hexdigest()
    assert (slide["name"], slide["size_bytes"]) == ("a slide.tif", len(content))
    assert (slide["width"], slide["height"], slide["levels"]) == (600, 600, 1)
    assert slide["mpp"] == pytest.approx(0.5)
    assert slide["results"] == []
    (kept,) = (settings.slides / slide["id"]).iterdir()
    assert kept.read_bytes() == content
    assert client.get(f"slides/{slide['id']}").json() == slide
    assert client.get("slides").json() == {"items": [slide], "total": 1}
    assert list(settings.incoming.iterdir()) == []


def test_the_same_content_twice_is_one_slide(
    client: TestClient, settings: Settings, slide_file: Path, tmp_path: Path
) -> None:
    first = upload(client, slide_file)
    copy = tmp_path / "other name.tif"
    copy.write_bytes(slide_file.read_bytes())
    with copy.open("rb") as file:
        answer = client.post("slides", files={"file": (copy.name, file)})
    assert answer.status_code == 200
    assert answer.json()["id"] == first["id"]
    assert files_of(settings) == {"a_slide.tif"}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("empty.svs", b"", "not_a_slide"),
        ("notes.svs", b"this is text, not a slide\n" * 50, "not_a_slide"),
        ("photo.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "not_a_slide"),
    ],
)
def test_what_is_no_slide_is_refused_with_a_reason_and_not_kept(
    client: TestClient, settings: Settings, name: str, content: bytes, kind: str
) -> None:
    answer = client.post("slides", files={"file": (name, content)})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["kind"], problem["slide"], problem["status"]) == (kind, name, 422)
    assert problem["detail"].startswith(name)
    assert files_of(settings) == set()
    assert client.get("slides").json()["total"] == 0


@pytest.mark.slide_process
def test_a_truncated_slide_is_called_damaged(
    client: TestClient, settings: Settings, slide_file: Path
) -> None:
    content = slide_file.read_bytes()
    answer = client.post("slides", files={"file": ("half.tif", content[: len(content) // 2])})
    assert (answer.status_code, answer.json()["kind"]) == (422, "damaged")
    assert files_of(settings) == set()


def test_mpp_given_with_the_upload_overrides_the_file(client: TestClient, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "s.tif", mpp=None)
    assert upload(client, path, mpp="0.25")["mpp"] == 0.25
    # Field before or after the file: both are forms.
    body = (
        b'--b\r\nContent-Disposition: form-data; name="mpp"\r\n\r\n0.75\r\n--b\r\n'
        b'Content-Disposition: form-data; name="file"; filename="s.tif"\r\n\r\n'
        + path.read_bytes()
        + b"\r\n--b--\r\n"
    )
    answer = client.post(
        "slides", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert (answer.status_code, answer.json()["mpp"]) == (200, 0.75)


@pytest.mark.parametrize("mpp", ["zero", "0", "-1", "nan", "inf"])
def test_an_mpp_that_cannot_be_is_refused(
    client: TestClient, settings: Settings, slide_file: Path, mpp: str
) -> None:
    with slide_file.open("rb") as file:
        answer = client.post("slides", files={"file": ("s.tif", file)}, data={"mpp": mpp})
    assert (answer.status_code, answer.json()["kind"]) == (400, "bad_request")
    assert files_of(settings) == set()


def test_mpp_can_be_given_later_and_taken_back(client: TestClient, slide_file: Path) -> None:
    slide = upload(client, slide_file)
    changed = client.patch(f"slides/{slide['id']}", json={"mpp": 1.5, "force_mpp": True})
    assert (changed.status_code, changed.json()["mpp"]) == (200, 1.5)
    back = client.patch(f"slides/{slide['id']}", json={"mpp": None})
    assert back.json()["mpp"] == pytest.approx(0.5)
    assert client.patch(f"slides/{slide['id']}", json={"mpp": -1}).status_code == 422
    assert client.patch("slides/nothing", json={"mpp": 1}).status_code == 404


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"no form at all", "multipart/form-data; boundary=b"),
        (_PART % b'name="file"; filename="a.svs"' + b"abc", "multipart/form-data; boundary=b"),
        (_PART % b'name="x"' + b"1\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (_PART % b'name="file"' + b"1\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b"{}", "application/json"),
        (b"abc", "multipart/form-data"),
    ],
    ids=["empty", "no form", "cut off", "no file", "no name", "json", "no boundary"],
)
def test_a_body_that_is_no_upload_form_is_a_bad_request(
    client: TestClient, settings: Settings, body: bytes, kind: str
) -> None:
    answer = client.post("slides", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["kind"]) == (400, "bad_request")
    assert files_of(settings) == set()


def test_an_upload_over_the_limit_is_refused_by_its_header_and_by_counting(
    settings: Settings, slide_file: Path
) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 1000})
    content = slide_file.read_bytes() * 20
    with TestClient(app_for(small), base_url="http://localhost/api/v1/") as client:
        declared = client.post("slides", files={"file": ("a.tif", content)})
        # Chunked: no length is announced, so only counting can tell.
        form = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.tif"\r\n\r\n'
            + content
            + b"\r\n--b--\r\n"
        )
        counted = client.post(
            "slides",
            content=iter([form[:5000], form[5000:]]),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
    for answer in (declared, counted):
        assert (answer.status_code, answer.json()["kind"]) == (413, "too_large")
    assert files_of(settings) == set()


def test_a_full_disk_is_said_and_nothing_kept(
    client: TestClient, settings: Settings, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    content = slide_file.read_bytes()
    monkeypatch.setattr(Path, "open", lambda *_: Full())
    answer = client.post("slides", files={"file": ("a.tif", content)})
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["kind"]) == (507, "disk_full")
    assert files_of(settings) == set()


def test_the_name_of_an_upload_leads_nowhere(client: TestClient, slide_file: Path) -> None:
    content = slide_file.read_bytes()
    answer = client.post("slides", files={"file": ("../../etc/..\\evil slide.tif", content)})
    assert (answer.status_code, answer.json()["name"]) == (201, "evil slide.tif")


@pytest.mark.parametrize(
    ("name", "on_disk"),
    [("a b.svs", "a_b.svs"), ("...", "slide"), (".hidden.tif", "hidden.tif"), ("ü.mrxs", "_.mrxs")],
)
def test_names_on_disk_are_plain(name: str, on_disk: str) -> None:
    assert multipart.disk_name(name) == on_disk


def zipped(members: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    """A zip with these members; those in ``links`` are symbolic links."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            kind = stat.S_IFLNK if name in links else stat.S_IFREG
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def test_a_slide_in_a_zip_is_unpacked(
    client: TestClient, settings: Settings, slide_file: Path
) -> None:
    content = zipped({"folder/inner.tif": slide_file.read_bytes(), "__MACOSX/x": b"junk"})
    answer = client.post("slides", files={"file": ("inner.zip", content)})
    assert answer.status_code == 201
    assert answer.json()["width"] == 600
    # The zip itself is not kept.
    assert files_of(settings) == {"inner.tif"}


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (zipped({"../../out.tif": b"x"}), 422, "unsupported"),
        (zipped({"/abs.tif": b"x"}), 422, "unsupported"),
        (zipped({"a.tif": b"/etc/passwd"}, links=("a.tif",)), 422, "unsupported"),
        (zipped({"a.mrxs": b"x", "b.mrxs": b"x"}), 422, "unsupported"),
        (zipped({}), 422, "not_a_slide"),
        (zipped({".hidden": b"x"}), 422, "not_a_slide"),
        (zipped({"a.tif": b"no slide"}), 422, "not_a_slide"),
        (zipped({"a.tif": b"x" * 5000})[:60], 422, "damaged"),
        (zipped({f"{n}": b"" for n in range(40)}), 413, "too_large"),
        (zipped({"bomb.tif": b"\0" * 3_000_000}), 413, "too_large"),
    ],
    ids=["escape", "absolute", "link", "two", "empty", "hidden", "text", "cut", "many", "bomb"],
)
def test_a_hostile_or_broken_zip_is_refused_and_nothing_kept(
    settings: Settings, content: bytes, status: int, kind: str
) -> None:
    limits = {"max_unpacked_files": 30, "max_unpacked_bytes": 1_000_000}
    strict = settings.model_copy(update=limits)
    with TestClient(app_for(strict), base_url="http://localhost/api/v1/") as client:
        if not content.startswith(b"PK\x03\x04"):
            # An empty zip has no local header, so it is looked at as any other file.
            kind = "not_a_slide"
        answer = client.post("slides", files={"file": ("a.zip", content)})
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert files_of(settings) == set()
    assert not (settings.data_dir.parent / "out.tif").exists()


@pytest.mark.slide_process
def test_a_file_that_crashes_the_reader_is_refused_and_the_service_lives(
    client: TestClient, settings: Settings, slide_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a crash of a C library looks like from outside: the process is gone by a signal.
    monkeypatch.setattr("service.slides.check.sys.executable", "/bin/false")
    with slide_file.open("rb") as file:
        answer = client.post("slides", files={"file": ("a.tif", file)})
    assert (answer.status_code, answer.json()["kind"]) == (422, "damaged")
    assert files_of(settings) == set()
    assert client.get("health").json() == {"status": "ok"}


@pytest.mark.slide_process
def test_a_file_that_takes_too_long_to_check_is_refused(
    settings: Settings, slide_file: Path
) -> None:
    hasty = settings.model_copy(update={"check_timeout_s": 0.01})
    with (
        TestClient(app_for(hasty), base_url="http://localhost/api/v1/") as client,
        slide_file.open("rb") as file,
    ):
        answer = client.post("slides", files={"file": ("a.tif", file)})
    assert (answer.status_code, answer.json()["kind"]) == (422, "damaged")
    assert "0.01 seconds" in answer.json()["detail"]


@pytest.mark.slide_process
def test_the_check_stays_within_its_memory(settings: Settings, slide_file: Path) -> None:
    poor = settings.model_copy(update={"check_memory_bytes": 64 << 20})
    with (
        TestClient(app_for(poor), base_url="http://localhost/api/v1/") as client,
        slide_file.open("rb") as file,
    ):
        answer = client.post("slides", files={"file": ("a.tif", file)})
    assert (answer.status_code, answer.json()["kind"]) == (422, "damaged")


def test_a_slide_on_an_allowed_mount_is_registered_without_a_copy(
    client: TestClient, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "share").mkdir()
    path = write_slide(tmp_path / "share" / "there.tif")
    answer = client.post("slides/registrations", json={"path": str(path)})
    assert answer.status_code == 201
    assert answer.json()["name"] == "there.tif"
    assert client.post("slides/registrations", json={"path": str(path)}).status_code == 200
    assert files_of(settings) == set()
    thumbnail = client.get(f"slides/{answer.json()['id']}/thumbnail.jpg")
    assert thumbnail.status_code == 200


def test_a_path_outside_the_mounts_is_forbidden_even_through_a_link(
    client: TestClient, slide_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "share").mkdir()
    link = tmp_path / "share" / "link.tif"
    link.symlink_to(slide_file)
    for path in (slide_file, link, tmp_path / "share" / ".." / slide_file.name):
        answer = client.post("slides/registrations", json={"path": str(path)})
        assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden_path")


def test_only_objects_below_a_prefix_are_registered(settings: Settings) -> None:
    """``..`` is no way up; versions, chained file systems and other servers are no way round."""
    chosen = Settings(data_dir=settings.data_dir, slide_prefixes="s3://b/ours, s3://c")  # type: ignore[arg-type]
    assert chosen.slide_prefixes == ("s3://b/ours/", "s3://c/")
    with TestClient(app_for(chosen), base_url="http://localhost/api/v1/") as client:
        for url in (
            "s3://b/ours-not/a.svs",
            "s3://b/ours/../a.svs",
            "s3://b/ours/",
            "s3://b/ours//a.svs",
            "s3://b/ours/a.svs?versionId=1",
            "s3://b/ours/a.svs#etag=1",
            "s3://b/ours/*.svs",
            "s3://other/ours/a.svs",
            "S3://b/ours/a.svs",
            "file:///etc/passwd",
            "simplecache::s3://b/ours/a.svs",
        ):
            answer = client.post("slides/registrations", json={"path": url})
            assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden_path"), url
        folder = {"path": "s3://b/ours/", "pipelines": ["patch"]}
        answer = client.post("batches/folder", json=folder)
        assert (answer.status_code, answer.json()["kind"]) == (400, "bad_request")
        assert "a table" in answer.json()["detail"]
    with pytest.raises(ValidationError, match="not an address in object storage"):
        Settings(slide_prefixes="/mnt/slides")  # type: ignore[arg-type]


def test_registering_what_is_not_there_says_so(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    path = tmp_path / "share" / "missing.svs"
    answer = client.post("slides/registrations", json={"path": str(path)})
    assert (answer.status_code, answer.json()["kind"]) == (422, "unreadable")


def test_lists_come_in_pages_newest_first(client: TestClient, tmp_path: Path) -> None:
    ids = [
        upload(client, write_slide(tmp_path / f"{n}.tif", seed=n, side=300))["id"] for n in range(3)
    ]
    page = client.get("slides", params={"limit": 2}).json()
    assert [slide["id"] for slide in page["items"]] == ids[:0:-1]
    assert page["total"] == 3
    rest = client.get("slides", params={"limit": 2, "offset": 2}).json()
    assert [slide["id"] for slide in rest["items"]] == ids[:1]


def test_an_abandoned_upload_is_removed_at_start_and_a_running_one_is_not(
    settings: Settings,
) -> None:
    abandoned = settings.incoming / "abandoned"
    abandoned.mkdir(parents=True)
    (abandoned / ".lock").touch()
    (abandoned / "part.svs").write_bytes(b"x")
    with staging_folder(settings.incoming) as running:
        (running / "part.svs").write_bytes(b"x")
        assert remove_abandoned(settings.incoming) == 1
        assert (running / "part.svs").is_file()
        assert not abandoned.exists()


def test_a_slide_stored_at_the_same_moment_by_another_request_is_one_slide(
    client: TestClient, context: Context, settings: Settings, slide_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first = upload(client, slide_file)
    known = context.slides.by_sha256(str(first["sha256"]))
    # The look before the check sees nothing, the insert meets the row of the faster request.
    monkeypatch.setattr(context.intake, "_known", lambda *_, **__: None)
    with slide_file.open("rb") as file:
        answer = client.post("slides", files={"file": ("again.tif", file)})
    assert known is not None
    assert (answer.status_code, answer.json()["id"]) == (200, known.id)
    assert [path.name for path in settings.slides.iterdir()] == [known.id]
