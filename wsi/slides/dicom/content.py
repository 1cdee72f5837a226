"""Which of a DICOM slide's images show the slide: what calls itself VOLUME may show anything."""

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Size
from wsi.slides.dicom.headers import Instance
from wsi.slides.tiff_levels import Picture

# PixelData of undefined length as OB, with the item of its Basic Offset Table.
_PIXELS = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0"


def picture_of(level: Sequence[Instance], number: int, stored: NDArray[np.bool_] | None) -> Picture:
    """An image, and where there is most to see in it, as ``true_levels`` takes it.

    Args:
        level: the files of it.
        number: OpenSlide's number of it.
        stored: (rows, columns) whether each tile is; ``None``: all are.
    """
    one = level[0]
    rows, columns = -(-one.rows // one.tile_rows), -(-one.columns // one.tile_columns)
    counts = np.ones((rows, columns), np.int64)
    if stored is not None:
        counts = stored.astype(np.int64)
    elif len(level) == 1 and one.is_full:
        lengths = _frame_lengths(one.file, one.frames)
        if lengths is not None:
            counts = lengths.reshape(rows, columns)
    return Picture(
        number=number,
        index=number,
        size=Size(one.columns, one.rows),
        tile=Size(one.tile_columns, one.tile_rows),
        counts_hw=counts,
        kind=None,
    )


def _frame_lengths(file: Path, frames: int) -> NDArray[np.int64] | None:
    """Bytes of each frame by the Basic Offset Table; ``None`` where there is none."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(_PIXELS)
        if start < 0 or frames < 2:
            return None
        start += len(_PIXELS)
        (length,) = struct.unpack_from("<I", data, start)
        if length != 4 * frames:
            return None
        offsets = np.frombuffer(data[start + 4 : start + 4 + length], "<u4").astype(np.int64)
        lengths = np.diff(offsets)
    if (lengths <= 0).any():
        return None  # beyond 4 GiB they begin again
    return np.append(lengths, int(np.median(lengths)))
