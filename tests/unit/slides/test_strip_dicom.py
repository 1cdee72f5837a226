"""Copies of DICOM slides: levels alone, no patient, and UIDs of their own."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from wsi.errors import DamagedSlideError, UnsupportedSlideError
from wsi.geometry import Region, Size
from wsi.slides import RGB, open_slide
from wsi.slides.strip import strip_labels
from wsi.slides.strip_dicom import new_uid
from wsi.testing.dicom import Kind, tissue_picture, write_dicom, write_pyramid

PICTURE = tissue_picture()


def whole(path: Path) -> RGB:
    with open_slide(path) as slide:
        return slide.read_region(Region(0, 0, 768, 512), Size(768, 512))


def uids(folder: Path) -> dict[str, str]:
    """Every UID of things in a folder's instances, by where it stands."""
    found = {}
    for file in sorted(folder.rglob("*.dcm")):
        instance = pydicom.dcmread(file, stop_before_pixels=True)
        assert instance.file_meta.MediaStorageSOPInstanceUID == instance.SOPInstanceUID
        for element in instance.iterall():
            if element.VR == "UI" and not str(element.value).startswith("1.2.840.10008."):
                found[f"{file.name} {element.keyword}"] = str(element.value)
    return found


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A pyramid with a label, an overview, references, and a patient in many places."""
    write_pyramid(tmp_path / "slide", PICTURE, kind=Kind(uid=(1, 1, 1)))
    for file in list((tmp_path / "slide").iterdir()):
        instance = pydicom.dcmread(file)
        other = pydicom.Dataset()
        other.ReferencedSOPClassUID = instance.SOPClassUID
        other.ReferencedSOPInstanceUID = instance.SOPInstanceUID
        instance.ReferencedImageSequence = [other]
        instance.DimensionOrganizationSequence = [pydicom.Dataset()]
        instance.DimensionOrganizationSequence[0].DimensionOrganizationUID = "1.2.3.4"
        instance.AcquisitionDateTime, instance.ContentDate = "20200102030405", "20200102"
        instance.AcquisitionDate, instance.StudyDescription = "20200102", "DOE^JANE"
        instance.ContentCreatorName = "DOE^JANE"
        instance.file_meta.SourceApplicationEntityTitle = "DOE_JANE"
        instance.save_as(file)
        with file.open("ab") as opened:
            opened.write(b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0DOE^JANE")
    small = Kind(flavour="LABEL", uid=(1, 1, 0))
    write_dicom(tmp_path / "slide" / "label.dcm", PICTURE[:256, :256], kind=small)
    return tmp_path / "slide"


def test_all_uids_are_new_and_references_still_hold(slide: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert strip_labels(slide, copy) == ("LABEL",)
    before, after = uids(slide), uids(copy)
    assert set(after) == {key for key in before if not key.startswith("label")}
    assert not set(before.values()) & set(after.values())
    assert all(len(uid) <= 64 and uid.startswith("2.25.") for uid in after.values())
    pairs = {(before[key], after[key]) for key in after}
    assert len(pairs) == len({before[key] for key in after}), "one new for one old"
    for file in copy.iterdir():
        instance = pydicom.dcmread(file)
        assert instance.ReferencedImageSequence[0].ReferencedSOPInstanceUID == (
            instance.SOPInstanceUID
        )
    np.testing.assert_array_equal(whole(copy), whole(slide))


def test_the_same_slide_gives_the_same_uids_and_another_key_others(
    slide: Path, tmp_path: Path
) -> None:
    for name, key in (("a", ""), ("b", ""), ("c", "secret")):
        strip_labels(slide, tmp_path / name, uid_key=key)
    assert uids(tmp_path / "a") == uids(tmp_path / "b")
    assert not set(uids(tmp_path / "a").values()) & set(uids(tmp_path / "c").values())
    files = [sorted((tmp_path / name).iterdir()) for name in ("a", "b")]
    assert [one.read_bytes() for one in files[0]] == [one.read_bytes() for one in files[1]]


def test_the_copy_says_how_it_was_made_and_holds_no_patient_date_or_device(
    slide: Path, tmp_path: Path
) -> None:
    strip_labels(slide, tmp_path / "copy")
    for file in (tmp_path / "copy").iterdir():
        data = file.read_bytes()
        for secret in (b"DOE^JANE", b"DOE_JANE", b"SN-4711", b"202001", b"20200101"):
            assert secret not in data, secret
        instance = pydicom.dcmread(file)
        assert instance.PatientIdentityRemoved == "YES"
        assert instance.DeidentificationMethod.startswith("wholeslide")
        assert instance.LongitudinalTemporalInformationModified == "REMOVED"
        assert instance.DeviceSerialNumber == "REMOVED"
        assert (instance.StudyDate, instance.ContentDate) == ("", "19000101")
        assert "AcquisitionDate" not in instance


def test_what_is_no_level_is_left_out_whatever_it_calls_itself(tmp_path: Path) -> None:
    slide = tmp_path / "slide"
    write_dicom(slide / "1.dcm", PICTURE)
    write_dicom(slide / "2.dcm", PICTURE[:256, :256], kind=Kind(resampled=True))
    write_dicom(slide / "3.dcm", PICTURE[:256, :256], kind=Kind(flavour="THUMBNAIL"))
    removed = strip_labels(slide, tmp_path / "copy")
    assert removed == ("2.dcm (not a level of the slide)", "THUMBNAIL")
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["1.dcm"]


def test_a_label_of_the_slides_aspect_does_not_get_into_the_copy(tmp_path: Path) -> None:
    write_pyramid(tmp_path / "slide", tissue_picture(1536, 1024))
    label = tissue_picture(384, 256, x=230, seed=3)
    write_dicom(tmp_path / "slide" / "z.dcm", label, kind=Kind(resampled=True))
    assert strip_labels(tmp_path / "slide", tmp_path / "copy") == (
        "z.dcm (not a level of the slide)",
    )


def test_a_thumbnail_of_the_slide_stays_unless_it_says_that_the_label_is_on_it(
    tmp_path: Path,
) -> None:
    picture, other = tissue_picture(768, 768), tissue_picture(256, 256, x=150, seed=5)
    for name, label in (("a", "NO"), ("b", "YES"), ("c", "NO"), ("d", "NO")):
        write_dicom(tmp_path / name / "1.dcm", picture)
        kind = Kind(flavour="THUMBNAIL", more={"SpecimenLabelInImage": label})
        shown = other if name == "c" else picture[::3, ::3]
        write_dicom(tmp_path / name / "2.dcm", shown, kind=kind)
    broken = pydicom.dcmread(tmp_path / "d" / "2.dcm")
    broken.PixelData = broken.PixelData[:24] + bytes(len(broken.PixelData) - 24)
    broken.save_as(tmp_path / "d" / "2.dcm")
    assert strip_labels(tmp_path / "a", tmp_path / "copy a") == ()
    assert strip_labels(tmp_path / "b", tmp_path / "copy b") == ("THUMBNAIL",)
    assert strip_labels(tmp_path / "c", tmp_path / "copy c") == ("THUMBNAIL",)
    assert strip_labels(tmp_path / "d", tmp_path / "copy d") == ("THUMBNAIL",)


def test_of_several_slides_none_is_stripped(tmp_path: Path) -> None:
    for number in (1, 2):
        file = tmp_path / "slide" / f"{number}.dcm"
        write_dicom(file, tissue_picture(seed=number), kind=Kind(uid=(1, number, 0)))
    with pytest.raises(UnsupportedSlideError, match="it holds 2 slides"):
        strip_labels(tmp_path / "slide", tmp_path / "copy")
    strip_labels(tmp_path / "slide" / "2.dcm", tmp_path / "copy.dcm")
    np.testing.assert_array_equal(whole(tmp_path / "copy.dcm"), whole(tmp_path / "slide" / "2.dcm"))


def test_an_uncompressed_slide_keeps_its_pixels_and_loses_what_follows_them(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    write_dicom(file, PICTURE, kind=Kind(syntax=ExplicitVRLittleEndian))
    with file.open("ab") as opened:
        opened.write(b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0DOE^JANE")
    strip_labels(file, tmp_path / "copy.dcm")
    np.testing.assert_array_equal(whole(tmp_path / "copy.dcm"), PICTURE)
    assert b"DOE^JANE" not in (tmp_path / "copy.dcm").read_bytes()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, "1.2.840.10008.1.2.4.50"])
def test_pixels_that_break_off_are_noticed_and_leave_no_copy(tmp_path: Path, syntax: str) -> None:
    file = tmp_path / "a.dcm"
    write_dicom(file, PICTURE, kind=Kind(syntax=syntax))
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(DamagedSlideError, match=r"a\.dcm is broken"):
        strip_labels(file, tmp_path / "copy.dcm")
    assert not (tmp_path / "copy.dcm").exists()


def test_new_uids_are_those_that_were_given_out_before() -> None:
    assert new_uid("1.2.3") == "2.25.14929910206362144003910670864486070514"
