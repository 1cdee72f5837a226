"""DICOM slides: which instances are one slide, and what is refused for what it is."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from wsi.errors import DamagedSlideError, SlideError, UnsupportedSlideError
from wsi.geometry import Region, Size
from wsi.slides import RGB, SlideReader, check_slide, open_slide
from wsi.slides.dicom.reader import DicomReader
from wsi.testing.dicom import Kind, tissue_picture, write_dicom, write_other, write_pyramid

PICTURE = tissue_picture()
WHOLE = Region(0, 0, 768, 512)


def sizes(slide: SlideReader) -> list[tuple[float, float]]:
    return [(level.size.width, level.size.height) for level in slide.levels]


def whole(path: Path) -> RGB:
    with open_slide(path) as slide:
        return slide.read_region(WHOLE, Size(768, 512))


def refusal(path: Path) -> SlideError:
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert str(path.parent) not in str(caught.value), "no place of the server"
    return caught.value


def test_a_pyramid_is_read_with_its_levels_and_resolution(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "a", PICTURE, levels=3)
    with open_slide(tmp_path / "a") as slide:
        assert sizes(slide) == [(768, 512), (384, 256), (192, 128)]
        assert slide.mpp is not None
        assert slide.mpp.x == pytest.approx(0.5)
        assert (slide.vendor, slide.warnings) == ("dicom", ())
        assert slide.path.name == "level-0.dcm"
    check_slide(tmp_path / "a")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind(focal=2), "it has two focal planes; only single-plane slides are read"),
        (Kind(focal=12), "it has 12 focal planes"),
        (Kind(paths=3), "it has three optical paths"),
        (Kind(syntax="1.2.840.10008.1.2.4.80"), "JPEG-LS Lossless"),
        (Kind(syntax="1.2.840.10008.1.2.5"), "RLE Lossless"),
        (Kind(syntax="1.2.840.10008.1.2.4.201"), "High-Throughput JPEG 2000"),
        (Kind(more={"ImageType": None}), "ImageType is missing"),
        (Kind(more={"PlanarConfiguration": None}), "does not state PlanarConfiguration"),
        (Kind(more={"NumberOfFrames": None}), "does not state NumberOfFrames"),
        (Kind(more={"PhotometricInterpretation": "YBR_PARTIAL_420"}), "YBR_PARTIAL_420"),
        (Kind(flavour="LABEL"), "holds no VOLUME image, only: LABEL"),
        (Kind(flavour="SKETCH"), "holds no VOLUME image, only: SKETCH"),
        (Kind(more={"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}), "have 16 bits"),
        (Kind(more={"SamplesPerPixel": 4}), "four samples"),
        (Kind(more={"TotalPixelMatrixColumns": None}), "does not state its size"),
    ],
)
def test_a_sound_slide_of_another_kind_is_refused_by_what_it_is(
    tmp_path: Path, kind: Kind, reason: str
) -> None:
    write_dicom(tmp_path / "a" / "a.dcm", PICTURE, kind=kind)
    error = refusal(tmp_path / "a")
    assert isinstance(error, UnsupportedSlideError)
    assert reason in str(error)
    assert "again" not in str(error)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_slides_are_refused_with_their_bits(tmp_path: Path, dtype: type) -> None:
    file = tmp_path / "a.dcm"
    write_dicom(file, PICTURE[..., 0].astype(dtype), kind=Kind(syntax=ExplicitVRLittleEndian))
    instance = pydicom.dcmread(file)
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.save_as(file)
    assert f"a grey image of {8 * np.dtype(dtype).itemsize} bits" in str(refusal(file))


def test_fluorescence_is_refused_even_where_it_comes_as_colours(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    instance = write_dicom(file, PICTURE)
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "111743", "DCM"
    instance.OpticalPathSequence[0].IlluminationTypeCodeSequence = [code]
    instance.save_as(file)
    assert "taken by epifluorescence" in str(refusal(file))


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"],
)
def test_uncompressed_and_jpeg_2000_are_read_as_they_were_written(
    tmp_path: Path, syntax: str
) -> None:
    more = {} if syntax == ExplicitVRLittleEndian else {"PhotometricInterpretation": "YBR_RCT"}
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(syntax=syntax, more=more))
    np.testing.assert_array_equal(whole(tmp_path / "a.dcm"), PICTURE)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 100", "Müller"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("GB18030", "王^小东"),
    ],
)
def test_a_patient_of_any_script_is_read(
    tmp_path: Path, charset: str | list[str], name: str
) -> None:
    more = {"SpecificCharacterSet": charset, "PatientName": name}
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(more=more))
    check_slide(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    "missing", ["PatientSex", "PatientBirthDate", "StudyTime", "StudyInstanceUID", "PatientID"]
)
def test_what_pixels_do_not_need_may_be_missing(tmp_path: Path, missing: str) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(more={missing: None}))
    check_slide(tmp_path / "a.dcm")


def test_missing_frames_are_noticed_when_it_is_opened(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(stored_frames=5))
    error = refusal(tmp_path / "a.dcm")
    assert isinstance(error, DamagedSlideError)
    assert "stores 5 frames of 6 tiles" in str(error)


def test_all_parts_of_a_concatenation_are_read_and_a_missing_one_is_noticed(tmp_path: Path) -> None:
    for number, (start, end) in enumerate([(0, 4), (4, 6)], 1):
        kind = Kind(part=(number, 2, start, end))
        write_dicom(tmp_path / "a" / f"{number}.dcm", PICTURE, kind=kind)
    assert np.abs(whole(tmp_path / "a").astype(int) - PICTURE).mean() < 5
    (tmp_path / "a" / "2.dcm").unlink()
    assert "split into 2 files, of which 1 are here" in str(refusal(tmp_path / "a"))


def test_two_pyramids_of_a_series_are_two_slides_and_never_mixed(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "a", PICTURE, kind=Kind(uid=(1, 1, 1)))
    other = tissue_picture(384, 256, x=200, seed=1)
    write_pyramid(tmp_path / "b", other, kind=Kind(uid=(1, 1, 2)))
    for file in (tmp_path / "b").iterdir():
        file.rename(tmp_path / "a" / f"other-{file.name}")
    error = refusal(tmp_path / "a")
    assert "2 slides" in str(error)
    assert "other-level-0.dcm" in str(error)
    for name, size in (("level-1.dcm", (768, 512)), ("other-level-1.dcm", (384, 256))):
        with open_slide(tmp_path / "a" / name) as slide:
            assert sizes(slide) == [size, (size[0] / 2, size[1] / 2)]
    mean = whole(tmp_path / "a" / "level-0.dcm").astype(int) - PICTURE
    assert np.abs(mean).mean() < 5


def test_the_label_of_two_pyramids_belongs_to_neither_alone(tmp_path: Path) -> None:
    for number in (1, 2):
        write_dicom(tmp_path / f"{number}.dcm", PICTURE, kind=Kind(uid=(1, 1, number)))
    small = Kind(flavour="LABEL")
    write_dicom(tmp_path / "label.dcm", PICTURE[:256, :256], kind=small)
    assert "this LABEL belongs to 2 slides" in str(refusal(tmp_path / "label.dcm"))
    with open_slide(tmp_path / "1.dcm") as slide:
        assert slide.associated_images == ("label",)


def test_two_scans_without_pyramid_uid_are_refused(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a" / "1.dcm", PICTURE)
    write_dicom(tmp_path / "a" / "2.dcm", tissue_picture(x=300))
    assert "two images of 768 x 512 px in one series (1.dcm, 2.dcm)" in str(refusal(tmp_path / "a"))


def test_focal_planes_and_channels_in_files_of_their_own_are_named(tmp_path: Path) -> None:
    for number in (1, 2):
        file = tmp_path / "planes" / f"{number}.dcm"
        instance = write_dicom(file, PICTURE)
        instance.TotalPixelMatrixOriginSequence[0].ZOffsetInSlideCoordinateSystem = float(number)
        instance.save_as(file)
        file = tmp_path / "channels" / f"{number}.dcm"
        instance = write_dicom(file, PICTURE)
        instance.OpticalPathSequence[0].OpticalPathIdentifier = str(number)
        instance.save_as(file)
    assert "its focal planes are images of their own" in str(refusal(tmp_path / "planes"))
    assert "its optical paths (channels) are images" in str(refusal(tmp_path / "channels"))


def test_a_file_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a" / "1.dcm", PICTURE)
    shutil.copy(tmp_path / "a" / "1.dcm", tmp_path / "a" / "2.dcm")
    with open_slide(tmp_path / "a") as slide:
        assert len(slide.levels) == 1


def test_a_picture_of_another_aspect_is_no_level(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a" / "1.dcm", PICTURE)
    write_dicom(tmp_path / "a" / "2.dcm", PICTURE[:256, :256], kind=Kind(resampled=True))
    with open_slide(tmp_path / "a") as slide:
        assert sizes(slide) == [(768, 512)]
        (warning,) = slide.warnings
        assert "256 x 256 px (2.dcm) is left out: it does not have the aspect" in warning


def test_a_picture_of_the_same_aspect_that_shows_something_else_is_no_level(
    tmp_path: Path,
) -> None:
    picture = tissue_picture(1536, 1024)
    write_pyramid(tmp_path, picture)
    other = tissue_picture(384, 256, x=230, seed=3)
    write_dicom(tmp_path / "other.dcm", other, kind=Kind(resampled=True))
    for _ in range(2):  # the second time it is remembered
        with open_slide(tmp_path) as slide:
            assert sizes(slide) == [(1536, 1024), (768, 512)]
            assert slide.warnings == (
                "a picture of 384 x 256 px is not a level of this slide and was left out: "
                "it shows something else",
            )
            coarse = slide.read_region(Region(0, 0, 1536, 1024), Size(384, 256))
    assert np.abs(coarse.astype(int) - picture[::4, ::4]).mean() < 8


def test_a_coarse_level_that_is_stored_otherwise_is_left_out(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a" / "1.dcm", PICTURE)
    kind = Kind(syntax="1.2.840.10008.1.2.4.80")
    write_dicom(tmp_path / "a" / "2.dcm", PICTURE[::2, ::2], kind=kind)
    with open_slide(tmp_path / "a") as slide:
        assert sizes(slide) == [(768, 512)]
        assert "JPEG-LS" in slide.warnings[0]


def test_a_tiled_overview_is_no_level_and_a_second_label_is_said(tmp_path: Path) -> None:
    write_dicom(tmp_path / "1.dcm", PICTURE)
    write_dicom(tmp_path / "2.dcm", PICTURE[::2, ::2], kind=Kind(flavour="OVERVIEW"))
    for number in (3, 4):
        write_dicom(tmp_path / f"{number}.dcm", PICTURE[:256, :256], kind=Kind(flavour="LABEL"))
    with open_slide(tmp_path) as slide:
        assert sizes(slide) == [(768, 512)]
        assert slide.associated_images == ("label",)
        told = "\n".join(slide.warnings)
    assert "its OVERVIEW (2.dcm) is stored in tiles" in told
    assert "4.dcm is left out: 3.dcm is its LABEL" in told


def test_a_resampled_finest_image_is_said(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(resampled=True))
    with open_slide(tmp_path / "a.dcm") as slide:
        assert "a finer one may be missing" in slide.warnings[0]


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.66.7", "Label Map Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.88.34", "Comprehensive 3D SR Storage"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
    ],
)
def test_other_objects_are_refused_by_their_kind(tmp_path: Path, sop_class: str, name: str) -> None:
    write_other(tmp_path / "a" / "a.dcm", sop_class)
    assert name in str(refusal(tmp_path / "a" / "a.dcm"))
    assert name in str(refusal(tmp_path / "a"))


def test_a_header_that_breaks_off_is_damaged(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE)
    data = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(data[:600])
    assert isinstance(refusal(tmp_path / "a.dcm"), DamagedSlideError)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_slide_that_breaks_off_in_its_pixels_does_not_pass_the_check(
    tmp_path: Path, share: float
) -> None:
    file = tmp_path / "a.dcm"
    write_dicom(file, PICTURE)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DamagedSlideError):
        check_slide(file)


def test_links_are_made_only_where_something_else_of_the_series_lies_beside_and_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    write_pyramid(tmp_path / "a", PICTURE)
    write_pyramid(tmp_path / "b", tissue_picture(384, 256), kind=Kind(uid=(1, 2, 0)))
    with open_slide(tmp_path / "a"):
        assert not list((tmp_path / "tmp").iterdir())
    write_dicom(tmp_path / "a" / "odd.dcm", PICTURE[:99, :99])
    with open_slide(tmp_path / "a") as slide:
        assert isinstance(slide, DicomReader)
        assert len(list((tmp_path / "tmp").iterdir())) == 1
        assert slide.read_region(WHOLE, Size(768, 512)).mean() < 255
    assert not list((tmp_path / "tmp").iterdir())
    write_dicom(tmp_path / "a" / "level-0.dcm", PICTURE, kind=Kind(focal=2))
    refusal(tmp_path / "a")
    assert not list((tmp_path / "tmp").iterdir())


def test_the_direct_backend_refuses_dicom(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE)
    with pytest.raises(UnsupportedSlideError, match="not all plain JPEG in a TIFF"):
        open_slide(tmp_path / "a.dcm", backend="direct")


def test_what_openslide_says_is_told_without_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE)

    def fail(path: Path) -> None:
        raise openslide.OpenSlideError(f"Reading {path}: libdicom Parse error: bad")

    monkeypatch.setattr(openslide, "OpenSlide", fail)
    assert str(refusal(tmp_path / "a.dcm")) == (
        "a.dcm: it cannot be read as DICOM: libdicom Parse error: bad"
    )


def test_each_real_file_gives_the_slide_or_the_real_reason(real_data: Path) -> None:
    folder = real_data / "wsi" / "dicom_highdicom"
    reasons = {
        "sm_image_grayscale.dcm": "a grey image of 16 bits",
        "sm_image_jpegls.dcm": "JPEG-LS Lossless",
        "sm_annotations.dcm": "Microscopy Bulk Simple Annotations Storage",
        "seg_image_sm_control.dcm": "Segmentation Storage",
    }
    for name, reason in reasons.items():
        assert reason in str(refusal(folder / name))
    for name in ("sm_image.dcm", "sm_image_control.dcm", "sm_image_dots.dcm"):
        check_slide(folder / name)
    assert "holds 6 slides" in str(refusal(folder))


def test_a_real_pyramid_with_a_false_header_is_refused_and_read_when_corrected(
    tmp_path: Path, real_data: Path
) -> None:
    folder = real_data / "wsi" / "dicom_cmu1_pyramid"
    assert "but they are YCbCr (their chroma is subsampled)" in str(refusal(folder))
    for file in folder.rglob("*.dcm"):
        instance = pydicom.dcmread(file)
        instance.PhotometricInterpretation = "YBR_FULL_422"
        instance.save_as(tmp_path / file.name)
    with open_slide(tmp_path) as slide:
        assert len(slide.levels) == 12
        assert slide.warnings == ()
        glass = slide.read_region(Region(0, 0, 64, 64), Size(64, 64))
        assert np.median(glass, (0, 1)).min() > 235, "white, not pink"
