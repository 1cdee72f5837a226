"""What a TIFF's directories say: which of them OpenSlide takes for levels, and what they hold."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tifffile

from wsi.geometry import Size

TIFF_ERRORS = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ArithmeticError,
    struct.error,
)
"""What tifffile raises on broken files."""

DIRECT_VENDORS = ("aperio", "generic-tiff")
"""Formats of which every level is one directory, by rules that are known here."""

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REDUCED = 1
_NAMED = re.compile(r"^\s*(label|macro)\b", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class TiffLayout:
    """The directories of an open file. Pages are usable while the file is open.

    Args:
        pages: all of the main chain.
        levels: the page of each of OpenSlide's levels; empty where that is not known.
    """

    pages: tuple[tifffile.TiffPage, ...]
    levels: tuple[tifffile.TiffPage, ...]


def is_tiff(path: Path) -> bool:
    """Whether a file starts as a TIFF."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def layout_of(tiff: tifffile.TiffFile, vendor: str, sizes: Sequence[Size]) -> TiffLayout:
    """The layout of a file that OpenSlide opens as ``vendor``, with levels of these sizes.

    Raises:
        one of ``TIFF_ERRORS``: the directories are broken.
    """
    pages = tuple(page for page in tiff.pages if isinstance(page, tifffile.TiffPage))
    levels: tuple[tifffile.TiffPage, ...] = ()
    if vendor in DIRECT_VENDORS:
        levels = _taken_for_levels(pages, vendor)
        if [size_of(page) for page in levels] != list(sizes):
            levels = ()
    return TiffLayout(pages, levels)


def _taken_for_levels(
    pages: Sequence[tifffile.TiffPage], vendor: str
) -> tuple[tifffile.TiffPage, ...]:
    """OpenSlide 4's rules (``openslide-vendor-aperio.c``, ``openslide-vendor-generic-tiff.c``)."""
    tiled = [page for page in pages if page.is_tiled]
    if vendor == "aperio":
        return tuple(tiled)
    reduced = [p for p in tiled if p.index == 0 or int(p.subfiletype) & _REDUCED]
    return tuple(sorted(reduced, key=lambda page: -int(page.imagewidth)))


def size_of(page: tifffile.TiffPage) -> Size:
    """A page's size in pixels."""
    return Size(int(page.imagewidth), int(page.imagelength))


def named(page: tifffile.TiffPage) -> str | None:
    """ "label" or "macro", where a page's description says that it is one."""
    found = _NAMED.search(str(page.description))
    return found[1].lower() if found else None


def in_px(size: Size) -> str:
    """A size in words."""
    return f"{size.width} x {size.height} px"
