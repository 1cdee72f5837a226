"""Rectangles that cover the tissue of a slide with little else, halo counted."""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from wsi.networks.receptive_field import Reach
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
    """The smallest rectangle that holds the wanted cells (h, w) of a tile, or ``None``."""
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
    """Disjoint rectangles of a group's output that hold every wanted cell.

    A grid of squares, each a sixth of a tile wide, is split again and again by straight cuts from
    edge to edge; every piece shrinks to the wanted cells in it. Of all such splits the one is
    taken whose stages work on the fewest cells, own and halo: dynamic programming over the
    rectangles of squares. Slides of many tiles are covered in parts of four tiles a side.

    Args:
        runner: of the group.
        wanted: cells of its output (h, w).
        tile_px: no rectangle reads more than a tile of this side, in image pixels, does; ``None``
            for no limit.

    Returns:
        The rectangles, in no particular order; none where nothing is wanted.
    """
    if tile_px is None:
        square, limit = math.ceil(max(wanted.shape) / _SQUARES_AT_ONCE), math.inf
    else:
        side = max(1, tile_px // runner.stride_px)
        square, limit = max(1, side // _SQUARES_A_TILE), float(_read(runner.reach, side) ** 2)
    part = square * _SQUARES_AT_ONCE
    parts = []
    for y, x in product(range(0, wanted.shape[0], part), range(0, wanted.shape[1], part)):
        inside = wanted[y : y + part, x : x + part]
        if inside.any():
            shape = tuple(math.ceil(min(side, part) / square) for side in wanted.shape)
            parts.append(_squares(inside, (y, x), square, shape))
    found = []
    for first in range(0, len(parts), _PARTS_AT_ONCE):
        some = parts[first : first + _PARTS_AT_ONCE]
        splits = _Splits(runner, np.stack(some), square, limit)
        found += [rect for index in range(len(some)) for rect in splits.best(index)]
    return found


def _read(reach: Reach, cells: int) -> int:
    """Input cells along an axis that ``cells`` output cells far from the borders read."""
    return (cells - 1) * reach.stride + reach.before + reach.after + 1


@dataclass(frozen=True, slots=True)
class _Boxes:
    """The smallest box around the wanted cells of each rectangle of squares of one shape."""

    y0: Ints
    x0: Ints
    y1: Ints
    x1: Ints

    @property
    def empty(self) -> npt.NDArray[np.bool_]:
        return self.y1 < 0

    def around(self, other: "_Boxes", a: Any, b: Any) -> "_Boxes":
        """Boxes that hold this one's at ``a`` and the other's at ``b``."""
        return _Boxes(
            np.minimum(self.y0[a], other.y0[b]),
            np.minimum(self.x0[a], other.x0[b]),
            np.maximum(self.y1[a], other.y1[b]),
            np.maximum(self.x1[a], other.x1[b]),
        )


class _Splits:
    """The best split of every rectangle of squares of some parts of a boundary.

    Tables are kept by the rectangles' height and width in squares; each has an entry for every
    part and every place (row, column) in it where such a rectangle fits.

    Args:
        runner: of the group.
        boxes: around the wanted cells of each square: (parts, 4, rows, columns).
        square: side of a square in cells.
        limit: most cells that a rectangle reads.
    """

    def __init__(self, runner: GroupRunner, boxes: Ints, square: int, limit: float) -> None:
        self._runner = runner
        self._halo_worked = runner.halo_worked
        self._limit = limit
        self._fixed = _COST_OF_A_TILE * _read(runner.reach, square * _SQUARES_A_TILE) ** 2
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
            boxes = self._boxes[h, w - 1].around(self._boxes[h, 1], left, right)
        elif h > 1:
            above, below = np.s_[:, :rows], np.s_[:, h - 1 :]
            boxes = self._boxes[h - 1, 1].around(self._boxes[1, 1], above, below)
        else:
            boxes = self._boxes[1, 1]
        rows_read, rows_worked = self._lengths(boxes.y0, boxes.y1, 0)
        columns_read, columns_worked = self._lengths(boxes.x0, boxes.x1, 1)
        too_large = (rows_read * columns_read > self._limit) & (h * w > 1)
        work = rows_worked * columns_worked + self._fixed
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
        """Input cells along an axis that output cells [first, stop) read, and that stages work on.

        The second is an average over the stages, as if no tile touched the border.
        """
        reach = self._runner.reach
        low = np.maximum(first * reach.stride - reach.before, 0)
        high = (stop - 1) * reach.stride + reach.after + 1
        read: Ints = np.minimum(high, self._runner.in_size[axis]) - low
        own = (stop - first) * reach.stride
        return read, own + self._halo_worked * (read - own)

    def best(self, part: int) -> list[Rect]:
        """The rectangles of the best split of a whole part."""
        found, todo = [], [(0, 0, self._rows, self._columns)]
        while todo:
            y, x, h, w = todo.pop()
            cut = int(self._cut[h, w][part, y, x])
            boxes = self._boxes[h, w]
            if cut > 0:
                todo += [(y, x, cut, w), (y + cut, x, h - cut, w)]
            elif cut < 0:
                todo += [(y, x, h, -cut), (y, x - cut, h, w + cut)]
            elif not boxes.empty[part, y, x]:
                edges = (boxes.y0, boxes.x0, boxes.y1, boxes.x1)
                found.append(Rect(*(int(edge[part, y, x]) for edge in edges)))
        return found


def _squares(wanted: Mask, corner: tuple[int, int], square: int, shape: tuple[int, ...]) -> Ints:
    """The box (y0, x0, y1, x1) of each square, in cells of the boundary: (4, *shape)."""
    far = 2**40  # beyond every cell, and its place in the image still an int64
    boxes = np.empty((4, *shape), dtype=np.int64)
    boxes[:2], boxes[2:] = far, -1
    for row, column in product(*(range(math.ceil(side / square)) for side in wanted.shape)):
        y, x = row * square, column * square
        cells = wanted[y : y + square, x : x + square]
        box = bounding(cells, Rect(y, x, y + cells.shape[0], x + cells.shape[1]))
        if box is not None:
            top, left = corner
            at = (box.y0 + top, box.x0 + left, box.y1 + top, box.x1 + left)
            boxes[:, row, column] = at
    return boxes
