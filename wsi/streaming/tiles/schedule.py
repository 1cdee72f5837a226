"""Which parts of a slide run, and what they hold."""

import math
from dataclasses import dataclass, field

import numpy as np

from wsi.networks.staged import StagedNetwork
from wsi.streaming.image_source import ImageSource, Rect
from wsi.streaming.tiles.background import Mask, Twin, TwinGradient
from wsi.streaming.tiles.cover import cover
from wsi.streaming.tiles.saved_tiles import KeptTiles
from wsi.streaming.tiles.tiling import Group, GroupRunner

Parts = list[Rect]
"""The disjoint parts of a group's output that run on one image."""


def tile_parts(runner: GroupRunner, tile_px: int | None, pure: Mask | None) -> Parts:
    """A group's tiles, or the parts that hold its cells with tissue.

    The one that reads the most comes first: the others then fit into the memory that it leaves,
    where tiles of rising size would leave holes in the heap.

    Args:
        runner: of the group.
        tile_px: side of a tile in image pixels.
        pure: cells of the output that see background alone (h, w); ``None`` where none is known.
    """
    parts = runner.out_tiles(tile_px) if pure is None else cover(runner, ~pure, tile_px)
    return sorted(parts, key=lambda part: -runner.needed(part).area)


def needed_cells(runner: GroupRunner, parts: Parts) -> Mask:
    """The cells of a group's input (h, w) that its parts read."""
    needed = np.zeros(runner.in_size, dtype=bool)
    for part in parts:
        needed[runner.needed(part).relative_to(0, 0)] = True
    return needed


@dataclass(slots=True)
class Pass:
    """What one call over one image works with.

    Attributes:
        background: collects its gradients, in an update of a slide that has some.
    """

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
    background: TwinGradient | None = None
    kept: KeptTiles = field(default_factory=KeptTiles)
    counters: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "tiles_forward",
                "tiles_background",
                "tiles_backward",
                "tiles_kept",
                "tiles_narrow",
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

    def held_cells(self, index: int) -> float:
        """Numbers in the boundary after a group, without the background that nobody reads."""
        runner = self.runners[index]
        held = math.prod(runner.out_size)
        if self.twin is not None and index + 1 < len(self.groups):  # the head reads all of the last
            touched = needed_cells(self.runners[index + 1], self.parts[index + 1])
            for part in self.parts[index]:
                touched[part.relative_to(0, 0)] = True
            held = int(touched.sum())
        return float(held) * runner.stages[-1].channels * self.source.batch
