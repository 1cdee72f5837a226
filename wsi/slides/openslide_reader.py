"""Slides through OpenSlide: SVS, NDPI, MRXS, SCN, DICOM, pyramidal TIFF and more."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import openslide
from PIL import Image

from wsi.errors import (
    ConfigError,
    DamagedSlideError,
    SlideError,
    UnsupportedSlideError,
    WsiError,
)
from wsi.geometry import Mpp, Region, Size
from wsi.slides.openslide_errors import is_unsupported, without_path
from wsi.slides.reader import RGB, Level
from wsi.slides.resample import read_resampled
from wsi.slides.resolution import Resolution, settle
from wsi.slides.stated import positive, stated_resolution

_WHITE = (255, 255, 255)
# OpenSlide reads larger regions in parts of 4,096 px, which begin anywhere between two pixels.
_BLOCK_PX = 2048
# How far to begin before a place, to begin at a whole pixel. What TIFFs gain by it the direct
# reader is compared with; others pay for it at each read.
_REACH_PX = {"aperio": 2048, "generic-tiff": 2048}
_OTHERS_REACH_PX = 256
# Cairo rounds places to 1/256 of a pixel: nearer than half of that to a whole one is whole.
_WHOLE = 1 / 520


class OpenSlideReader:
    """A SlideReader over one OpenSlide handle (which is thread-safe).

    Args:
        path: a file, or one file of a multi-file slide.
        name: how messages call the slide.
        mpp: micrometres per pixel that the user gave.
        warnings: what was left out or assumed when it was chosen.
        force_mpp: ``mpp`` counts against what the file states.

    Raises:
        MppError: ``mpp`` contradicts what the file states, and is not forced.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        mpp: float | None = None,
        warnings: tuple[str, ...] = (),
        *,
        force_mpp: bool = False,
    ) -> None:
        self._warnings = warnings
        self._handle = openslide.OpenSlide(path)
        self._renewing = threading.Lock()
        self._closed = False
        self._properties = dict(self._handle.properties)
        self._associated = tuple(self._handle.associated_images)
        self._path = path
        self._name = name
        self._reach = _REACH_PX.get(self.vendor, _OTHERS_REACH_PX)
        self._levels = tuple(
            Level(Size(*size), downsample)
            for size, downsample in zip(
                self._handle.level_dimensions, self._handle.level_downsamples, strict=True
            )
        )
        self._numbers = tuple(range(len(self._levels)))
        self._steps = tuple(level.downsample for level in self._levels)
        stated = stated_resolution(self._properties, self.size)
        try:
            self._resolution = settle(name, stated, self.size, mpp, force=force_mpp)
        except WsiError:
            self._handle.close()
            raise

    def keep(
        self, numbers: Sequence[int], levels: Sequence[Level], warnings: tuple[str, ...]
    ) -> None:
        """Offer these of OpenSlide's levels alone, before anything is read.

        Args:
            numbers: OpenSlide's numbers of them, finest first.
            levels: what they are; a size may be less than the stored one, which then is padded.
            warnings: why the others were left out, said besides what is said already.
        """
        self._numbers, self._levels = tuple(numbers), tuple(levels)
        self._steps = tuple(self._handle.level_downsamples[number] for number in numbers)
        self._warnings = (*self._warnings, *warnings)

    @property
    def path(self) -> Path:
        return self._path

    @property
    def name(self) -> str:
        return self._name

    @property
    def vendor(self) -> str:
        return self.properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")

    @property
    def size(self) -> Size:
        return self._levels[0].size

    @property
    def levels(self) -> tuple[Level, ...]:
        return self._levels

    @property
    def mpp(self) -> Mpp | None:
        return self._resolution.used

    @property
    def resolution(self) -> Resolution:
        return self._resolution

    @property
    def magnification(self) -> float | None:
        return positive(self.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))

    @property
    def properties(self) -> Mapping[str, str]:
        return self._properties

    @property
    def associated_images(self) -> tuple[str, ...]:
        return self._associated

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self._warnings, *self._resolution.warnings)

    def associated_image(self, name: str) -> RGB:
        if name not in self.associated_images:
            there = ", ".join(self.associated_images) or "none"
            raise ConfigError(f"{self._name}: no associated image {name!r}; it has: {there}")
        try:
            return _on_white(self._retried(lambda slide: slide.associated_images[name]))
        except openslide.OpenSlideError as error:
            told = without_path(error, self._path, self._name)
            raise DamagedSlideError(self._name, f"its {name} does not decode: {told}") from error

    def read_region(self, region: Region, size: Size) -> RGB:
        return read_resampled(self._levels, region, size, self.read_level)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RGB:
        """Stored pixels of one level, in pixels of that level; (height, width, 3) uint8.

        Raises:
            DamagedSlideError: the stored tiles do not decode.
        """
        return self._read(level, (x, y, width, height), self._reach)

    def glance(self, level: int, x: int, y: int, width: int, height: int) -> RGB:
        """As ``read_level``, at most half a level-0 pixel beside it, and never slower."""
        return self._read(level, (x, y, width, height), 0)

    def _read(self, level: int, box: tuple[int, int, int, int], reach: int) -> RGB:
        x, y, width, height = box
        size = self._levels[level].size
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, size.width), min(y + height, size.height)
        inside = (left, top, right, bottom) == (x, y, x + width, y + height)
        if inside and max(width, height) <= _BLOCK_PX:
            return self._read_block(level, x, y, (width, height), reach)
        canvas = np.full((height, width, 3), 255, np.uint8)
        for row in range(top, bottom, _BLOCK_PX):
            high = min(_BLOCK_PX, bottom - row)
            for column in range(left, right, _BLOCK_PX):
                wide = min(_BLOCK_PX, right - column)
                block = self._read_block(level, column, row, (wide, high), reach)
                canvas[row - y : row - y + high, column - x : column - x + wide] = block
        return canvas

    def is_opaque_somewhere(self, level: int, x: int, y: int, width: int, height: int) -> bool:
        """Whether any pixel of a level, in pixels of that level, is not fully transparent.

        Raises:
            DamagedSlideError: the stored tiles do not decode.
        """
        step = self._steps[level]
        location = (round(x * step), round(y * step))
        try:
            image = self._retried(
                lambda slide: slide.read_region(location, self._numbers[level], (width, height))
            )
        except openslide.OpenSlideError as error:
            raise self._failed(error, f"level {level}") from error
        return bool(image.getchannel("A").getextrema()[1])

    def _read_block(self, level: int, x: int, y: int, size: tuple[int, int], reach: int) -> RGB:
        """Stored pixels inside the level, at most ``_BLOCK_PX`` a side."""
        number, step = self._numbers[level], self._steps[level]
        left, top = (whole_pixel_start(place, step, reach) for place in (x, y))
        location = (round(left * step), round(top * step))
        more = (x + size[0] - left, y + size[1] - top)
        try:
            image = self._retried(lambda slide: slide.read_region(location, number, more))
        except openslide.OpenSlideError as error:
            place = f"level {level} at x={location[0]}, y={location[1]}"
            raise self._failed(error, place) from error
        return _on_white(image if more == size else image.crop((x - left, y - top, *more)))

    def _failed(self, error: openslide.OpenSlideError, what: str) -> SlideError:
        """What a failed read means: damage, or pixels of a kind that nobody here reads."""
        told = without_path(error, self._path, self._name)
        if is_unsupported(error):
            return UnsupportedSlideError(self._name, f"{told}; convert it to a pyramidal TIFF")
        return DamagedSlideError(
            self._name, f"{what} does not decode ({told}); scan or copy the slide again"
        )

    def _retried(self, read: Callable[[openslide.OpenSlide], Image.Image]) -> Image.Image:
        """Read, and once more through a new handle where that fails.

        A handle that met one bad tile refuses every later read, also those of other threads: so
        the failure may not be ours. The new handle is nobody else's until it has answered. Failed
        handles are not closed, as others may be inside them; they go when the last lets go.
        """
        handle = self._handle
        try:
            return read(handle)
        except openslide.OpenSlideError:
            if self._closed:
                raise
            fresh = openslide.OpenSlide(self._path)
            try:
                return read(fresh)
            except openslide.OpenSlideError:
                fresh.close()
                fresh = openslide.OpenSlide(self._path)
                raise
            finally:
                with self._renewing:
                    if self._handle is handle:
                        self._handle = fresh

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def whole_pixel_start(pixel: int, step: float, reach: int) -> int:
    """Where to begin reading a level so that OpenSlide gives its stored pixels.

    OpenSlide takes places in whole level-0 pixels and, where these lie between two pixels of the
    level, gives a mean of both. ``pixel`` itself where no whole place is within reach: the region
    is then off by at most half a level-0 pixel.

    Args:
        pixel: along one axis of the level, not negative.
        step: OpenSlide's downsample of the level.
        reach: most pixels to begin before.
    """
    if step == round(step):
        return pixel
    starts = pixel - np.arange(min(reach, pixel) + 1)
    places = np.rint(starts * step) / step
    whole = np.flatnonzero(np.abs(places - starts) < _WHOLE)
    return int(starts[whole[0]]) if len(whole) else pixel


def _on_white(image: Image.Image) -> RGB:
    """RGB pixels; what is transparent becomes white."""
    if image.mode != "RGBA":
        return np.asarray(image.convert("RGB"))
    if image.getchannel("A").getextrema() == (255, 255):
        return np.asarray(image.convert("RGB"))
    canvas = Image.new("RGBA", image.size, (*_WHITE, 255))
    canvas.alpha_composite(image)
    return np.asarray(canvas.convert("RGB"))
