"""Rectangles that cover the tissue of a slide at the least cost, halo included."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from wsi.networks.receptive_field import ReceptiveField
from wsi.streaming.image_source import Rect
from wsi.streaming.tiles.background import Mask
from wsi.streaming.tiles.tiling import GroupRunner

_SQUARES_A_TILE = 6
_SQUARES_AT_ONCE = 24
_PARTS_AT_ONCE = 8
_COST_OF_A_TILE = 0.02

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def bounding(wanted: Mask, tile: Rect) -> Rect | None:
    """The bounding box of the wanted positions (h, w) of a tile, or ``None``."""
    rows, columns = np.flatnonzero(wanted.any(1)), np.flatnonzero(wanted.any(0))
    if not len(rows):
        return None
    return Rect(
        tile.y0 + int(rows[0]),
        tile.x0 + int(columns[0]),
        tile.y0 + int(rows[-1]) + 1,
        tile.x0 + int(columns[-1]) + 1,
    )


def cover(runner: GroupRunner, wanted: Mask, tile_px: int | None) -> list[Rect]:
    """Disjoint rectangles of a group's output that contain every wanted position.

    A grid of squares, each a sixth of a tile wide, is split recursively by straight cuts from edge
    to edge, and each rectangle shrinks to the bounding box of its wanted positions. Dynamic
    programming over the rectangles of squares finds the split whose stages compute the fewest
    positions, halo included. Slides of many tiles are covered in chunks of four tiles per side.

    Args:
        runner: of the group.
        wanted: positions of its output (h, w).
        tile_px: no rectangle has a larger input than a tile of this side, in image pixels;
            ``None`` for no limit.

    Returns:
        The rectangles, in no particular order; none if nothing is wanted.
    """
    if tile_px is None:
        square, limit = math.ceil(max(wanted.shape) / _SQUARES_AT_ONCE), math.inf
    else:
        side = max(1, tile_px // runner.stride_px)
        square, limit = (
            max(1, side // _SQUARES_A_TILE),
            float(_read(runner.receptive_field, side) ** 2),
        )
    chunk = square * _SQUARES_AT_ONCE
    chunks = []
    for y, x in product(range(0, wanted.shape[0], chunk), range(0, wanted.shape[1], chunk)):
        inside = wanted[y : y + chunk, x : x + chunk]
        if inside.any():
            shape = tuple(math.ceil(min(side, chunk) / square) for side in wanted.shape)
            chunks.append(_squares(inside, (y, x), square, shape))
    found = []
    for first in range(0, len(chunks), _PARTS_AT_ONCE):
        some = chunks[first : first + _PARTS_AT_ONCE]
        splits = _Splits(runner, np.stack(some), square, limit)
        found += [rect for index in range(len(some)) for rect in splits.best(index)]
    return found


def _read(receptive_field: ReceptiveField, positions: int) -> int:
    """Input size along an axis for ``positions`` outputs far from the borders."""
    return (
        (positions - 1) * receptive_field.stride
        + receptive_field.before
        + receptive_field.after
        + 1
    )


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Bounding boxes of the wanted positions in each rectangle of squares of one shape."""

    y0: Ints
    x0: Ints
    y1: Ints
    x1: Ints

    @property
    def empty(self) -> npt.NDArray[np.bool_]:
        return self.y1 < 0

    def union(self, other: "_Boxes", a: Any, b: Any) -> "_Boxes":
        """Unions of this one's boxes at ``a`` and the other's at ``b``."""
        return _Boxes(
            np.minimum(self.y0[a], other.y0[b]),
            np.minimum(self.x0[a], other.x0[b]),
            np.maximum(self.y1[a], other.y1[b]),
            np.maximum(self.x1[a], other.x1[b]),
        )


class _Splits:
    """The best split of every rectangle of squares, for some chunks of a feature map.

    Tables are indexed by the rectangles' height and width in squares; each has an entry for every
    chunk and every place (row, column) in it where such a rectangle fits.

    Args:
        runner: of the group.
        boxes: around the wanted positions of each square: (chunks, 4, rows, columns).
        square: side of a square in positions.
        limit: largest input of a rectangle, in positions.
    """

    def __init__(self, runner: GroupRunner, boxes: Ints, square: int, limit: float) -> None:
        self._runner = runner
        self._mean_halo_fraction = runner.mean_halo_fraction
        self._limit = limit
        self._fixed = _COST_OF_A_TILE * _read(runner.receptive_field, square * _SQUARES_A_TILE) ** 2
        self._rows, self._columns = boxes.shape[2:]
        self._boxes = {(1, 1): _Boxes(*boxes.swapaxes(0, 1))}
        self._cost: dict[tuple[int, int], Floats] = {}
        self._cut: dict[tuple[int, int], Ints] = {}  # rows above it, or minus columns left of it
        for h, w in product(range(1, self._rows + 1), range(1, self._columns + 1)):
            self._solve(h, w)

    def _solve(self, h: int, w: int) -> None:
        rows, columns = self._rows - h + 1, self._columns - w + 1
        if w > 1:
            left, right = np.s_[..., :columns], np.s_[..., w - 1 :]
            boxes = self._boxes[h, w - 1].union(self._boxes[h, 1], left, right)
        elif h > 1:
            above, below = np.s_[:, :rows], np.s_[:, h - 1 :]
            boxes = self._boxes[h - 1, 1].union(self._boxes[1, 1], above, below)
        else:
            boxes = self._boxes[1, 1]
        rows_read, rows_computed = self._lengths(boxes.y0, boxes.y1, 0)
        columns_read, columns_computed = self._lengths(boxes.x0, boxes.x1, 1)
        too_large = (rows_read * columns_read > self._limit) & (h * w > 1)
        work = rows_computed * columns_computed + self._fixed
        cost = np.where(boxes.empty, 0, np.where(too_large, np.inf, work))
        cut = np.zeros_like(boxes.y0)
        for at in range(1, h):
            split = self._cost[at, w][:, :rows] + self._cost[h - at, w][:, at:]
            cut[split < cost] = at
            np.minimum(split, cost, out=cost)
        for at in range(1, w):
            split = self._cost[h, at][..., :columns] + self._cost[h, w - at][..., at:]
            cut[split < cost] = -at
            np.minimum(split, cost, out=cost)
        self._boxes[h, w], self._cost[h, w], self._cut[h, w] = boxes, cost, cut

    def _lengths(self, first: Ints, stop: Ints, axis: int) -> tuple[Ints, Floats]:
        """Input size along an axis for outputs [first, stop), and the size that stages compute.

        The second is an average over the stages, for a tile that touches no border.
        """
        receptive_field = self._runner.receptive_field
        low = np.maximum(first * receptive_field.stride - receptive_field.before, 0)
        high = (stop - 1) * receptive_field.stride + receptive_field.after + 1
        read: Ints = np.minimum(high, self._runner.in_size[axis]) - low
        own = (stop - first) * receptive_field.stride
        return read, own + self._mean_halo_fraction * (read - own)

    def best(self, chunk: int) -> list[Rect]:
        """The rectangles of the best split of a whole chunk."""
        found, pending = [], [(0, 0, self._rows, self._columns)]
        while pending:
            y, x, h, w = pending.pop()
            cut = int(self._cut[h, w][chunk, y, x])
            boxes = self._boxes[h, w]
            if cut > 0:
                pending += [(y, x, cut, w), (y + cut, x, h - cut, w)]
            elif cut < 0:
                pending += [(y, x, h, -cut), (y, x - cut, h, w + cut)]
            elif not boxes.empty[chunk, y, x]:
                edges = (boxes.y0, boxes.x0, boxes.y1, boxes.x1)
                found.append(Rect(*(int(edge[chunk, y, x]) for edge in edges)))
        return found


def _squares(wanted: Mask, corner: tuple[int, int], square: int, shape: tuple[int, ...]) -> Ints:
    """The box (y0, x0, y1, x1) of each square, in positions of the feature map: (4, *shape)."""
    far = 2**40  # beyond every position; in image pixels it is still an int64
    boxes = np.empty((4, *shape), dtype=np.int64)
    boxes[:2], boxes[2:] = far, -1
    for row, column in product(*(range(math.ceil(side / square)) for side in wanted.shape)):
        y, x = row * square, column * square
        positions = wanted[y : y + square, x : x + square]
        box = bounding(positions, Rect(y, x, y + positions.shape[0], x + positions.shape[1]))
        if box is not None:
            top, left = corner
            at = (box.y0 + top, box.x0 + left, box.y1 + top, box.x1 + left)
            boxes[:, row, column] = at
    return boxes
