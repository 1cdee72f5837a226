"""Which of the pictures that OpenSlide takes for levels are levels of this slide.

A file may mark anything as a reduced picture: a label, a mask, another stain. A level has the
slide's shape, and where it is looked at it shows what the next finer level shows.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.errors import DamagedSlideError
from wsi.geometry import Size
from wsi.slides.reader import RGB, Level
from wsi.slides.resample import ReadLevel
from wsi.slides.tiff_kind import kind_of
from wsi.slides.tiff_layout import TiffLayout, in_px, named, size_of

_ROUNDING_PX = 2
"""Sides of a level may be off by this much: each level rounds the one before it."""
_PART_PX = 64
_WINDOW_PX = 256
"""Of the finer level, compared at once."""
# Looked at in each quarter of a level, and in each tile, where it has to be sure.
_MOST_TILES, _MOST_WINDOWS = 25, 2
_MOST_MISMATCHES, _MOST_OF_MANY = 0.1, 0.05
# Grey levels. Glass may be as much lighter or darker; where there is something to see, JPEG,
# sharpening and another way of reducing leave so much between two equal pictures, or correlation.
_ALIKE_GLASS, _ALIKE = 8.0, 3.0
_CONTRAST = 6.0
_CORRELATED = 0.5
_PARTS, _LEAST_PART_PX = 4, 8

Box = tuple[int, int, int, int]
"""x, y, width, height in pixels of a level."""


@dataclass(frozen=True)
class Picture:
    """What OpenSlide takes for a level, and how its tiles lie.

    Args:
        number: OpenSlide's number of it.
        index: of its page in the file.
        size: its own size in pixels.
        tile: of its tiles.
        counts_hw: (rows, columns) bytes of each stored tile: the more, the more there is to see.
        kind: what it holds where that is not 8-bit RGB; ``label`` or ``macro`` where it says so.
    """

    number: int
    index: int
    size: Size
    tile: Size
    counts_hw: NDArray[np.int64]
    kind: str | None


@dataclass(frozen=True)
class TrueLevel:
    """One of OpenSlide's levels that is one. ``level.size`` is without padding."""

    picture: Picture
    level: Level


def pictures_of(layout: TiffLayout) -> tuple[Picture, ...]:
    """What has to be judged; usable after the file is closed.

    Raises:
        one of ``TIFF_ERRORS``: the directories are broken.
    """
    found = []
    for number, page in enumerate(layout.levels):
        size, tile = size_of(page), Size(int(page.tilewidth), int(page.tilelength))
        rows, columns = -(-size.height // tile.height), -(-size.width // tile.width)
        if len(page.databytecounts) < rows * columns:
            raise ValueError("a page has fewer tiles than its size needs")
        counts = np.asarray(page.databytecounts[: rows * columns], np.int64)
        called = named(page)
        kind = f"says that it is a {called}" if called else kind_of(page)
        counts_hw = counts.reshape(rows, columns)
        found.append(Picture(number, int(page.index), size, tile, counts_hw, kind))
    return tuple(found)


def true_levels(
    pictures: Sequence[Picture], read: ReadLevel, *, thorough: bool = False
) -> tuple[tuple[TrueLevel, ...], tuple[str, ...]]:
    """The levels, finest first, and a sentence for each picture that is none.

    Args:
        pictures: of which the first is the slide.
        read: by OpenSlide's numbers.
        thorough: look at many more places, and take few differences for chance.
    """
    first = pictures[0]
    levels = [TrueLevel(first, Level(first.size, 1.0))]
    left_out = []
    for picture in pictures[1:]:
        found = _judged(picture, levels[-1], first, read, thorough)
        if isinstance(found, Level):
            levels.append(TrueLevel(picture, found))
        else:
            left_out.append(
                f"a picture of {in_px(picture.size)} is not a level of this slide and was left "
                f"out: it {found}"
            )
    return tuple(levels), tuple(left_out)


def _judged(
    picture: Picture, finer: TrueLevel, first: Picture, read: ReadLevel, thorough: bool
) -> Level | str:
    """What it is as a level, or why it is none."""
    if picture.kind is not None:
        return picture.kind
    if picture.size.area >= first.size.area:
        return "is as large as the slide itself"
    best: tuple[tuple[float, float], float] | None = None
    for downsample in _downsamples(picture, first.size):
        if downsample < finer.level.downsample * 1.01:
            continue
        windows = _windows(picture, finer, downsample, read, thorough)
        differs = _difference(picture, finer, downsample, read, windows)
        if best is None or differs < best[0]:
            best = (differs, downsample)
        if best[0] <= (0, _ALIKE / 2):
            break
    if best is None:
        return "has another shape"
    if best[0][0] > (_MOST_OF_MANY if thorough else _MOST_MISMATCHES):
        return "shows something else"
    size = Size(
        _unpadded(picture.size.width, first.size.width / best[1]),
        _unpadded(picture.size.height, first.size.height / best[1]),
    )
    return Level(size, best[1])


def _unpadded(side: int, wanted: float) -> int:
    return side if side <= wanted + _ROUNDING_PX else math.ceil(wanted)


def _downsamples(picture: Picture, slide: Size) -> list[float]:
    """How much the picture may be reduced: as its sides say, or by a whole number and padded."""
    across, down = slide.width / picture.size.width, slide.height / picture.size.height
    found = []
    middle = (across + down) / 2
    if (
        abs(slide.width / middle - picture.size.width) <= _ROUNDING_PX
        and abs(slide.height / middle - picture.size.height) <= _ROUNDING_PX
    ):
        found.append(middle)
    return found + [k for k in _padded(picture, slide) if abs(k / middle - 1) > 0.005 or not found]


def _padded(picture: Picture, slide: Size) -> list[float]:
    """Whole numbers by which the slide, reduced, fills the picture up to its last tiles."""
    across = _fitting(slide.width, picture.size.width, picture.tile.width)
    down = _fitting(slide.height, picture.size.height, picture.tile.height)
    both = sorted(across & down)
    powers = [k for k in both if k & (k - 1) == 0]
    return [float(k) for k in (powers or both)[:3]]


def _fitting(wanted: int, side: int, tile: int) -> set[int]:
    """By what a slide's side can be reduced to a picture's side, or to less and padded to tiles."""
    least = max(2, math.floor(wanted / (side + _ROUNDING_PX)))
    if side % tile:
        return {k for k in (least, least + 1, least + 2) if abs(wanted / k - side) <= _ROUNDING_PX}
    most = wanted if side == tile else math.ceil(wanted / (side - tile))
    return {k for k in range(least, min(most, 4 * least) + 1) if wanted / k <= side + _ROUNDING_PX}


def _windows(
    picture: Picture, finer: TrueLevel, downsample: float, read: ReadLevel, thorough: bool
) -> Iterator[Box]:
    """Places where the picture, or the finer level, has most to see; in the picture's pixels."""
    ratio = downsample / finer.level.downsample
    side = int(min(128, max(16, _WINDOW_PX // ratio)))
    tiles = fullest(picture, _MOST_TILES if thorough else 1)
    most = _MOST_WINDOWS if thorough else max(1, 4 // len(tiles))
    for row, column in tiles:
        x, y = column * picture.tile.width, row * picture.tile.height
        width = min(picture.tile.width, picture.size.width - x)
        height = min(picture.tile.height, picture.size.height - y)
        try:
            pixels = read(picture.number, x, y, width, height)
        except DamagedSlideError:
            continue
        for left, top in _busiest(pixels, side, most):
            yield x + left, y + top, min(side, width - left), min(side, height - top)
    for row, column in fullest(finer.picture, 1):
        x = int((column + 0.5) * finer.picture.tile.width / ratio) - side // 2
        y = int((row + 0.5) * finer.picture.tile.height / ratio) - side // 2
        x, y = min(x, picture.size.width - side), min(y, picture.size.height - side)
        yield max(0, x), max(0, y), side, side


def shows_all_over(picture: RGB, finer: RGB) -> bool:
    """Whether a small picture shows the same everywhere as a larger one of the same view."""
    height, width = picture.shape[:2]
    down, across = finer.shape[0] / height, finer.shape[1] / width
    for y in range(0, height, _PART_PX):
        for x in range(0, width, _PART_PX):
            seen = picture[y : y + _PART_PX, x : x + _PART_PX]
            top, left = round(y * down), round(x * across)
            bottom, right = round((y + len(seen)) * down), round((x + seen.shape[1]) * across)
            alike, _ = _compared(seen, finer[top:bottom, left:right])
            if alike is False:
                return False
    return True


def fullest(picture: Picture, each: int) -> list[tuple[int, int]]:
    """(row, column) of the tiles with most bytes, so many in each quarter of the picture.

    Tiles of equally many bytes say nothing: then those in the middle of each quarter.
    """
    counts = picture.counts_hw
    rows, columns = counts.shape
    found: dict[tuple[int, int], None] = {}
    for ys in (range(-(-rows // 2)), range(rows // 2, rows)):
        for xs in (range(-(-columns // 2)), range(columns // 2, columns)):
            part = counts[ys.start : ys.stop, xs.start : xs.stop]
            middle = np.abs(np.indices(part.shape) - (np.array(part.shape)[:, None, None] - 1) / 2)
            order = np.lexsort((middle.sum(0).ravel(), -part.ravel()))[:each]
            for place in order:
                row, column = np.unravel_index(place, part.shape)
                found[ys.start + int(row), xs.start + int(column)] = None
    return list(found)


def _busiest(pixels: RGB, side: int, most: int) -> list[tuple[int, int]]:
    """Left and top of the windows with most contrast, so many."""
    height, width = pixels.shape[:2]
    places = {
        (min(x, max(0, width - side)), min(y, max(0, height - side)))
        for y in range(0, height, side)
        for x in range(0, width, side)
    }
    return sorted(
        places, key=lambda p: -float(pixels[p[1] : p[1] + side, p[0] : p[0] + side].std())
    )[:most]


def _difference(
    picture: Picture,
    finer: TrueLevel,
    downsample: float,
    read: ReadLevel,
    windows: Iterator[Box],
) -> tuple[float, float]:
    """Share of the places with something to see where two levels differ, and by how much at all."""
    ratio = downsample / finer.level.downsample
    same, distances = [], []
    for x, y, width, height in windows:
        left, top = round(x * ratio), round(y * ratio)
        wide, high = round(width * ratio), round(height * ratio)
        if left + wide > finer.level.size.width or top + high > finer.level.size.height:
            # Over the edge: the picture's padding, or its last pixels.
            wide = min(wide, finer.level.size.width - left)
            high = min(high, finer.level.size.height - top)
            width, height = int(wide / ratio), int(high / ratio)
            if width < 8 or height < 8:
                continue
        try:
            seen = read(picture.number, x, y, width, height)
            expected = read(finer.picture.number, left, top, wide, high)
        except DamagedSlideError:
            continue
        alike, distance = _compared(seen, expected)
        distances.append(distance)
        if alike is not None:
            same.append(alike)
    share = 1 - sum(same) / len(same) if same else 0.0
    return share, sum(distances) / len(distances) if same else math.inf


def _compared(seen: RGB, expected: RGB) -> tuple[bool | None, float]:
    """Whether a window shows what it should, and the mean difference in grey levels.

    ``None`` where there is nothing to see in either.
    """
    height, width = max(4, seen.shape[0] // 2), max(4, seen.shape[1] // 2)
    small = _reduced(seen, width, height, cv2.INTER_AREA)
    full = (seen.shape[1], seen.shape[0])
    # Levels are means of their pixels, or every n-th pixel.
    ways: list[Callable[[], NDArray[np.float32]]] = [
        lambda: _reduced(expected, width, height, cv2.INTER_AREA),
        lambda: _reduced(
            np.asarray(cv2.resize(expected, full, interpolation=cv2.INTER_NEAREST), np.uint8),
            width,
            height,
            cv2.INTER_AREA,
        ),
    ]
    found = []
    for way in ways:
        other = way()
        distance = float(np.abs(small - other).mean())
        if max(_contrast(small), _contrast(other)) <= _CONTRAST:
            if distance <= _ALIKE_GLASS:
                return None, distance
            found.append((False, distance))
            continue
        found.append((distance <= _ALIKE or _is_correlated(small, other), distance))
    return any(alike for alike, _ in found), min(distance for _, distance in found)


def _reduced(pixels: RGB, width: int, height: int, how: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.float32)


def _is_correlated(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether most parts with something to see show the same in both.

    In parts, because one outline is enough for the whole of two windows to correlate.
    """
    step = max(_LEAST_PART_PX, max(one.shape[:2]) // _PARTS)
    values = []
    for y in range(0, one.shape[0], step):
        for x in range(0, one.shape[1], step):
            a, b = one[y : y + step, x : x + step], other[y : y + step, x : x + step]
            if max(_contrast(a), _contrast(b)) > _CONTRAST:
                values.append(_correlation(a, b))
    return float(np.median(values or [_correlation(one, other)])) >= _CORRELATED


def _contrast(pixels: NDArray[np.float32]) -> float:
    return float(pixels.mean(2).std())


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    a, b = one.mean(2).ravel(), other.mean(2).ravel()
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
