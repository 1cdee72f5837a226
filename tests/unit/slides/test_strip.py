"""Copies of slides without labels."""

import hashlib
import shutil
from pathlib import Path

import pydicom
import pytest
import tifffile

from tests.unit.slides.svs import SECRETS, write_svs
from wsi.errors import UnsupportedSlideError
from wsi.slides import SlideReader, open_slide
from wsi.slides.openslide_reader import OpenSlideReader
from wsi.slides.strip import strip_labels
from wsi.slides.strip_tiff import technical


def pixels(path: Path) -> list[str]:
    """A digest of every pixel of every level, by the library that did not write the copy."""
    with open_slide(path, backend="openslide") as slide:
        assert isinstance(slide, OpenSlideReader)
        return [
            hashlib.sha256(slide.read_level(number, 0, 0, *_size(slide, number))).hexdigest()
            for number in range(len(slide.levels))
        ]


def _size(slide: SlideReader, level: int) -> tuple[int, int]:
    size = slide.levels[level].size
    return int(size.width), int(size.height)


def associated(path: Path) -> set[str]:
    with open_slide(path) as slide:
        return set(slide.associated_images)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_an_svs_loses_its_labels_and_names_and_no_pixel(tmp_path: Path, bigtiff: bool) -> None:
    slide = write_svs(tmp_path / "a.svs", bigtiff=bigtiff)
    assert associated(slide) == {"label", "macro", "thumbnail"}
    assert all(secret.encode() in slide.read_bytes() for secret in SECRETS)
    copy = tmp_path / "copy.svs"
    assert strip_labels(slide, copy) == ("label", "macro")
    assert associated(copy) == {"thumbnail"}
    assert pixels(copy) == pixels(slide)
    assert not [secret for secret in SECRETS if secret.encode() in copy.read_bytes()]
    with open_slide(copy) as stripped:
        assert (stripped.mpp, stripped.magnification) != (None, None)
        assert stripped.properties["aperio.Left"] == "1.5"
    with tifffile.TiffFile(copy) as tiff:
        assert len(tiff.pages) == 3
    assert strip_labels(copy, tmp_path / "again.svs") == ()


def test_bytes_that_no_directory_names_are_gone_too(tmp_path: Path) -> None:
    slide = write_svs(tmp_path / "a.svs")
    with slide.open("ab") as file:
        file.write(b"appended by hand: DOE^JANE")
    strip_labels(slide, tmp_path / "copy.svs")
    assert b"DOE^JANE" not in (tmp_path / "copy.svs").read_bytes()


def test_real_slides_keep_every_pixel(real_data: Path, tmp_path: Path) -> None:
    slides = [
        real_data / "wsi" / "CMU-1-Small-Region.svs",
        real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs",
        real_data / "wsi" / "edge" / "boxes.tiff",
        real_data / "wsi" / "dicom_cmu1_small_region",
    ]
    for slide in slides:
        copy = tmp_path / slide.name
        strip_labels(slide, copy)
        assert pixels(copy) == pixels(slide)
        assert associated(copy) <= {"thumbnail"}


def test_a_dicom_slide_loses_its_labels_and_its_patient(real_data: Path, tmp_path: Path) -> None:
    slide = tmp_path / "slide"
    shutil.copytree(real_data / "wsi" / "dicom_cmu1_small_region", slide)
    for file in slide.iterdir():
        file.chmod(0o644)
        instance = pydicom.dcmread(file)
        instance.PatientName, instance.PatientID = "DOE^JANE", "4711"
        instance.BarcodeValue = instance.ContainerIdentifier = "H21-4711"
        instance.add_new((0x0009, 0x0010), "LO", "SCANNER")
        instance.add_new((0x0009, 0x1001), "LO", "DOE^JANE")
        instance.preamble = b"DOE^JANE".ljust(128, b" ")
        instance.save_as(file)
    (slide / "letter.txt").write_text("Dear DOE^JANE")
    copy = tmp_path / "copy"
    removed = strip_labels(slide, copy)
    assert sorted(removed) == ["LABEL", "OVERVIEW", "letter.txt (not a slide image)"]
    kept = [pydicom.dcmread(file) for file in copy.iterdir()]
    assert sorted(instance.ImageType[2] for instance in kept) == ["THUMBNAIL", "VOLUME"]
    assert all(instance.PatientName == "" and instance.PatientID == "" for instance in kept)
    assert all(instance.ContainerIdentifier == "REMOVED" for instance in kept)
    data = b"".join(file.read_bytes() for file in copy.iterdir())
    assert b"DOE^JANE" not in data
    assert b"4711" not in data
    assert pixels(copy) == pixels(slide)


def test_a_single_instance_is_stripped_as_a_file(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "wsi" / "dicom_cmu1_small_region"
    volume = max(folder.iterdir(), key=lambda file: file.stat().st_size)
    alone = shutil.copy(volume, tmp_path / "alone.dcm")
    (tmp_path / "copy").mkdir()
    assert strip_labels(Path(alone), tmp_path / "copy" / "copy.dcm") == ()
    assert pixels(tmp_path / "copy" / "copy.dcm") == pixels(Path(alone))


def test_a_layout_that_may_hide_images_is_refused_and_leaves_no_copy(tmp_path: Path) -> None:
    slide = tmp_path / "a.svs"
    write_svs(slide)
    with tifffile.TiffFile(slide) as tiff:
        tag = tiff.pages[0].tags[270]
        offset, length = tag.valueoffset, tag.valuebytecount
    text = b"Aperio\r\nlabel 600x600".ljust(length, b" ")
    with slide.open("r+b") as file:
        file.seek(offset)
        file.write(text)
    with pytest.raises(UnsupportedSlideError, match="possibly labels"):
        strip_labels(slide, tmp_path / "copy.svs")
    assert not (tmp_path / "copy.svs").exists()


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_svs(tmp_path / "in" / "a.svs")
    with pytest.raises(UnsupportedSlideError, match="name the slide's file"):
        strip_labels(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    slide = write_svs(tmp_path / "a.svs")
    with pytest.raises(FileExistsError):
        strip_labels(slide, slide)
    assert associated(slide) == {"label", "macro", "thumbnail"}


def test_a_description_keeps_optics_and_drops_free_text() -> None:
    head = b"Aperio Leica Biosystems GT450 v1.0.1 \r\n10x10 DOE [0,0 9x9] J2K/KDU"
    assert technical(head + b"|MPP = 0.26|AppMag = J. Doe|X = 1") == (
        b"Aperio Leica Biosystems GT450 v1.0.1\r\n10x10 [0,0 9x9] J2K/KDU|MPP = 0.26"
    )
