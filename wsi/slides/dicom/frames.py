"""Which tiles of an image are stored, where not all of them are (TILED_SPARSE)."""

import mmap
import re
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.errors import UnsupportedSlideError
from wsi.slides.dicom.headers import Instance

# ColumnPositionInTotalImagePixelMatrix and the row's right behind it, as Explicit VR Little Endian
# has them. By hand: pydicom takes 20 s for the 100,000 frames of a large slide, this 0.1 s.
_POSITION = re.compile(
    rb"\x48\x00\x1e\x02SL\x04\x00(.{4})\x48\x00\x1f\x02SL\x04\x00(.{4})", re.DOTALL
)


def stored_tiles(level: Sequence[Instance], name: str) -> NDArray[np.bool_] | None:
    """(rows, columns) of tiles: whether each is stored; ``None`` where all of them are.

    Args:
        level: the files of one image.
        name: how messages call the slide.

    Raises:
        UnsupportedSlideError: frames do not lie on the grid of tiles, or several on one tile, or
            some are missing and it is not said where.
    """
    one = level[0]
    if one.is_full:
        return None
    columns, rows = -(-one.columns // one.tile_columns), -(-one.rows // one.tile_rows)
    stored = np.zeros((rows, columns), np.bool_)
    for part in level:
        for column, row in _positions(part.file, part.frames):
            across, x = divmod(column - 1, one.tile_columns)
            down, y = divmod(row - 1, one.tile_rows)
            if x or y or not (0 <= across < columns and 0 <= down < rows):
                raise UnsupportedSlideError(
                    name, f"its frames do not lie on a grid of tiles (one at {column}, {row})"
                )
            if stored[down, across]:
                raise UnsupportedSlideError(
                    name, "it stores several frames for one tile, as with several focal planes"
                )
            stored[down, across] = True
    if not stored.any():
        _require_all_in_order(level, name)
        return None
    return None if stored.all() else stored


def _require_all_in_order(level: Sequence[Instance], name: str) -> None:
    """Frames without positions fill the grid, as where DimensionOrganizationType was left out."""
    frames, tiles = sum(part.frames for part in level), level[0].tiles
    if frames != tiles:
        raise UnsupportedSlideError(
            name, f"it stores {frames} frames of {tiles} tiles and does not say where they lie"
        )


def _positions(file: Path, frames: int) -> Iterator[tuple[int, int]]:
    """Column and row, counted from 1, of the top left pixel of each frame."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for found in islice(_POSITION.finditer(data), frames):
            yield struct.unpack("<i", found[1])[0], struct.unpack("<i", found[2])[0]
