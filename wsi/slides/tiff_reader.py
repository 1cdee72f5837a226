"""Slides whose stored JPEG tiles are decoded directly, several times faster than OpenSlide.

For tiled JPEG TIFF and SVS. OpenSlide still opens the file and states what it is: size, levels,
resolution, associated images. Only the way from stored tile to pixel is shorter: one ``pread``,
one JPEG decode, and no detour over premultiplied RGBA.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsi.errors import DamagedSlideError
from wsi.geometry import Mpp, Region, Size
from wsi.slides.jpeg_tile import begins_as_colour_tile, decode_tile, is_colour_tile, jpeg_head
from wsi.slides.openslide_reader import OpenSlideReader
from wsi.slides.reader import RGB, Level
from wsi.slides.resample import read_resampled
from wsi.slides.resolution import Resolution

_JPEG = 7
_RGB, _YCBCR = 2, 6

DEFAULT_CACHE_BYTES = 64 * 2**20
"""Room for the decoded tiles of one row of a slide of 80,000 px: patches that share a tile find
it again when they are read row by row."""


@dataclass(frozen=True)
class TileTable:
    """Where one level's tiles lie in the file and how they are encoded."""

    size: Size
    tile_width: int
    tile_height: int
    columns: int
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    head: bytes


def tile_table(page: tifffile.TiffPage) -> TileTable | None:
    """Where a page's tiles lie; ``None`` where they are not plain 8-bit JPEG of three colours.

    Raises:
        ValueError: the page's JPEG tables are broken.
    """
    plain = (
        int(page.compression) == _JPEG
        and int(page.photometric) in (_RGB, _YCBCR)
        and page.dtype == np.uint8
        and page.samplesperpixel == 3
        and int(page.planarconfig) == 1
        and page.imagedepth == 1
    )
    if not plain:
        return None
    columns, rows = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
    counts = np.asarray(page.databytecounts, np.int64)
    # A tile of no bytes is left out on purpose; OpenSlide knows what each vendor means by it.
    whole = len(counts) == len(page.dataoffsets) == columns * rows
    if not whole or (counts == 0).any():
        return None
    return TileTable(
        size=Size(page.imagewidth, page.imagelength),
        tile_width=page.tilewidth,
        tile_height=page.tilelength,
        columns=columns,
        offsets=np.asarray(page.dataoffsets, np.int64),
        counts=counts,
        head=jpeg_head(page.jpegtables, rgb=int(page.photometric) == _RGB),
    )


def are_decoded_here(path: Path, tables: Sequence[TileTable]) -> bool:
    """Whether the tiles of every level are of a kind that is decoded here.

    JPEG has kinds that OpenSlide alone reads: there no tile decodes. Where the tiles of a level
    only begin as those that decode on another level, they are damaged: OpenSlide would not notice.
    """
    with path.open("rb") as file:
        sound = [_any_tile(file, table, is_colour_tile) for table in tables]
        return any(sound) and all(
            fine or _any_tile(file, table, begins_as_colour_tile)
            for fine, table in zip(sound, tables, strict=True)
        )


def _any_tile(file: BinaryIO, table: TileTable, is_so: Callable[[bytes, bytes], bool]) -> bool:
    """Whether the first, the middle or the last tile is so."""
    for at in (0, 0.5, 1):
        index = int(at * (len(table.counts) - 1))
        file.seek(int(table.offsets[index]))
        if is_so(file.read(int(table.counts[index])), table.head):
            return True
    return False


class TiffReader:
    """A SlideReader over the stored JPEG tiles.

    Args:
        reader: the same slide through OpenSlide, for everything but pixels; closed with this.
        tables: the tiles of every level of it.
        cache_bytes: most memory for decoded tiles.
    """

    def __init__(
        self,
        reader: OpenSlideReader,
        tables: Sequence[TileTable],
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        self._reader = reader
        self._tables = tuple(tables)
        self._cache = _TileCache(cache_bytes)
        # pread does not move the shared offset, so threads need no lock of their own.
        self._file = os.open(reader.path, os.O_RDONLY)

    @property
    def path(self) -> Path:
        return self._reader.path

    @property
    def name(self) -> str:
        return self._reader.name

    @property
    def vendor(self) -> str:
        return self._reader.vendor

    @property
    def size(self) -> Size:
        return self._reader.size

    @property
    def levels(self) -> tuple[Level, ...]:
        return self._reader.levels

    @property
    def mpp(self) -> Mpp | None:
        return self._reader.mpp

    @property
    def resolution(self) -> Resolution:
        return self._reader.resolution

    @property
    def magnification(self) -> float | None:
        return self._reader.magnification

    @property
    def properties(self) -> Mapping[str, str]:
        return self._reader.properties

    @property
    def associated_images(self) -> tuple[str, ...]:
        return self._reader.associated_images

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._reader.warnings

    def associated_image(self, name: str) -> RGB:
        return self._reader.associated_image(name)

    def keep(
        self, numbers: Sequence[int], levels: Sequence[Level], warnings: tuple[str, ...]
    ) -> None:
        """Offer these levels alone; see ``OpenSlideReader.keep``."""
        self._reader.keep(numbers, levels, warnings)
        self._tables = tuple(self._tables[number] for number in numbers)
        self._cache.clear()
        self.fit(levels)

    def fit(self, levels: Sequence[Level]) -> None:
        """Take the levels' sizes as they are without padding."""
        self._tables = tuple(
            replace(table, size=level.size)
            for table, level in zip(self._tables, levels, strict=True)
        )

    def read_region(self, region: Region, size: Size) -> RGB:
        return read_resampled(self.levels, region, size, self.read_level)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RGB:
        """Stored pixels of one level, in pixels of that level; (height, width, 3) uint8.

        The array may be a stored tile itself and is then read-only.

        Raises:
            DamagedSlideError: a tile of the region does not decode.
        """
        table = self._tables[level]
        tile_width, tile_height = table.tile_width, table.tile_height
        right, bottom = min(x + width, table.size.width), min(y + height, table.size.height)
        inside = x >= 0 and y >= 0 and right == x + width and bottom == y + height
        aligned = x % tile_width == 0 and y % tile_height == 0
        if inside and aligned and (width, height) == (tile_width, tile_height):
            return self._tile(level, y // tile_height * table.columns + x // tile_width)
        canvas = (
            np.empty((height, width, 3), np.uint8)
            if inside
            else np.full((height, width, 3), 255, np.uint8)
        )
        left, top = max(x, 0), max(y, 0)
        if right <= left or bottom <= top:
            return canvas
        for row in range(top // tile_height, -(-bottom // tile_height)):
            y0, y1 = max(top, row * tile_height), min(bottom, (row + 1) * tile_height)
            for column in range(left // tile_width, -(-right // tile_width)):
                x0, x1 = max(left, column * tile_width), min(right, (column + 1) * tile_width)
                tile = self._tile(level, row * table.columns + column)
                canvas[y0 - y : y1 - y, x0 - x : x1 - x] = tile[
                    y0 - row * tile_height : y1 - row * tile_height,
                    x0 - column * tile_width : x1 - column * tile_width,
                ]
        return canvas

    def _tile(self, level: int, index: int) -> RGB:
        """One decoded tile, read-only, from the cache or from the file."""
        tile = self._cache.get((level, index))
        if tile is None:
            tile = self._decode(level, index)
            self._cache.put((level, index), tile)
        return tile

    def _decode(self, level: int, index: int) -> RGB:
        if self._file < 0:
            raise ValueError(f"{self.name}: the slide is closed")
        table = self._tables[level]
        count = int(table.counts[index])
        try:
            data = os.pread(self._file, count, int(table.offsets[index]))
            if len(data) < count:
                raise ValueError(f"{len(data)} of {count} bytes are there")
            tile = decode_tile(data, table.head)
            wanted = (table.tile_height, table.tile_width, 3)
            if tile.shape != wanted:
                raise ValueError(f"its shape is {tile.shape}, not {wanted}")
        except (OSError, ValueError) as error:
            row, column = divmod(index, table.columns)
            raise DamagedSlideError(
                self.name,
                f"level {level}: the tile at x={column * table.tile_width}, "
                f"y={row * table.tile_height} of that level does not decode ({error}); "
                "scan or copy the slide again",
            ) from error
        tile.flags.writeable = False
        return tile

    def glance(self, level: int, x: int, y: int, width: int, height: int) -> RGB:
        """As ``read_level``."""
        return self.read_level(level, x, y, width, height)

    def let_go(self) -> None:
        """Give the file back, and leave the other reader open."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._cache.clear()

    def close(self) -> None:
        """Give the file back. Reading afterwards is an error."""
        self.let_go()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _TileCache:
    """Decoded tiles, the least recently used ones dropped; safe between threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0
        self._tiles: OrderedDict[tuple[int, int], RGB] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int]) -> RGB | None:
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: tuple[int, int], tile: RGB) -> None:
        with self._lock:
            if key in self._tiles:
                return
            self._tiles[key] = tile
            self._held += tile.nbytes
            while self._held > self._most and self._tiles:
                _, oldest = self._tiles.popitem(last=False)
                self._held -= oldest.nbytes

    def clear(self) -> None:
        with self._lock:
            self._tiles.clear()
            self._held = 0
