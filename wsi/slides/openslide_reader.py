"""Slides through OpenSlide: SVS, NDPI, MRXS, SCN, DICOM, pyramidal TIFF and more."""

import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import openslide
from PIL import Image

from wsi.errors import ConfigError, DamagedSlideError
from wsi.geometry import Mpp, Region, Size
from wsi.slides.reader import RGB, Level
from wsi.slides.resample import read_resampled

_WHITE = (255, 255, 255)


class OpenSlideReader:
    """A SlideReader over one OpenSlide handle (which is thread-safe).

    Args:
        path: a file, or one file of a multi-file slide.
        name: how messages call the slide.
        mpp: overrides the resolution that the file states.
        warnings: what was left out or assumed when it was chosen.
    """

    def __init__(
        self, path: Path, name: str, mpp: Mpp | None = None, warnings: tuple[str, ...] = ()
    ) -> None:
        self._warnings = warnings
        self._handle = openslide.OpenSlide(path)
        self._renewing = threading.Lock()
        self._closed = False
        self._properties = dict(self._handle.properties)
        self._associated = tuple(self._handle.associated_images)
        self._path = path
        self._name = name
        self._mpp = mpp or _stated_mpp(self._properties)
        self._levels = tuple(
            Level(Size(*size), downsample)
            for size, downsample in zip(
                self._handle.level_dimensions, self._handle.level_downsamples, strict=True
            )
        )

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
        return self._mpp

    @property
    def magnification(self) -> float | None:
        return _positive(self.properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))

    @property
    def properties(self) -> Mapping[str, str]:
        return self._properties

    @property
    def associated_images(self) -> tuple[str, ...]:
        return self._associated

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._warnings

    def associated_image(self, name: str) -> RGB:
        if name not in self.associated_images:
            there = ", ".join(self.associated_images) or "none"
            raise ConfigError(f"{self._name}: no associated image {name!r}; it has: {there}")
        try:
            return _on_white(self._retried(lambda slide: slide.associated_images[name]))
        except openslide.OpenSlideError as error:
            raise DamagedSlideError(self._name, f"its {name} does not decode: {error}") from error

    def read_region(self, region: Region, size: Size) -> RGB:
        return read_resampled(self._levels, region, size, self.read_level)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> RGB:
        """Stored pixels of one level, in pixels of that level; (height, width, 3) uint8.

        Raises:
            DamagedSlideError: the stored tiles do not decode.
        """
        downsample = self._levels[level].downsample
        location = (round(x * downsample), round(y * downsample))
        try:
            image = self._retried(lambda slide: slide.read_region(location, level, (width, height)))
        except openslide.OpenSlideError as error:
            raise DamagedSlideError(
                self._name,
                f"level {level} at x={location[0]}, y={location[1]} does not decode ({error}); "
                "scan or copy the slide again",
            ) from error
        return _on_white(image)

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


def _on_white(image: Image.Image) -> RGB:
    """RGB pixels; what is transparent becomes white."""
    if image.mode != "RGBA":
        return np.asarray(image.convert("RGB"))
    if image.getchannel("A").getextrema() == (255, 255):
        return np.asarray(image.convert("RGB"))
    canvas = Image.new("RGBA", image.size, (*_WHITE, 255))
    canvas.alpha_composite(image)
    return np.asarray(canvas.convert("RGB"))


def _stated_mpp(properties: Mapping[str, str]) -> Mpp | None:
    x = _positive(properties.get(openslide.PROPERTY_NAME_MPP_X))
    y = _positive(properties.get(openslide.PROPERTY_NAME_MPP_Y))
    return Mpp(x, y) if x and y else None


def _positive(text: str | None) -> float | None:
    """A positive finite number out of a property, else ``None``."""
    try:
        value = float(text) if text else 0.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
