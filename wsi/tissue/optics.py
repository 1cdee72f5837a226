"""Optical density against the slide's own glass, and the rims that a scanner leaves.

Everything works on an overview: (rows, cols, 3) uint8 of the whole slide at a few micrometres a
pixel.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.slides.reader import RGB
from wsi.tissue.glass import EVEN, Bool, Float, Glass

_OFFSET = 8 / 255
"""Keeps the density of black finite, and its noise low; a share of the glass, so that a tint of the
glass and of all that lies on it changes no density."""

_NEUTRAL_LEVELS = 8


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
    def of(cls, overview: RGB, glass: Glass) -> "OpticalDensity":
        """Density of an overview against its glass; brighter than glass counts as glass."""
        # A table of 256 logarithms is much faster than one for each pixel.
        levels = np.arange(256, dtype=np.float32)[:, None] + _OFFSET * glass.rgb
        logs = np.log(levels).astype(np.float32)
        if glass.is_even:
            own = np.exp(glass.log_coefficients[0]).astype(np.float32)
            table = np.maximum(np.log(own * (1 + _OFFSET)) - logs, 0).astype(np.float32)
            density = np.asarray(cv2.LUT(overview, table[None]), np.float32)
        else:
            bright = glass.log_over((overview.shape[0], overview.shape[1])) + np.log1p(_OFFSET)
            absorbed = cv2.subtract(bright.astype(np.float32), cv2.LUT(overview, logs[None]))
            density = np.maximum(np.asarray(absorbed, np.float32), np.float32(0))
        red, green, blue = (np.asarray(part, np.float32) for part in cv2.split(density))
        return cls(red, green, blue)

    @cached_property
    def mean(self) -> Float:
        """Darkness."""
        return np.asarray((self.red + self.green + self.blue) / 3, np.float32)

    @cached_property
    def saturation(self) -> Float:
        """Colourfulness: densest minus thinnest channel."""
        highest = cv2.max(cv2.max(self.red, self.green), self.blue)
        lowest = cv2.min(cv2.min(self.red, self.green), self.blue)
        return np.asarray(cv2.subtract(highest, lowest), np.float32)


def border_mask(overview: RGB, density: OpticalDensity, glass: Glass, rough: Float) -> Bool:
    """Black or grey rims that the scanner leaves: flat, neutral, and touching the edge.

    Args:
        overview, density, glass: of the slide.
        rough: ``roughness`` on the overview's own grid.
    """
    mean = density.mean
    flat = np.abs(mean - cv2.blur(mean, (5, 5))) < 0.08
    neutral = density.saturation < 0.12 * np.maximum(mean, 0.5)
    candidate = ((mean > 0.25) & neutral & flat) | (mean > 1.6)
    # A rim drawn in grey has no tint, also where the glass has one.
    r, g, b = cv2.split(overview)
    spread = cv2.subtract(cv2.max(cv2.max(r, g), b), cv2.min(cv2.min(r, g), b))
    drawn = (spread <= _NEUTRAL_LEVELS) & flat
    candidate |= drawn & (mean > 0.12)
    if glass.tint > 0.04:
        candidate |= drawn & (rough < EVEN) & (density.saturation > 0.6 * glass.tint)
    mask = _along_the_edge(np.asarray(candidate, np.bool_))
    if not mask.any():
        return mask
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(grown.astype(bool), np.bool_)


def _along_the_edge(candidate: Bool) -> Bool:
    """Connected parts that run along an edge; a lump of black tissue only touches it."""
    rim = np.concatenate([candidate[0], candidate[-1], candidate[:, 0], candidate[:, -1]])
    least = 0.2 * min(candidate.shape)
    if rim.sum() < least:
        return np.zeros_like(candidate)
    count, labels = cv2.connectedComponents(candidate.astype(np.uint8), connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    keep = np.bincount(edge, minlength=count) >= least
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


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


def resized(mask: NDArray[np.bool_] | Float, shape: tuple[int, int]) -> Float:
    """A map drawn on another grid, nearest value."""
    wanted = (shape[1], shape[0])
    values = mask.astype(np.float32)
    return np.asarray(cv2.resize(values, wanted, interpolation=cv2.INTER_NEAREST), np.float32)
