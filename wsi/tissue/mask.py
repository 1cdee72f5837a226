"""What was asked of a tissue mask, and the mask itself."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon
from skimage.measure import find_contours

from wsi.errors import ConfigError
from wsi.geometry import Region, Size

Method = Literal["otsu", "entropy"]
METHODS: tuple[Method, ...] = ("otsu", "entropy")

METHOD_VERSION = 2
"""Raised whenever the same spec gives another mask, so that stored ones are made again."""


@dataclass(frozen=True, kw_only=True)
class TissueSpec:
    """How to find tissue.

    Attributes:
        method: ``otsu`` on saturation or local ``entropy``.
        mpp: micrometres per pixel to work at; a slide coarser than that is taken as it is.
        max_cells: a slide whose mask would have more cells is worked on at a coarser mpp, so that
            memory stays the same however large a slide is.
        min_tissue_um2: smaller pieces are specks and dropped. Kept low on purpose: a small
            biopsy fragment matters more than a little dust.
        max_hole_um2: smaller holes (lumens, vessels) belong to the tissue around them.
        smooth_um: gaps up to about this width are closed and threads up to half of it cut.
        exclude_pen: whether ink is taken out of the tissue.
        version: of the methods; part of the digest under which a mask is stored.
    """

    method: Method = "otsu"
    mpp: float = 8.0
    max_cells: int = 4_000_000
    min_tissue_um2: float = 4_000.0
    max_hole_um2: float = 40_000.0
    smooth_um: float = 24.0
    exclude_pen: bool = True
    version: int = field(default=METHOD_VERSION, init=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"no tissue method {self.method!r}; choose from: {', '.join(METHODS)}"
            )
        if not (math.isfinite(self.mpp) and self.mpp > 0):
            raise ConfigError(f"the tissue mask's mpp must be positive, got {self.mpp}")
        if self.max_cells < 1:
            raise ConfigError(f"max_cells must be at least 1, got {self.max_cells}")
        for name in ("min_tissue_um2", "max_hole_um2", "smooth_um"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be zero or more, got {value}")


@dataclass(frozen=True)
class TissueMask:
    """Where a slide has tissue, on a grid that covers the whole slide exactly.

    Attributes:
        mask: (rows, cols) bool.
        size: level-0 size of the slide.
        spec: what was asked.
        threshold: the value of the method's feature above which a cell was tissue; NaN where
            there was too little contrast for one.
        unclear: nothing was recognized as tissue, yet the slide is not blank glass: a person must
            look. The first of ``warnings`` says what is there.
        warnings: what a reader should know of this mask, as sentences.
    """

    mask: NDArray[np.bool_]
    size: Size
    spec: TissueSpec = field(default_factory=TissueSpec)
    threshold: float = math.nan
    unclear: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def cell_width_px(self) -> float:
        """Level-0 pixels a cell along x."""
        return float(self.size.width / self.mask.shape[1])

    @property
    def cell_height_px(self) -> float:
        """Level-0 pixels a cell along y."""
        return float(self.size.height / self.mask.shape[0])

    @property
    def is_empty(self) -> bool:
        """Whether the slide has no tissue at all."""
        return not bool(self.mask.any())

    @property
    def area_px(self) -> float:
        """Tissue in level-0 pixels."""
        return float(self.mask.sum()) * self.cell_width_px * self.cell_height_px

    def share(self, region: Region) -> float:
        """Share of a level-0 rectangle that is tissue; outside the slide there is none."""
        origin = np.array([[region.x, region.y]])
        return float(self.shares(origin, region.width, region.height)[0])

    def shares(
        self, origins_n2: NDArray[np.floating | np.integer], width: float, height: float
    ) -> NDArray[np.float64]:
        """Share of tissue in many rectangles of one size.

        Args:
            origins_n2: (N, 2) x and y of their top left corners, level-0 px.
            width, height: their size, level-0 px.

        Returns:
            (N,) float64 in 0..1, exact to the cell's fraction.
        """
        x0 = np.asarray(origins_n2[:, 0], np.float64) / self.cell_width_px
        y0 = np.asarray(origins_n2[:, 1], np.float64) / self.cell_height_px
        x1, y1 = x0 + width / self.cell_width_px, y0 + height / self.cell_height_px
        inside = self._sum(x1, y1) - self._sum(x0, y1) - self._sum(x1, y0) + self._sum(x0, y0)
        cells = (width / self.cell_width_px) * (height / self.cell_height_px)
        return np.asarray(np.clip(inside / cells, 0.0, 1.0), dtype=np.float64)

    def polygons(self, simplify_px: float | None = None) -> tuple[Polygon, ...]:
        """Outlines of the tissue with its holes, level-0 px, largest first.

        Args:
            simplify_px: how far an outline may move; half a cell by default.
        """
        padded = np.pad(self.mask, 1).astype(np.float32)
        # Centres of cells lie at half numbers; the padding shifted them by one.
        scale = np.array([self.cell_width_px, self.cell_height_px])
        rings = [
            Polygon((contour[:, ::-1] - 0.5) * scale).exterior
            for contour in find_contours(padded, 0.5)  # type: ignore[no-untyped-call]
            if len(contour) > 3
        ]
        if not rings:
            return ()
        area = shapely.build_area(shapely.GeometryCollection(rings))
        tolerance = 0.5 * float(scale.min()) if simplify_px is None else simplify_px
        if tolerance > 0:
            area = area.simplify(tolerance, preserve_topology=True)
        area = area.intersection(shapely.box(0, 0, self.size.width, self.size.height))
        parts = [part for part in getattr(area, "geoms", [area]) if isinstance(part, Polygon)]
        return tuple(sorted(parts, key=lambda part: -part.area))

    @cached_property
    def _integral(self) -> NDArray[np.float64]:
        """(rows + 1, cols + 1): tissue cells above and left of each corner."""
        integral = np.zeros((self.mask.shape[0] + 1, self.mask.shape[1] + 1))
        integral[1:, 1:] = self.mask.cumsum(0, dtype=np.float64).cumsum(1)
        return integral

    def _sum(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tissue cells above and left of points in cells; bilinear, hence exact."""
        rows, cols = self.mask.shape
        x, y = np.clip(x, 0, cols), np.clip(y, 0, rows)
        left = np.minimum(x.astype(np.int64), cols - 1)
        top = np.minimum(y.astype(np.int64), rows - 1)
        fx, fy = x - left, y - top
        table = self._integral
        upper = table[top, left] * (1 - fx) + table[top, left + 1] * fx
        lower = table[top + 1, left] * (1 - fx) + table[top + 1, left + 1] * fx
        return np.asarray(upper * (1 - fy) + lower * fy)
