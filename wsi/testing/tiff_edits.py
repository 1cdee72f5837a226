"""Small damage to the stored tiles of a TIFF, as broken copies and networks leave it."""

import struct
from collections.abc import Callable
from pathlib import Path

import tifffile

_COUNTS = 325
_WORDS = {3: "H", 4: "I", 16: "Q"}


def stored_tile(path: Path, index: int, page: int = 0) -> bytes:
    """The bytes of one stored tile (its index in row order)."""
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages[page]
        offset, count = found.dataoffsets[index], found.databytecounts[index]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)


def cut_tile(path: Path, index: int, kept: int, page: int = 0) -> None:
    """End a stored tile after so many bytes: its directory counts no more of them."""
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages[page]
        assert isinstance(found, tifffile.TiffPage)
        tag = found.tags[_COUNTS]
        form = tiff.byteorder + _WORDS[int(tag.dtype)]
        place = tag.valueoffset + index * struct.calcsize(form)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(struct.pack(form, kept))


def change_tile(path: Path, index: int, change: Callable[[bytearray], None], page: int = 0) -> None:
    """Change the bytes of a stored tile in place; their number stays."""
    data = bytearray(stored_tile(path, index, page))
    length = len(data)
    change(data)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[page].dataoffsets[index]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data[:length])
