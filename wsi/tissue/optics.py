"""Optical density against the slide's own glass, ink and the scanner's border.

Everything works on an overview: (rows, cols, 3) uint8 of the whole slide at a few micrometres a
pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.slides.reader import RGB

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

_DEFAULT_GLASS = (242.0, 242.0, 242.0)
_DARKEST_GLASS = 185
_MAX_GLASS_CHROMA = 14
_BAND = 8
_GLASS_SAMPLE = 100_000


def glass_colour(overview: RGB) -> NDArray[np.float32]:
    """The colour of empty glass, (3,) float32: the median of the brightest neutral pixels.

    What is exactly white is filling where the scanner took no picture; it counts only if there is
    no other glass. A slide without any glass gets a usual value.
    """
    # A sample of the pixels tells the colour as well as all of them.
    step = max(1, int(np.sqrt(overview.shape[0] * overview.shape[1] / _GLASS_SAMPLE)))
    overview = overview[::step, ::step]
    darkest = overview.min(axis=2)
    scanned = darkest < 254
    if scanned.mean() < 0.01:
        return np.full(3, 255, np.float32)
    values = darkest[scanned]
    top = np.percentile(values, 99.5)
    if top >= _DARKEST_GLASS:
        colour = np.median(overview[scanned & (darkest >= top - _BAND)], axis=0)
        if colour.max() - colour.min() <= _MAX_GLASS_CHROMA:
            return np.asarray(colour, np.float32)
    if scanned.mean() < 0.99:
        return np.full(3, 255, np.float32)
    return np.array(_DEFAULT_GLASS, np.float32)


@dataclass(frozen=True)
class OpticalDensity:
    """Absorbed light against the glass, natural logarithm; each (rows, cols) float32.

    ``saturation`` is the spread over the channels: what is coloured, pale or dark. Grey dust,
    shadows and borders have none, unlike in HSV, where the saturation of black is noise.
    """

    red: Float
    green: Float
    blue: Float

    @classmethod
    def of(cls, overview: RGB, glass: NDArray[np.float32]) -> "OpticalDensity":
        """Density of an overview against its glass; brighter than glass counts as glass."""
        # A table of 256 logarithms is much faster than one for each pixel.
        levels = np.arange(256, dtype=np.float32)
        channels = []
        for i in range(3):
            table = np.maximum(np.log((glass[i] + 8) / (levels + 8)), 0).astype(np.float32)
            channels.append(table[overview[..., i]])
        return cls(*channels)

    @property
    def mean(self) -> Float:
        """Darkness."""
        return np.asarray((self.red + self.green + self.blue) / 3, np.float32)

    @property
    def saturation(self) -> Float:
        """Colourfulness: densest minus thinnest channel."""
        highest = np.maximum(np.maximum(self.red, self.green), self.blue)
        lowest = np.minimum(np.minimum(self.red, self.green), self.blue)
        return np.asarray(highest - lowest, np.float32)


def border_mask(density: OpticalDensity) -> Bool:
    """Black or grey rims that the scanner leaves: flat, neutral, and touching the edge."""
    mean = density.mean
    neutral = density.saturation < 0.12 * np.maximum(mean, 0.5)
    blurred = cv2.blur(mean, (5, 5))
    flat = np.abs(mean - blurred) < 0.08
    black = mean > 1.6
    candidate = ((mean > 0.25) & neutral & flat) | black
    count, labels = cv2.connectedComponents(candidate.astype(np.uint8), connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    # A rim runs along an edge; a lump of black tissue only touches it.
    touching = np.bincount(edge, minlength=count)
    rim = touching >= 0.2 * min(mean.shape)
    rim[0] = False
    mask = rim[labels]
    if not mask.any():
        return np.asarray(mask, np.bool_)
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(grown.astype(bool), np.bool_)


def pen_mask(
    density: OpticalDensity, mpp: float, excluded: Bool, min_ink_um2: float = 40_000.0
) -> Bool:
    """Green, blue, red and black marker ink.

    Rules on the order of the channels, as in the filters of deep-histopath (Dusenberry and Hu,
    2018) and HistoQC (Janowczyk et al., 2019), here on optical density so that the strength of
    the stain matters little. Haematoxylin and eosin absorb green the most; ink need not.

    Args:
        density: of the overview.
        mpp: of the overview.
        excluded: what is no picture at all, such as ``border_mask``.
        min_ink_um2: smaller spots of such colours are dye, pigment or blood and stay.
    """
    rows, cols = excluded.shape
    # Strokes are wide: half the resolution shows them as well, at a quarter of the work.
    half = (max(1, (cols + 1) // 2), max(1, (rows + 1) // 2))
    r, g, b = (
        cv2.resize(channel, half, interpolation=cv2.INTER_AREA)
        for channel in (density.red, density.green, density.blue)
    )
    # Green and turquoise: green is the brightest channel, which no stain in use makes it.
    green = (g < r - 0.12) & (g < b + 0.05) & (g < 0.75 * r) & (r > 0.35)
    # Blue: red is absorbed far more than green; haematoxylin takes both alike.
    blue = (b < 0.6 * r) & (((r > 0.7) & (g < 0.72 * r)) | ((r > 1.0) & (g < 0.82 * r)))
    # Red: hardly any red absorbed, green and blue strongly and alike; blood is darker in red.
    red = (g > 0.9) & (b > 0.72 * g) & ((r < 0.12) | ((g > 1.4) & (r < 0.35 * g)))
    # Black: all channels gone alike; folds and pigment keep a colour.
    spread = np.maximum(np.maximum(r, g), b) - np.minimum(np.minimum(r, g), b)
    darkness = (r + g + b) / 3
    black = (darkness > 1.35) & (spread < 0.16 * darkness)
    core = (green | blue | red | black).astype(np.uint8)
    if not core.any():
        return np.zeros_like(excluded)
    core &= ~np.asarray(
        cv2.resize(excluded.astype(np.uint8), half, interpolation=cv2.INTER_AREA) > 0
    )
    core = np.asarray(cv2.morphologyEx(core, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    ink = drop_small(core.astype(bool), min_ink_um2 / (2 * mpp) ** 2)
    # The rim of a stroke is paler than its core.
    radius = max(1, round(12 / mpp))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown = cv2.dilate(ink.astype(np.uint8), kernel)
    full = cv2.resize(grown, (cols, rows), interpolation=cv2.INTER_NEAREST)
    return np.asarray((full > 0) & ~excluded, np.bool_)


def drop_small(mask: Bool, min_cells: float) -> Bool:
    """The mask without its connected parts of fewer than ``min_cells`` cells."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    keep = stats[:, cv2.CC_STAT_AREA] >= min_cells
    keep[0] = False
    return np.asarray(keep[labels] if count > 1 else mask, np.bool_)


def fill_small(mask: Bool, max_cells: float) -> Bool:
    """The mask with its enclosed holes of at most ``max_cells`` cells filled."""
    padded = np.pad(~mask, 1, constant_values=True)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(padded.astype(np.uint8), connectivity=4)
    fill = stats[:, cv2.CC_STAT_AREA] <= max_cells
    fill[labels[0, 0]] = False
    fill[0] = False
    return np.asarray(mask | fill[labels][1:-1, 1:-1], np.bool_)
