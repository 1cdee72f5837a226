"""Stitching what was computed per patch into one heatmap over the slide."""

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Point
from wsi.patches import PatchGrid
from wsi.storage import HeatmapGrid


class HeatmapCanvas:
    """Collects values of patches; where patches overlap, their mean counts.

    Args:
        grid: the patches.
        classes: number of maps.
        cells: heatmap cells along one stride of the grid.
    """

    def __init__(self, grid: PatchGrid, classes: int, cells: int = 4) -> None:
        self._cells = cells
        stride = grid.spec.size_px - grid.spec.overlap_px
        #: heatmap cells along one patch
        self.patch_cells = max(1, round(cells * grid.spec.size_px / stride))
        rows, columns = grid.shape
        extra = self.patch_cells - cells
        shape = (rows * cells + extra, columns * cells + extra)
        self._sum = np.zeros((classes, *shape), np.float32)
        self._count = np.zeros(shape, np.uint16)
        self.grid = HeatmapGrid(
            origin_level0=Point(0, 0),
            cell_level0=(grid.stride_level0[0] / cells, grid.stride_level0[1] / cells),
            shape=shape,
            mpp=stride * grid.spec.mpp / cells,
        )

    def add(self, cells_n2: NDArray[np.int32], values_nchw: NDArray[np.float32]) -> None:
        """Lay patches down.

        Args:
            cells_n2: (N, 2) row and column of each patch, no patch twice in one call.
            values_nchw: (N, classes, patch_cells, patch_cells), or (N, classes, 1, 1) for one
                value over a whole patch.
        """
        values = np.broadcast_to(
            values_nchw, (*values_nchw.shape[:2], self.patch_cells, self.patch_cells)
        )
        rows, columns = cells_n2[:, 0] * self._cells, cells_n2[:, 1] * self._cells
        for dy in range(self.patch_cells):
            for dx in range(self.patch_cells):
                self._sum[:, rows + dy, columns + dx] += values[:, :, dy, dx].T
                self._count[rows + dy, columns + dx] += 1

    def values_chw(self) -> NDArray[np.float32]:
        """(classes, rows, columns) float32, NaN where no patch was laid."""
        count = self._count.astype(np.float32)
        count[count == 0] = np.nan
        return self._sum / count
