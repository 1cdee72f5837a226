"""Slides through OpenSlide: SVS, NDPI, MRXS, SCN, DICOM, pyramidal TIFF and more."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import openslide
from PIL import Image

from wsi.errors import ConfigError, DamagedSlideError
from wsi.geometry import Mpp, Region, Size
from wsi.slides.reader import RGB, Level

_WHITE = (255, 255, 255)


class OpenSlideReader:
    """A SlideReader over one OpenSlide handle (which is thread-safe).

    Args:
        path: a file, or one file of a multi-file slide.
        name: how messages call the slide.
        mpp: overrides the resolution that the file states.
    """

    def __init__(self, path: Path, name: str, mpp: Mpp | None = None) -> None:
        self._handle = openslide.OpenSlide(path)
        self._path = path
        self._name = name
        self._mpp = mpp or _stated_mpp(self._handle.properties)
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
        return self._handle.properties

    @property
    def associated_images(self) -> tuple[str, ...]:
        return tuple(self._handle.associated_images)

    def associated_image(self, name: str) -> RGB:
        if name not in self.associated_images:
            there = ", ".join(self.associated_images) or "none"
            raise ConfigError(f"{self._name}: no associated image {name!r}; it has: {there}")
        try:
            return _on_white(self._handle.associated_images[name])
        except openslide.OpenSlideError as error:
            raise DamagedSlideError(self._name, f"its {name} does not decode: {error}") from error

    def read_region(self, region: Region, size: Size) -> RGB:
        scale = min(region.width / size.width, region.height / size.height)
        level = self._level_for(scale)
        downsample = self._levels[level].downsample
        # The whole pixels of this level that cover the region, and the region inside them.
        left, top = region.x / downsample, region.y / downsample
        x, y = math.floor(left + 1e-6), math.floor(top + 1e-6)
        width = max(1, math.ceil(left + region.width / downsample - 1e-6) - x)
        height = max(1, math.ceil(top + region.height / downsample - 1e-6) - y)
        try:
            image = self._handle.read_region(
                (round(x * downsample), round(y * downsample)), level, (width, height)
            )
        except openslide.OpenSlideError as error:
            raise DamagedSlideError(
                self._name,
                f"level {level} at x={region.x:.0f}, y={region.y:.0f} does not decode ({error}); "
                "scan or copy the slide again",
            ) from error
        pixels = _on_white(image)
        if (width, height) == (size.width, size.height):
            return pixels
        box = (
            max(0.0, left - x),
            max(0.0, top - y),
            min(float(width), left - x + region.width / downsample),
            min(float(height), top - y + region.height / downsample),
        )
        # Pillow widens the filter's support when it shrinks, which is the antialiasing.
        resized = Image.fromarray(pixels).resize(
            (size.width, size.height), Image.Resampling.BILINEAR, box=box
        )
        return np.asarray(resized)

    def _level_for(self, scale: float) -> int:
        """The coarsest level that is still at least as fine as ``scale`` level-0 px a pixel."""
        # Stated downsamples are ratios of rounded sizes (4.0017 for 4): allow one per cent.
        fine = [i for i, level in enumerate(self._levels) if level.downsample <= scale * 1.01]
        return fine[-1] if fine else 0

    def close(self) -> None:
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
