"""In-memory stand-ins that keep the contracts of the real thing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from wsi.errors import ConfigError, DamagedSlideError
from wsi.geometry import Mpp, Region, Size
from wsi.slides import RGB, Level
from wsi.slides.resolution import Resolution, settle
from wsi.slides.stated import Stated


class ArraySlide:
    """A SlideReader over an array: one level, no file.

    Args:
        pixels: (height, width, 3) uint8.
        mpp: micrometres per pixel, or ``None`` where the "file" states none.
        name: how messages call it.
        damaged: level-0 rectangles that do not decode.
        warnings: what opening it has to say.
    """

    def __init__(
        self,
        pixels: RGB,
        mpp: float | Mpp | None = 0.5,
        name: str = "array.tif",
        damaged: tuple[Region, ...] = (),
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.pixels = pixels
        stated = Mpp.square(mpp) if isinstance(mpp, float | int) else mpp
        self._resolution = settle(name, Stated(mpp=stated), self.size)
        self._name = name
        self._damaged = damaged
        self._warnings = warnings
        self.reads = 0

    @property
    def path(self) -> Path:
        return Path(self._name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def vendor(self) -> str:
        return "array"

    @property
    def size(self) -> Size:
        return Size(self.pixels.shape[1], self.pixels.shape[0])

    @property
    def levels(self) -> tuple[Level, ...]:
        return (Level(self.size, 1.0),)

    @property
    def mpp(self) -> Mpp | None:
        return self._resolution.used

    @property
    def resolution(self) -> Resolution:
        return self._resolution

    @property
    def magnification(self) -> float | None:
        return None

    @property
    def properties(self) -> Mapping[str, str]:
        return {}

    @property
    def associated_images(self) -> tuple[str, ...]:
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._warnings

    def associated_image(self, name: str) -> RGB:
        raise ConfigError(f"{self._name}: no associated image {name!r}; it has: none")

    def read_region(self, region: Region, size: Size) -> RGB:
        self.reads += 1
        if any(region.intersection(bad) for bad in self._damaged):
            raise DamagedSlideError(
                self._name, f"x={region.x:.0f}, y={region.y:.0f} does not decode"
            )
        x0, y0 = int(np.floor(region.x + 1e-6)), int(np.floor(region.y + 1e-6))
        x1 = max(x0 + 1, int(np.ceil(region.right - 1e-6)))
        y1 = max(y0 + 1, int(np.ceil(region.bottom - 1e-6)))
        canvas = np.full((y1 - y0, x1 - x0, 3), 255, np.uint8)
        height, width = self.pixels.shape[:2]
        left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if left < right and top < bottom:
            canvas[top - y0 : bottom - y0, left - x0 : right - x0] = self.pixels[
                top:bottom, left:right
            ]
        if canvas.shape[:2] == (size.height, size.width):
            return canvas
        box = (region.x - x0, region.y - y0, region.right - x0, region.bottom - y0)
        image = Image.fromarray(canvas).resize(
            (size.width, size.height), Image.Resampling.BILINEAR, box=box
        )
        return np.asarray(image)

    def content_digest(self) -> str:
        """Of its pixels: there is no file to look at."""
        return hashlib.sha256(self.pixels.tobytes() + str(self.pixels.shape).encode()).hexdigest()

    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
