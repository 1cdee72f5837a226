"""Choosing a level and drawing it at the size that was asked: the same for every reader."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from wsi.geometry import Region, Size
from wsi.slides.reader import RGB, Level

ReadLevel = Callable[[int, int, int, int, int], RGB]
"""(level, x, y, width, height) in pixels of that level -> (height, width, 3) uint8, white outside
of the slide."""

_ROUNDING = 1e-6


def level_for(levels: Sequence[Level], scale: float) -> int:
    """The coarsest level that is still at least as fine as ``scale`` level-0 px a pixel."""
    # Stated downsamples are ratios of rounded sizes (4.0017 for 4): allow one per cent.
    fine = [i for i, level in enumerate(levels) if level.downsample <= scale * 1.01]
    return fine[-1] if fine else 0


def read_resampled(
    levels: Sequence[Level], region: Region, size: Size, read_level: ReadLevel
) -> RGB:
    """A level-0 rectangle drawn at ``size`` from the nearest finer level, antialiased."""
    level = level_for(levels, min(region.width / size.width, region.height / size.height))
    downsample = levels[level].downsample
    # The whole pixels of this level that cover the region, and the region inside them.
    left, top = region.x / downsample, region.y / downsample
    x, y = math.floor(left + _ROUNDING), math.floor(top + _ROUNDING)
    width = max(1, math.ceil(left + region.width / downsample - _ROUNDING) - x)
    height = max(1, math.ceil(top + region.height / downsample - _ROUNDING) - y)
    pixels = read_level(level, x, y, width, height)
    if (width, height) == (size.width, size.height):
        return pixels
    box = (
        max(0.0, left - x),
        max(0.0, top - y),
        min(float(width), left - x + region.width / downsample),
        min(float(height), top - y + region.height / downsample),
    )
    # Pillow widens the filter's support when it shrinks, which is the antialiasing.
    resized = Image.fromarray(pixels).resize(
        (size.width, size.height), Image.Resampling.BILINEAR, box=box
    )
    return np.asarray(resized)
