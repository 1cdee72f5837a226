"""The plan, which knows tiles together, and the run, which knows each, follow one policy."""

import pytest

from tests.unit.streaming.networks import image, network
from wsi.planning.cost_model import CostModel
from wsi.planning.tiled_costs import TiledCosts
from wsi.streaming import TensorSource, make_mode
from wsi.streaming.accounting.candidate import Budget, Speed
from wsi.streaming.accounting.memory_timeline import GroupMemory, MemoryTimeline
from wsi.streaming.accounting.profile import StageProfile, profile_network
from wsi.streaming.modes.tiled import Tiled
from wsi.streaming.tiles.checkpoint_policy import (
    GroupTiles,
    SavedFractions,
    TileMemory,
    choose_checkpoint_policy,
)
from wsi.streaming.tiles.saved_tiles import CheckpointPolicy
from wsi.streaming.tiles.tiling import Group

GROUPS = (Group(0, 5, 64), Group(5, 7, 64), Group(7, 9, 64))
TILES = 50


def _stage(nbytes: int, flop: int) -> StageProfile:
    shape = (1, 8, 4, 4)
    return StageProfile("stage", shape, shape, 2 * flop, 3 * nbytes, nbytes, flop, 128, 1)


STAGES = [[_stage(600, 30), _stage(300, 20)], [_stage(200, 40), _stage(100, 10)]]


def _choose(limit: float, *, divisible: bool, in_blocks: bool) -> list[list[SavedFractions]]:
    """With 50 equal tiles per group, or with one entry that stands for them."""
    parts = 1 if divisible else TILES
    groups = [
        GroupTiles(
            stages,
            [
                TileMemory(
                    bottleneck=[stage.bottleneck_bytes / parts for stage in stages],
                    graph=sum(stage.saved_bytes for stage in stages) / parts,
                    recompute=90,
                )
            ]
            * parts,
            divisible,
        )
        for stages in STAGES
    ]
    memory = [GroupMemory(boundary=100, recompute=90, backward_saved=30) for _ in STAGES]
    timeline = MemoryTimeline(memory, in_blocks=in_blocks)
    saved = choose_checkpoint_policy(timeline, groups, limit=limit, first=0)
    assert timeline.peak() <= max(limit, MemoryTimeline(memory, in_blocks=in_blocks).peak())
    return saved


@pytest.mark.parametrize("in_blocks", [True, False])
@pytest.mark.parametrize("limit", range(200, 6000, 170))
def test_a_plan_saves_what_a_run_of_many_tiles_saves(limit: int, in_blocks: bool) -> None:
    planned = _choose(limit, divisible=True, in_blocks=in_blocks)
    run = _choose(limit, divisible=False, in_blocks=in_blocks)
    for (together,), tiles in zip(planned, run, strict=True):
        graphs = sum(tile.graph for tile in tiles) / TILES
        assert graphs == pytest.approx(together.graph, abs=2 / TILES)
        for stage, fraction in enumerate(together.bottleneck):
            each = sum(tile.bottleneck[stage] for tile in tiles) / TILES
            assert each == pytest.approx(fraction, abs=2 / TILES)


def test_more_memory_never_saves_fewer_graphs() -> None:
    graphs = [
        [sum(tile.graph for tile in group) for group in _choose(x, divisible=False, in_blocks=True)]
        for x in range(200, 6000, 170)
    ]
    assert graphs == sorted(graphs)
    assert graphs[0] == [0, 0]
    assert graphs[-1] == [TILES, TILES]


@pytest.mark.parametrize("megabytes", [800, 830, 860, 900, 100_000])
def test_a_planned_network_saves_the_same_groups_when_it_runs(megabytes: int) -> None:
    net, size = network(18), (513, 513)
    budget = Budget(device_bytes=None, host_bytes=megabytes * 10**6)
    costs = TiledCosts(
        CostModel(
            network=net,
            size=size,
            batch=1,
            dtype=net.dtype,
            budget=budget,
            speed=Speed.assumed("cpu", net.dtype),
            profiles=profile_network(net, size),
        )
    )
    timeline = costs._timeline(GROUPS, 9, in_memory=True)
    planned = costs.choose_saved(timeline, GROUPS)
    mode = make_mode("tiled", groups=GROUPS, device_bytes=max(1, costs._limit))
    assert isinstance(mode, Tiled)
    work = mode._build_pass(net, TensorSource(image(*size)), step=True)
    for index, (shares, tiles) in enumerate(zip(planned, work.tiles, strict=True)):
        graphs = [work.saved.policy(index, t) is CheckpointPolicy.SAVE_ALL for t in tiles]
        assert sum(graphs) / len(tiles) == pytest.approx(shares[0].graphs, abs=2 / len(tiles))
