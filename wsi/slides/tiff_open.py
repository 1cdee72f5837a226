"""What is settled when a TIFF is opened: whether it is a slide, its levels, and who decodes it."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tifffile

from wsi.errors import DamagedSlideError, UnsupportedSlideError
from wsi.slides.openslide_reader import OpenSlideReader
from wsi.slides.tiff_kind import refuse_other_kinds
from wsi.slides.tiff_layout import TIFF_ERRORS, TiffLayout, is_tiff, layout_of, size_of
from wsi.slides.tiff_levels import Picture, TrueLevel, fullest, pictures_of, true_levels
from wsi.slides.tiff_reader import (
    DEFAULT_CACHE_BYTES,
    TiffReader,
    TileTable,
    are_decoded_here,
    tile_table,
)

_ALPHA_SAMPLES = 4
_MOST_REMEMBERED = 1024

Judgement = tuple[tuple[TrueLevel, ...], tuple[str, ...]]


@dataclass(frozen=True)
class _Found:
    """What the directories of one file say."""

    pictures: tuple[Picture, ...]
    tables: tuple[TileTable | None, ...]
    has_alpha: bool


def settle_tiff(
    reader: OpenSlideReader, *, cache_bytes: int = DEFAULT_CACHE_BYTES
) -> TiffReader | None:
    """Refuse what is not a slide, leave out what is not a level, and choose who decodes the tiles.

    Args:
        reader: the slide through OpenSlide; afterwards it offers true levels alone.
        cache_bytes: most memory for decoded tiles.

    Returns:
        A reader that decodes the stored tiles, or ``None`` where OpenSlide has to: the file is no
        TIFF, or not of plain 8-bit JPEG tiles.

    Raises:
        UnsupportedSlideError: it is not an 8-bit RGB brightfield slide.
    """
    found = _found(reader)
    if found is None or not found.pictures:
        return None
    if found.has_alpha:
        _refuse_transparent(reader, found.pictures[-1])
    direct = _direct(reader, found.tables, cache_bytes)
    try:
        levels, warnings = _judged(direct or reader, found.pictures)
    except BaseException:
        if direct is not None:
            direct.let_go()
        raise
    numbers = [one.picture.number for one in levels]
    (direct or reader).keep(numbers, [one.level for one in levels], warnings)
    if direct is None and len(numbers) < len(found.tables):
        # What was left out may be all that OpenSlide was needed for.
        kept = [found.tables[number] for number in numbers]
        direct = _direct(reader, kept, cache_bytes)
        if direct is not None:
            direct.fit(reader.levels)
    return direct


def level_pages(path: Path, name: str) -> tuple[int, ...]:
    """Which pages of a file are levels of its slide, after looking at many places of each.

    Raises:
        UnsupportedSlideError: its levels are not pages, or the file is not a slide.
    """
    with OpenSlideReader(path, name) as reader:
        found = _found(reader)
        if found is None or not found.pictures:
            raise UnsupportedSlideError(name, "its levels are not stored as separate pages")
        direct = _direct(reader, found.tables, DEFAULT_CACHE_BYTES)
        try:
            levels, _ = true_levels(found.pictures, (direct or reader).glance, thorough=True)
        finally:
            if direct is not None:
                direct.let_go()
        return tuple(one.picture.index for one in levels)


def _found(reader: OpenSlideReader) -> _Found | None:
    if not is_tiff(reader.path):
        return None
    try:
        with tifffile.TiffFile(reader.path) as tiff:
            layout = layout_of(tiff, reader.vendor, [level.size for level in reader.levels])
            _refuse(reader, layout)
            alpha = any(int(p.samplesperpixel) == _ALPHA_SAMPLES for p in layout.levels[:1])
            tables = tuple(tile_table(page) for page in layout.levels)
            return _Found(pictures_of(layout), tables, alpha)
    except TIFF_ERRORS:
        # OpenSlide reads more kinds of TIFF than tifffile; it then keeps the slide.
        return None


def _refuse(reader: OpenSlideReader, layout: TiffLayout) -> None:
    pages = layout.pages
    if reader.vendor not in ("aperio", "generic-tiff"):
        # Which page is the slide, OpenSlide knows; it has the size that OpenSlide states.
        pages = tuple(page for page in pages if size_of(page) == reader.size)
    if pages:
        refuse_other_kinds(reader.name, reader.vendor, pages)


def refuse_tiff_kinds(path: Path, name: str) -> None:
    """Refuse a file that OpenSlide does not open for what it is, where its directories say so.

    Raises:
        UnsupportedSlideError: it is a TIFF, and no 8-bit RGB brightfield slide.
    """
    if not is_tiff(path):
        return
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage)]
            if pages:
                refuse_other_kinds(name, "generic-tiff", pages)
    except TIFF_ERRORS:
        return


def _direct(
    reader: OpenSlideReader, tables: Sequence[TileTable | None], cache_bytes: int
) -> TiffReader | None:
    plain = [table for table in tables if table is not None]
    if len(plain) < len(tables) or not are_decoded_here(reader.path, plain):
        return None
    return TiffReader(reader, plain, cache_bytes)


def _refuse_transparent(reader: OpenSlideReader, coarsest: Picture) -> None:
    """Transparent is white, so a picture that is transparent everywhere would be an empty slide."""
    tile = coarsest.tile
    for row, column in fullest(coarsest, 4):
        box = (column * tile.width, row * tile.height, tile.width, tile.height)
        try:
            if reader.is_opaque_somewhere(coarsest.number, *box):
                return
        except DamagedSlideError:
            return
    raise UnsupportedSlideError(
        reader.name,
        "its pixels are transparent wherever it was looked at (alpha is 0), so there is nothing "
        "to see; write it without alpha",
    )


_remembered: OrderedDict[tuple[object, ...], Judgement] = OrderedDict()
_remembering = threading.Lock()


def _judged(reader: TiffReader | OpenSlideReader, pictures: tuple[Picture, ...]) -> Judgement:
    """The true levels, looked for once for each state of a file."""
    stat = reader.path.stat()
    key = (str(reader.path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    with _remembering:
        if key in _remembered:
            _remembered.move_to_end(key)
            return _remembered[key]
    judged = true_levels(pictures, reader.glance)
    with _remembering:
        _remembered[key] = judged
        if len(_remembered) > _MOST_REMEMBERED:
            _remembered.popitem(last=False)
    return judged
