"""The whole slide at low power, read so that bad tiles and missing pyramids do little harm."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.errors import DamagedSlideError
from wsi.geometry import Region, Size
from wsi.slides.reader import RGB, SlideReader, require_mpp
from wsi.tissue.mask import TissueSpec

_MAX_READ_PX = 8_000_000
"""Most pixels of a level read at once: a slide without a pyramid is read in bands."""

_LEAF_CELLS = 16
_FINER = (4, 16, 64)
"""Where the wanted level does not decode, the same place is read this much finer."""


@dataclass(frozen=True)
class Overview:
    """A slide at low power.

    Attributes:
        pixels: (rows, cols, 3) uint8; white where nothing decodes.
        unreadable: (rows, cols) bool: where no level decodes.
    """

    pixels: RGB
    unreadable: NDArray[np.bool_]


def overview_mpp(slide: SlideReader, spec: TissueSpec) -> float:
    """The resolution to work at: as asked, but no finer than the slide and its cells allow."""
    base = require_mpp(slide)
    fewest = math.sqrt(slide.size.area * base.x * base.y / spec.max_cells)
    return max(spec.mpp, base.mean, fewest)


def read_overview(slide: SlideReader, mpp: float) -> Overview:
    """The whole slide at ``mpp``.

    Raises:
        MppError: the slide states no usable resolution.
        DamagedSlideError: nothing of it decodes.
    """
    base = require_mpp(slide)
    size = Region.whole(slide.size).size_at(mpp, base)
    scale = min(slide.size.width / size.width, slide.size.height / size.height)
    level = max(
        (level for level in slide.levels if level.downsample <= scale * 1.01),
        key=lambda level: level.downsample,
        default=slide.levels[0],
    )
    shrink = max(1.0, level.size.height / size.height)
    rows = max(1, math.floor(_MAX_READ_PX / max(1, level.size.width) / shrink))
    overview = Overview(
        np.full((size.height, size.width, 3), 255, np.uint8),
        np.zeros((size.height, size.width), np.bool_),
    )
    failed: DamagedSlideError | None = None
    for top in range(0, size.height, rows):
        box = (0, top, size.width, min(size.height, top + rows))
        failed = _read_cells(slide, overview, box) or failed
    if failed is not None and overview.unreadable.all():
        raise failed
    return overview


def _read_cells(
    slide: SlideReader, overview: Overview, box: tuple[int, int, int, int]
) -> DamagedSlideError | None:
    """Fill a box (left, top, right, bottom); where that fails, in quarters, so little is lost.

    Returns:
        An error met on the way, if any.
    """
    left, top, right, bottom = box
    rows, cols = overview.unreadable.shape
    x_px, y_px = slide.size.width / cols, slide.size.height / rows
    region = Region(left * x_px, top * y_px, (right - left) * x_px, (bottom - top) * y_px)
    size = Size(right - left, bottom - top)
    try:
        overview.pixels[top:bottom, left:right] = slide.read_region(region, size)
    except DamagedSlideError as error:
        if max(size.width, size.height) > _LEAF_CELLS:
            middle_x, middle_y = (left + right + 1) // 2, (top + bottom + 1) // 2
            for x0, x1 in ((left, middle_x), (middle_x, right)):
                for y0, y1 in ((top, middle_y), (middle_y, bottom)):
                    if x1 > x0 and y1 > y0:
                        _read_cells(slide, overview, (x0, y0, x1, y1))
            return error
        finer = _read_finer(slide, region, size)
        if finer is None:
            overview.unreadable[top:bottom, left:right] = True
        else:
            overview.pixels[top:bottom, left:right] = finer
        return error
    return None


def _read_finer(slide: SlideReader, region: Region, size: Size) -> RGB | None:
    """The same place from a finer level, reduced; ``None`` where that fails as well."""
    for factor in _FINER:
        if size.width * factor > region.width * 1.01:
            return None
        try:
            pixels = slide.read_region(region, Size(size.width * factor, size.height * factor))
        except DamagedSlideError:
            continue
        small = cv2.resize(pixels, (size.width, size.height), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)
    return None
