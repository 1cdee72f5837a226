"""What is no 8-bit RGB brightfield slide is refused for what it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from wsi.errors import UnsupportedSlideError
from wsi.geometry import Region, Size
from wsi.slides import check_slide, open_slide
from wsi.slides.openslide_errors import is_unsupported, without_path

_Y, _X = np.mgrid[0:300, 0:400]
RGB = np.stack([_X % 256, _Y % 256, (_X + _Y) % 256], -1).astype(np.uint8)
GREY = np.ascontiguousarray(RGB[..., 0])
PLANES = np.moveaxis(RGB, -1, 0)


def write(path: Path, *pages: np.ndarray, **options: Any) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for page in pages:
            tiff.write(page, **{"tile": (128, 128), "metadata": None, **options})
    return path


def with_alpha(alpha: int) -> np.ndarray:
    return np.dstack([RGB, np.full_like(GREY, alpha)])


def refused(path: Path) -> str:
    with pytest.raises(UnsupportedSlideError) as caught:
        check_slide(path, name="slide A")
    text = str(caught.value)
    assert text.startswith("slide A: ")
    assert str(path.parent) not in text
    assert "copy" not in text
    return text


KINDS: Sequence[tuple[str, np.ndarray, dict[str, Any]]] = [
    ("8-bit grey", GREY, {"photometric": "minisblack"}),
    ("8-bit grey", GREY, {"photometric": "miniswhite"}),
    ("8-bit grey", GREY, {"photometric": "minisblack", "compression": "jpeg"}),
    ("16-bit grey", GREY.astype(np.uint16), {"photometric": "minisblack"}),
    ("1-bit grey", GREY > 99, {"photometric": "minisblack"}),
    ("16 bits each", RGB.astype(np.uint16) * 16, {"photometric": "rgb"}),
    ("32 bits each", RGB.astype(np.uint32), {"photometric": "rgb"}),
    ("floating-point", RGB.astype(np.float32), {"photometric": "rgb"}),
    ("signed integers", (RGB // 2).astype(np.int8), {"photometric": "rgb"}),
    ("CMYK", with_alpha(0), {"photometric": "separated"}),
    ("CIELab", RGB, {"photometric": "cielab"}),
    (
        "palette",
        GREY,
        {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
    ),
    ("YCbCr without JPEG", RGB, {"photometric": "ycbcr", "compression": "lzw"}),
    (
        "5 channels of 8 bits",
        np.dstack([RGB, RGB[..., :2]]),
        {"photometric": "minisblack", "planarconfig": "contig"},
    ),
    ("fourth sample", with_alpha(0), {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    ("fourth sample", with_alpha(255), {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    (
        "5 samples",
        np.dstack([RGB, RGB[..., :2]]),
        {"photometric": "rgb", "extrasamples": ["unspecified"] * 2},
    ),
    ("transparent", with_alpha(0), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ("transparent", with_alpha(0), {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
    (
        "JPEG tiles",
        PLANES,
        {"photometric": "rgb", "planarconfig": "separate", "compression": "jpeg"},
    ),
]


@pytest.mark.parametrize(("words", "pixels", "options"), KINDS)
def test_a_sound_file_of_another_kind_is_refused_by_what_it_is(
    tmp_path: Path, words: str, pixels: np.ndarray, options: dict[str, Any]
) -> None:
    assert words in refused(write(tmp_path / "a.tif", pixels, **options))


@pytest.mark.parametrize("value", range(2, 9))
@pytest.mark.parametrize("compression", ["lzw", "jpeg"])
def test_every_orientation_but_the_first_is_refused(
    tmp_path: Path, value: int, compression: str
) -> None:
    turned = [(274, "H", 1, value, True)]
    path = write(
        tmp_path / "a.tif", RGB, photometric="rgb", compression=compression, extratags=turned
    )
    assert f"Orientation tag is {value} (" in refused(path)
    assert "Orientation 1" in refused(path)


def test_channels_as_pages_are_told_as_such(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", *PLANES, photometric="minisblack")
    assert "in 3 pages of one size" in refused(path)


def test_several_full_pictures_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", RGB, RGB[::-1], photometric="rgb")
    assert "2 pictures of the full size" in refused(path)


def test_a_slide_behind_a_smaller_picture_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", RGB[::2, ::2], RGB, photometric="rgb")
    assert "200 x 150 px, is not its largest, 400 x 300 px" in refused(path)


@pytest.mark.parametrize(
    ("axes", "shape", "words"),
    [("ZYXS", (3, 300, 400, 3), "3 focal planes"), ("TYXS", (2, 300, 400, 3), "2 time points")],
)
def test_planes_of_an_ome_tiff_are_told(
    tmp_path: Path, axes: str, shape: tuple[int, ...], words: str
) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        stack = np.broadcast_to(RGB, shape)
        tiff.write(stack, tile=(128, 128), photometric="rgb", metadata={"axes": axes})
    assert words in refused(tmp_path / "a.ome.tif")


def test_an_ome_tiff_of_one_rgb_picture_is_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        tiff.write(RGB, tile=(128, 128), photometric="rgb", metadata={"axes": "YXS"})
    check_slide(tmp_path / "a.ome.tif")


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (RGB, {"compression": "lzw"}),
        (RGB, {"compression": "zlib", "predictor": True}),
        (PLANES, {"planarconfig": "separate", "compression": "lzw"}),
        (with_alpha(255), {"extrasamples": ["unassalpha"]}),
        (with_alpha(255), {"extrasamples": ["assocalpha"]}),
    ],
)
def test_what_is_8_bit_rgb_is_read_as_it_is(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any]
) -> None:
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    with open_slide(path) as slide:
        assert slide.warnings == ()
        whole = slide.read_region(Region.whole(slide.size), slide.size)
    np.testing.assert_array_equal(whole, RGB)


def test_what_is_transparent_in_part_is_white_there(tmp_path: Path) -> None:
    pixels = with_alpha(255)
    pixels[:, :200, 3] = 0
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    with open_slide(path) as slide:
        whole = slide.read_region(Region.whole(slide.size), Size(400, 300))
    assert (whole[:, :200] == 255).all()
    np.testing.assert_array_equal(whole[:, 200:], RGB[:, 200:])


def test_a_compression_that_is_not_read_is_no_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", RGB, photometric="rgb", compression="webp")
    assert "compression: 50001" in refused(path)


@pytest.mark.parametrize("dimension", ["T", "Z", "H"])
def test_a_czi_is_refused_without_a_guess_at_its_planes(dimension: str) -> None:
    error = openslide.OpenSlideError(f'Unrecognized subblock dimension "{dimension}"')
    assert is_unsupported(error)
    assert without_path(error, Path("a.czi"), "a.czi") == (
        "a Zeiss CZI of a kind that OpenSlide does not read (such as those with several channels, "
        "scenes, time points or focal planes)"
    )


@pytest.mark.parametrize("name", ["DAPI_GFP.czi", "S3_1Pos_2Mosaic_T1_Z1_CH1.czi"])
def test_a_real_czi_that_is_not_read_is_no_damage(real_data: Path, name: str) -> None:
    told = refused(real_data / "wsi" / "zeiss_czi" / name)
    assert "a Zeiss CZI of a kind that OpenSlide does not read" in told


def test_real_ome_tiffs_of_channels_and_planes_are_refused_by_what_they_are(
    real_data: Path,
) -> None:
    for path in (real_data / "wsi" / "ome_tiff").iterdir():
        if path.suffix == ".tif":
            assert "RGB" in refused(path) or "tiles" in refused(path)
