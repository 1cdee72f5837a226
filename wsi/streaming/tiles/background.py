"""Exact activations and gradients of constant background, computed once.

A position whose receptive field contains background alone has an activation, and a linear map from
its gradient to the parameters' gradients, that depend only on where its receptive field lies
relative to the image's borders. A small image of background alone, the *background reference*, has
a position of each such kind. In forward, background positions of every group output are copied from
the reference; in backward, their gradients are summed at the corresponding positions of the
reference and propagated through it once. Backward is linear in the incoming gradient, so this is
exact.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wsi.networks.receptive_field import ReceptiveField
from wsi.networks.staged import StagedNetwork
from wsi.streaming.api import RunOptions, autocast, to_device
from wsi.streaming.image_source import BackgroundSource, ImageSource

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

SQUARE_PX = 32
"""Side of the squares for which a source is asked about background."""
_QUERY_PX = (1024, 128, SQUARE_PX)


def background_grid(source: ImageSource) -> Mask | None:
    """Which squares of SQUARE_PX are background: (rows, columns); ``None`` if none is known."""
    if not isinstance(source, BackgroundSource):
        return None
    height, width = source.size
    grid = np.zeros((-(-height // SQUARE_PX), -(-width // SQUARE_PX)), dtype=bool)

    def query(y0: int, x0: int, level: int) -> None:
        side = _QUERY_PX[level]
        h, w = min(side, height - y0), min(side, width - x0)
        if source.background(y0, x0, h, w):
            y, x, positions = y0 // SQUARE_PX, x0 // SQUARE_PX, side // SQUARE_PX
            grid[y : y + positions, x : x + positions] = True
        elif level + 1 < len(_QUERY_PX):
            step = _QUERY_PX[level + 1]
            for y in range(y0, y0 + h, step):
                for x in range(x0, x0 + w, step):
                    query(y, x, level + 1)

    for y in range(0, height, _QUERY_PX[0]):
        for x in range(0, width, _QUERY_PX[0]):
            query(y, x, 0)
    return grid if grid.any() else None


def _bounds(receptive_field: ReceptiveField, positions: int, size: int) -> tuple[Indices, Indices]:
    """First and last grid square under each receptive field, clipped to the image."""
    at = np.arange(positions) * receptive_field.stride
    first = np.maximum(at - receptive_field.before, 0) // SQUARE_PX
    last = np.minimum(at + receptive_field.after, size - 1) // SQUARE_PX
    return first, last


def background_only_positions(
    grid: Mask, receptive_field: ReceptiveField, size: tuple[int, int]
) -> Mask:
    """Positions of a feature map (h, w) that depend on background alone.

    Args:
        grid: background squares of the image.
        receptive_field: of the feature map, in the image.
        size: of the image.
    """
    table = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1), dtype=np.int64)
    table[1:, 1:] = (~grid).cumsum(0).cumsum(1)
    y0, y1 = _bounds(receptive_field, receptive_field.out_size(size[0]), size[0])
    x0, x1 = _bounds(receptive_field, receptive_field.out_size(size[1]), size[1])
    top, bottom = table[y0], table[y1 + 1]
    tissue = bottom[:, x1 + 1] - top[:, x1 + 1] - bottom[:, x0] + top[:, x0]
    background_only: Mask = tissue == 0
    return background_only


def reference_size(receptive_field: ReceptiveField, size: int) -> int:
    """Side of the reference: every kind of position, the same phase at the far border."""
    enough = receptive_field.before + receptive_field.after + 1 + 4 * receptive_field.stride
    # Room for positions that touch neither border, at any phase.
    enough += (
        receptive_field.before % receptive_field.stride
        + receptive_field.after % receptive_field.stride
    )
    return enough + (size - enough) % receptive_field.stride


def reference_shape(
    receptive_field: ReceptiveField, size: tuple[int, int]
) -> tuple[int, int] | None:
    """Height and width of the reference; ``None`` where the image is not much larger.

    Args:
        receptive_field: of the last tiled group's output, in the image.
        size: of the image.
    """
    height, width = (reference_size(receptive_field, side) for side in size)
    if height > size[0] or width > size[1] or 2 * height * width > size[0] * size[1]:
        return None
    return height, width


def reference_positions(receptive_field: ReceptiveField, size: int, reference: int) -> Indices:
    """For each position along an axis, the position of the same kind in the reference."""
    positions, in_reference = receptive_field.out_size(size), receptive_field.out_size(reference)
    at = np.arange(positions)
    low = at * receptive_field.stride - receptive_field.before < 0
    high = at * receptive_field.stride + receptive_field.after >= size
    middle = -(-receptive_field.before // receptive_field.stride)
    return np.where(
        low, np.minimum(at, in_reference - 1), np.where(high, at - positions + in_reference, middle)
    )


def nonzero_positions(gradient: Tensor) -> Mask:
    """Where any channel of any sample has a gradient: (h, w)."""
    mask: Mask = (gradient != 0).any(1).any(0).cpu().numpy()
    return mask


@dataclass
class BackgroundReference:
    """A small image of background and its activations.

    Attributes:
        image: (N, 3, H', W') on the device.
        outputs: by number of stages run, the reference's activation there (N, C, h', w').
        background_only: by number of stages run, the positions of the slide's feature map that
            depend on background alone.
        rows, columns: by number of stages run, the reference's row or column for each of the
            slide's.
    """

    image: Tensor
    outputs: dict[int, Tensor]
    background_only: dict[int, Mask]
    rows: dict[int, Indices]
    columns: dict[int, Indices]

    def activations(self, stage: int, rows: slice, columns: slice) -> Tensor:
        """The background's activation in a rectangle of a feature map: (N, C, h, w)."""
        out = self.outputs[stage]
        n, c, _, width = out.shape
        y, x = self.rows[stage][rows], self.columns[stage][columns]
        at = torch.from_numpy((y[:, None] * width + x).ravel()).to(out.device)
        # All channels of a position are contiguous and copied together.
        positions = out.permute(0, 2, 3, 1).reshape(n, -1, c).index_select(1, at)
        return positions.view(n, len(y), len(x), c).permute(0, 3, 1, 2)


def build_background_reference(
    network: StagedNetwork, source: ImageSource, run: RunOptions, stops: list[int]
) -> BackgroundReference | None:
    """The background reference for the feature maps after each number of stages in ``stops``.

    Returns ``None`` where the source knows no background, the image is not much larger than the
    reference, or no position of the last feature map depends on background alone.
    """
    grid = background_grid(source)
    if grid is None:
        return None
    height, width = source.size
    receptive_fields = _receptive_fields(network)
    # Every feature map's stride divides the last one's, so one reference serves them all.
    shape = reference_shape(receptive_fields[max(stops)], source.size)
    if shape is None:
        return None
    reference_h, reference_w = shape
    background_only = {
        stop: background_only_positions(grid, receptive_fields[stop], source.size) for stop in stops
    }
    if not background_only[max(stops)].any():
        return None
    y, x = (int(i[0]) for i in np.nonzero(grid))
    colour = source.read(y * SQUARE_PX, x * SQUARE_PX, 1, 1)
    image = to_device(colour.expand(-1, -1, reference_h, reference_w), network, run)
    outputs = {}
    with torch.inference_mode(), autocast(run):
        positions = image
        for index, stage in enumerate(network.stage_list[: max(stops)]):
            positions = stage(positions)
            if index + 1 in background_only:
                outputs[index + 1] = positions
    return BackgroundReference(
        image,
        outputs,
        background_only,
        {stop: reference_positions(receptive_fields[stop], height, reference_h) for stop in stops},
        {stop: reference_positions(receptive_fields[stop], width, reference_w) for stop in stops},
    )


def _receptive_fields(network: StagedNetwork) -> list[ReceptiveField]:
    """The receptive field, in the image, after 0, 1, 2, ... stages."""
    receptive_fields = [ReceptiveField()]
    for stage in network.stage_list:
        receptive_fields.append(receptive_fields[-1].then(stage.receptive_field))
    return receptive_fields


class BackgroundGradient:
    """Sums the gradients of background positions at the positions of the reference."""

    def __init__(self, reference: BackgroundReference) -> None:
        self._twin = reference
        self._sums: dict[int, Tensor] = {}  # by number of stages run: (positions, N, C)

    def add(
        self, stop: int, gradient: Tensor, first_row: int, touched_hw: Mask | None = None
    ) -> int:
        """Add the gradients of the background positions in some rows (N, C, h, w).

        Args:
            stop: number of stages up to the boundary.
            gradient: at these rows.
            first_row: of these rows in the feature map.
            touched_hw: where the feature map has a gradient at all; ``None`` for everywhere.

        Returns:
            The number of background positions with a gradient.
        """
        reference = self._twin
        rows = slice(first_row, first_row + gradient.shape[2])
        positions = reference.background_only[stop][rows]
        y, x = np.nonzero(positions if touched_hw is None else positions & touched_hw[rows])
        if not len(y):
            return 0
        to = (
            reference.rows[stop][rows][y] * reference.outputs[stop].shape[3]
            + reference.columns[stop][x]
        )
        at_y = torch.from_numpy(y).to(gradient.device)
        at_x = torch.from_numpy(x).to(gradient.device)
        nhwc = gradient.permute(0, 2, 3, 1)
        taken = nhwc[:, at_y, at_x].transpose(0, 1)  # (positions, N, C)
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
        """Propagate all sums through the reference at once; adds to the parameters' gradients."""
        outputs, gradients, positions = [], [], self._twin.image
        with torch.enable_grad(), autocast(run):
            for index, stage in enumerate(network.stage_list[: max(self._sums, default=0)]):
                positions = stage(positions)
                sums = self._sums.get(index + 1)
                if sums is not None:
                    n, c, h, w = positions.shape
                    outputs.append(positions)
                    gradients.append(sums.view(h, w, n, c).permute(2, 3, 0, 1).to(positions.dtype))
        if outputs:
            torch.autograd.backward(outputs, gradients)
