"""All that a call of the tiled mode needs before its first tile runs."""

from wsi.networks.norms import refuse_image_wide_norm
from wsi.networks.staged import StagedNetwork
from wsi.streaming.accounting.profile import StageProfile, profile_network
from wsi.streaming.api import RunOptions, check_image
from wsi.streaming.image_source import ImageSource
from wsi.streaming.tiles.background import TwinGradient, make_twin
from wsi.streaming.tiles.schedule import Pass, tile_parts
from wsi.streaming.tiles.tiling import (
    Group,
    GroupRunner,
    check_groups,
    default_groups,
    refuse_huge_tiles,
)


def prepare(
    network: StagedNetwork,
    source: ImageSource,
    run: RunOptions,
    *,
    groups: tuple[Group, ...] | None,
    tile_px: int,
    background: bool,
    step: bool,
) -> tuple[Pass, list[StageProfile]]:
    """The parts that run, group by group, and the profiles that they were cut by.

    Args:
        network: runs on the source.
        source: the image.
        run: how.
        groups, tile_px, background: see ``Tiled.Options``.
        step: for an update, else for inference.

    Raises:
        ConfigError: the image does not fit the network, or the groups do not follow each other.
        MemoryPlanError: a normalization that tiles cannot do, or tiles that kernels cannot.
    """
    check_image(network, source)
    refuse_image_wide_norm(network)
    profiles = profile_network(network, source.size, batch=source.batch, dtype=run.autocast)
    if groups is None:
        groups = default_groups(network, profiles, tile_px)
    check_groups(network, groups)
    refuse_huge_tiles(network, groups, source, profiles)
    runners, size, stride = [], source.size, 1
    for group in groups:
        stages = network.stage_list[group.first : group.stop]
        engine = None if step else run.through
        on_cpu = run.torch_device.type == "cpu"
        runner = GroupRunner(stages, size, stride, engine and engine(stages), unpadded=on_cpu)
        runners.append(runner)
        size, stride = runner.out_size, runner.stride_px
    twin = None
    if background:
        twin = make_twin(network, source, run, [group.stop for group in groups])
    parts = [
        tile_parts(runner, group.tile_px, None if twin is None else twin.pure[group.stop])
        for runner, group in zip(runners, groups, strict=True)
    ]
    flops = [sum(p.flop for p in profiles[g.first : g.stop]) for g in groups]
    tail = sum(p.flop for p in profiles[groups[-1].stop :])
    total = (4 * sum(flops) + 3 * tail) if step else sum(flops) + tail
    work = Pass(network, source, groups, runners, parts, twin, flops, tail, total)
    if step and twin is not None:
        work.background = TwinGradient(twin)
    return work, profiles
