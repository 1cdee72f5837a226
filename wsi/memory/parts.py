"""Which parts of a slide run, and which parts' graphs wait for backward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from wsi.memory.background import Mask, Twin
from wsi.memory.cover import cover
from wsi.memory.network import StagedNetwork
from wsi.memory.source import ImageSource, Rect
from wsi.memory.tiling import Group, GroupRunner

Parts = list[Rect]
"""The disjoint parts of a group's output that run on one image."""


def tile_parts(runner: GroupRunner, tile_px: int | None, pure: Mask | None) -> Parts:
    """A group's tiles, or the parts that hold its cells with tissue.

    The largest comes first: the smaller ones then fit into the memory that it leaves, where tiles
    of rising size would leave holes in the heap.

    Args:
        runner: of the group.
        tile_px: side of a tile in image pixels.
        pure: cells of the output that see background alone (h, w); ``None`` where none is known.
    """
    if pure is None:
        return runner.out_tiles(tile_px)
    return sorted(cover(runner, ~pure, tile_px), key=lambda part: -part.area)


def needed_cells(runner: GroupRunner, parts: Parts) -> Mask:
    """The cells of a group's input (h, w) that its parts read."""
    needed = np.zeros(runner.in_size, dtype=bool)
    for part in parts:
        needed[runner.needed(part).relative_to(0, 0)] = True
    return needed


class KeptGraphs:
    """Tiles whose graphs are kept from forward to backward, so that they need no replay.

    Backward begins where forward ended: tiles of the last groups are chosen first. Their graphs
    are gone before the first groups, the largest, are replayed.
    """

    def __init__(self) -> None:
        self._chosen: set[tuple[int, Rect]] = set()
        self._graphs: dict[tuple[int, Rect], tuple[Tensor, Tensor]] = {}

    def choose(
        self,
        parts: Sequence[Parts],
        bytes_of: Callable[[int, Rect], float],
        budget: float,
        first: int,
    ) -> None:
        """Choose tiles from the last backwards, those that fit.

        Args:
            parts: of each group.
            bytes_of: what the graph of a group's part holds.
            budget: bytes for all graphs together.
            first: the first group with a parameter that learns: none before it needs a graph.
        """
        for index in reversed(range(first, len(parts))):
            for part in reversed(parts[index]):
                need = bytes_of(index, part)
                if need <= budget:
                    budget -= need
                    self._chosen.add((index, part))

    def wants(self, index: int, part: Rect) -> bool:
        """Whether this part of a group was chosen."""
        return (index, part) in self._chosen

    def all_of(self, index: int, parts: Parts) -> bool:
        """Whether every part of a group was chosen: then its input is not read again."""
        return all((index, part) in self._chosen for part in parts)

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

    def background_tiles(self, index: int) -> int:
        """How many of a group's tiles see background alone."""
        if self.twin is None:
            return 0
        pure = self.twin.pure[self.groups[index].stop]
        tiles = self.runners[index].out_tiles(self.groups[index].tile_px)
        return sum(bool(pure[tile.relative_to(0, 0)].all()) for tile in tiles)

    def spared_cells(self) -> float:
        """Numbers that a plan counts for boundaries and that their background never takes.

        As a group is replayed there are the activations up to its output and the gradient below
        it. The least of all groups but the first, whose replay no other group's graph sees.
        """
        spared = [self._untouched(index) for index in range(len(self.groups))]
        during = [sum(spared[: at + 1]) + spared[at - 1] for at in range(1, len(spared))]
        return min(during, default=0.0)

    def _untouched(self, index: int) -> float:
        """Numbers in the boundary after a group that nobody writes: background without a reader."""
        if self.twin is None or index + 1 == len(self.groups):
            return 0.0  # the head reads all of the last one
        touched = needed_cells(self.runners[index + 1], self.parts[index + 1])
        for part in self.parts[index]:
            touched[part.relative_to(0, 0)] = True
        channels = self.runners[index].stages[-1].channels
        return float((~touched).sum()) * channels * self.source.batch
