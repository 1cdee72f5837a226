"""How a group of stages is cut into tiles, and how one tile runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from wsi.errors import ConfigError, MemoryPlanError
from wsi.networks.activation_cache import BottleneckActivations
from wsi.networks.receptive_field import chain
from wsi.networks.staged import Stage, StagedNetwork
from wsi.networks.valid_forward import Axes
from wsi.streaming.accounting.profile import StageProfile
from wsi.streaming.api import MAX_ELEMENTS, Forward
from wsi.streaming.image_source import ImageSource, Rect

FIRST_CUT_STRIDE = 16
"""Stages up to this stride form the first group: feature maps inside it are the largest."""

LONGEST_RUN = 3
"""Most stages of a group after the first: their halos add up."""


@dataclass(frozen=True, slots=True)
class Group:
    """Stages [first, stop) that run tile by tile; their input and output are stored as a whole.

    Attributes:
        first, stop: indices of the stages.
        tile_px: side of a tile in pixels of the image, without halo; ``None`` for one tile.
    """

    first: int
    stop: int
    tile_px: int | None


def cut_stages(network: StagedNetwork, longest: int = LONGEST_RUN) -> list[tuple[int, int]]:
    """Stage ranges [first, stop) of the groups.

    A group ends after a stage with stride, from FIRST_CUT_STRIDE on, because the activations after
    it are half as large as before it. Ranges of more than ``longest`` stages after the first group
    are divided evenly.
    """
    strides = [stage.receptive_field.stride for stage in network.stage_list]
    stops = [
        index + 1
        for index, stride in enumerate(strides)
        if stride > 1 and math.prod(strides[: index + 1]) >= FIRST_CUT_STRIDE
    ]
    ends = sorted({*stops, len(strides)})
    cuts = [0, ends[0]]
    for first, stop in pairwise(ends):
        parts = -(-(stop - first) // longest)
        cuts += [first + (stop - first) * part // parts for part in range(1, parts + 1)]
    return list(pairwise(cuts))


def default_groups(
    network: StagedNetwork, profiles: list[StageProfile], tile_px: int
) -> tuple[Group, ...]:
    """Groups whose tiles all save about as many bytes as the first group's do at ``tile_px``."""
    ranges = cut_stages(network)
    saved = [sum(p.saved_bytes for p in profiles[first:stop]) for first, stop in ranges]
    groups = []
    for (first, stop), group_bytes in zip(ranges, saved, strict=True):
        side = tile_px * math.sqrt(saved[0] / max(group_bytes, 1))
        stride = chain([s.receptive_field for s in network.stage_list[:stop]]).stride
        groups.append(Group(first, stop, max(stride, round(side))))
    return tuple(groups)


def check_groups(network: StagedNetwork, groups: tuple[Group, ...]) -> None:
    """Raises ConfigError unless the groups follow each other from the first stage on."""
    if not groups:
        raise ConfigError("groups is empty; use mode in_core to run without tiles")
    at = 0
    for group in groups:
        if group.first != at or group.stop <= group.first:
            raise ConfigError(f"group {group} does not start at stage {at} or is empty")
        if group.tile_px is not None and group.tile_px < 1:
            raise ConfigError(f"tile_px must be at least 1, not {group.tile_px}")
        at = group.stop
    if at > len(network.stages):
        raise ConfigError(f"there are {len(network.stages)} stages; the groups name {at}")


def first_trainable(groups: Sequence[Sequence[Stage]]) -> int:
    """Index of the first group with a parameter that learns; their number if none does."""
    for index, stages in enumerate(groups):
        if any(p.requires_grad for stage in stages for p in stage.parameters()):
            return index
    return len(groups)


def refuse_huge_tiles(
    network: StagedNetwork,
    groups: tuple[Group, ...],
    source: ImageSource,
    profiles: list[StageProfile],
) -> None:
    """Refuse tiles, or in-core stages after them, with a tensor of 2^31 elements or more.

    Raises:
        MemoryPlanError: with the stage, the number and what to change.
    """
    pixels = source.size[0] * source.size[1]
    for group in groups:
        receptive_field = chain([s.receptive_field for s in network.stage_list[: group.stop]])
        share = 1.0
        if group.tile_px is not None:
            sides = (
                min(s, group.tile_px + receptive_field.before + receptive_field.after)
                for s in source.size
            )
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


def _edges(positions: int, tile: int) -> list[int]:
    """Tile edges along an axis: as few tiles as ``tile`` allows, all equal except the last.

    Tiles of the same shape reuse the memory and the kernels of those before them.
    """
    count = max(1, -(-positions // tile))
    side = -(-positions // count)
    return [*range(0, positions, side), positions]


def split_into_tiles(height: int, width: int, tile: int | None) -> list[Rect]:
    """Disjoint rectangles that cover (height, width), none longer than ``tile`` per side."""
    ys = _edges(height, tile or height)
    xs = _edges(width, tile or width)
    return [Rect(y0, x0, y1, x1) for y0, y1 in pairwise(ys) for x0, x1 in pairwise(xs)]


class GroupRunner:
    """Runs the stages of a group on one tile at a time.

    Where the receptive field of a tile lies inside the image along an axis, its layers may run
    without padding along it. Elsewhere each layer pads its input with zeros on both sides, which is
    correct at the image's border; on the other side only halo that is cropped later is wrong.

    Args:
        stages: the group's stages.
        in_size: height and width of the group's whole input.
        stride_before: image pixels per position of that input.
        forward: runs the stages, each with its padding; ``None`` calls the stages themselves.
        unpadded: whether layers may run without padding: less arithmetic, but shortcuts are then
            crops of larger tensors, which a GPU copies at half the speed of whole tensors.
    """

    def __init__(
        self,
        stages: list[Stage],
        in_size: tuple[int, int],
        stride_before: int,
        forward: Forward | None = None,
        *,
        unpadded: bool = True,
    ) -> None:
        self.stages = stages
        self.in_size = in_size
        self.receptive_field = chain([stage.receptive_field for stage in stages])
        self.stride_px = stride_before * self.receptive_field.stride
        self._padding_forward = forward
        self._may_leave_out = unpadded and forward is None

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the group's whole output."""
        height, width = self.in_size
        return self.receptive_field.out_size(height), self.receptive_field.out_size(width)

    def out_tiles(self, tile_px: int | None, along: int | None = None) -> list[Rect]:
        """The disjoint tiles of the output for tiles of ``tile_px`` image pixels a side.

        Args:
            tile_px: side of a tile; ``None`` for one tile.
            along: only the tiles of one row (1) or column (0), one position thick.
        """
        positions = None if tile_px is None else max(1, tile_px // self.stride_px)
        height, width = self.out_size
        return split_into_tiles(1 if along == 1 else height, 1 if along == 0 else width, positions)

    def _unpadded(self, axis: int, start: int, stop: int) -> bool:
        """Whether layers run without padding along an axis, for outputs [start, stop)."""
        needs_padding = self.receptive_field.needs_padding(start, stop, self.in_size[axis])
        return not needs_padding and self._may_leave_out

    def _axes(self, out: Rect) -> Axes:
        return self._unpadded(0, out.y0, out.y1), self._unpadded(1, out.x0, out.x1)

    def _needed_along(self, axis: int, start: int, stop: int) -> tuple[int, int]:
        padded = not self._unpadded(axis, start, stop)
        return self.receptive_field.needed(start, stop, self.in_size[axis], padded=padded)

    def needed(self, out: Rect) -> Rect:
        """The rectangle of the group's input that an output rectangle is computed from."""
        y0, y1 = self._needed_along(0, out.y0, out.y1)
        x0, x1 = self._needed_along(1, out.x0, out.x1)
        return Rect(y0, x0, y1, x1)

    def run(self, x: Tensor, out: Rect, bottleneck: BottleneckActivations | None = None) -> Tensor:
        """Run the stages on ``needed(out)``; ``inside(out)`` is the place of ``out`` in the result.

        Args:
            x: ``needed(out)`` of the group's input.
            out: a rectangle of its output.
            bottleneck: saves the tile's bottleneck activations in a first run, provides them in
                the second.
        """
        if self._padding_forward is not None:
            return self._padding_forward(x)
        axes = self._axes(out)
        for index, stage in enumerate(self.stages):
            x = stage(x, axes, bottleneck and bottleneck.for_stage(index))
        if bottleneck is not None:
            bottleneck.close()
        return x

    def inside(self, out: Rect) -> Rect:
        """Place of an output rectangle in the result of ``run``, which may have halo around it."""
        at, stride, (rows, columns) = self.needed(out), self.receptive_field.stride, self._axes(out)
        y = out.y0 if rows else at.y0 // stride
        x = out.x0 if columns else at.x0 // stride
        return Rect(out.y0 - y, out.x0 - x, out.y1 - y, out.x1 - x)

    def computed_fraction(self, out: Rect) -> list[float]:
        """Fraction of each stage's whole input that is computed for an output rectangle."""
        rows = self.computed_fraction_along_axis(0, out.y0, out.y1)
        columns = self.computed_fraction_along_axis(1, out.x0, out.x1)
        return [y * x for y, x in zip(rows, columns, strict=True)]

    def computed_fraction_along_axis(self, axis: int, start: int, stop: int) -> list[float]:
        """Fraction of each stage's whole input along an axis, for outputs [start, stop)."""
        whole, unpadded, shares = self.in_size[axis], self._unpadded(axis, start, stop), []
        first, last = self._needed_along(axis, start, stop)
        side = last - first
        for stage in self.stages:
            shares.append(side / whole)
            receptive_field = stage.receptive_field
            side = (
                receptive_field.unpadded_size(side) if unpadded else receptive_field.out_size(side)
            )
            whole = receptive_field.out_size(whole)
        return shares

    @property
    def halos(self) -> list[int]:
        """Total halo of each stage inside the image, in positions of the group's input."""
        if not self._may_leave_out:
            return [self.receptive_field.before + self.receptive_field.after] * len(self.stages)
        halos, stride = [], 1
        for index, stage in enumerate(self.stages):
            remaining = chain([later.receptive_field for later in self.stages[index:]])
            halos.append((remaining.before + remaining.after) * stride)
            stride *= stage.receptive_field.stride
        return halos

    @property
    def mean_halo_fraction(self) -> float:
        """Fraction of a tile's halo that its stages compute, averaged over the stages."""
        halos = self.halos
        return sum(halos) / len(halos) / halos[0] if halos[0] else 1.0
