"""Deep Zoom: the geometry that OpenSeadragon asks tiles by.

Level ``n`` is the slide reduced by ``2 ** (top - n)``; the top level is level 0 of the slide.
"""

import math
from dataclasses import dataclass

from service.errors import NotFoundError
from wsi.geometry import Region, Size
from wsi.slides import RGB, SlideReader

TILE_PX = 254
OVERLAP_PX = 1
FORMAT = "jpeg"


@dataclass(frozen=True)
class DeepZoom:
    """The pyramid over a slide of this level-0 size."""

    size: Size

    @property
    def top(self) -> int:
        """The number of the finest level."""
        return max(0, math.ceil(math.log2(max(self.size.width, self.size.height))))

    def level_size(self, level: int) -> Size:
        """Pixels of a level."""
        factor = 2 ** (self.top - level)
        return Size(math.ceil(self.size.width / factor), math.ceil(self.size.height / factor))

    def tile(self, level: int, column: int, row: int) -> tuple[Region, Size]:
        """What a tile covers (level-0 pixels) and its size in pixels, overlaps included.

        Raises:
            NotFoundError: there is no such tile.
        """
        if not 0 <= level <= self.top:
            raise NotFoundError(f"no level {level}; there are 0 to {self.top}")
        whole = self.level_size(level)
        left, right = _span(column, whole.width)
        upper, lower = _span(row, whole.height)
        if left >= right or upper >= lower:
            raise NotFoundError(f"no tile {column}_{row} in level {level}")
        factor = 2 ** (self.top - level)
        # The last column of a reduced level may stand for less than `factor` whole pixels.
        width = min(right * factor, self.size.width) - left * factor
        height = min(lower * factor, self.size.height) - upper * factor
        return (
            Region(left * factor, upper * factor, width, height),
            Size(right - left, lower - upper),
        )

    def dzi(self) -> str:
        """The description that viewers load first."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="{FORMAT}" '
            f'Overlap="{OVERLAP_PX}" TileSize="{TILE_PX}">'
            f'<Size Width="{self.size.width}" Height="{self.size.height}"/></Image>\n'
        )


def read_tile(slide: SlideReader, level: int, column: int, row: int) -> RGB:
    """The pixels of a tile, (height, width, 3) uint8."""
    region, size = DeepZoom(slide.size).tile(level, column, row)
    return slide.read_region(region, size)


def _span(index: int, length: int) -> tuple[int, int]:
    """Pixels [from, to) of a tile along one axis, with the overlap to its neighbours."""
    if index < 0 or index * TILE_PX >= length:
        return 0, 0
    return max(0, index * TILE_PX - OVERLAP_PX), min(length, (index + 1) * TILE_PX + OVERLAP_PX)
