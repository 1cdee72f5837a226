"""An overview taken apart: its glass, its optical density, the scanner's rims and ink."""

from dataclasses import dataclass

import cv2
import numpy as np

from wsi.slides.reader import RGB
from wsi.tissue.glass import Bool, Float, Glass, find_glass, roughness
from wsi.tissue.ink import Ink, find_ink
from wsi.tissue.optics import OpticalDensity, border_mask, resized


@dataclass(frozen=True)
class Looks:
    """What an overview shows, each map (rows, cols).

    Attributes:
        overview: (rows, cols, 3) uint8.
        mpp: of the overview.
        glass: the slide's own.
        rough: ``roughness`` of the overview reduced by two, on that grid.
        density: against the glass.
        border: rims that the scanner leaves.
        ink: marker ink.
    """

    overview: RGB
    mpp: float
    glass: Glass
    rough: Float
    density: OpticalDensity
    border: Bool
    ink: Ink

    def reduced(self) -> "Looks":
        """Every second pixel: a quarter of the work where areas are only summed."""

        def part(values: Float) -> Float:
            return np.ascontiguousarray(values[::2, ::2])

        density = OpticalDensity(
            *map(part, (self.density.red, self.density.green, self.density.blue))
        )
        ink = Ink(self.ink.mask[::2, ::2], self.ink.doubtful[::2, ::2])
        return Looks(
            self.overview[::2, ::2],
            2 * self.mpp,
            self.glass,
            self.rough,
            density,
            self.border[::2, ::2],
            ink,
        )

    @property
    def rough_full(self) -> Float:
        """``rough`` on the overview's own grid."""
        return resized(self.rough, self.border.shape)


def look_at(overview: RGB, mpp: float) -> Looks:
    """Take an overview apart."""
    rows, cols = overview.shape[:2]
    half = (max(1, (cols + 1) // 2), max(1, (rows + 1) // 2))
    small = np.asarray(cv2.resize(overview, half, interpolation=cv2.INTER_AREA), np.uint8)
    rough = roughness(small)
    glass = find_glass(small, rough)
    density = OpticalDensity.of(overview, glass)
    border = border_mask(overview, density, glass, resized(rough, (rows, cols)))
    ink = find_ink(density, rough, mpp, border)
    return Looks(overview, mpp, glass, rough, density, border, ink)
