"""Which tiles save activations from forward to backward, and which are recomputed.

One policy for the plan, which knows a group's tiles as a whole, and for the run, which knows each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsi.streaming.accounting.memory_timeline import MemoryTimeline
from wsi.streaming.accounting.profile import StageProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class TileMemory:
    """Bytes of one tile, or of all tiles of a group together.

    Attributes:
        bottleneck: of the bottleneck activations, by stage of the group.
        graph: of the autograd graph.
        recompute: of the recomputation with a graph, and backward through it.
    """

    bottleneck: Sequence[float]
    graph: float
    recompute: float


@dataclass(frozen=True, slots=True)
class GroupTiles:
    """The tiles of a group.

    Attributes:
        stages: profiles of the group's stages.
        tiles: the largest first.
        divisible: whether a fraction of an entry of ``tiles`` may be saved: it then stands for many
            tiles of the same size.
    """

    stages: Sequence[StageProfile]
    tiles: Sequence[TileMemory]
    divisible: bool = False

    def fraction_that_fits(self, nbytes: float, headroom: float) -> float:
        """How much of ``nbytes`` is saved within ``headroom``: 0 to 1, or 0 or 1."""
        if nbytes <= headroom:
            return 1.0
        return max(0.0, headroom / nbytes) if self.divisible else 0.0


@dataclass(slots=True)
class SavedFractions:
    """What a tile saves: 0 or 1, or a fraction for many tiles.

    Attributes:
        bottleneck: of the bottleneck activations, by stage, where no graph is saved.
        graph: of the autograd graphs.
    """

    bottleneck: list[float]
    graph: float = 0.0


def choose_checkpoint_policy(
    timeline: MemoryTimeline, groups: Sequence[GroupTiles], *, limit: float, first: int
) -> list[list[SavedFractions]]:
    """Choose what tiles save: bottleneck activations first, then whole graphs.

    A byte of bottleneck activations saves three times the arithmetic of a byte of a graph. They are
    saved in the order of the arithmetic that they save per byte. What memory is left then turns
    tiles that save bottleneck activations into tiles that save their graph, from the last group to
    the first and from the largest tile to the smallest.

    Args:
        timeline: memory of the update if all tiles are recomputed; what is saved is added to it.
        groups: the tiled groups, first to last.
        limit: of the memory that ``timeline`` counts, in bytes.
        first: the first group with a parameter that learns; groups before it save nothing.

    Returns:
        By group and tile, what is saved.
    """
    saved = [[SavedFractions([0.0] * len(group.stages)) for _ in group.tiles] for group in groups]
    learning = range(first, len(groups))
    for index, stage in by_worth({index: groups[index].stages for index in learning}):
        for tile, fractions in zip(groups[index].tiles, saved[index], strict=True):
            nbytes = tile.bottleneck[stage]
            headroom = timeline.headroom(index, limit)
            fractions.bottleneck[stage] = groups[index].fraction_that_fits(nbytes, headroom)
            timeline.groups[index].bottleneck += fractions.bottleneck[stage] * nbytes
    for index in reversed(learning):
        _choose_graphs(timeline, index, groups[index], saved[index], limit)
    return saved


def by_worth(groups: Mapping[int, Sequence[StageProfile]]) -> list[tuple[int, int]]:
    """Stages with bottleneck activations, those that save the most arithmetic per byte first.

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


def _choose_graphs(
    timeline: MemoryTimeline,
    index: int,
    group: GroupTiles,
    saved: list[SavedFractions],
    limit: float,
) -> None:
    """Save the graphs of a whole group if they fit, else of as many tiles as fit."""
    memory = timeline.groups[index]
    bottleneck = memory.bottleneck
    memory.graphs, memory.bottleneck = sum(tile.graph for tile in group.tiles), 0.0
    memory.saves_all = True
    if timeline.peak() <= limit:
        for fractions in saved:
            fractions.graph = 1.0
        return
    memory.graphs, memory.bottleneck, memory.saves_all = 0.0, bottleneck, False
    if timeline.in_blocks:
        return  # a few graphs between tiles that are recomputed would fragment the heap
    recomputed = 0.0  # by the largest tile that is recomputed
    following = [tile.recompute for tile in group.tiles[1:]] + [0.0]
    for tile, fractions, smaller in zip(group.tiles, saved, following, strict=True):
        own = sum(
            fraction * nbytes
            for fraction, nbytes in zip(fractions.bottleneck, tile.bottleneck, strict=True)
        )
        stays = own if group.divisible else 0.0  # unless the whole entry saves its graph
        memory.bottleneck -= own
        memory.recompute = max(recomputed, tile.recompute if group.divisible else smaller)
        headroom = timeline.headroom(index, limit, graphs=True)
        fractions.graph = group.fraction_that_fits(tile.graph - stays, headroom - stays)
        memory.graphs += fractions.graph * tile.graph
        memory.bottleneck += (1 - fractions.graph) * own
        if fractions.graph < 1:
            recomputed = max(recomputed, tile.recompute)
            memory.recompute = max(recomputed, smaller)
