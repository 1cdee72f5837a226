"""TIFF-based slides."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from tests.cases import Case
from wsi.errors import WsiError
from wsi.geometry import Region, Size
from wsi.slides import SlideReader, check_slide, open_slide
from wsi.slides.strip import strip_labels
from wsi.testing.tiff_edits import change_tile, cut_tile, stored_tile

_SIDE = 512


def _tissue() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 40, (_SIDE // 4, _SIDE // 4, 3))
    pixels = np.full((_SIDE, _SIDE, 3), 244.0)
    inside = np.s_[96:416, 96:416]
    pixels[inside] = (np.array([190, 120, 170]) + cv2.resize(noise, (_SIDE, _SIDE)))[inside]
    return pixels.clip(0, 255).astype(np.uint8)


def _reduced(factor: int) -> np.ndarray:
    side = _SIDE // factor
    return np.asarray(cv2.resize(_tissue(), (side, side), interpolation=cv2.INTER_AREA))


def _label(width: int, height: int) -> np.ndarray:
    pixels = np.full((height, width, 3), 250, np.uint8)
    for line in (1, 2, 3):
        cv2.putText(pixels, "DOE^JANE", (9, height * line // 4), 0, width / 250, (20, 20, 20), 2)
    return pixels


def _write(path: Path, *pages: np.ndarray, **options: Any) -> Path:
    """The first page is the slide; further ones of other sizes are marked as reduced."""
    plain = {"tile": (128, 128), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        for page in pages:
            reduced = {} if page.shape == pages[0].shape else {"subfiletype": 1}
            tiff.write(page, **{**plain, **reduced, **options})
    return path


def _told(path: Path, say: Callable[[SlideReader], str] | None = None) -> str:
    """The refusal or warning with which a slide is opened and checked."""
    try:
        check_slide(path)
        with open_slide(path) as slide:
            said = "; ".join(slide.warnings)
            return f"{said}{'; ' if said and say else ''}{say(slide) if say else ''}"
    except WsiError as error:
        return f"refused: {error}"


def _levels(slide: SlideReader) -> str:
    levels = ", ".join(f"{one.size.width} x {one.size.height} px" for one in slide.levels)
    return f"read with the levels {levels}"


def _kind(pixels: Callable[[], np.ndarray], **options: Any) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        return _told(_write(folder / "slide.tif", pixels(), **{"compression": "lzw", **options}))

    return run


def _turned(folder: Path) -> str:
    tag = [(274, "H", 1, 3, True)]
    return _told(_write(folder / "slide.tif", _tissue(), compression="lzw", extratags=tag))


def _spoiled(change: Callable[[Path], None]) -> Callable[[Path], str]:
    """What checking says, and what reading the spoiled tile says."""

    def run(folder: Path) -> str:
        path = _write(folder / "slide.tif", _tissue())
        change(path)
        return _told(path, _reads_the_spoiled_tile)

    return run


def _reads_the_spoiled_tile(slide: SlideReader) -> str:
    whole = slide.read_region(Region.whole(slide.size), Size(_SIDE, _SIDE)).astype(int)
    wrong = np.abs(whole - _tissue()).mean(2)[128:256, 128:256]
    return "read, every pixel as it was" if wrong.mean() < 8 else "read wrongly"


_SPOILED = 5


def _half(path: Path) -> None:
    cut_tile(path, _SPOILED, len(stored_tile(path, _SPOILED)) // 2)


def _half_with_end(path: Path) -> None:
    half = len(stored_tile(path, _SPOILED)) // 2

    def change(data: bytearray) -> None:
        data[half : half + 2] = b"\xff\xd9"

    change_tile(path, _SPOILED, change)
    cut_tile(path, _SPOILED, half + 2)


def _zeros(path: Path) -> None:
    def change(data: bytearray) -> None:
        data[:] = bytes(len(data))

    change_tile(path, _SPOILED, change)


def _no_end(path: Path) -> None:
    cut_tile(path, _SPOILED, len(stored_tile(path, _SPOILED)) - 2)


def _coarse_level(folder: Path) -> str:
    path = _write(folder / "slide.tif", _tissue(), _reduced(4))

    def change(data: bytearray) -> None:
        kept = len(data) * 7 // 10
        data[kept:] = bytes(len(data) - kept)

    change_tile(path, 0, change, page=1)
    with open_slide(path) as slide:
        try:
            slide.read_region(Region.whole(slide.size), Size(_SIDE // 4, _SIDE // 4))
        except WsiError as error:
            return f"refused where it is read: {error}"
    return "read"


def _with(other: Callable[[], np.ndarray], **options: Any) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        path = _write(folder / "slide.tif", _tissue(), other(), _reduced(8), **options)
        return _told(path, _levels)

    return run


def _padded(folder: Path) -> str:
    pixels = np.full((384, 384, 3), 255, np.uint8)
    pixels[:256, :256] = _reduced(2)
    return _told(_write(folder / "slide.tif", _tissue(), pixels), _levels)


def _stripped(folder: Path) -> str:
    path = _write(folder / "slide.tif", _tissue(), _label(256, 256), _reduced(8))
    removed = strip_labels(path, folder / "copy.tif")
    with open_slide(folder / "copy.tif") as copy:
        return f"the copy is without: {', '.join(removed)}; {_levels(copy)}"


def _grey() -> np.ndarray:
    return np.ascontiguousarray(_tissue()[..., 1])


def _four(alpha: int) -> np.ndarray:
    return np.dstack([_tissue(), np.full((_SIDE, _SIDE), alpha, np.uint8)])


def _planes(folder: Path) -> str:
    path = _write(folder / "slide.tif", *np.moveaxis(_tissue(), -1, 0), photometric="minisblack")
    return _told(path)


def _two(folder: Path) -> str:
    return _told(_write(folder / "slide.tif", _tissue(), _tissue()[::-1]))


CASES = (
    Case(input="A JPEG tile that breaks off", run=_spoiled(_half)),
    Case(
        input="A JPEG tile that breaks off, with an end marker after it",
        run=_spoiled(_half_with_end),
    ),
    Case(input="A tile that was never written (zeros)", run=_spoiled(_zeros)),
    Case(input="A JPEG tile that lacks only its end marker", run=_spoiled(_no_end)),
    Case(input="A level of one tile that ends in zeros", run=_coarse_level),
    Case(input="Orientation 3, LZW tiles", run=_turned),
    Case(input="8-bit grey", run=_kind(_grey, photometric="minisblack")),
    Case(
        input="16-bit grey",
        run=_kind(lambda: _grey().astype(np.uint16) * 257, photometric="minisblack"),
    ),
    Case(input="RGB of 12 bits in 16", run=_kind(lambda: _tissue().astype(np.uint16) * 16)),
    Case(input="RGB of floating-point numbers", run=_kind(lambda: _tissue().astype(np.float32))),
    Case(input="CMYK", run=_kind(lambda: _four(0), photometric="separated")),
    Case(input="YCbCr without JPEG", run=_kind(_tissue, photometric="ycbcr")),
    Case(
        input="RGB and a fourth sample without a meaning",
        run=_kind(lambda: _four(0), extrasamples=["unspecified"]),
    ),
    Case(
        input="RGB with alpha 0 everywhere",
        run=_kind(lambda: _four(0), extrasamples=["unassalpha"]),
    ),
    Case(input="Red, green and blue as three pages", run=_planes),
    Case(input="Two RGB pictures of one size", run=_two),
    Case(
        input="A tiled label marked as a reduced picture, of the slide's shape",
        run=_with(lambda: _label(256, 256)),
    ),
    Case(
        input="A tiled label marked as a reduced picture, of another shape",
        run=_with(lambda: _label(200, 300)),
    ),
    Case(
        input="The slide mirrored, marked as a reduced picture",
        run=_with(lambda: _reduced(2)[:, ::-1].copy()),
    ),
    Case(input="A level that is padded to whole tiles", run=_padded),
    Case(input="A tiled label marked as a reduced picture, stripped", run=_stripped),
)
