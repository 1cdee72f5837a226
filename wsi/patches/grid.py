"""PatchSpec (what was asked) and PatchGrid (what that means on one slide)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ConfigError
from wsi.geometry import Point, Region, Size
from wsi.slides import SlideReader, require_mpp
from wsi.slides.resolution import require_detail
from wsi.tissue import TissueMask


@dataclass(frozen=True, kw_only=True)
class PatchSpec:
    """Which patches are wanted, on any slide.

    Attributes:
        mpp: micrometres per pixel of a patch.
        size_px: side of a patch in pixels at ``mpp``.
        overlap_px: how many of them a patch shares with its neighbour.
        min_tissue: smallest share of tissue, in [0, 1], that makes a patch worth reading.

    Raises:
        ConfigError: a value that cannot work.
    """

    mpp: float
    size_px: int
    overlap_px: int = 0
    min_tissue: float = 0.1

    def __post_init__(self) -> None:
        if not self.mpp > 0:
            raise ConfigError(f"patch mpp must be positive, got {self.mpp}")
        if self.size_px < 1:
            raise ConfigError(f"patch size must be at least 1 px, got {self.size_px}")
        if not 0 <= self.overlap_px < self.size_px:
            raise ConfigError(
                f"patch overlap must lie in [0, {self.size_px}) px, got {self.overlap_px}"
            )
        if not 0 <= self.min_tissue <= 1:
            raise ConfigError(f"min_tissue must lie in [0, 1], got {self.min_tissue}")


@dataclass(frozen=True, kw_only=True)
class PatchGrid:
    """The patches of one slide: a regular grid from its top left corner, thinned to tissue.

    Attributes:
        spec: what was asked.
        patch_level0: (width, height) of a patch, level-0 pixels, not rounded.
        stride_level0: (x, y) from one patch to the next, level-0 pixels, not rounded.
        shape: (rows, columns) of the full grid; it covers the slide to its last pixel.
        cells_n2: (N, 2) int32, row and column of each patch that is kept, row by row.
    """

    spec: PatchSpec
    patch_level0: tuple[float, float]
    stride_level0: tuple[float, float]
    shape: tuple[int, int]
    cells_n2: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.cells_n2)

    @property
    def size(self) -> Size:
        """Size of a patch in its own pixels."""
        return Size(self.spec.size_px, self.spec.size_px)

    def region(self, row: int, column: int) -> Region:
        """The level-0 rectangle of one patch; it may leave the slide at the right and below."""
        origin = self.origin(row, column)
        return Region(origin.x, origin.y, *self.patch_level0)

    def origin(self, row: int, column: int) -> Point:
        """Top left of one patch, level-0 pixels."""
        return Point(column * self.stride_level0[0], row * self.stride_level0[1])


def resolve_grid(slide: SlideReader, spec: PatchSpec, tissue: TissueMask | None) -> PatchGrid:
    """Lay the grid over a slide and keep the patches with enough tissue.

    Args:
        slide: gives size and resolution.
        spec: what is asked.
        tissue: ``None`` keeps every patch.

    Raises:
        MppError: the slide states no usable resolution, or is too coarse for the patches.
    """
    base = require_mpp(slide)
    require_detail(slide.name, base, spec.mpp, "the patch grid")
    scale_x, scale_y = spec.mpp / base.x, spec.mpp / base.y
    stride_px = spec.size_px - spec.overlap_px
    stride = (stride_px * scale_x, stride_px * scale_y)
    patch = (spec.size_px * scale_x, spec.size_px * scale_y)
    shape = (
        _steps(slide.size.height, patch[1], stride[1]),
        _steps(slide.size.width, patch[0], stride[0]),
    )
    rows, columns = (axis.ravel() for axis in np.indices(shape, dtype=np.int32))
    if tissue is not None:
        origins_n2 = np.stack([columns * stride[0], rows * stride[1]], axis=1)
        share = tissue.shares(origins_n2, *patch)
        # A patch without any tissue is never wanted, even where min_tissue is 0.
        keep = (share >= spec.min_tissue) & (share > 0)
        rows, columns = rows[keep], columns[keep]
    return PatchGrid(
        spec=spec,
        patch_level0=patch,
        stride_level0=stride,
        shape=shape,
        cells_n2=np.stack([rows, columns], axis=1),
    )


def _steps(length: int, patch: float, stride: float) -> int:
    """How many patches cover ``length`` pixels."""
    # A sliver of less than a hundredth of a pixel is rounding, not slide.
    return 1 + max(0, math.ceil((length - patch - 0.01) / stride))
