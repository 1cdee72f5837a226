"""Marker ink, told from stains that have its colours."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.tissue.glass import Bool, Float
from wsi.tissue.optics import OpticalDensity, drop_small

_MIN_ELONGATION = 2.5
_MIN_EVEN_SHARE = 0.2
MAX_RIPPLE = 0.04
"""Most roughness over density of ink: it has no cells."""


@dataclass(frozen=True)
class Ink:
    """Where a slide has marker ink.

    Attributes:
        mask: (rows, cols) bool: ink.
        doubtful: (rows, cols) bool: has the colour of ink, but neither its shape nor its evenness.
    """

    mask: Bool
    doubtful: Bool


def find_ink(
    density: OpticalDensity, rough: Float, mpp: float, excluded: Bool, min_um2: float = 40_000.0
) -> Ink:
    """Green, blue, red and black marker ink.

    The colours are rules on the order of the channels, as in the filters of deep-histopath
    (Dusenberry and Hu, 2018) and HistoQC (Janowczyk et al., 2019), here on optical density so that
    the strength of the stain matters little. Trichrome, Alcian blue, blood and silver have them,
    too. So ink must also be a stroke, and even: it has no cells. Where that is in doubt it stays
    tissue.

    Args:
        density: of the overview.
        rough: ``roughness`` of the overview reduced by two.
        mpp: of the overview.
        excluded: what is not a picture at all, such as ``border_mask``.
        min_um2: smaller spots of such colours are dye, pigment or blood and stay.
    """
    rows, cols = excluded.shape
    half = (rough.shape[1], rough.shape[0])
    channels = [
        np.asarray(cv2.resize(channel, half, interpolation=cv2.INTER_AREA), np.float32)
        for channel in (density.red, density.green, density.blue)
    ]
    picture = cv2.resize(excluded.astype(np.uint8), half, interpolation=cv2.INTER_AREA) == 0
    ripple = np.asarray(rough / np.maximum(sum(channels) / 3, 0.05), np.float32)
    coloured = np.zeros(rough.shape, np.bool_)
    inked = np.zeros(rough.shape, np.bool_)
    # One colour at a time: a blue stroke over blood is a stroke all the same.
    for colour in _ink_colours(*channels):
        core = (colour & picture).astype(np.uint8)
        if not core.any():
            continue
        core = np.asarray(cv2.morphologyEx(core, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
        parts = drop_small(core.astype(bool), min_um2 / (2 * mpp) ** 2)
        coloured |= parts
        inked |= _drawn(parts, ripple)
    if not coloured.any():
        return Ink(np.zeros_like(excluded), np.zeros_like(excluded))
    # The rim of a stroke is paler than its core.
    radius = max(1, round(6 / mpp))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))

    def full(mask: Bool) -> Bool:
        grown = cv2.dilate(mask.astype(np.uint8), kernel)
        drawn = cv2.resize(grown, (cols, rows), interpolation=cv2.INTER_NEAREST)
        return np.asarray((drawn > 0) & ~excluded, np.bool_)

    return Ink(full(inked), full(np.asarray(coloured & ~inked, np.bool_)))


def _ink_colours(r: Float, g: Float, b: Float) -> tuple[NDArray[np.bool_], ...]:
    # Green and turquoise: green is the brightest channel.
    green = (g < r - 0.12) & (g < b + 0.05) & (g < 0.75 * r) & (r > 0.35)
    # Blue: red is absorbed far more than green; haematoxylin takes both alike.
    blue = (b < 0.6 * r) & (((r > 0.7) & (g < 0.72 * r)) | ((r > 1.0) & (g < 0.82 * r)))
    # Red: hardly any red absorbed, green and blue strongly and alike; blood is darker in red.
    red = (g > 0.9) & (b > 0.72 * g) & ((r < 0.12) | ((g > 1.4) & (r < 0.35 * g)))
    # Black: all channels gone alike; folds and pigment keep a colour.
    spread = np.maximum(np.maximum(r, g), b) - np.minimum(np.minimum(r, g), b)
    darkness = (r + g + b) / 3
    black = (darkness > 1.35) & (spread < 0.16 * darkness)
    return np.asarray(green | blue, np.bool_), np.asarray(red), np.asarray(black)


def _drawn(parts: Bool, ripple: Float) -> Bool:
    """The parts that a pen drew: strokes, even over a good share of what lies inside their rim."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(parts.astype(np.uint8))
    keep = np.zeros(count, np.bool_)
    for label in range(1, count):
        x, y, w, h, area = (int(value) for value in stats[label])
        part = labels[y : y + h, x : x + w] == label
        padded = np.pad(part.astype(np.uint8), 1)
        depth = np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, 3))[1:-1, 1:-1]
        widest = 2 * float(depth.max())
        inside = depth > min(3.0, widest / 4)
        even = float((ripple[y : y + h, x : x + w][inside] < MAX_RIPPLE).mean())
        keep[label] = area >= _MIN_ELONGATION * widest**2 and even >= _MIN_EVEN_SHARE
    return np.asarray(keep[labels], np.bool_)
