"""A JPEG tile of which a part is missing is an error, and a whole one is read as ever."""

import io
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from wsi.errors import DamagedSlideError
from wsi.geometry import Region, Size
from wsi.slides import open_slide
from wsi.slides.jpeg_tile import decode_tile, is_colour_tile, jpeg_head
from wsi.testing.slides import synthetic_slide
from wsi.testing.tiff_edits import change_tile, cut_tile, stored_tile

YCBCR = jpeg_head(None, rgb=False)


def picture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC))


def jpeg(**options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slides") / "a.tif"
    return synthetic_slide(path, 512, 0.5, tissue_share=0.9, seed=3, levels=1).path


def fails(path: Path, index: int, backend: str) -> bool:
    """Whether reading a tile of a slide of two by two tiles is refused."""
    with open_slide(path, backend=backend) as reader:  # type: ignore[arg-type]
        try:
            reader.read_region(Region(index % 2 * 256, index // 2 * 256, 256, 256), Size(256, 256))
        except DamagedSlideError:
            return True
    return False


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(index=st.integers(0, 3), share=st.floats(0.0, 1.0))
def test_a_tile_that_breaks_off_anywhere_is_damaged_for_both_backends(
    slide: Path, tmp_path: Path, index: int, share: float
) -> None:
    path = Path(shutil.copy(slide, tmp_path / "cut.tif"))
    whole = len(stored_tile(path, index))
    # Without the end marker's two bytes all pixels are still there: see the next test.
    cut_tile(path, index, 1 + round(share * (whole - 4)))
    assert fails(path, index, "direct")
    assert fails(path, index, "openslide")
    assert not fails(path, (index + 1) % 4, "direct")


@pytest.mark.parametrize("missing", [1, 2])
def test_a_tile_that_lacks_only_its_end_marker_is_whole(missing: int) -> None:
    data = jpeg()
    np.testing.assert_array_equal(decode_tile(data[:-missing], YCBCR), decode_tile(data, YCBCR))


@pytest.mark.parametrize("padding", [b"\0" * 7, b"\xff", b"\0"])
def test_bytes_behind_the_end_marker_change_nothing(padding: bytes) -> None:
    data = jpeg()
    np.testing.assert_array_equal(decode_tile(data + padding, YCBCR), decode_tile(data, YCBCR))


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.0, 0.99))
def test_an_end_marker_behind_half_a_tile_does_not_make_it_whole(share: float) -> None:
    data = jpeg()
    start = data.index(b"\xff\xda") + 14
    cut = start + round(share * (len(data) - 3 - start))
    with pytest.raises(ValueError, match="premature end"):
        decode_tile(data[:cut] + b"\xff\xd9", YCBCR)


def test_bytes_left_over_behind_the_last_block_are_damage() -> None:
    data = jpeg()
    with pytest.raises(ValueError, match="extraneous bytes"):
        decode_tile(data[:-2] + bytes(40) + data[-2:], YCBCR)


def test_a_hole_of_zeros_is_damage_for_both_backends(slide: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(slide, tmp_path / "hole.tif"))

    def hole(data: bytearray) -> None:
        data[len(data) // 2 : len(data) // 2 + 512] = bytes(512)

    change_tile(path, 0, hole)
    assert fails(path, 0, "direct")
    assert fails(path, 0, "openslide")


def test_restart_markers_are_read_and_a_lost_one_is_damage() -> None:
    data = jpeg(restart_marker_blocks=2)
    at = data.index(b"\xff\xd1")
    np.testing.assert_array_equal(decode_tile(data, YCBCR), decode_tile(jpeg(), YCBCR))
    with pytest.raises(ValueError, match="Corrupt"):
        decode_tile(data[:at] + data[at + 2 :], YCBCR)


@pytest.mark.parametrize("rgb", [False, True])
def test_colours_are_those_that_the_tiff_states_whatever_the_tile_says(rgb: bool) -> None:
    kept = {"colorspace": "RGB", "outcolorspace": "RGB" if rgb else "YCBCR"}
    data = bytes(imagecodecs.jpeg8_encode(picture(), level=90, **kept))
    # A JFIF header says YCbCr to every decoder.
    says = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + data[2:]
    expected = imagecodecs.jpeg8_decode(data, colorspace=kept["outcolorspace"], outcolorspace="RGB")
    for stream in (data, says):
        np.testing.assert_array_equal(decode_tile(stream, jpeg_head(None, rgb=rgb)), expected)


def test_tables_that_a_page_shares_stand_before_each_tile(real_data: Path) -> None:
    path = real_data / "wsi" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as handle:
        expected = np.asarray(handle.read_region((240, 0), 0, (240, 240)).convert("RGB"))
    with open_slide(path, backend="direct") as reader:
        pixels = reader.read_region(Region(240, 0, 240, 240), Size(240, 240))
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\0", b"\xff\xd8", b"\xff\xd8\xff\xe0"])
def test_what_is_no_jpeg_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_tile(data, YCBCR)
    assert not is_colour_tile(data, YCBCR)


def test_broken_tables_are_an_error() -> None:
    with pytest.raises(ValueError, match="tables"):
        jpeg_head(b"\0\0\0\0", rgb=False)


def test_a_grey_tile_is_no_colour_tile() -> None:
    grey = bytes(imagecodecs.jpeg8_encode(picture()[..., 0].copy()))
    assert not is_colour_tile(grey, YCBCR)
    assert is_colour_tile(jpeg(), YCBCR)
