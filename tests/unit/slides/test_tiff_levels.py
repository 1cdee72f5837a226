"""Pictures that are no levels are left out and said, and never stay in a stripped copy."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from wsi.errors import UnsupportedSlideError
from wsi.geometry import Region, Size
from wsi.slides import SlideReader, open_slide
from wsi.slides.strip import strip_labels
from wsi.slides.tiff_levels import fullest

WIDTH, HEIGHT = 1200, 1000
NOISE_PX = (4, 8, 32)


@functools.cache
def tissue(seed: int = 1, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Glass with a piece of something that has structure at every size."""
    rng = np.random.default_rng(seed)
    noise = sum(
        cv2.resize(rng.normal(0, 60 / n**0.5, (height // n, width // n, 3)), (width, height))
        for n in NOISE_PX
    )
    pixels = np.full((height, width, 3), 244.0)
    y, x = np.mgrid[:height, :width]
    inside = ((x - width * 0.55) / (width * 0.4)) ** 2 + ((y - height * 0.5) / (height * 0.4)) ** 2
    pixels[inside < 1] = np.array([190, 120, 170]) + noise[inside < 1]
    return pixels.clip(0, 255).astype(np.uint8)


def label(width: int, height: int) -> np.ndarray:
    pixels = np.full((height, width, 3), 250, np.uint8)
    for line in range(3):
        place = (width // 10, height // 4 * (line + 1))
        cv2.putText(pixels, "DOE^JANE", place, 0, width / 250, (20, 20, 20), 2)
    return pixels


def reduced(pixels: np.ndarray, factor: int) -> np.ndarray:
    size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def write(path: Path, *pages: np.ndarray, **options: Any) -> Path:
    """The first page is the slide, the others are marked as reduced pictures of it."""
    jpeg = {"photometric": "rgb", "compression": "jpeg", "metadata": None, "tile": (128, 128)}
    with tifffile.TiffWriter(path) as tiff:
        for number, page in enumerate(pages):
            more = {"subfiletype": 1} if number else {}
            if page.ndim == 2:
                more["photometric"] = "minisblack"
            tiff.write(page, **{**jpeg, **options, **more})
    return path


def aperio(path: Path, *pages: tuple[np.ndarray, dict[str, Any]]) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for pixels, more in pages:
            plain = {"photometric": "rgb", "compression": "jpeg", "metadata": None}
            tiff.write(pixels, **{**plain, **more})
    return path


TILED: dict[str, Any] = {"tile": (128, 128), "description": "Aperio Image Library v1\r\n1200x1000"}


def downsamples(slide: SlideReader) -> list[float]:
    return [round(level.downsample, 2) for level in slide.levels]


@pytest.mark.parametrize("compression", ["jpeg", "lzw", None])
def test_sound_levels_are_kept_without_a_word(tmp_path: Path, compression: str | None) -> None:
    whole = tissue()
    pages = (whole, reduced(whole, 2), whole[::4, ::4].copy(), reduced(whole, 16))
    with open_slide(write(tmp_path / "a.tif", *pages, compression=compression)) as slide:
        assert downsamples(slide) == [1, 2, 4, 16.06]
        assert slide.warnings == ()


INTRUDERS: list[tuple[str, Callable[[], np.ndarray]]] = [
    ("something else", lambda: label(600, 500)),
    ("something else", lambda: label(300, 250)),
    ("something else", lambda: np.full((500, 600, 3), 244, np.uint8)),
    ("something else", lambda: reduced(tissue(9), 2)),
    ("something else", lambda: reduced(tissue()[:, ::-1], 2)),
    ("something else", lambda: reduced(tissue()[::-1], 4)),
    ("another shape", lambda: label(400, 500)),
    ("another shape", lambda: np.rot90(reduced(tissue(), 2)).copy()),
    ("as large as the slide", lambda: tissue(9)),
    ("8-bit grey", lambda: reduced(tissue(), 2)[..., 0].copy()),
]


@pytest.mark.parametrize("backend", ["auto", "openslide"])
@pytest.mark.parametrize(("why", "intruder"), INTRUDERS)
def test_a_picture_that_is_no_level_is_left_out_and_said(
    tmp_path: Path, why: str, intruder: Callable[[], np.ndarray], backend: Any
) -> None:
    whole, other = tissue(), intruder()
    path = write(tmp_path / "a.tif", whole, other, reduced(whole, 8))
    size = f"{other.shape[1]} x {other.shape[0]} px"
    with open_slide(path, backend=backend) as slide:
        assert downsamples(slide) == [1, 8]
        (said,) = slide.warnings
        assert said.startswith(f"a picture of {size} is not a level of this slide and was left out")
        assert why in said
        pixels = slide.read_region(Region.whole(slide.size), Size(600, 500))
    assert np.abs(pixels.astype(int) - reduced(whole, 2)).mean() < 8


def test_the_first_of_two_equally_large_pages_is_read(tmp_path: Path) -> None:
    whole = tissue()
    path = aperio(tmp_path / "a.svs", (whole, TILED), (tissue(5), TILED))
    with open_slide(path) as slide:
        pixels = slide.read_region(Region.whole(slide.size), slide.size)
        assert len(slide.levels) == 1
    assert np.abs(pixels.astype(int) - whole).mean() < 8


@pytest.mark.parametrize("backend", ["direct", "openslide"])
@pytest.mark.parametrize("fill", [0, 255])
@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT), (1000, 1000)])
def test_padded_levels_lie_where_the_slide_lies(
    tmp_path: Path, backend: Any, fill: int, shape: tuple[int, int]
) -> None:
    whole = tissue(width=shape[0], height=shape[1])
    pages = [whole]
    for factor in (2, 4):
        small = reduced(whole, factor)
        height, width = (-(-side // 128) * 128 for side in small.shape[:2])
        padded = np.full((height, width, 3), fill, np.uint8)
        padded[: small.shape[0], : small.shape[1]] = small
        pages.append(padded)
    with open_slide(write(tmp_path / "a.tif", *pages), backend=backend) as slide:
        assert downsamples(slide) == [1, 2, 4]
        assert slide.warnings == ()
        for factor in (2, 4):
            size = Size(shape[0] // factor, shape[1] // factor)
            pixels = slide.read_region(Region.whole(slide.size), size)
            assert np.abs(pixels.astype(int) - reduced(whole, factor)).mean() < 8
        beyond = slide.read_region(Region(shape[0] + 8, 0, 64, 64), Size(16, 16))
        assert (beyond == 255).all(), "what lies outside the slide is white"


def test_an_intruder_that_is_no_jpeg_does_not_cost_the_fast_reader(tmp_path: Path) -> None:
    whole = tissue()
    jpeg = {"photometric": "rgb", "metadata": None, "tile": (128, 128)}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(whole, compression="jpeg", **jpeg)
        tiff.write(label(600, 500), compression="lzw", subfiletype=1, **jpeg)
        tiff.write(reduced(whole, 4), compression="jpeg", subfiletype=1, **jpeg)
    with open_slide(tmp_path / "a.tif", backend="direct") as slide:
        assert downsamples(slide) == [1, 4]
        pixels = slide.read_region(Region.whole(slide.size), Size(300, 250))
    assert np.abs(pixels.astype(int) - reduced(whole, 4)).mean() < 8


def test_a_replaced_file_is_judged_anew(tmp_path: Path) -> None:
    whole = tissue()
    path = write(tmp_path / "a.tif", whole, reduced(whole, 2))
    with open_slide(path) as slide:
        assert len(slide.levels) == 2
    write(tmp_path / "b.tif", whole, label(600, 500)).replace(path)
    with open_slide(path) as slide:
        assert len(slide.levels) == 1


@pytest.mark.parametrize("size", [(600, 500), (300, 250), (400, 500)])
def test_a_tiled_label_marked_as_reduced_is_not_in_the_copy(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    whole, name = tissue(), label(*size)
    path = write(tmp_path / "a.tif", whole, name, reduced(whole, 8))
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        inside = [(o, c) for o, c in zip(page.dataoffsets, page.databytecounts, strict=True)]
    removed = strip_labels(path, tmp_path / "copy.tif")
    assert removed == (f"{size[0]} x {size[1]} px image",)
    copy = (tmp_path / "copy.tif").read_bytes()
    assert not any(any(copy[offset : offset + count]) for offset, count in inside)
    with open_slide(tmp_path / "copy.tif") as slide:
        assert downsamples(slide) == [1, 8]
        assert slide.warnings == ()


def test_a_tiled_label_of_an_svs_is_removed_by_its_description(tmp_path: Path) -> None:
    whole = tissue()
    said = {**TILED, "description": "Aperio Image Library v1\r\nlabel 600x500"}
    path = aperio(
        tmp_path / "a.svs", (whole, TILED), (reduced(whole, 4), TILED), (reduced(whole, 8), said)
    )
    with open_slide(path) as slide:
        assert downsamples(slide) == [1, 4]
        assert "says that it is a label" in slide.warnings[0]
    assert strip_labels(path, tmp_path / "copy.svs") == ("label",)


@pytest.mark.parametrize("disguised", [False, True])
def test_a_thumbnail_stays_only_where_it_shows_the_slide(tmp_path: Path, disguised: bool) -> None:
    whole = tissue()
    shown = label(300, 250) if disguised else reduced(whole, 4)
    arrow = {"description": "Aperio Image Library v1\r\n1200x1000 -> 300x250 - "}
    path = aperio(tmp_path / "a.svs", (whole, TILED), (shown, arrow), (reduced(whole, 8), TILED))
    removed = strip_labels(path, tmp_path / "copy.svs")
    assert removed == (("300 x 250 px image",) if disguised else ())
    with open_slide(tmp_path / "copy.svs") as slide:
        assert slide.associated_images == (() if disguised else ("thumbnail",))


def test_a_level_with_a_label_in_one_corner_is_not_stripped(tmp_path: Path) -> None:
    whole = tissue(width=2400, height=2000)
    level = reduced(whole, 2)
    level[:250, :300] = label(300, 250)
    path = write(tmp_path / "a.tif", whole, level, reduced(whole, 8))
    with pytest.raises(UnsupportedSlideError, match="possibly a label"):
        strip_labels(path, tmp_path / "copy.tif")
    assert not (tmp_path / "copy.tif").exists()


def test_levels_of_glass_alone_are_kept(tmp_path: Path) -> None:
    glass = np.full((HEIGHT, WIDTH, 3), 244, np.uint8)
    with open_slide(write(tmp_path / "a.tif", glass, glass[::4, ::4].copy())) as slide:
        assert downsamples(slide) == [1, 4]
        assert slide.warnings == ()
    assert strip_labels(tmp_path / "a.tif", tmp_path / "copy.tif") == ()


def test_real_slides_open_without_a_word(real_data: Path) -> None:
    slides = [
        *(real_data / "wsi").glob("*.svs"),
        real_data / "wsi" / "edge" / "boxes.tiff",
        *(real_data / "idc_slides").glob("*.tif"),
    ]
    for path in slides:
        with open_slide(path) as slide, tifffile.TiffFile(path) as tiff:
            assert slide.warnings == ()
            assert len(slide.levels) == sum(page.is_tiled for page in tiff.pages)


def test_the_fullest_tiles_come_from_every_quarter() -> None:
    from wsi.slides.tiff_levels import Picture

    counts = np.zeros((4, 6), np.int64)
    counts[0, 1] = counts[1, 5] = counts[3, 0] = counts[2, 4] = 9
    picture = Picture(0, 0, Size(6, 4), Size(1, 1), counts, None)
    assert set(fullest(picture, 1)) == {(0, 1), (1, 5), (3, 0), (2, 4)}
