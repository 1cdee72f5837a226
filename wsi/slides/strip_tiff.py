"""A copy of a TIFF slide (Aperio SVS, generic TIFF) that holds its levels and nothing else.

The copy has every kept byte where the original has it. All other bytes are zero, whatever they
were: label and macro images, dates, names, XMP, data that no directory names. So nothing has to be
found to be removed.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from wsi.errors import DamagedSlideError, UnsupportedSlideError
from wsi.geometry import Region
from wsi.slides.reader import SlideReader
from wsi.slides.resample import level_for
from wsi.slides.tiff_kind import kind_of
from wsi.slides.tiff_layout import named, size_of
from wsi.slides.tiff_levels import shows_all_over
from wsi.slides.tiff_open import level_pages

_BLOCK = 1 << 20
_DESCRIPTION = 270
_SUB_DIRECTORIES = 330
_OFFSETS = (273, 324)
# What decoding needs: sizes, compression, colours, resolution, where the pixels lie.
_KEPT_TAGS = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 283, 284, 296, 317}
    | {320, 322, 323, 324, 325, 338, 339, 340, 341, 347, 529, 530, 531, 532, 32997, 34675}
)
# What Aperio's description says of optics and geometry. Dropped with all else: ScanScope ID,
# Filename, Date, Time, User, ImageID, Barcode, Title and whatever a site adds.
_KEPT_KEYS = frozenset(
    {"AppMag", "MPP", "StripeWidth", "Left", "Top", "LineCameraSkew", "LineAreaXOffset"}
    | {"LineAreaYOffset", "Filtered", "OriginalWidth", "OriginalHeight", "Originalheight"}
    | {"DisplayColor", "Gamma", "Focus Offset", "Exposure Time", "Exposure Scale"}
)
_SOFTWARE = re.compile(r"Aperio[A-Za-z0-9 ._-]{0,80}")
_GEOMETRY = re.compile(r"\[[-\d, x]*\]|\(\d+x\d+\)|\d+x\d+|->|[A-Z0-9]{2,4}/[A-Z]{3}|Q=\d+")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_MAX_THUMBNAIL_SKEW = 0.02


@dataclass(frozen=True)
class _Patch:
    """Bytes of the copy that are not the original's."""

    offset: int
    content: bytes


def strip_tiff(source: Path, target: Path, slide: SlideReader, *, name: str) -> tuple[str, ...]:
    """Write the copy; returns what was left out, for people.

    Args:
        source: the slide.
        target: a file that is not there yet.
        slide: the same, open; its levels are kept.
        name: how messages call the slide.

    Raises:
        UnsupportedSlideError: its layout hides images where they would not be found.
        DamagedSlideError: its directories are broken.
    """
    try:
        with tifffile.TiffFile(source) as tiff, source.open("rb") as raw:
            pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
            is_aperio = slide.vendor == "aperio"
            kept = _kept_pages(pages, slide, name)
            ranges: list[tuple[int, int]] = []
            patches = [_Patch(0, _header(tiff, kept[0]))]
            for page, after in zip(kept, [*kept[1:], None], strict=True):
                patches += _directory(tiff, page, after, raw, ranges, is_aperio)
            _write(raw, target, ranges, patches)
    except (tifffile.TiffFileError, ValueError, KeyError, IndexError, struct.error) as error:
        raise DamagedSlideError(name, f"its TIFF directory is broken ({error})") from error
    return tuple(_called(page) for page in pages if page not in kept)


def _kept_pages(
    pages: Sequence[tifffile.TiffPage], slide: SlideReader, name: str
) -> list[tifffile.TiffPage]:
    """One page a level and, in an SVS, the thumbnail (which shows the scanned area alone)."""
    wanted = level_pages(slide.path, name)
    if len(wanted) != len(slide.levels):
        raise UnsupportedSlideError(
            name, "one of its levels shows something else than the slide, possibly a label"
        )
    kept = [
        page
        for page in pages
        if page.index in wanted or (slide.vendor == "aperio" and _is_thumbnail(page, slide))
    ]
    if not kept or kept[0] is not pages[0]:
        raise UnsupportedSlideError(name, "its levels are not stored as separate pages")
    for page in kept:
        if _SUB_DIRECTORIES in page.tags or named(page):
            raise UnsupportedSlideError(
                name, "one of its levels holds further images, possibly labels; convert it first"
            )
    return kept


def _is_thumbnail(page: tifffile.TiffPage, slide: SlideReader) -> bool:
    """Whether a page is what Aperio calls the thumbnail, and shows the slide."""
    size = size_of(page)
    skew = size.width * slide.size.height / (size.height * slide.size.width)
    plain = page.index == 1 and not page.is_tiled and int(page.subfiletype) == 0
    if not plain or abs(skew - 1) > _MAX_THUMBNAIL_SKEW or "->" not in str(page.description):
        return False
    if kind_of(page) is not None or named(page):
        return False
    level = slide.levels[level_for(slide.levels, slide.size.width / size.width)]
    whole = slide.read_region(Region.whole(slide.size), level.size)
    return shows_all_over(np.asarray(page.asarray(), np.uint8), whole)


def _called(page: tifffile.TiffPage) -> str:
    return named(page) or f"{page.imagewidth} x {page.imagelength} px image"


def _header(tiff: tifffile.TiffFile, first: tifffile.TiffPage) -> bytes:
    """Byte order, version, and where the first directory is."""
    order = b"II" if tiff.byteorder == "<" else b"MM"
    if tiff.is_bigtiff:
        return order + struct.pack(f"{tiff.byteorder}HHHQ", 43, 8, 0, first.offset)
    return order + struct.pack(f"{tiff.byteorder}HI", 42, first.offset)


def _directory(
    tiff: tifffile.TiffFile,
    page: tifffile.TiffPage,
    after: tifffile.TiffPage | None,
    raw: BinaryIO,
    ranges: list[tuple[int, int]],
    is_aperio: bool,
) -> list[_Patch]:
    """A page's directory without the tags that decoding does not need; its data to ``ranges``."""
    form = tiff.tiff
    inline = form.tagoffsetthreshold
    patches, entries = [], []
    for tag in page.tags:
        if tag.code not in _KEPT_TAGS or (tag.code == _DESCRIPTION and not is_aperio):
            continue
        raw.seek(tag.offset)
        entry = raw.read(form.tagsize)
        if tag.code == _DESCRIPTION:
            raw.seek(tag.valueoffset)
            # Never short enough to have to move into the entry, nor long enough to cover others.
            text = technical(raw.read(tag.valuebytecount)).ljust(inline) + b"\0"
            if len(text) > tag.valuebytecount:
                continue
            patches.append(_Patch(tag.valueoffset, text))
            entry = entry[:4] + struct.pack(form.offsetformat, len(text)) + entry[4 + inline :]
        elif tag.valuebytecount > inline:
            ranges.append((tag.valueoffset, tag.valuebytecount))
        entries.append(entry)
    if not any(tag.code in _OFFSETS for tag in page.tags):
        raise ValueError("a page has no pixels")
    ranges += zip(page.dataoffsets, page.databytecounts, strict=True)
    content = struct.pack(form.tagnoformat, len(entries)) + b"".join(entries)
    content += struct.pack(form.offsetformat, after.offset if after else 0)
    return [_Patch(page.offset, content), *patches]


def technical(description: bytes) -> bytes:
    """An Aperio description without what may tell whose slide it is, or when it was scanned."""
    head, *pairs = description.rstrip(b"\0").decode("latin-1").split("|")
    parts = []
    for part in head.split(";"):
        first, *more = part.splitlines() or [""]
        software = _SOFTWARE.match(first.strip())
        geometry = " ".join(_GEOMETRY.findall(" ".join(more)))
        parts.append("\r\n".join([software[0] if software else "Aperio", geometry]))
    kept = [
        pair
        for pair in pairs
        for key, _, value in [pair.partition("=")]
        if key.strip() in _KEPT_KEYS and _NUMBER.fullmatch(value.strip())
    ]
    return "|".join([";".join(parts), *kept]).encode("latin-1")


def _write(
    raw: BinaryIO, target: Path, ranges: Sequence[tuple[int, int]], patches: Sequence[_Patch]
) -> None:
    with target.open("xb") as copy:
        for offset, length in ranges:
            raw.seek(offset)
            copy.seek(offset)
            while length > 0 and (block := raw.read(min(length, _BLOCK))):
                copy.write(block)
                length -= len(block)
            if length:
                raise ValueError("the file is cut off")
        # Last, so that nothing that a directory overlaps with can bring old bytes back.
        for patch in patches:
            copy.seek(patch.offset)
            copy.write(patch.content)
