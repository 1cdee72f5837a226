"""What each tile of a slide keeps from forward to backward: as much as memory allows."""

from collections.abc import Mapping, Sequence
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
from wsi.streaming.tiles.saved_tiles import CheckpointPolicy
from wsi.streaming.tiles.schedule import TiledPass


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Bytes of a slide's parts, as a plan counts them for its tiles."""

    work: TiledPass
    stages: list[list[StageProfile]]
    dtype: torch.dtype
    on_cpu: bool

    @property
    def _overheads(self) -> OverheadFactors:
        return OverheadFactors.of(on_cuda=not self.on_cpu)

    def graph(self, index: int, tile: Rect) -> float:
        """What the graph of a group's part holds."""
        weights = graph_weight_bytes(self.work.runners[index].stages, self.dtype)
        return self._overheads.graphs * (self._saved(index, tile) + weights)

    def bottleneck(self, index: int, tile: Rect) -> list[float]:
        """What the narrow cells of a group's part hold, stage by stage."""
        shares = self.work.runners[index].computed_fraction(tile)
        own = zip(self.stages[index], shares, strict=True)
        return [self._overheads.blocks * p.bottleneck_bytes * share for p, share in own]

    def recompute(self, index: int, tile: Rect) -> float:
        """What a part takes as it runs again."""
        working = self._overheads.tile * self._saved(index, tile) + self.backward_saved(index, tile)
        if index:
            return working
        pixels = self.work.runners[index].needed(tile).area * self.work.source.batch * 3
        return working + TILES_READ * pixels * self.work.network.dtype.itemsize

    def backward_saved(self, index: int, tile: Rect) -> float:
        """What a part takes beside its graph, if that was kept."""
        share = self.work.runners[index].computed_fraction(tile)[0]
        return self._overheads.working * share * working_bytes(self.stages[index], graph=False)

    def _saved(self, index: int, tile: Rect) -> float:
        """What the stages save of a part for backward."""
        shares = self.work.runners[index].computed_fraction(tile)
        return sum(
            p.saved_bytes * share for p, share in zip(self.stages[index], shares, strict=True)
        )

    def timeline(self, *, counted: bool, tail: list[StageProfile]) -> MemoryTimeline:
        """What an update holds that keeps nothing of its tiles.

        Args:
            counted: whether boundaries are in the memory that is counted.
            rest: of the in-core stages.
        """
        memory = []
        for index, tiles in enumerate(self.work.tiles):
            cells = self.work.stored_elements(index) if counted else 0.0
            memory.append(
                GroupMemory(
                    boundary=self._overheads.blocks * cells * self.dtype.itemsize,
                    recompute=max((self.recompute(index, tile) for tile in tiles), default=0.0),
                    backward_saved=max(
                        (self.backward_saved(index, tile) for tile in tiles), default=0.0
                    ),
                )
            )
        top = self.stages[-1][-1].out_elements * self.dtype.itemsize
        tail_bytes_ = tail_bytes(tail, top, graph=True, top_counted=counted)
        return MemoryTimeline(memory, tail_bytes_, in_blocks=self.on_cpu)


def choose_checkpoint_policy(
    work: TiledPass,
    profiles: list[StageProfile],
    run: RunOptions,
    *,
    limit: int,
    boundaries: Place,
    first: int,
) -> None:
    """Choose narrow cells, the stages first that spare the most for a byte, then graphs.

    A byte of narrow cells spares three times the arithmetic of a graph's byte; the last stages'
    are the smallest for what they spare. What memory then is left turns tiles' narrow cells into
    graphs, the last groups' and the largest tiles' first.

    Args:
        work: the update; its ``kept`` is filled in.
        profiles: of the network's stages, on the whole image.
        run: for the device and the dtype.
        limit: of the device's memory for all but the network, in bytes.
        boundaries: where they are kept.
        first: the first group with a parameter that learns: none before it needs to keep any.
    """
    on_cpu = run.torch_device.type == "cpu"
    stages = [profiles[group.first : group.stop] for group in work.groups]
    dtype = run.compute_dtype(work.network)
    sizes = _Sizes(work, stages, dtype, on_cpu)
    counted = on_device(boundaries, on_cuda=not on_cpu)
    timeline = sizes.timeline(counted=counted, tail=profiles[work.groups[-1].stop :])
    _choose_narrow(sizes, timeline, limit, first)
    for index in reversed(range(first, len(work.groups))):
        _choose_graphs(sizes, timeline, limit, index)


def _choose_narrow(sizes: _Sizes, timeline: MemoryTimeline, limit: int, first: int) -> None:
    work, groups = sizes.work, range(first, len(sizes.stages))
    bottleneck = {(i, tile): sizes.bottleneck(i, tile) for i in groups for tile in work.tiles[i]}
    for index, stage in by_worth({index: sizes.stages[index] for index in groups}):
        memory = timeline.groups[index]
        for tile in work.tiles[index]:
            more = bottleneck[index, tile][stage]
            if more <= timeline.headroom(index, limit):
                memory.bottleneck += more
                work.saved.save_bottleneck(index, tile, stage)


def by_worth(groups: Mapping[int, Sequence[StageProfile]]) -> list[tuple[int, int]]:
    """Groups' stages that have narrow cells, those first that spare the most for a byte.

    Args:
        groups: stages by the number of the group.

    Returns:
        Numbers of group and stage, the latter counted from the group's first.
    """
    worth = {
        (index, number): stage.bottleneck_flop / stage.bottleneck_bytes
        for index, stages in groups.items()
        for number, stage in enumerate(stages)
        if stage.bottleneck_bytes
    }
    return sorted(worth, key=lambda key: (-worth[key], -key[0], -key[1]))


def _choose_graphs(sizes: _Sizes, timeline: MemoryTimeline, limit: int, index: int) -> None:
    work = sizes.work
    tiles, memory, policies = work.tiles[index], timeline.groups[index], work.saved.policies
    bottleneck = memory.bottleneck
    memory.graphs, memory.bottleneck = sum(sizes.graph(index, tile) for tile in tiles), 0.0
    memory.saves_all = True
    if timeline.peak() <= limit:
        policies.update({(index, tile): CheckpointPolicy.SAVE_ALL for tile in tiles})
        return
    memory.graphs, memory.bottleneck, memory.saves_all = 0.0, bottleneck, False
    if timeline.in_blocks:
        return  # a few graphs between tiles that run leave the heap in holes
    passed_over = 0.0  # the replay of the largest of them
    for tile, smaller in zip(tiles, [*tiles[1:], None], strict=True):
        before = memory.graphs, memory.bottleneck, memory.recompute
        kept = work.saved.bottleneck_stages.get((index, tile), set())
        bottleneck_bytes = sizes.bottleneck(index, tile)
        memory.bottleneck -= sum(bottleneck_bytes[stage] for stage in kept)
        memory.recompute = max(passed_over, sizes.recompute(index, smaller) if smaller else 0.0)
        more = sizes.graph(index, tile)
        if more <= timeline.headroom(index, limit, graphs=True):
            memory.graphs += more
            policies[index, tile] = CheckpointPolicy.SAVE_ALL
        else:
            memory.graphs, memory.bottleneck, memory.recompute = before
            passed_over = max(passed_over, sizes.recompute(index, tile))
