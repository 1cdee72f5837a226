"""DICOM slides, folders and zips."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from click.testing import CliRunner
from pydicom.uid import ExplicitVRLittleEndian

from tests.cases import Case
from tests.conftest import data_dir
from tests.unit.service.conftest import write_slide
from wsi.cli import main
from wsi.errors import WsiError
from wsi.slides import check_slide, open_slide
from wsi.slides.strip import strip_labels
from wsi.testing.dicom import Kind, tissue_picture, write_dicom, write_other, write_pyramid

_SEG, _SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34"
_MAP, _PDF = "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.104.1"
_SMALL = tissue_picture(384, 256)
_AS_RGB = Kind(jpeg={"subsampling": 2}, more={"PhotometricInterpretation": "RGB"})
_RGB = {"keep_rgb": True}


def _told(path: Path) -> str:
    """What opening it says: the error, or size, levels and warnings."""
    try:
        check_slide(path)
        with open_slide(path) as slide:
            levels = ", ".join(f"{lv.size.width} x {lv.size.height}" for lv in slide.levels)
            images = ", ".join(slide.associated_images)
            beside = f"; images beside it: {images}" if images else ""
            return "; ".join((f"read; levels: {levels}{beside}", *slide.warnings))
    except WsiError as error:
        return f"refused: {error}"


def _of(write: Callable[[Path], object]) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        write(folder / "slide")
        return _told(folder / "slide")

    return run


def _one(kind: Kind, pixels: np.ndarray = _SMALL) -> Callable[[Path], str]:
    return _of(lambda slide: write_dicom(slide / "a.dcm", pixels, kind=kind))


def _several_series(folder: Path) -> str:
    for number in (1, 2):
        picture = tissue_picture(384, 256, seed=number)
        kind = Kind(uid=(1, number, 0), more={"SeriesInstanceUID": f"1.2.3.{number}"})
        write_dicom(folder / "case" / f"I{number}", picture, kind=kind)
    found = json.loads(CliRunner().invoke(main, ["info", str(folder / "case"), "--json"]).stdout)
    names = ", ".join(facts["slide"] for facts in found)
    return f"{_told(folder / 'case')}; wsi info and wsi analyze take each: {names}"


def _several_tiffs(folder: Path) -> str:
    for name in ("one", "two"):
        (folder / "case").mkdir(exist_ok=True)
        write_slide(folder / "case" / f"{name}.tif")
    return _told(folder / "case")


def _beside(slide: Path) -> None:
    write_pyramid(slide / "images", _SMALL)
    for number, sop_class in enumerate((_SEG, _SR, _MAP, _PDF)):
        write_other(slide / "images" / f"result{number}.dcm", sop_class)
    (slide / "report.pdf").write_bytes(b"%PDF-1.4")


def _medium(slide: Path) -> None:
    for number, file in enumerate(write_pyramid(slide / "x", _SMALL)):
        (slide / "DICOM" / f"A{number}").mkdir(parents=True)
        file.rename(slide / "DICOM" / f"A{number}" / "I1")
    write_other(slide / "DICOMDIR", "1.2.840.10008.1.3.10")


def _two_pyramids(slide: Path) -> None:
    for number in (1, 2):
        more = {"SeriesInstanceUID": "1.2.3", "PyramidUID": f"1.2.3.{number}"}
        picture = tissue_picture(384, 256, seed=number)
        write_dicom(slide / f"{number}.dcm", picture, kind=Kind(uid=(1, 1, number), more=more))


def _two_scans(slide: Path) -> None:
    for number in (1, 2):
        write_dicom(slide / f"{number}.dcm", tissue_picture(384, 256, seed=number))


def _odd_level(slide: Path) -> None:
    write_dicom(slide / "1.dcm", _SMALL)
    write_dicom(slide / "2.dcm", _SMALL[:200, :200], kind=Kind(resampled=True))


def _other_level(slide: Path) -> None:
    write_dicom(slide / "1.dcm", tissue_picture(1536, 1024))
    other = tissue_picture(384, 256, x=230, seed=3)
    write_dicom(slide / "2.dcm", other, kind=Kind(resampled=True))


def _tiled_overview(slide: Path) -> None:
    write_dicom(slide / "1.dcm", tissue_picture(1536, 1024))
    write_dicom(slide / "2.dcm", _SMALL, kind=Kind(flavour="OVERVIEW"))


def _planes_apart(slide: Path) -> None:
    for number in (1, 2):
        made = write_dicom(slide / f"{number}.dcm", _SMALL)
        made.TotalPixelMatrixOriginSequence[0].ZOffsetInSlideCoordinateSystem = float(number)
        made.save_as(slide / f"{number}.dcm")


def _fluorescence(slide: Path) -> None:
    made = write_dicom(slide / "a.dcm", _SMALL)
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "111743", "DCM"
    made.OpticalPathSequence[0].IlluminationTypeCodeSequence = [code]
    made.save_as(slide / "a.dcm")


def _redacted(folder: Path) -> str:
    write_pyramid(folder / "slide", _SMALL)
    write_dicom(folder / "slide" / "l.dcm", _SMALL[:256, :256], kind=Kind(flavour="LABEL"))
    removed = strip_labels(folder / "slide", folder / "copy")
    names = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    one, other = (pydicom.dcmread(folder / name / "level-0.dcm") for name in ("slide", "copy"))
    kept = [name for name in names if one[name].value == other[name].value]
    return (
        f"left out: {', '.join(removed)}; UIDs that stayed: {', '.join(kept) or 'none'}; "
        f"PatientIdentityRemoved {other.PatientIdentityRemoved}, DeviceSerialNumber "
        f"{other.DeviceSerialNumber}"
    )


def _highdicom(input: str, name: str) -> Case:
    return Case(input=input, run=_real(f"dicom_highdicom/{name}"), real=True)


def _real(name: str) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        data = data_dir()
        assert data is not None
        return _told(data / "wsi" / name)

    return run


CASES = (
    Case(input="a folder with two DICOM series, of two slides", run=_several_series),
    Case(input="a folder with two TIFF slides", run=_several_tiffs),
    Case(input="one slide with SEG, SR, parametric map and PDF beside it", run=_of(_beside)),
    Case(input="a medium with a DICOMDIR, levels in folders, no endings", run=_of(_medium)),
    Case(input="a series with two pyramids (PyramidUID)", run=_of(_two_pyramids)),
    Case(input="a series with two scans and no PyramidUID", run=_of(_two_scans)),
    Case(input="a VOLUME image of another aspect in the series", run=_of(_odd_level)),
    Case(input="a VOLUME image that shows something else", run=_of(_other_level)),
    Case(input="an OVERVIEW that is stored in tiles", run=_of(_tiled_overview)),
    Case(input="two focal planes in one file", run=_one(Kind(focal=2))),
    Case(input="two focal planes in two files", run=_of(_planes_apart)),
    Case(input="three optical paths", run=_one(Kind(paths=3))),
    Case(input="DICOM of epifluorescence as RGB", run=_of(_fluorescence)),
    Case(
        input="DICOM of one grey channel of 16 bits",
        run=_one(Kind(syntax=ExplicitVRLittleEndian), _SMALL[..., 0].astype(np.uint16)),
    ),
    Case(input="JPEG-LS", run=_one(Kind(syntax="1.2.840.10008.1.2.4.80"))),
    Case(input="RLE", run=_one(Kind(syntax="1.2.840.10008.1.2.5"))),
    Case(input="HTJ2K", run=_one(Kind(syntax="1.2.840.10008.1.2.4.201"))),
    Case(input="Deflated Explicit VR", run=_one(Kind(syntax="1.2.840.10008.1.2.1.99"))),
    Case(input="JPEG frames in YCbCr under a header of RGB", run=_one(_AS_RGB)),
    Case(input="JPEG frames in RGB under a header of YCbCr", run=_one(Kind(jpeg=_RGB))),
    Case(input="uncompressed DICOM", run=_one(Kind(syntax=ExplicitVRLittleEndian))),
    Case(
        input="JPEG 2000",
        run=_one(
            Kind(syntax="1.2.840.10008.1.2.4.90", more={"PhotometricInterpretation": "YBR_RCT"})
        ),
    ),
    Case(
        input="No DimensionOrganizationType and no positions of frames",
        run=_one(Kind(more={"DimensionOrganizationType": None})),
    ),
    Case(input="TILED_SPARSE without one tile", run=_one(Kind(sparse=True, skip={(0, 0)}))),
    Case(input="a frame fewer than tiles", run=_one(Kind(stored_frames=1))),
    Case(input="half of a concatenation", run=_one(Kind(part=(1, 2, 0, 1)))),
    Case(input="DICOM without ImageType", run=_one(Kind(more={"ImageType": None}))),
    Case(
        input="DICOM without PlanarConfiguration",
        run=_one(Kind(more={"PlanarConfiguration": None})),
    ),
    Case(
        input="DICOM without sex, birth date and study time",
        run=_one(Kind(more=dict.fromkeys(("PatientSex", "PatientBirthDate", "StudyTime")))),
    ),
    Case(
        input="a Japanese patient's name (ISO 2022 IR 87)",
        run=_one(
            Kind(
                more={
                    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
                    "PatientName": "Yamada^Tarou=山田^太郎",
                }
            )
        ),
    ),
    Case(input="a redacted copy", run=_redacted),
    _highdicom("highdicom's tiny RGB slide", "sm_image.dcm"),
    _highdicom("highdicom's grey slide", "sm_image_grayscale.dcm"),
    _highdicom("highdicom's JPEG-LS slide", "sm_image_jpegls.dcm"),
    _highdicom("highdicom's annotations", "sm_annotations.dcm"),
    _highdicom("highdicom's segmentation", "seg_image_sm_control.dcm"),
    Case(input="CMU-1 as DICOM", run=_real("dicom_cmu1_small_region"), real=True),
    Case(input="CMU-1 as 12 levels of DICOM", run=_real("dicom_cmu1_pyramid"), real=True),
)
