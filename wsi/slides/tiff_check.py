"""Whether a TIFF is all there: its directories, and both ends of its stored tiles."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import tifffile

from wsi.errors import DamagedSlideError
from wsi.slides.jpeg_tile import decode_tile, jpeg_head
from wsi.slides.openslide_errors import without_path
from wsi.slides.tiff_layout import TIFF_ERRORS, is_tiff

_AGAIN = "copy or scan it again"
_JPEG, _RGB = 7, 2
# How streams of a compression start; all of them end with the same marker.
_STARTS = {_JPEG: b"\xff\xd8", 33003: b"\xff\x4f", 33005: b"\xff\x4f"}
_END = b"\xff\xd9"
_TAIL_BYTES = 64
_PADDING = b"\0\xff"
_SECONDS = 5.0
_EVERY = 64


def check_extent(path: Path, name: str) -> None:
    """Refuse a TIFF whose directories or stored tiles lie beyond its end: it was cut off.

    Raises:
        DamagedSlideError: it was.
    """
    if not is_tiff(path):
        return
    size = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as tiff:
            ends = [
                offset + count
                for page in tiff.pages
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
            ]
            last = max([*ends, _next_directory(tiff)])
    except TIFF_ERRORS as error:
        told = without_path(error, path, name)
        raise DamagedSlideError(name, f"its TIFF directory is broken ({told}); {_AGAIN}") from None
    if not ends or last > size:
        raise DamagedSlideError(
            name, f"the file is cut off: {size} bytes, but its directory points to {last}; {_AGAIN}"
        )


def check_tile_ends(path: Path, name: str, *, seconds: float = _SECONDS) -> float:
    """Refuse a TIFF of which a JPEG or JPEG 2000 tile does not start or end as one.

    Nothing is decoded, so this sees tiles that were cut off or never written, not those that were
    changed in the middle.

    Args:
        path, name: the file, and how messages call it.
        seconds: when to stop looking; what was looked at by then is spread over the whole file.

    Returns:
        The share of such tiles that was looked at.

    Raises:
        DamagedSlideError: with the number of spoiled tiles and the place of the first.
    """
    if not is_tiff(path):
        return 1.0
    looked, total, spoiled, first = 0, 0, 0, ""
    until = monotonic() + seconds
    file = os.open(path, os.O_RDONLY)
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [
                page
                for page in tiff.pages
                if isinstance(page, tifffile.TiffPage)
                and page.is_tiled
                and int(page.compression) in _STARTS
            ]
            total = sum(len(page.databytecounts) for page in pages)
            for page in pages:
                for index in _spread(min(len(page.databytecounts), len(page.dataoffsets))):
                    if monotonic() > until:
                        break
                    looked += 1
                    if not _sound(file, page, index):
                        spoiled += 1
                        first = first or _place(page, index)
    except TIFF_ERRORS:
        return 0.0
    finally:
        os.close(file)
    if spoiled:
        raise DamagedSlideError(
            name,
            f"{spoiled} of {looked} stored tiles {'is' if spoiled == 1 else 'are'} not whole, "
            f"as the one at {first}; {_AGAIN}",
        )
    return looked / total if total else 1.0


def _spread(count: int) -> Iterator[int]:
    """Every index once, each part of the way evenly spread."""
    for start in range(_EVERY):
        yield from range(start, count, _EVERY)


def _sound(file: int, page: tifffile.TiffPage, index: int) -> bool:
    count, offset = int(page.databytecounts[index]), int(page.dataoffsets[index])
    if count == 0:
        # Left out on purpose, as some vendors do.
        return True
    compression = int(page.compression)
    start = _STARTS[compression]
    tail = os.pread(file, min(count, _TAIL_BYTES), offset + max(0, count - _TAIL_BYTES))
    if os.pread(file, len(start), offset) != start:
        return False
    at = tail.rfind(_END)
    if at >= 0 and not tail[at + len(_END) :].strip(_PADDING):
        return True
    if compression != _JPEG or int(page.samplesperpixel) != 3:
        return False
    try:
        # The end marker alone may be missing, or be followed by what belongs to nothing.
        head = jpeg_head(page.jpegtables, rgb=int(page.photometric) == _RGB)
        decode_tile(os.pread(file, count, offset), head)
    except ValueError:
        return False
    return True


def _place(page: tifffile.TiffPage, index: int) -> str:
    row, column = divmod(index, -(-int(page.imagewidth) // int(page.tilewidth)))
    x, y = column * int(page.tilewidth), row * int(page.tilelength)
    return f"x={x}, y={y} of the picture of {page.imagewidth} x {page.imagelength} px"


def _next_directory(tiff: tifffile.TiffFile) -> int:
    """Where the directory after the last readable one should be; 0 where the chain ends."""
    header, file = tiff.tiff, tiff.filehandle
    if len(tiff.pages) == 0:
        file.seek(4 if header.version == 42 else 8)
    else:
        start = tiff.pages[len(tiff.pages) - 1].offset
        file.seek(start)
        (tags,) = struct.unpack(header.tagnoformat, file.read(header.tagnosize))
        file.seek(start + header.tagnosize + tags * header.tagsize)
    (offset,) = struct.unpack(header.offsetformat, file.read(header.offsetsize))
    return int(offset)
