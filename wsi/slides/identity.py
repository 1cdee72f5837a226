"""Which slide this is: a digest of its content that is cheap on files of hundreds of gigabytes."""

import hashlib
import os
import struct
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import tifffile

from wsi.errors import ChangedSlideError, UnreadableSlideError
from wsi.slides.reader import SlideReader
from wsi.slides.slide_files import slide_files

_SCHEME = b"wholeslide slide digest 1"
_MIB = 1 << 20
WHOLE_BYTES = 128 * _MIB
"""A slide of no more bytes than this is read whole."""
SMALL_BYTES = 32 * _MIB
"""Of a larger one, files are read whole, smallest first, up to this many bytes together."""
EDGE_BYTES = _MIB
"""Of every other file, so much from its beginning and its end, ``EDGES_BYTES`` for all."""
EDGES_BYTES = 64 * _MIB
BLOCKS, BLOCK_BYTES = 2048, 8 << 10
"""Blocks that lie evenly over the other files, as if they were one."""
IMAGE_BYTES = 4 * _MIB
"""TIFF images of no more stored bytes than this are read whole, ``IMAGES_BYTES`` of a file."""
IMAGES_BYTES = 32 * _MIB

_TABLE_BYTES = 64 * _MIB
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_ERRORS = (
    tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError, TypeError, struct.error,
)  # fmt: skip
_THREADS = 8
_TOGETHER = 64

_Piece = tuple[int, int]
"""Offset and length in a file."""


@runtime_checkable
class KnowsItsContent(Protocol):
    """A reader whose pixels come from no file, and which says itself what they are."""

    def content_digest(self) -> str:
        """Hexadecimal; equal for equal slides."""
        ...


@dataclass(frozen=True)
class _Opened:
    """What a reader's slide was when it was first asked."""

    digest: str
    stamp: str


_known: "weakref.WeakKeyDictionary[SlideReader, _Opened]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def slide_digest(slide: Path | str | SlideReader) -> str:
    """32 hexadecimal digits that name a slide's content, whatever it is called and wherever it is.

    Covered are, in this order (BLAKE2b, 128 bits):

    - the size of every file of the slide (see ``slide_files``), and the names of its companions;
    - of a slide of up to 128 MiB every byte. Of a larger one:
    - its smallest files whole, up to 32 MiB together (indexes, small levels, labels);
    - the first and last MiB of every other file (less each where there are more than 64);
    - 2,048 blocks of 8 KiB, evenly over those files;
    - of a TIFF (SVS, NDPI, SCN, BIF, ...) every tag of every directory, which holds the tables of
      offsets and lengths of all stored tiles, and the stored bytes of every image of up to 4 MiB
      (thumbnail, label, macro, coarse levels), 32 MiB together.

    So another scan, another export, a cut file and an edit that changes the stored length of any
    tile or any coarse level are noticed. What it cannot see: bytes of a large file overwritten in
    place by as many others, without any table changing, between the blocks: an edited run of n
    bytes in a file of N is met by a block with a chance of about 2,048 n / N. ``require_unchanged``
    and the check of registered files therefore look at the time of the last change as well.

    Args:
        slide: an open slide, which is asked once and remembers; or a path, read again each time.

    Raises:
        UnreadableSlideError: a file is missing or cannot be read.
        SlideError: a folder that holds no slide, or several.
    """
    if isinstance(slide, Path | str):
        return _digest(slide_files(Path(slide)))
    return _opened(slide).digest


def slide_stamp(path: Path | str) -> str:
    """Names, sizes and times of the last change (ns) of a slide's files, as 32 hex digits.

    Equal stamps of one place mean that nobody has written to the slide; nothing is read.

    Raises:
        UnreadableSlideError: a file is missing.
        SlideError: a folder that holds no slide, or several.
    """
    digest = hashlib.blake2b(digest_size=16)
    with _as_unreadable(Path(path)):
        for name, file in slide_files(Path(path)):
            found = file.stat()
            digest.update(f"{name}\t{found.st_size}\t{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def require_unchanged(slide: SlideReader) -> None:
    """Refuse a slide whose files were written to, or replaced, since its digest was first asked.

    Raises:
        ChangedSlideError: they were: what was read may be a mixture of two slides.
        UnreadableSlideError: a file is gone.
    """
    if isinstance(slide, KnowsItsContent):
        return
    if _opened(slide).stamp != slide_stamp(slide.path):
        raise ChangedSlideError(
            slide.name,
            "its file was replaced or written to while it was read, so the "
            "result was not kept; score it again once it is complete",
        )


def _opened(slide: SlideReader) -> _Opened:
    if isinstance(slide, KnowsItsContent):
        return _Opened(slide.content_digest(), "")
    with _lock:
        found = _known.get(slide)
        if found is None:
            # The stamp first: what is written while the digest is made shows in the end.
            stamp = slide_stamp(slide.path)
            found = _known[slide] = _Opened(slide_digest(slide.path), stamp)
        return found


@contextmanager
def _as_unreadable(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableSlideError(
            file.name, f"the file cannot be read: {error.strerror or error}"
        ) from error


def _digest(files: Sequence[tuple[str, Path]]) -> str:
    digest = hashlib.blake2b(_SCHEME, digest_size=16)
    with _as_unreadable(files[0][1]), ThreadPoolExecutor(_THREADS) as threads:
        sizes = [file.stat().st_size for _, file in files]
        for (name, _), size in zip(files, sizes, strict=True):
            digest.update(f"{name}\t{size}\n".encode())
        for (_, file), size, pieces in zip(files, sizes, _plan(sizes), strict=True):
            wanted = pieces if pieces is not None else [(0, size)]
            if pieces is not None:
                wanted = [*pieces, *_tiff_pieces(file)]
            for offset, data in _read(file, wanted, threads):
                digest.update(struct.pack("<QQ", offset, len(data)))
                digest.update(data)
    return digest.hexdigest()


def _plan(sizes: Sequence[int]) -> list[list[_Piece] | None]:
    """What to read of each file; ``None``: all of it."""
    if sum(sizes) <= WHOLE_BYTES:
        return [None] * len(sizes)
    whole, taken = set(), 0
    for index in sorted(range(len(sizes)), key=lambda i: (sizes[i], i)):
        taken += sizes[index]
        if taken > SMALL_BYTES:
            break
        whole.add(index)
    others = [index for index in range(len(sizes)) if index not in whole]
    edge = min(EDGE_BYTES, EDGES_BYTES // len(others))
    total, start = sum(sizes[index] for index in others), 0
    step = max(1, total // BLOCKS)
    plan: list[list[_Piece] | None] = [None] * len(sizes)
    for index in others:
        size = sizes[index]
        # The first block at or after the file's start, counted over all of them.
        first = -start % step
        blocks = [(place, BLOCK_BYTES) for place in range(first, size, step)]
        plan[index] = [(0, edge), *blocks, (max(0, size - edge), edge)]
        start += size
    return plan


def _read(
    file: Path, pieces: Iterable[_Piece], threads: ThreadPoolExecutor
) -> Iterator[tuple[int, bytes]]:
    """Pieces of a file in their order, several read at a time: shares answer slowly, not little."""
    handle = os.open(file, os.O_RDONLY)
    try:
        parts = (
            (start, min(_MIB, offset + length - start))
            for offset, length in pieces
            for start in range(offset, offset + length, _MIB)
        )
        while some := list(islice(parts, _TOGETHER)):
            reads = threads.map(lambda part: os.pread(handle, part[1], part[0]), some)
            for (offset, _), data in zip(some, reads, strict=True):
                yield offset, data
    finally:
        os.close(handle)


def _tiff_pieces(file: Path) -> list[_Piece]:
    """Where a TIFF's directories and its small images lie; nothing of what is not a TIFF."""
    with file.open("rb") as opened:
        if opened.read(4) not in _TIFF_MAGIC:
            return []
    tables: list[_Piece] = []
    images: list[_Piece] = []
    left = IMAGES_BYTES
    try:
        with tifffile.TiffFile(file) as tiff:
            for page in _pages(tiff.pages):
                tables += [
                    (tag.valueoffset, tag.valuebytecount)
                    for tag in page.tags
                    if 0 < tag.valuebytecount <= _TABLE_BYTES
                ]
                stored = list(zip(page.dataoffsets, page.databytecounts, strict=False))
                size = sum(count for _, count in stored)
                if size <= min(IMAGE_BYTES, left):
                    left -= size
                    images += _joined(stored)
    except _TIFF_ERRORS:
        # Broken, or of a kind that tifffile does not know: its beginning, end and blocks remain.
        return tables
    return tables + images


def _pages(pages: Any) -> Iterator[Any]:
    for page in pages:
        if isinstance(page, tifffile.TiffPage):
            yield page
            yield from _pages(page.pages or ())


def _joined(stored: Sequence[_Piece]) -> list[_Piece]:
    """Pieces that lie one behind the other as one: there may be thousands of tiles."""
    found: list[_Piece] = []
    for offset, count in stored:
        if found and sum(found[-1]) == offset:
            found[-1] = (found[-1][0], found[-1][1] + count)
        elif count:
            found.append((offset, count))
    return found
