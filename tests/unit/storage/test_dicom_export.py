"""Heatmaps as DICOM parametric maps: on the slide that was scored, the same each time."""

import io
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from wsi.errors import SlideError, UnsupportedSlideError
from wsi.geometry import Point
from wsi.slides.strip import strip_labels
from wsi.storage import HeatmapGrid, HeatmapLayer, SlideResult
from wsi.storage import dicom_export as export
from wsi.testing.dicom import Kind, tissue_picture, write_dicom, write_pyramid

PICTURE = tissue_picture()
LACKING = "a map of it must repeat"


def result(width: int = 768, height: int = 512) -> SlideResult:
    values = np.random.default_rng(0).random((2, 4, 6)).astype(np.float32)
    grid = HeatmapGrid(
        origin_level0=Point(0, 0), cell_level0=(width / 6, height / 4), shape=(4, 6), mpp=64
    )
    return SlideResult(
        slide="a.dcm",
        pipeline="patch",
        model="toy",
        model_digest="0" * 64,
        classes=("benign", "cancer"),
        probabilities={"benign": 0.5, "cancer": 0.5},
        grid=grid,
        layers=(HeatmapLayer(kind="probability", values_chw=values),),
    )


def made(source: Path, found: SlideResult | None = None, result_id: str = "r") -> bytes:
    when = datetime(2026, 1, 2, 3, 4, 5)
    return export.parametric_map(
        found or result(), "probability", source, result_id=result_id, made_at=when
    )


def read(content: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(content))


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    write_pyramid(tmp_path / "slide", PICTURE, kind=Kind(uid=(1, 1, 1)))
    return tmp_path / "slide"


def test_two_downloads_are_the_same_bytes_at_any_time(
    slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(slide)
    for module in ("base", "base_content"):
        monkeypatch.setattr(f"highdicom.{module}.datetime", SimpleNamespace(datetime=_Later))
    assert made(slide) == first
    assert read(first).ContentDate == "20260102"
    assert read(first).ContentTime == "030405"


class _Later(datetime):
    @classmethod
    def now(cls, tz: object = None) -> "_Later":
        return cls(2031, 5, 6, 7, 8, 9)


def test_one_uid_never_has_two_contents(slide: Path, tmp_path: Path) -> None:
    strip_labels(slide, tmp_path / "copy")
    before, after = read(made(slide)), read(made(tmp_path / "copy"))
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert before[keyword].value != after[keyword].value
    reference = after.ReferencedSeriesSequence[0].SeriesInstanceUID
    copied = pydicom.dcmread(next((tmp_path / "copy").iterdir()), stop_before_pixels=True)
    assert reference == copied.SeriesInstanceUID
    # Somebody corrects the patient's name in the file.
    for file in slide.iterdir():
        instance = pydicom.dcmread(file)
        instance.PatientName = "ROE^JANE"
        instance.save_as(file)
    assert read(made(slide)).SOPInstanceUID != before.SOPInstanceUID
    assert read(made(slide, result_id="other")).SeriesInstanceUID != before.SeriesInstanceUID


def test_the_map_lies_on_the_series_that_was_scored_and_never_on_a_wider_one(
    tmp_path: Path,
) -> None:
    for number, width in ((1, 768), (2, 1536)):
        kind = Kind(uid=(1, number, 0), more={"PatientID": f"P{number}"})
        write_dicom(tmp_path / f"{number}.dcm", tissue_picture(width), kind=kind)
    assert read(made(tmp_path / "1.dcm")).PatientID == "P1"
    assert read(made(tmp_path / "2.dcm", result(1536))).PatientID == "P2"
    with pytest.raises(UnsupportedSlideError, match="it holds 2 slides"):
        made(tmp_path)
    with pytest.raises(UnsupportedSlideError, match="768 x 512 px now: this result was made on"):
        made(tmp_path / "1.dcm", result(1536))


@pytest.mark.parametrize(
    "missing",
    [
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"),
        *("StudyTime", "AccessionNumber", "ReferringPhysicianName"),
    ],
)
def test_what_may_be_empty_may_be_missing(tmp_path: Path, missing: str) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(more={missing: None}))
    assert read(made(tmp_path / "a.dcm"))[missing].value in (None, "")


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("StudyInstanceUID", LACKING),
        ("FrameOfReferenceUID", LACKING),
        ("ContainerIdentifier", LACKING),
        ("TotalPixelMatrixOriginSequence", "where it is"),
        ("ImageOrientationSlide", "where it is"),
        ("SharedFunctionalGroupsSequence", "where it is"),
        ("SOPClassUID", "does not allow a map"),
    ],
)
def test_what_a_map_needs_is_asked_for_by_name(tmp_path: Path, missing: str, reason: str) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(more={missing: None}))
    with pytest.raises(SlideError, match=rf"a\.dcm: .*{reason}"):
        made(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("GB18030", "王^小东"),
    ],
)
def test_a_patient_keeps_the_name_in_any_script(
    tmp_path: Path, charset: str | list[str], name: str
) -> None:
    more = {"SpecificCharacterSet": charset, "PatientName": name}
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(more=more))
    assert read(made(tmp_path / "a.dcm")).PatientName == name


def test_a_slide_that_is_no_dicom_has_no_map(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"II*\0")
    with pytest.raises(UnsupportedSlideError, match="not a DICOM slide"):
        made(tmp_path / "a.svs")
