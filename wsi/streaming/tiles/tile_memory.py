"""Memory of each tile of one image, and the checkpoint policy that follows from it."""

from dataclasses import dataclass

import torch

from wsi.streaming.accounting.candidate import OverheadFactors
from wsi.streaming.accounting.memory_timeline import (
    GroupMemory,
    MemoryTimeline,
    tail_bytes,
    working_bytes,
)
from wsi.streaming.accounting.profile import StageProfile, graph_weight_bytes
from wsi.streaming.api import RunOptions
from wsi.streaming.image_source import TILES_READ, Rect
from wsi.streaming.storage.feature_map import Place, on_device
from wsi.streaming.tiles.checkpoint_policy import (
    GroupTiles,
    TileMemory,
    choose_checkpoint_policy,
)
from wsi.streaming.tiles.saved_tiles import CheckpointPolicy
from wsi.streaming.tiles.schedule import TiledPass


def apply_checkpoint_policy(
    work: TiledPass,
    profiles: list[StageProfile],
    run: RunOptions,
    *,
    limit: int,
    boundaries: Place,
    first: int,
) -> None:
    """Choose what each tile of an update saves.

    Args:
        work: the update; its ``saved`` is filled in.
        profiles: of the network's stages, on the whole image.
        run: for the device and the dtype.
        limit: of the device's memory for everything except the network, in bytes.
        boundaries: where group outputs are stored.
        first: the first group with a parameter that learns.
    """
    on_cpu = run.torch_device.type == "cpu"
    stages = [profiles[group.first : group.stop] for group in work.groups]
    sizes = _Sizes(work, stages, run.compute_dtype(work.network), on_cpu)
    counted = on_device(boundaries, on_cuda=not on_cpu)
    timeline = sizes.timeline(counted=counted, tail=profiles[work.groups[-1].stop :])
    groups = [
        GroupTiles(stages[index], [sizes.tile(index, tile) for tile in tiles])
        for index, tiles in enumerate(work.tiles)
    ]
    saved = choose_checkpoint_policy(timeline, groups, limit=limit, first=first)
    for index, tiles in enumerate(work.tiles):
        for tile, fractions in zip(tiles, saved[index], strict=True):
            for stage, fraction in enumerate(fractions.bottleneck):
                if fraction:
                    work.saved.save_bottleneck(index, tile, stage)
            if fractions.graph:
                work.saved.policies[index, tile] = CheckpointPolicy.SAVE_ALL


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Bytes of the tiles of one image, counted as a plan counts them."""

    work: TiledPass
    stages: list[list[StageProfile]]
    dtype: torch.dtype
    on_cpu: bool

    @property
    def _overheads(self) -> OverheadFactors:
        return OverheadFactors.of(on_cuda=not self.on_cpu)

    def tile(self, index: int, tile: Rect) -> TileMemory:
        """What a tile can save, and what its recomputation needs."""
        fractions = self.work.runners[index].computed_fraction(tile)
        weights = graph_weight_bytes(self.work.runners[index].stages, self.dtype)
        own = zip(self.stages[index], fractions, strict=True)
        return TileMemory(
            bottleneck=[
                self._overheads.blocks * p.bottleneck_bytes * fraction for p, fraction in own
            ],
            graph=self._overheads.graphs * (self._saved(index, tile) + weights),
            recompute=self.recompute(index, tile),
        )

    def recompute(self, index: int, tile: Rect) -> float:
        """Recomputation of a tile with a graph, and backward through it."""
        working = self._overheads.tile * self._saved(index, tile) + self.backward_saved(index, tile)
        if index:
            return working
        pixels = self.work.runners[index].needed(tile).area * self.work.source.batch * 3
        return working + TILES_READ * pixels * self.work.network.dtype.itemsize

    def backward_saved(self, index: int, tile: Rect) -> float:
        """Backward through a tile's saved graph, without that graph."""
        fraction = self.work.runners[index].computed_fraction(tile)[0]
        return self._overheads.working * fraction * working_bytes(self.stages[index], graph=False)

    def _saved(self, index: int, tile: Rect) -> float:
        """What autograd saves of a tile for backward."""
        fractions = self.work.runners[index].computed_fraction(tile)
        own = zip(self.stages[index], fractions, strict=True)
        return sum(p.saved_bytes * fraction for p, fraction in own)

    def timeline(self, *, counted: bool, tail: list[StageProfile]) -> MemoryTimeline:
        """Memory of an update that recomputes all tiles.

        Args:
            counted: whether group outputs are in the memory that is counted.
            tail: of the in-core stages.
        """
        groups = []
        for index, tiles in enumerate(self.work.tiles):
            elements = self.work.stored_elements(index) if counted else 0.0
            backward = [self.backward_saved(index, tile) for tile in tiles]
            groups.append(
                GroupMemory(
                    boundary=self._overheads.blocks * elements * self.dtype.itemsize,
                    recompute=max((self.recompute(index, tile) for tile in tiles), default=0.0),
                    backward_saved=max(backward, default=0.0),
                )
            )
        top = self.stages[-1][-1].out_elements * self.dtype.itemsize
        after = tail_bytes(tail, top, graph=True, top_counted=counted)
        return MemoryTimeline(groups, after, in_blocks=self.on_cpu)
