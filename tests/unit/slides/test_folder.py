"""Folders with one slide, several, or none."""

import os
import shutil
from pathlib import Path

import pytest

from tests.unit.service.conftest import write_slide
from wsi.errors import (
    DamagedSlideError,
    NotASlideError,
    SlideError,
    UnreadableSlideError,
    UnsupportedSlideError,
)
from wsi.slides import open_slide
from wsi.slides.dicom.reader import DicomReader
from wsi.slides.entry import entry_of
from wsi.slides.folder import each_slide, name_of, slides_below
from wsi.testing.dicom import Kind, tissue_picture, write_dicom, write_other, write_pyramid

PICTURE = tissue_picture()
OTHER = tissue_picture(512, 512, seed=1)
SEG, SR, MAP = (
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.30",
)


def refusal(path: Path) -> SlideError:
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    return caught.value


def names(folder: Path) -> list[str]:
    return [one.name for one in slides_below(folder)]


def test_a_folder_of_two_tiffs_is_refused_with_their_names(tmp_path: Path) -> None:
    write_slide(tmp_path / "one.tif")
    write_slide(tmp_path / "two.tif", seed=1)
    error = refusal(tmp_path)
    assert isinstance(error, UnsupportedSlideError)
    assert "it holds 2 slides: one.tif; two.tif; give each one separately" in str(error)
    assert names(tmp_path) == ["one.tif", "two.tif"]


def test_two_series_of_a_folder_are_two_slides_named_by_their_containers(tmp_path: Path) -> None:
    folder = tmp_path / "case"
    write_dicom(folder / "I1", PICTURE, kind=Kind(uid=(1, 1, 0)))
    write_dicom(folder / "I2", OTHER, kind=Kind(uid=(1, 2, 0)))
    found = each_slide(folder)
    assert [(one.path.name, one.name) for one in found] == [
        ("I1", "case-S1-1"),
        ("I2", "case-S1-2"),
    ]
    assert [name_of(one.path) for one in found] == ["case-S1-1", "case-S1-2"]
    for one, width in zip(found, (768, 512), strict=True):
        with open_slide(one.path, name=one.name) as slide:
            assert (slide.size.width, slide.name) == (width, one.name)
    assert "(I1); DICOM series" in str(refusal(folder))


def test_containers_that_two_slides_share_are_told_apart_by_their_uids(tmp_path: Path) -> None:
    folder = tmp_path / "case"
    for number in (1, 2):
        kind = Kind(uid=(1, number, 0), more={"ContainerIdentifier": "H21/4711"})
        write_dicom(folder / f"{number}", PICTURE, kind=kind)
    write_dicom(folder / "3", PICTURE, kind=Kind(uid=(1, 3, 1)))
    write_dicom(folder / "4", PICTURE, kind=Kind(uid=(1, 3, 2)))
    write_dicom(folder / "5", PICTURE, kind=Kind(uid=(1, 5, 0), more={"ContainerIdentifier": None}))
    found = names(folder)
    assert len(set(found)) == 5
    assert all(name.startswith("case-") and "/" not in name for name in found)
    assert sum(name.startswith("case-H21_4711-") for name in found) == 2


def test_a_mix_of_formats_is_refused_and_listed(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif")
    write_pyramid(tmp_path / "b", PICTURE)
    assert "2 slides: a.tif; DICOM series" in str(refusal(tmp_path))
    assert names(tmp_path) == ["a.tif", "b"]


def test_what_is_no_slide_may_lie_beside_one(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    write_pyramid(folder / "images", PICTURE)
    for number, sop_class in enumerate((SEG, SR, MAP)):
        write_other(folder / "images" / f"result{number}.dcm", sop_class)
    (folder / "report.pdf").write_bytes(b"%PDF-1.4")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.svs").write_text("x")
    with open_slide(folder) as slide:
        assert [level.size.width for level in slide.levels] == [768, 384]
        assert slide.warnings == ()
        assert slide.name == "study"


def test_one_slide_among_files_that_only_look_like_slides_is_read_and_they_are_named(
    tmp_path: Path,
) -> None:
    write_slide(tmp_path / "a.tif")
    (tmp_path / "b.svs").write_bytes(b"II*\0")
    with open_slide(tmp_path) as slide:
        assert slide.warnings == ("b.svs is next to it and is not read",)
    assert [one.path for one in each_slide(tmp_path)] == [tmp_path]
    # A list of slides has both, so that the broken one is refused by its name.
    assert names(tmp_path) == ["a.tif", "b.svs"]


def test_a_medium_with_a_directory_is_read_though_its_files_have_no_ending(tmp_path: Path) -> None:
    medium = tmp_path / "cd"
    for number, file in enumerate(write_pyramid(medium / "x", PICTURE)):
        place = medium / "DICOM" / "A" / f"B{number}"
        place.mkdir(parents=True)
        file.rename(place / "I1")
    (medium / "x").rmdir()
    write_other(medium / "DICOM" / "A" / "B0" / "I2", SEG)
    write_other(medium / "DICOMDIR", "1.2.840.10008.1.3.10")
    for path in (medium, medium / "DICOMDIR", medium / "DICOM" / "A" / "B1" / "I1"):
        with open_slide(path) as slide:
            assert [level.size.width for level in slide.levels] == [768, 384]
    # A second slide on it: each is opened by one of its files.
    write_dicom(medium / "DICOM" / "A" / "B2" / "I1", OTHER, kind=Kind(uid=(1, 2, 0)))
    found = each_slide(medium)
    assert [one.path.is_file() for one in found] == [True, False]
    sizes = []
    for one in found:
        with open_slide(one.path) as slide:
            sizes.append([level.size.width for level in slide.levels])
    assert sizes == [[768, 384], [512]]


def test_levels_are_found_whatever_their_names_end_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, file in enumerate(write_pyramid(tmp_path / "slide", PICTURE)):
        file.rename(file.with_name(f"image{number}.scan{number}"))
    monkeypatch.chdir(tmp_path)
    for path in (Path("slide"), Path("slide/image1.scan1")):
        with open_slide(path) as slide:
            assert isinstance(slide, DicomReader)
            assert [level.size.width for level in slide.levels] == [768, 384]


def test_levels_of_a_series_may_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    for number, file in enumerate(write_pyramid(tmp_path / "x", PICTURE)):
        (tmp_path / "slide" / f"level{number}").mkdir(parents=True)
        file.rename(tmp_path / "slide" / f"level{number}" / "image.dcm")
    with open_slide(tmp_path / "slide") as slide:
        assert len(slide.levels) == 2
    # Two of them in one folder cannot be told apart by a file: the folder is refused with names.
    write_dicom(tmp_path / "slide" / "b.dcm", OTHER, kind=Kind(uid=(1, 2, 0)))
    assert "holds 2 slides" in str(refusal(tmp_path / "slide"))


def test_slides_that_share_a_series_by_mistake_are_not_joined(tmp_path: Path) -> None:
    for name, picture in (("a", PICTURE), ("b", tissue_picture(x=300))):
        write_pyramid(tmp_path / name, picture)
    assert names(tmp_path) == ["a", "b"]
    assert "(a/level-0.dcm); DICOM series" in str(refusal(tmp_path))
    assert "(b/level-0.dcm); give each" in str(refusal(tmp_path))


def test_equal_names_get_the_folders_before_them(tmp_path: Path) -> None:
    for folder in ("p1", "p2"):
        (tmp_path / folder).mkdir()
        write_slide(tmp_path / folder / "slide.tif")
    write_slide(tmp_path / "slide.TIFF")
    assert names(tmp_path) == ["p1-slide.tif", "p2-slide.tif", "slide.TIFF"]
    write_slide(tmp_path / "p1-slide.tif")
    assert len({name.casefold() for name in names(tmp_path)}) == 4


def test_a_broken_dicom_file_is_listed_and_refused_by_name(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE)
    (tmp_path / "a.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:700])
    assert names(tmp_path) == ["a.dcm"]
    assert isinstance(refusal(tmp_path / "a.dcm"), DamagedSlideError)


def test_a_folder_that_cannot_be_listed_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(folder: Path, onerror: object) -> list[object]:
        assert callable(onerror)
        onerror(PermissionError(13, "Permission denied", str(tmp_path)))
        return []

    monkeypatch.setattr(os, "walk", deny)
    error = refusal(tmp_path)
    assert isinstance(error, UnreadableSlideError)
    assert "Permission denied" in str(error)


def test_a_slide_without_an_ending_is_found_in_its_folder(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif").rename(tmp_path / "scan")
    with open_slide(tmp_path) as slide:
        assert slide.size.width == 600
    shutil.copy(tmp_path / "scan", tmp_path / "other")
    assert "2 slides: other; scan" in str(refusal(tmp_path))


def test_a_folder_without_slides_is_no_slide(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert isinstance(refusal(tmp_path), NotASlideError)
    assert [one.path for one in each_slide(tmp_path)] == [tmp_path]


def test_what_opens_it_again_is_its_folder_or_its_file(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "zip" / "study" / "series", PICTURE)
    write_other(tmp_path / "zip" / "study" / "seg.dcm", SEG)
    assert entry_of(tmp_path / "zip", "a").path == tmp_path / "zip" / "study" / "series"
    (tmp_path / "b" / "c").mkdir(parents=True)
    write_slide(tmp_path / "b" / "c" / "a.tif")
    assert entry_of(tmp_path / "b", "a").path == tmp_path / "b" / "c" / "a.tif"
