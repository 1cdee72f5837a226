"""Preparation of a call of the tiled mode, before its first tile runs."""

from wsi.networks.norms import refuse_image_wide_norm
from wsi.networks.staged import StagedNetwork
from wsi.streaming.accounting.profile import StageProfile, profile_network
from wsi.streaming.api import RunOptions, check_image
from wsi.streaming.image_source import ImageSource
from wsi.streaming.tiles.background import BackgroundGradient, build_background_reference
from wsi.streaming.tiles.schedule import TiledPass, output_tiles
from wsi.streaming.tiles.tiling import (
    Group,
    GroupRunner,
    check_groups,
    default_groups,
    refuse_huge_tiles,
)


def build_pass(
    network: StagedNetwork,
    source: ImageSource,
    run: RunOptions,
    *,
    groups: tuple[Group, ...] | None,
    tile_px: int,
    background: bool,
    step: bool,
) -> tuple[TiledPass, list[StageProfile]]:
    """The tiles of each group for one call, and the profiles of the network's stages.

    Args:
        network: the network.
        source: the image.
        run: device and precision.
        groups, tile_px, background: as in ``Tiled.Options``.
        step: whether for an update, else for inference.

    Raises:
        ConfigError: the image does not fit the network, or the groups do not follow each other.
        MemoryPlanError: a normalization that tiles cannot reproduce, or tensors of 2^31 elements.
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
        engine = None if step else run.stage_runner
        on_cpu = run.torch_device.type == "cpu"
        runner = GroupRunner(stages, size, stride, engine and engine(stages), unpadded=on_cpu)
        runners.append(runner)
        size, stride = runner.out_size, runner.stride_px
    reference = None
    if background:
        reference = build_background_reference(
            network, source, run, [group.stop for group in groups]
        )
    tiles = [
        output_tiles(
            runner,
            group.tile_px,
            None if reference is None else reference.background_only[group.stop],
        )
        for runner, group in zip(runners, groups, strict=True)
    ]
    flops = [sum(p.flop for p in profiles[g.first : g.stop]) for g in groups]
    tail = sum(p.flop for p in profiles[groups[-1].stop :])
    total = (4 * sum(flops) + 3 * tail) if step else sum(flops) + tail
    work = TiledPass(network, source, groups, runners, tiles, reference, flops, tail, total)
    if step and reference is not None:
        work.background = BackgroundGradient(reference)
    return work, profiles
