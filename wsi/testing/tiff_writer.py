"""Writing slides: tiled, pyramidal JPEG TIFF files that OpenSlide opens, never whole in memory."""

import tempfile
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import cv2
import imagecodecs
import numpy as np
import tifffile

from wsi.errors import ConfigError
from wsi.geometry import Size
from wsi.slides.reader import RGB

Flavour = Literal["tiff", "svs"]

_BIG_PIXELS = 3_000_000_000
"""Beyond this many pixels the file may pass 4 GB, which a classic TIFF cannot address."""


@dataclass(frozen=True)
class Tile:
    """One tile of level 0, (tile_px, tile_px, 3) uint8.

    ``key`` names its content: tiles of one key are encoded and reduced only once.
    """

    pixels: RGB
    key: Hashable | None = None


def write_slide(
    path: Path | str,
    pixels: RGB | Iterable[RGB],
    mpp: float | None,
    *,
    size: Size | None = None,
    tile_px: int = 256,
    jpeg_quality: int = 85,
    levels: int | None = None,
    level_factor: int = 4,
    format: Flavour = "tiff",
    magnification: float | None = 20,
    associated: Mapping[str, RGB] | None = None,
) -> Path:
    """Write a tiled, pyramidal JPEG TIFF.

    Args:
        path: the file to write.
        pixels: (height, width, 3) uint8, or strips of ``tile_px`` rows from the top (the last one
            may be lower), so that a large slide is never whole in memory.
        mpp: micrometres per pixel of level 0; ``None`` states none.
        size: level-0 size; needed with strips.
        tile_px: side of the stored tiles, a multiple of 16.
        jpeg_quality: 1 to 100.
        levels: images in the pyramid; by default down to one tile.
        level_factor: each level is this many times smaller than the one before.
        format: ``tiff`` opens as ``generic-tiff``; ``svs`` as ``aperio``, with magnification.
        magnification: stated in an ``svs``.
        associated: further images of an ``svs``: ``thumbnail``, ``label``, ``macro``.

    Raises:
        ConfigError: strips without a size, or a tile size that cannot work.
    """
    if isinstance(pixels, np.ndarray):
        size = Size(pixels.shape[1], pixels.shape[0])
        image = pixels
        strips: Iterable[RGB] = (image[y : y + tile_px] for y in range(0, size.height, tile_px))
    else:
        strips = pixels
    if size is None:
        raise ConfigError("write_slide: give the size of a slide that comes in strips")
    rows = (_tiles_of(strip, tile_px) for strip in strips)
    return write_tiles(
        path,
        rows,
        mpp,
        size=size,
        tile_px=tile_px,
        jpeg_quality=jpeg_quality,
        levels=levels,
        level_factor=level_factor,
        format=format,
        magnification=magnification,
        associated=associated,
    )


def write_tiles(
    path: Path | str,
    rows: Iterable[list[Tile]],
    mpp: float | None,
    *,
    size: Size,
    tile_px: int = 256,
    jpeg_quality: int = 85,
    levels: int | None = None,
    level_factor: int = 4,
    format: Flavour = "tiff",
    magnification: float | None = 20,
    associated: Mapping[str, RGB] | None = None,
) -> Path:
    """As ``write_slide``, from rows of whole tiles; tiles of the same key are encoded once."""
    if tile_px % 16 or tile_px % level_factor:
        raise ConfigError(f"tile_px {tile_px} must be a multiple of 16 and of {level_factor}")
    path = Path(path)
    count = levels or _default_levels(size, tile_px, level_factor)
    sizes = [
        Size(max(1, size.width // level_factor**i), max(1, size.height // level_factor**i))
        for i in range(count)
    ]
    with (
        tempfile.TemporaryFile() as spool,
        tifffile.TiffWriter(path, bigtiff=size.area > _BIG_PIXELS) as tiff,
    ):
        encoder = _Encoder(jpeg_quality)
        pyramid = _Pyramid(sizes, tile_px, level_factor, encoder, spool)
        for level in range(count):
            tiff.write(
                pyramid.level0(rows) if level == 0 else pyramid.spooled(level),
                **_page(sizes[level], tile_px, level, level_factor, mpp),
                **_description(level, size, tile_px, jpeg_quality, mpp, format, magnification),
            )
            if level == 0:
                pyramid.finish()
            if level == 0 and format == "svs" and associated:
                _write_associated(tiff, associated, first=True)
        if format == "svs" and associated:
            _write_associated(tiff, associated, first=False)
    return path


def corrupt_tiles(path: Path | str, tiles: Iterable[int], page: int = 0) -> None:
    """Overwrite stored tiles (their index in row order) with bytes that no JPEG decoder takes."""
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages[page]
        places = [(found.dataoffsets[i], found.databytecounts[i]) for i in tiles]
    with Path(path).open("r+b") as file:
        for offset, count in places:
            file.seek(offset)
            file.write(b"\x00" * count)


class _Encoder:
    """Encodes tiles as whole JPEG streams (4:2:0), those with a key only once."""

    def __init__(self, quality: int) -> None:
        self._quality = quality
        self._known: dict[Hashable, bytes] = {}

    def __call__(self, tile: Tile) -> bytes:
        if tile.key is not None and tile.key in self._known:
            return self._known[tile.key]
        encoded = bytes(
            imagecodecs.jpeg8_encode(
                np.ascontiguousarray(tile.pixels),
                level=self._quality,
                colorspace="RGB",
                outcolorspace="YCBCR",
                subsampling=(2, 2),
            )
        )
        if tile.key is not None:
            self._known[tile.key] = encoded
        return encoded


class _Pyramid:
    """Reduces level 0 while it passes by; the tiles of the other levels wait on disk."""

    def __init__(
        self,
        sizes: list[Size],
        tile_px: int,
        factor: int,
        encoder: _Encoder,
        spool: IO[bytes],
    ) -> None:
        self._sizes = sizes
        self._tile_px = tile_px
        self._factor = factor
        self._encode = encoder
        self._spool = spool
        self._places: list[list[tuple[int, int]]] = [[] for _ in sizes]
        self._pending: list[list[RGB]] = [[] for _ in sizes]
        self._reduced: dict[Hashable, RGB] = {}

    def level0(self, rows: Iterable[list[Tile]]) -> Iterator[bytes]:
        """The encoded tiles of level 0; every row also feeds the levels above it."""
        for row in rows:
            # Before the yields: who counts the tiles does not come back after the last one.
            if len(self._sizes) > 1:
                self._push(1, np.concatenate([self._reduce_tile(tile) for tile in row], axis=1))
            for tile in row:
                yield self._encode(tile)

    def finish(self) -> None:
        """Store the lower rows that no longer fill a tile."""
        for level in range(1, len(self._sizes)):
            self._flush(level)

    def spooled(self, level: int) -> Iterator[bytes]:
        """The encoded tiles of another level, after ``finish``."""
        for offset, count in self._places[level]:
            self._spool.seek(offset)
            yield self._spool.read(count)

    def _reduce_tile(self, tile: Tile) -> RGB:
        if tile.key is not None and tile.key in self._reduced:
            return self._reduced[tile.key]
        small = _reduce(tile.pixels, self._factor)
        if tile.key is not None:
            self._reduced[tile.key] = small
        return small

    def _push(self, level: int, strip: RGB) -> None:
        waiting = self._pending[level]
        waiting.append(strip)
        if sum(len(part) for part in waiting) >= self._tile_px:
            self._flush(level)

    def _flush(self, level: int) -> None:
        """Store the row of tiles that waits at this level and hand it on, reduced."""
        if not self._pending[level]:
            return
        strip = np.concatenate(self._pending[level])
        self._pending[level] = []
        full = self._tile_px
        columns = -(-self._sizes[level].width // full)
        rows_there = len(self._places[level]) // columns
        if rows_there < -(-self._sizes[level].height // full):
            wide = max(0, columns * full - strip.shape[1])
            high = max(0, full - len(strip))
            padded = np.pad(strip, ((0, high), (0, wide), (0, 0)), mode="edge")
            for column in range(columns):
                tile = padded[:full, column * full : (column + 1) * full]
                data = self._encode(Tile(tile))
                self._places[level].append((self._spool.seek(0, 2), len(data)))
                self._spool.write(data)
        if level + 1 < len(self._sizes):
            self._push(level + 1, _reduce(strip, self._factor))


def _reduce(pixels: RGB, factor: int) -> RGB:
    """The mean over ``factor`` x ``factor`` pixels; edges are repeated to whole multiples."""
    height, width = pixels.shape[:2]
    down, right = -height % factor, -width % factor
    if down or right:
        pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _tiles_of(strip: RGB, tile_px: int) -> list[Tile]:
    down, right = -len(strip) % tile_px, -strip.shape[1] % tile_px
    padded = np.pad(strip, ((0, down), (0, right), (0, 0)), mode="edge")
    return [Tile(padded[:, x : x + tile_px]) for x in range(0, padded.shape[1], tile_px)]


def _default_levels(size: Size, tile_px: int, factor: int) -> int:
    count, side = 1, max(size.width, size.height)
    while side > tile_px and count < 8:
        side //= factor
        count += 1
    return count


def _page(size: Size, tile_px: int, level: int, factor: int, mpp: float | None) -> dict[str, Any]:
    page: dict[str, Any] = {
        "shape": (size.height, size.width, 3),
        "dtype": "uint8",
        "tile": (tile_px, tile_px),
        "photometric": "ycbcr",
        "subsampling": (2, 2),
        "compression": "jpeg",
        "subfiletype": 0 if level == 0 else 1,
        "metadata": None,
        "software": False,
    }
    if mpp is not None:
        pixels_per_cm = 10_000 / (mpp * factor**level)
        page |= {"resolution": (pixels_per_cm, pixels_per_cm), "resolutionunit": "CENTIMETER"}
    return page


def _description(
    level: int,
    size: Size,
    tile_px: int,
    quality: int,
    mpp: float | None,
    format: Flavour,
    magnification: float | None,
) -> dict[str, Any]:
    if format != "svs":
        return {}
    text = (
        f"Aperio Image Library v12.0.0 \r\n{size.width}x{size.height} "
        f"({tile_px}x{tile_px}) JPEG/RGB Q={quality}"
    )
    if level == 0 and magnification is not None:
        text += f"|AppMag = {magnification:g}"
    if level == 0 and mpp is not None:
        text += f"|MPP = {mpp:g}"
    return {"description": text}


def _write_associated(
    tiff: tifffile.TiffWriter, associated: Mapping[str, RGB], *, first: bool
) -> None:
    """Aperio keeps the thumbnail as the second image, label and macro as the last ones."""
    for name, pixels in associated.items():
        if (name == "thumbnail") != first:
            continue
        tiff.write(
            pixels,
            photometric="rgb",
            compression="lzw" if name == "label" else "jpeg",
            rowsperstrip=pixels.shape[0] if name != "label" else 16,
            subfiletype={"label": 1, "macro": 9}.get(name, 0),
            description=f"Aperio Image Library v12.0.0 \r\n{name} "
            f"{pixels.shape[1]}x{pixels.shape[0]}",
            metadata=None,
            software=False,
        )
