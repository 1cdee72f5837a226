"""Which tiles of an image run, and the state of one call over them."""

import math
from dataclasses import dataclass, field

import numpy as np

from wsi.networks.staged import StagedNetwork
from wsi.streaming.image_source import ImageSource, Rect
from wsi.streaming.tiles.background import BackgroundGradient, BackgroundReference, Mask
from wsi.streaming.tiles.cover import cover
from wsi.streaming.tiles.saved_tiles import SavedTiles
from wsi.streaming.tiles.tiling import Group, GroupRunner

OutputTiles = list[Rect]
"""Disjoint rectangles of a group's output that are computed for one image."""


def output_tiles(
    runner: GroupRunner, tile_px: int | None, background_only: Mask | None
) -> OutputTiles:
    """A regular grid of tiles, or rectangles that cover the tissue if background is known.

    The tile with the largest input comes first: the others then fit into the memory that it frees,
    where tiles of increasing size would fragment the heap.

    Args:
        runner: of the group.
        tile_px: side of a tile in image pixels.
        background_only: output positions that depend on background alone (h, w); ``None`` if no
            background is known.
    """
    tiles = (
        runner.out_tiles(tile_px)
        if background_only is None
        else cover(runner, ~background_only, tile_px)
    )
    return sorted(tiles, key=lambda tile: -runner.needed(tile).area)


def needed_positions(runner: GroupRunner, tiles: OutputTiles) -> Mask:
    """The positions of a group's input (h, w) that its tiles read."""
    needed = np.zeros(runner.in_size, dtype=bool)
    for tile in tiles:
        needed[runner.needed(tile).relative_to(0, 0)] = True
    return needed


@dataclass(slots=True)
class TiledPass:
    """State of one call, ``infer`` or ``step``, over one image.

    Attributes:
        network, source: of the call.
        groups, runners, tiles: the tiled groups, first to last.
        reference: activations of constant background; ``None`` where none is used.
        flops, tail_flop, total_flop: of the groups, of the in-core stages and of the whole call.
        done_flop: finished so far, for progress.
        background: collects the gradients of background positions in an update.
        saved: what tiles save from forward to backward.
        counters: reported in ``Measured``.
    """

    network: StagedNetwork
    source: ImageSource
    groups: tuple[Group, ...]
    runners: list[GroupRunner]
    tiles: list[OutputTiles]
    reference: BackgroundReference | None
    flops: list[int]
    tail_flop: int
    total_flop: int
    done_flop: float = 0.0
    background: BackgroundGradient | None = None
    saved: SavedTiles = field(default_factory=SavedTiles)
    counters: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "tiles_forward",
                "tiles_background",
                "tiles_backward",
                "tiles_saved",
                "tiles_bottleneck",
                "tiles_zero_gradient",
                "positions_background",
                "positions_background_gradient",
            ),
            0,
        )
    )

    def background_tiles(self, index: int) -> int:
        """How many tiles of a group's regular grid depend on background alone."""
        if self.reference is None:
            return 0
        background_only = self.reference.background_only[self.groups[index].stop]
        tiles = self.runners[index].out_tiles(self.groups[index].tile_px)
        return sum(bool(background_only[tile.relative_to(0, 0)].all()) for tile in tiles)

    def stored_elements(self, index: int) -> float:
        """Elements stored of a group's output, without background that is never read."""
        runner = self.runners[index]
        count = math.prod(runner.out_size)
        if self.reference is not None and index + 1 < len(
            self.groups
        ):  # the head reads all of the last
            used = needed_positions(self.runners[index + 1], self.tiles[index + 1])
            for tile in self.tiles[index]:
                used[tile.relative_to(0, 0)] = True
            count = int(used.sum())
        return float(count) * runner.stages[-1].channels * self.source.batch
