"""How a group of stages is cut into tiles, and how one tile runs."""

import math
from dataclasses import dataclass
from itertools import pairwise

from wsi.errors import ConfigError, MemoryPlanError
from wsi.memory.mode import MAX_ELEMENTS, Forward, one_after_another
from wsi.memory.network import Stage, StagedNetwork
from wsi.memory.profile import StageProfile
from wsi.memory.reach import chain
from wsi.memory.source import ImageSource, Rect

FIRST_CUT_STRIDE = 8
"""Stages up to this stride form the first group: the boundaries inside it are the largest."""


@dataclass(frozen=True, slots=True)
class Group:
    """Stages [first, stop) that run tile by tile between two stored boundaries.

    Attributes:
        tile_px: side of a tile in pixels of the image, halo left out; ``None`` for the whole.
    """

    first: int
    stop: int
    tile_px: int | None


def cut_stages(network: StagedNetwork) -> list[tuple[int, int]]:
    """Stage ranges [first, stop) between the boundaries worth keeping.

    A boundary is kept where the stride grows, from FIRST_CUT_STRIDE on: there the activations are
    small, and the halo of what follows is counted in larger cells, so it must not pile up.
    """
    cuts, stride = [0], 1
    for index, stage in enumerate(network.stage_list):
        if stage.reach.stride > 1 and stride >= FIRST_CUT_STRIDE:
            cuts.append(index)
        stride *= stage.reach.stride
    cuts.append(len(network.stages))
    return list(pairwise(cuts))


def default_groups(
    network: StagedNetwork, profiles: list[StageProfile], tile_px: int
) -> tuple[Group, ...]:
    """Groups whose tiles all keep about as many bytes as the first group's do at ``tile_px``."""
    ranges = cut_stages(network)
    saved = [sum(p.saved_bytes for p in profiles[first:stop]) for first, stop in ranges]
    groups = []
    for (first, stop), group_bytes in zip(ranges, saved, strict=True):
        side = tile_px * math.sqrt(saved[0] / max(group_bytes, 1))
        stride = chain([s.reach for s in network.stage_list[:stop]]).stride
        groups.append(Group(first, stop, max(stride, round(side))))
    return tuple(groups)


def check_groups(network: StagedNetwork, groups: tuple[Group, ...]) -> None:
    """Raises ConfigError unless the groups follow each other from the first stage on."""
    if not groups:
        raise ConfigError("no tiled group is the in_core mode: choose that")
    at = 0
    for group in groups:
        if group.first != at or group.stop <= group.first:
            raise ConfigError(f"group {group} does not start at stage {at} or is empty")
        if group.tile_px is not None and group.tile_px < 1:
            raise ConfigError(f"a tile of {group.tile_px} px is no tile")
        at = group.stop
    if at > len(network.stages):
        raise ConfigError(f"there are {len(network.stages)} stages; the groups name {at}")


def refuse_huge_tiles(
    network: StagedNetwork,
    groups: tuple[Group, ...],
    source: ImageSource,
    profiles: list[StageProfile],
) -> None:
    """Refuse tiles, or an in-core rest, with a tensor of 2^31 elements or more.

    Raises:
        MemoryPlanError: with the stage, the number and what to change.
    """
    pixels = source.size[0] * source.size[1]
    for group in groups:
        reach = chain([s.reach for s in network.stage_list[: group.stop]])
        share = 1.0
        if group.tile_px is not None:
            sides = (min(s, group.tile_px + reach.before + reach.after) for s in source.size)
            share = math.prod(sides) / pixels
        for profile in profiles[group.first : group.stop]:
            if profile.largest_elements * share > MAX_ELEMENTS:
                raise MemoryPlanError(
                    f"tiled: a tile of {group.tile_px} px makes a tensor of about "
                    f"{int(profile.largest_elements * share):,} elements in {profile.label}; "
                    f"kernels count at most {MAX_ELEMENTS:,}. Use a smaller tile_px."
                )
    for profile in profiles[groups[-1].stop :]:
        if profile.largest_elements > MAX_ELEMENTS:
            raise MemoryPlanError(
                f"tiled: {profile.label} runs in-core and makes a tensor of "
                f"{profile.largest_elements:,} elements; kernels count at most "
                f"{MAX_ELEMENTS:,}. Put it into a tiled group."
            )


def _edges(cells: int, tile: int) -> list[int]:
    """Tile edges along an axis: as few tiles as ``tile`` allows, as equal as can be."""
    count = max(1, -(-cells // tile))
    return [index * cells // count for index in range(count + 1)]


def tiles(height: int, width: int, tile: int | None) -> list[Rect]:
    """Disjoint rectangles that cover (height, width), none longer than ``tile`` a side."""
    ys = _edges(height, tile or height)
    xs = _edges(width, tile or width)
    return [Rect(y0, x0, y1, x1) for y0, y1 in pairwise(ys) for x0, x1 in pairwise(xs)]


class GroupRunner:
    """Runs the stages of a group on one tile at a time.

    Args:
        stages: the group's stages.
        in_size: height and width of the group's whole input.
        stride_before: image pixels a cell of that input.
        forward: runs the stages; ``None`` runs them one after another.
    """

    def __init__(
        self,
        stages: list[Stage],
        in_size: tuple[int, int],
        stride_before: int,
        forward: Forward | None = None,
    ) -> None:
        self.stages = stages
        self.forward = forward or one_after_another(stages)
        self.in_size = in_size
        self.reach = chain([stage.reach for stage in stages])
        self.stride_px = stride_before * self.reach.stride

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the group's whole output."""
        height, width = self.in_size
        return self.reach.out_size(height), self.reach.out_size(width)

    def out_tiles(self, tile_px: int | None, along: int | None = None) -> list[Rect]:
        """The disjoint tiles of the output for tiles of ``tile_px`` image pixels a side.

        Args:
            tile_px: side of a tile; ``None`` for one tile.
            along: only the tiles that cover one row (1) or column (0), one cell thick.
        """
        cells = None if tile_px is None else max(1, tile_px // self.stride_px)
        height, width = self.out_size
        return tiles(1 if along == 1 else height, 1 if along == 0 else width, cells)

    def needed(self, out: Rect) -> Rect:
        """The rectangle of the group's input that the output rectangle depends on."""
        height, width = self.in_size
        y0, y1 = self.reach.needed(out.y0, out.y1, height)
        x0, x1 = self.reach.needed(out.x0, out.x1, width)
        return Rect(y0, x0, y1, x1)

    def inside(self, out: Rect) -> Rect:
        """Where an output rectangle lies in what ``forward`` makes of its input, ``needed(out)``.

        Each stage pads with zeros on all sides of what it is given. That is right where the tile
        ends at the image's border, and elsewhere spoils only halo, which lies around this.
        """
        at, stride = self.needed(out), self.reach.stride
        y, x = at.y0 // stride, at.x0 // stride
        return Rect(out.y0 - y, out.x0 - x, out.y1 - y, out.x1 - x)
