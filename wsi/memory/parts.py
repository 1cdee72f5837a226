"""Which part of each tile runs on one image, and which tiles' graphs wait for backward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from wsi.memory.background import Mask, Twin
from wsi.memory.network import StagedNetwork
from wsi.memory.source import ImageSource, Rect
from wsi.memory.tiling import Group, GroupRunner

Parts = list[tuple[Rect, Rect | None]]
"""Each tile of a group's output, and the part of it that runs; ``None`` for nothing."""


def tile_parts(runner: GroupRunner, tile_px: int | None, pure: Mask | None) -> Parts:
    """A group's tiles, each with the smallest rectangle that holds its cells with tissue.

    The largest comes first: the smaller ones then fit into the memory that it leaves, where tiles
    of rising size would leave holes in the heap.

    Args:
        runner: of the group.
        tile_px: side of a tile in image pixels.
        pure: cells of the output that see background alone (h, w); ``None`` where none is known.
    """
    tiles = runner.out_tiles(tile_px)
    if pure is None:
        return [(tile, tile) for tile in tiles]
    parts = [(tile, bounding(~pure[tile.relative_to(0, 0)], tile)) for tile in tiles]
    return sorted(parts, key=lambda both: 0 if both[1] is None else -both[1].area)


def needed_cells(runner: GroupRunner, parts: Parts) -> Mask:
    """The cells of a group's input (h, w) that its parts read."""
    needed = np.zeros(runner.in_size, dtype=bool)
    for _, part in parts:
        if part is not None:
            needed[runner.needed(part).relative_to(0, 0)] = True
    return needed


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


class KeptGraphs:
    """Tiles whose graphs are kept from forward to backward, so that they need no replay.

    Backward begins where forward ended: the last tiles of the last groups are chosen, as many as
    fit. Their graphs are gone before the first groups, the largest, are replayed.
    """

    def __init__(self) -> None:
        self._chosen: set[tuple[int, Rect]] = set()
        self._graphs: dict[tuple[int, Rect], tuple[Tensor, Tensor]] = {}

    def choose(
        self, parts: Sequence[Parts], bytes_of: Callable[[int, Rect], int], budget: int, first: int
    ) -> None:
        """Choose tiles from the last backwards until one does not fit.

        Args:
            parts: of each group.
            bytes_of: what the graph of a group's part holds.
            budget: bytes for all graphs together.
            first: the first group with a parameter that learns: none before it needs a graph.
        """
        for index in reversed(range(first, len(parts))):
            for _, part in reversed(parts[index]):
                if part is None:
                    continue
                budget -= bytes_of(index, part)
                if budget < 0:
                    return
                self._chosen.add((index, part))

    def wants(self, index: int, part: Rect) -> bool:
        """Whether this part of a group was chosen."""
        return (index, part) in self._chosen

    def all_of(self, index: int, parts: Parts) -> bool:
        """Whether every part of a group was chosen: then its input is not read again."""
        return all(part is None or (index, part) in self._chosen for _, part in parts)

    def put(self, index: int, part: Rect, cells: Tensor, result: Tensor) -> None:
        """Keep a tile's input (a leaf) and its result, which has a graph."""
        self._graphs[index, part] = cells, result

    def take(self, index: int, part: Rect) -> tuple[Tensor, Tensor] | None:
        """A tile's input and result, forgotten here; ``None`` where they were not kept."""
        return self._graphs.pop((index, part), None)

    def drop(self, index: int) -> None:
        """Forget what is left of a group: tiles that no gradient reached."""
        for key in [key for key in self._graphs if key[0] == index]:
            del self._graphs[key]


@dataclass(slots=True)
class Pass:
    """What one call over one image works with."""

    network: StagedNetwork
    source: ImageSource
    groups: tuple[Group, ...]
    runners: list[GroupRunner]
    parts: list[Parts]
    twin: Twin | None
    flops: list[int]
    tail_flop: int
    total_flop: int
    done_flop: float = 0.0
    kept: KeptGraphs = field(default_factory=KeptGraphs)
    counters: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "tiles_forward",
                "tiles_background",
                "tiles_backward",
                "tiles_kept",
                "tiles_zero_gradient",
                "cells_background",
                "cells_background_gradient",
            ),
            0,
        )
    )
