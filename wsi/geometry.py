"""Points, sizes and regions of a slide.

Everything is in **level-0 pixels** (the full resolution of the slide, origin at its top left)
unless a name says otherwise. Resolutions are micrometres per pixel (``mpp``).
"""

import math
from dataclasses import dataclass
from typing import Self

from wsi.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Mpp:
    """Micrometres per pixel along x and y."""

    x: float
    y: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.x) and math.isfinite(self.y) and self.x > 0 and self.y > 0):
            raise ConfigError(f"mpp must be two positive numbers, got {self.x} and {self.y}")

    @classmethod
    def square(cls, mpp: float) -> Self:
        """The same resolution along both axes."""
        return cls(mpp, mpp)

    @property
    def mean(self) -> float:
        """One number for both axes: the geometric mean, which keeps areas."""
        # The product of two very small numbers is zero.
        return math.sqrt(self.x * self.y) or math.sqrt(self.x) * math.sqrt(self.y)


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the slide in level-0 pixels."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in whole pixels; of which level, the name of the variable says."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 0 or self.height < 0:
            raise ConfigError(f"a size cannot be negative: {self.width} x {self.height}")

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Region:
    """An axis-aligned rectangle in level-0 pixels; edges may lie between pixels."""

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.height > 0):
            raise ConfigError(f"a region needs a positive size: {self.width} x {self.height}")

    @classmethod
    def whole(cls, size: Size) -> Self:
        """The rectangle of a whole slide of this level-0 size."""
        return cls(0, 0, size.width, size.height)

    @property
    def right(self) -> float:
        """x of the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """y of the bottom edge."""
        return self.y + self.height

    def size_at(self, mpp: float, base: Mpp) -> Size:
        """Pixels of this region when it is drawn at ``mpp``, at least one each way.

        Args:
            mpp: wanted resolution, micrometres per pixel.
            base: level-0 resolution of the slide.
        """
        return Size(
            max(1, round(self.width * base.x / mpp)),
            max(1, round(self.height * base.y / mpp)),
        )

    def intersection(self, other: "Region") -> "Region | None":
        """The common rectangle, or ``None`` where the two do not overlap."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width = min(self.right, other.right) - x
        height = min(self.bottom, other.bottom) - y
        return Region(x, y, width, height) if width > 0 and height > 0 else None


def region_at_mpp(origin_level0: Point, size: Size, mpp: float, base: Mpp) -> Region:
    """The level-0 rectangle under ``size`` pixels drawn at ``mpp`` from ``origin_level0``."""
    return Region(
        origin_level0.x, origin_level0.y, size.width * mpp / base.x, size.height * mpp / base.y
    )
