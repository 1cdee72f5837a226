"""DICOM slides whose JPEG frames are in other colours than the header says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsi.errors import UnsupportedSlideError
from wsi.geometry import Region, Size
from wsi.slides import open_slide
from wsi.testing.dicom import Kind, tissue_picture, write_dicom, write_pyramid

PICTURE = tissue_picture(384, 256)
RGB = {"PhotometricInterpretation": "RGB"}
FULL, HALF, KEPT = {"subsampling": 0}, {"subsampling": 2}, {"keep_rgb": True}


@pytest.mark.parametrize(
    ("jpeg", "more", "reason"),
    [
        (HALF, RGB, "are RGB, but they are YCbCr (their chroma is subsampled)"),
        (FULL, RGB, "are RGB, but they are YCbCr (JFIF files always are)"),
        (KEPT, {}, "are YBR_FULL_422, but they are RGB (their Adobe marker says so)"),
    ],
)
def test_frames_in_other_colours_than_stated_are_refused(
    tmp_path: Path, jpeg: dict[str, Any], more: dict[str, Any], reason: str
) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(jpeg=jpeg, more=more))
    with pytest.raises(UnsupportedSlideError, match="the colours would be wrong") as caught:
        open_slide(tmp_path / "a.dcm")
    assert reason in str(caught.value)


@pytest.mark.parametrize(("jpeg", "more"), [(HALF, {}), (FULL, {}), (KEPT, RGB)])
def test_frames_in_the_colours_stated_are_read_as_they_were(
    tmp_path: Path, jpeg: dict[str, Any], more: dict[str, Any]
) -> None:
    write_dicom(tmp_path / "a.dcm", PICTURE, kind=Kind(jpeg=jpeg, more=more))
    with open_slide(tmp_path / "a.dcm") as slide:
        pixels = slide.read_region(Region(0, 0, 384, 256), Size(384, 256))
    np.testing.assert_allclose(pixels.mean((0, 1)), PICTURE.mean((0, 1)), atol=1.5)


def test_an_adobe_marker_of_ycbcr_contradicts_rgb(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    write_dicom(file, PICTURE, kind=Kind(jpeg=KEPT, more=RGB))
    stored = file.read_bytes()
    rgb = b"Adobe\x00\x64" + bytes(5)
    assert stored.count(rgb) == 2, "one of each frame"
    file.write_bytes(stored.replace(rgb, rgb[:-1] + b"\x01"))
    with pytest.raises(UnsupportedSlideError, match="their Adobe marker says so"):
        open_slide(file)


def test_a_coarse_level_in_other_colours_is_left_out(tmp_path: Path) -> None:
    _, coarse = write_pyramid(tmp_path, PICTURE)
    write_dicom(coarse, PICTURE[::2, ::2], mpp=1.0, kind=Kind(more=RGB))
    with open_slide(tmp_path) as slide:
        assert len(slide.levels) == 1
        assert "192 x 128 px (level-1.dcm) is left out: its header says" in slide.warnings[0]


def test_empty_frames_say_nothing_of_colours(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    write_dicom(file, PICTURE, kind=Kind(more=RGB))
    stored = file.read_bytes()
    at = stored.index(b"\xfe\xff\x00\xe0", stored.index(b"\xff\xd8") - 8)
    file.write_bytes(stored[:at] + b"\xfe\xff\x00\xe0\x00\x00\x00\x00" + stored[at:])
    with pytest.raises(UnsupportedSlideError, match="are RGB, but they are YCbCr"):
        open_slide(file)
