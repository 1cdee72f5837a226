"""A slide that is read where it lies is the one that was registered, or refused."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from wsi.errors import ChangedSlideError, UnreadableSlideError
from wsi.slides import identity, registered
from wsi.slides.identity import slide_digest, slide_stamp
from wsi.slides.registered import (
    Registered,
    content_sha256,
    registered_from,
    require_registered,
)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "a.tif"
    path.write_bytes(bytes(range(256)) * 40)
    return path


@pytest.fixture(autouse=True)
def nothing_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered, "_verified", set())


def known(path: Path) -> Registered:
    return Registered(content_sha256(path)[0], slide_digest(path), slide_stamp(path))


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    whole = registered.content_sha256
    monkeypatch.setattr(
        registered, "content_sha256", lambda *a: (seen.append("whole"), whole(*a))[1]
    )
    return seen


def test_it_goes_through_text_and_back(slide: Path) -> None:
    assert registered_from(str(known(slide))) == known(slide)
    assert registered_from("abc  ") == Registered("abc", "", "")


def test_an_untouched_slide_is_not_read(slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was, seen = known(slide), reads(monkeypatch)
    monkeypatch.setattr(registered, "slide_digest", lambda path: pytest.fail("it is read"))
    require_registered(slide, was, "a.tif")
    assert seen == []


def test_a_replaced_slide_is_refused_by_name(slide: Path) -> None:
    was = known(slide)
    slide.write_bytes(slide.read_bytes()[::-1])
    with pytest.raises(ChangedSlideError, match=r"^case 1: the file is not the one that was reg"):
        require_registered(slide, was, "case 1")


def test_an_edit_that_the_digest_cannot_see_is_found_by_its_time(
    slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WHOLE_BYTES": 10, "SMALL_BYTES": 10, "EDGE_BYTES": 8, "BLOCKS": 1}.items():
        monkeypatch.setattr(identity, name, value)
    monkeypatch.setattr(identity, "BLOCK_BYTES", 8)
    was = known(slide)
    data = bytearray(slide.read_bytes())
    data[5000] ^= 1
    slide.write_bytes(data)
    os.utime(slide, ns=(7, 7))
    assert slide_digest(slide) == was.digest
    with pytest.raises(ChangedSlideError):
        require_registered(slide, was, "a.tif")
    # Where there is no time for reading it whole, the digest is believed.
    require_registered(slide, was, "a.tif", whole=False)


def test_a_slide_that_was_copied_back_is_read_whole_once(
    slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was, seen, told = known(slide), reads(monkeypatch), []
    os.utime(slide, ns=(7, 7))
    for _ in range(3):
        require_registered(slide, was, "a.tif", tell=told.append)
    assert seen == ["whole"]
    assert told[-1] == 1


def test_a_slide_that_is_gone_is_unreadable(slide: Path) -> None:
    was = known(slide)
    slide.unlink()
    with pytest.raises(UnreadableSlideError):
        require_registered(slide, was, "a.tif")


def test_what_an_earlier_version_registered_is_read_whole(slide: Path) -> None:
    sha256 = hashlib.sha256(slide.read_bytes()).hexdigest()
    require_registered(slide, Registered(sha256, "", ""), "a.tif")
    with pytest.raises(ChangedSlideError):
        require_registered(slide, Registered("0" * 64, "", ""), "a.tif")


def test_of_a_slide_of_several_files_all_bytes_count(tmp_path: Path) -> None:
    entry = tmp_path / "a.mrxs"
    entry.write_bytes(b"entry")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Data0000.dat").write_bytes(b"tiles")
    sha256, size = content_sha256(entry)
    assert size == 10
    (tmp_path / "a" / "Data0000.dat").write_bytes(b"tilez")
    assert content_sha256(entry)[0] != sha256
    # Of one file it is what sha256sum says, and earlier versions looked at the entry alone.
    alone = hashlib.sha256(b"entry").hexdigest()
    require_registered(entry, Registered(alone, "", ""), "a.mrxs")


def test_a_folder_has_the_sum_that_earlier_versions_gave_it(
    real_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    source = real_data / "wsi" / "dicom_cmu1_small_region"
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    earlier = registered._earlier_sha256(folder)
    assert content_sha256(folder)[0] == earlier
    require_registered(folder, Registered(earlier, "", ""), "s")
