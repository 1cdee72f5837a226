"""Which tissue is out of focus: sharpness in windows, read on tissue alone."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.errors import DamagedSlideError
from wsi.geometry import Region, Size
from wsi.slides.reader import RGB, SlideReader, require_mpp
from wsi.tissue.glass import Bool, Float
from wsi.tissue.mask import TissueMask

_WINDOW_PX = 32
_BLOCK_WINDOWS = 16
_CONTRAST_FLOOR = 1e-3


def find_blur(
    slide: SlideReader, tissue: TissueMask, *, mpp: float, min_sharpness: float
) -> tuple[Bool, Bool]:
    """Tissue out of focus, and tissue that does not decode.

    Variance of the Laplacian (Pech-Pacheco et al., 2000) over the local variance, at low power as
    in HistoQC (Janowczyk et al., 2019). Blocks without tissue are not read.

    Args:
        slide: read at ``mpp``, or at its own resolution where that is coarser.
        tissue: where to look.
        mpp: resolution to judge at.
        min_sharpness: windows below it are out of focus; see ``sharpness``.

    Returns:
        Two (rows, cols) bool on the grid of ``tissue``.
    """
    base = require_mpp(slide)
    mpp = max(mpp, base.mean)
    window = (_WINDOW_PX * mpp / base.x, _WINDOW_PX * mpp / base.y)
    columns = math.ceil(slide.size.width / window[0] / _BLOCK_WINDOWS)
    rows = math.ceil(slide.size.height / window[1] / _BLOCK_WINDOWS)
    blocks = np.argwhere(np.ones((rows, columns), np.bool_)) * _BLOCK_WINDOWS
    origins = blocks[:, ::-1] * np.array(window)
    touched = tissue.shares(origins, window[0] * _BLOCK_WINDOWS, window[1] * _BLOCK_WINDOWS) > 0
    shape = (rows * _BLOCK_WINDOWS, columns * _BLOCK_WINDOWS)
    judge = _Judge(slide, tissue, window, shape)
    for row, column in blocks[touched]:
        judge.block(int(row), int(column), _BLOCK_WINDOWS)
    blurred = _with_neighbours(judge.sharp < min_sharpness)
    return _on_grid(blurred, window, tissue), _on_grid(judge.lost, window, tissue)


def sharpness(grey_density: Float, weight: Float, window_px: int) -> Float:
    """Variance of the Laplacian over the variance, for each window.

    The division makes pale and dark stains alike. Only what the weight lets in counts: at the edge
    of the tissue the step to the glass would outweigh all detail.

    Args:
        grey_density: (rows, cols) optical density.
        weight: (rows, cols) 1 on tissue, 0 elsewhere.
        window_px: side of the windows; rows and cols are cut to whole ones.

    Returns:
        (rows // window_px, cols // window_px) float32; infinite where less than a quarter of the
        window counts.
    """
    rows, cols = grey_density.shape[0] // window_px, grey_density.shape[1] // window_px
    laplacian = np.asarray(cv2.Laplacian(grey_density, cv2.CV_32F, ksize=1), np.float32)

    def mean(values: Float) -> Float:
        cut = np.ascontiguousarray(values[: rows * window_px, : cols * window_px])
        return np.asarray(cv2.resize(cut, (cols, rows), interpolation=cv2.INTER_AREA), np.float32)

    counted = mean(weight)
    share = np.maximum(counted, 0.25)
    average = mean(grey_density * weight) / share
    variance = mean(grey_density**2 * weight) / share - average**2
    sharp = mean(laplacian**2 * weight) / share / (np.maximum(variance, 0) + _CONTRAST_FLOOR)
    return np.asarray(np.where(counted < 0.25, np.inf, sharp), np.float32)


class _Judge:
    """Measures windows block by block; where a block does not decode, in quarters."""

    def __init__(
        self,
        slide: SlideReader,
        tissue: TissueMask,
        window_level0: tuple[float, float],
        shape: tuple[int, int],
    ) -> None:
        self._slide = slide
        self._tissue = tissue
        self._window = window_level0
        # Without the outermost cells, which hold glass.
        eroded = cv2.erode(tissue.mask.astype(np.uint8), np.ones((3, 3), np.uint8))
        self._inner = np.asarray(eroded, np.uint8)
        self.sharp = np.full(shape, np.inf, np.float32)
        self.lost = np.zeros(shape, np.bool_)

    def block(self, row: int, column: int, windows: int) -> None:
        """Measure a square of windows."""
        width, height = self._window
        region = Region(column * width, row * height, windows * width, windows * height)
        side_px = windows * _WINDOW_PX
        span = (slice(row, row + windows), slice(column, column + windows))
        try:
            pixels = self._slide.read_region(region, Size(side_px, side_px))
        except DamagedSlideError:
            if windows == 1:
                self.lost[span] = True
                return
            half = windows // 2
            for down in (0, half):
                for right in (0, half):
                    self.block(row + down, column + right, half)
            return
        weight = _tissue_under(self._inner, region, self._tissue, side_px)
        self.sharp[span] = sharpness(_grey_density(pixels), weight, _WINDOW_PX)


def _tissue_under(
    inner: NDArray[np.uint8], region: Region, tissue: TissueMask, side_px: int
) -> Float:
    """The eroded tissue mask drawn over a region, (side_px, side_px) of 0 and 1."""
    y = (region.y + (np.arange(side_px) + 0.5) * region.height / side_px) / tissue.cell_height_px
    x = (region.x + (np.arange(side_px) + 0.5) * region.width / side_px) / tissue.cell_width_px
    rows, cols = inner.shape
    found = inner[np.ix_(np.minimum(y.astype(int), rows - 1), np.minimum(x.astype(int), cols - 1))]
    found[y >= rows] = 0
    found[:, x >= cols] = 0
    return np.asarray(found, np.float32)


def _grey_density(pixels: RGB) -> Float:
    table = -np.log((np.arange(256, dtype=np.float32) + 8) / 263)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(table[grey], np.float32)


def _with_neighbours(blurred: Bool) -> Bool:
    """A lone window may show mucin or colloid, which is smooth by nature: ask for neighbours."""
    return np.asarray(
        cv2.morphologyEx(blurred.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0,
        np.bool_,
    )


def _on_grid(windows: Bool, window_level0: tuple[float, float], tissue: TissueMask) -> Bool:
    """The value of the window under the centre of each cell of the tissue mask."""
    rows, cols = tissue.mask.shape
    y = (np.arange(rows) + 0.5) * tissue.cell_height_px / window_level0[1]
    x = (np.arange(cols) + 0.5) * tissue.cell_width_px / window_level0[0]
    row = np.minimum(y.astype(np.int64), windows.shape[0] - 1)
    column = np.minimum(x.astype(np.int64), windows.shape[1] - 1)
    return np.asarray(windows[np.ix_(row, column)], np.bool_)
