"""What the network makes of constant background, computed once for all of it.

A cell whose receptive field holds background alone has a value, and a linear map from its
gradient to the parameters' gradients, that depend only on how its receptive field lies to the
image's borders. A small image of nothing but background, the *twin*, has a cell of each such
kind. So such cells of any boundary are copied from the twin in the forward pass, and in backward
their gradients are summed onto the twin's cells and sent through it once. Backward being linear
in the incoming gradient, this is exact, not an approximation.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wsi.networks.receptive_field import Reach
from wsi.networks.staged import StagedNetwork
from wsi.streaming.api import RunOptions, autocast, to_device
from wsi.streaming.image_source import BackgroundSource, ImageSource

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

CELL_PX = 32
"""Background is asked for in squares of this side."""
_QUERY_PX = (1024, 128, CELL_PX)


def background_grid(source: ImageSource) -> Mask | None:
    """Which squares of CELL_PX are background: (rows, columns); ``None`` where none is known."""
    if not isinstance(source, BackgroundSource):
        return None
    height, width = source.size
    grid = np.zeros((-(-height // CELL_PX), -(-width // CELL_PX)), dtype=bool)

    def ask(y0: int, x0: int, level: int) -> None:
        side = _QUERY_PX[level]
        h, w = min(side, height - y0), min(side, width - x0)
        if source.background(y0, x0, h, w):
            y, x, cells = y0 // CELL_PX, x0 // CELL_PX, side // CELL_PX
            grid[y : y + cells, x : x + cells] = True
        elif level + 1 < len(_QUERY_PX):
            step = _QUERY_PX[level + 1]
            for y in range(y0, y0 + h, step):
                for x in range(x0, x0 + w, step):
                    ask(y, x, level + 1)

    for y in range(0, height, _QUERY_PX[0]):
        for x in range(0, width, _QUERY_PX[0]):
            ask(y, x, 0)
    return grid if grid.any() else None


def _bounds(reach: Reach, cells: int, size: int) -> tuple[Indices, Indices]:
    """First and last grid square under each cell's receptive field, cut at the image."""
    at = np.arange(cells) * reach.stride
    first = np.maximum(at - reach.before, 0) // CELL_PX
    last = np.minimum(at + reach.after, size - 1) // CELL_PX
    return first, last


def pure_cells(grid: Mask, reach: Reach, size: tuple[int, int]) -> Mask:
    """Cells of a boundary (h, w) that see background alone; ``reach`` is from the image to it."""
    table = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1), dtype=np.int64)
    table[1:, 1:] = (~grid).cumsum(0).cumsum(1)
    y0, y1 = _bounds(reach, reach.out_size(size[0]), size[0])
    x0, x1 = _bounds(reach, reach.out_size(size[1]), size[1])
    top, bottom = table[y0], table[y1 + 1]
    tissue = bottom[:, x1 + 1] - top[:, x1 + 1] - bottom[:, x0] + top[:, x0]
    pure: Mask = tissue == 0
    return pure


def twin_size(reach: Reach, size: int) -> int:
    """The twin's pixels along an axis: every kind of cell, the same phase at the far border."""
    enough = reach.before + reach.after + 1 + 4 * reach.stride
    # Room for cells that touch neither border, whatever the phase.
    enough += reach.before % reach.stride + reach.after % reach.stride
    return enough + (size - enough) % reach.stride


def twin_shape(reach: Reach, size: tuple[int, int]) -> tuple[int, int] | None:
    """The twin's height and width; ``None`` where the image is not much larger than the twin.

    Args:
        reach: from the image to the last boundary with tiles before it.
        size: of the image.
    """
    height, width = (twin_size(reach, side) for side in size)
    if height > size[0] or width > size[1] or 2 * height * width > size[0] * size[1]:
        return None
    return height, width


def twin_cells(reach: Reach, size: int, twin: int) -> Indices:
    """For each cell along an axis of the image, the twin's cell of the same kind."""
    cells, twins = reach.out_size(size), reach.out_size(twin)
    at = np.arange(cells)
    low = at * reach.stride - reach.before < 0
    high = at * reach.stride + reach.after >= size
    middle = -(-reach.before // reach.stride)
    return np.where(low, np.minimum(at, twins - 1), np.where(high, at - cells + twins, middle))


def nonzero_cells(gradient: Tensor) -> Mask:
    """Where any channel of any sample has a gradient: (h, w)."""
    mask: Mask = (gradient != 0).any(1).any(0).cpu().numpy()
    return mask


@dataclass
class Twin:
    """The twin image and what each boundary has of it.

    Attributes:
        image: (N, 3, H', W') on the device.
        outputs: by number of stages run, the twin's activation there (N, C, h', w').
        pure: by number of stages run, the cells of the real boundary that see background alone.
        rows, columns: by number of stages run, the twin's cell for each real row and column.
    """

    image: Tensor
    outputs: dict[int, Tensor]
    pure: dict[int, Mask]
    rows: dict[int, Indices]
    columns: dict[int, Indices]

    def cells(self, stage: int, rows: slice, columns: slice) -> Tensor:
        """The background's activation at a rectangle of a boundary: (N, C, h, w)."""
        out = self.outputs[stage]
        n, c, _, width = out.shape
        y, x = self.rows[stage][rows], self.columns[stage][columns]
        at = torch.from_numpy((y[:, None] * width + x).ravel()).to(out.device)
        # Whole cells of all channels are copied, as they lie in memory.
        cells = out.permute(0, 2, 3, 1).reshape(n, -1, c).index_select(1, at)
        return cells.view(n, len(y), len(x), c).permute(0, 3, 1, 2)


def make_twin(
    network: StagedNetwork, source: ImageSource, run: RunOptions, stops: list[int]
) -> Twin | None:
    """The twin for boundaries after each number of stages in ``stops``.

    Returns ``None`` where the source knows no background, the image is not much larger than the
    twin, or no cell of the last boundary sees background alone.
    """
    grid = background_grid(source)
    if grid is None:
        return None
    height, width = source.size
    reaches = _reaches(network)
    # Every boundary's strides divide the last one's, so one twin serves them all.
    shape = twin_shape(reaches[max(stops)], source.size)
    if shape is None:
        return None
    twin_h, twin_w = shape
    pure = {stop: pure_cells(grid, reaches[stop], source.size) for stop in stops}
    if not pure[max(stops)].any():
        return None
    y, x = (int(i[0]) for i in np.nonzero(grid))
    colour = source.read(y * CELL_PX, x * CELL_PX, 1, 1)
    image = to_device(colour.expand(-1, -1, twin_h, twin_w), network, run)
    outputs = {}
    with torch.inference_mode(), autocast(run):
        cells = image
        for index, stage in enumerate(network.stage_list[: max(stops)]):
            cells = stage(cells)
            if index + 1 in pure:
                outputs[index + 1] = cells
    return Twin(
        image,
        outputs,
        pure,
        {stop: twin_cells(reaches[stop], height, twin_h) for stop in stops},
        {stop: twin_cells(reaches[stop], width, twin_w) for stop in stops},
    )


def _reaches(network: StagedNetwork) -> list[Reach]:
    """The reach from the image after 0, 1, 2, ... stages."""
    reaches = [Reach()]
    for stage in network.stage_list:
        reaches.append(reaches[-1].then(stage.reach))
    return reaches


class TwinGradient:
    """Collects the gradients of background cells at the boundaries of a twin."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self._sums: dict[int, Tensor] = {}  # by number of stages run: (cells, N, C)

    def take(
        self, stop: int, gradient: Tensor, first_row: int, touched_hw: Mask | None = None
    ) -> int:
        """Add up the background cells' part of some rows (N, C, h, w).

        Args:
            stop: number of stages up to the boundary.
            gradient: at these rows.
            first_row: where the rows lie in the boundary.
            touched_hw: where the boundary has a gradient at all; everywhere unless given.

        Returns:
            The number of cells taken.
        """
        twin = self._twin
        rows = slice(first_row, first_row + gradient.shape[2])
        cells = twin.pure[stop][rows]
        y, x = np.nonzero(cells if touched_hw is None else cells & touched_hw[rows])
        if not len(y):
            return 0
        to = twin.rows[stop][rows][y] * twin.outputs[stop].shape[3] + twin.columns[stop][x]
        at_y = torch.from_numpy(y).to(gradient.device)
        at_x = torch.from_numpy(x).to(gradient.device)
        nhwc = gradient.permute(0, 2, 3, 1)
        taken = nhwc[:, at_y, at_x].transpose(0, 1)  # (cells, N, C)
        sums = self._sums_at(stop)
        sums.index_add_(0, torch.from_numpy(to).to(sums.device), taken.to(sums.device, sums.dtype))
        return len(y)

    def _sums_at(self, stop: int) -> Tensor:
        if stop not in self._sums:
            out = self._twin.outputs[stop]
            n, c, h, w = out.shape
            accumulator = torch.float64 if out.dtype == torch.float64 else torch.float32
            self._sums[stop] = torch.zeros((h * w, n, c), dtype=accumulator, device=out.device)
        return self._sums[stop]

    def backward(self, network: StagedNetwork, run: RunOptions) -> None:
        """Send all sums through the twin at once, adding to the parameters' gradients."""
        outputs, gradients, cells = [], [], self._twin.image
        with torch.enable_grad(), autocast(run):
            for index, stage in enumerate(network.stage_list[: max(self._sums, default=0)]):
                cells = stage(cells)
                sums = self._sums.get(index + 1)
                if sums is not None:
                    n, c, h, w = cells.shape
                    outputs.append(cells)
                    gradients.append(sums.view(h, w, n, c).permute(2, 3, 0, 1).to(cells.dtype))
        if outputs:
            torch.autograd.backward(outputs, gradients)
