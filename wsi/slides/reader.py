"""What every slide reader offers, whatever library decodes the pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Mpp, Region, Size
from wsi.slides.resolution import Resolution

RGB = NDArray[np.uint8]
"""An image of shape (height, width, 3), uint8, sRGB as stored in the slide."""


@dataclass(frozen=True, slots=True)
class Level:
    """One image of the pyramid: its size in its own pixels and its downsample against level 0."""

    size: Size
    downsample: float


@runtime_checkable
class SlideReader(Protocol):
    """An open slide. Safe to read from several threads at once.

    Colours are RGB on white: what the scanner left transparent, and what lies outside the slide,
    is white.
    """

    @property
    def path(self) -> Path:
        """Where the slide was opened."""
        ...

    @property
    def name(self) -> str:
        """The slide's file name, used in messages and results."""
        ...

    @property
    def vendor(self) -> str:
        """The format as the decoding library names it, such as ``aperio``."""
        ...

    @property
    def size(self) -> Size:
        """Level-0 size in pixels."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """The pyramid, finest first."""
        ...

    @property
    def mpp(self) -> Mpp | None:
        """Level-0 resolution; ``None`` where none is known that can be true."""
        ...

    @property
    def resolution(self) -> Resolution:
        """What the file states, what the user gave, and which of the two ``mpp`` is."""
        ...

    @property
    def magnification(self) -> float | None:
        """Objective power, where the file states it."""
        ...

    @property
    def properties(self) -> Mapping[str, str]:
        """Everything the file states about itself. May hold patient data."""
        ...

    @property
    def associated_images(self) -> tuple[str, ...]:
        """Names of label, macro and thumbnail images. They may show patient names."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for people: what was left out or assumed when the slide was opened."""
        ...

    def associated_image(self, name: str) -> RGB:
        """One associated image, (height, width, 3) uint8."""
        ...

    def read_region(self, region: Region, size: Size) -> RGB:
        """The pixels of a level-0 rectangle drawn at ``size``.

        The nearest finer level is read and reduced with antialiasing.

        Args:
            region: level-0 rectangle; may reach outside the slide (white there).
            size: pixels wanted.

        Returns:
            (size.height, size.width, 3) uint8.

        Raises:
            DamagedSlideError: the stored tiles do not decode.
        """
        ...

    def close(self) -> None:
        """Give the file back. Reading afterwards is an error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def require_mpp(slide: SlideReader) -> Mpp:
    """The slide's resolution, or an error that says how to give one.

    Raises:
        MppError: it is missing or implausible, or x and y are more than 5 % apart; see
            ``wsi.slides.resolution``.
    """
    return slide.resolution.require(slide.name)


def thumbnail(slide: SlideReader, max_px: int) -> RGB:
    """The whole slide with its longer side at most ``max_px`` pixels, (height, width, 3) uint8."""
    scale = max(1.0, max(slide.size.width, slide.size.height) / max_px)
    size = Size(max(1, round(slide.size.width / scale)), max(1, round(slide.size.height / scale)))
    return slide.read_region(Region.whole(slide.size), size)


def read_at_mpp(slide: SlideReader, region: Region, mpp: float) -> RGB:
    """A level-0 rectangle drawn at ``mpp``.

    Raises:
        MppError: the slide has no usable resolution of its own.
    """
    return slide.read_region(region, region.size_at(mpp, require_mpp(slide)))
