"""What each memory mode would need and take for a network at a size: the plan's arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from wsi.errors import MemoryPlanError
from wsi.networks.norms import refuse_image_wide_norm
from wsi.networks.receptive_field import chain
from wsi.networks.staged import StagedNetwork
from wsi.streaming.accounting.candidate import (
    Budget,
    Candidate,
    OverheadFactors,
    PlanRow,
    Shares,
    Speed,
    in_core_bytes,
    resident_bytes,
)
from wsi.streaming.accounting.memory_timeline import (
    GroupMemory,
    MemoryTimeline,
    tail_bytes,
    working_bytes,
)
from wsi.streaming.accounting.profile import StageProfile
from wsi.streaming.api import MAX_ELEMENTS
from wsi.streaming.image_source import TILES_READ
from wsi.streaming.storage.feature_map import Place, on_device
from wsi.streaming.tiles.background import reference_shape
from wsi.streaming.tiles.checkpoint_policy import by_worth
from wsi.streaming.tiles.tiling import Group, GroupRunner

TILE_SIDES = tuple(eighths * 2**power for power in range(5, 11) for eighths in (8, 10, 12, 14))
"""Image pixels a side, 256 to 14,336."""
TISSUE_REGIONS = 3
"""That a slide is taken to have, round ones, where the share of tissue is all that is known."""
COVER_OVERHEAD = 1.05
"""Cells in tiles' rectangles for each that sees tissue."""
OFFLOAD_GROUP_BYTES = (2**30, 2**28, 2**26)
OFFLOAD_FILLS = 0.8
"""Of the device's memory, what offload fills: tensors of many sizes leave holes."""


@dataclass(slots=True)
class CostModel:
    """Everything that the candidates' arithmetic needs, once."""

    network: StagedNetwork
    size: tuple[int, int]
    batch: int
    dtype: torch.dtype
    budget: Budget
    speed: Speed
    profiles: list[StageProfile]
    training: bool = True
    state_per_parameter: int = 0
    tissue: float = 1.0
    fixed_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.fixed_bytes = resident_bytes(
            self.network,
            on_cuda=self.budget.on_cuda,
            training=self.training,
            state_per_parameter=self.state_per_parameter,
        )

    @property
    def _overheads(self) -> OverheadFactors:
        return OverheadFactors.of(on_cuda=self.budget.on_cuda)

    @property
    def image_bytes(self) -> int:
        """The whole image in the parameters' dtype."""
        return self.batch * 3 * self.size[0] * self.size[1] * self.network.dtype.itemsize

    def boundary_bytes(self, stop: int) -> int:
        """The activation after ``stop`` stages."""
        return self.profiles[stop - 1].out_elements * self.dtype.itemsize

    def seconds(self, forward_flop: float, passes: float) -> float:
        """Time of a stage that runs forward and, in training, as often as ``passes`` forwards."""
        return forward_flop * (passes if self.training else 1) / self.speed.flop_per_s

    def kept(self, profile: StageProfile) -> int:
        """What a stage keeps for backward."""
        return profile.saved_bytes if self.training else 0

    def _too_large(self, first: int = 0) -> str | None:
        if first == len(self.profiles):
            return None
        worst = max(self.profiles[first:], key=lambda p: p.largest_elements)
        if worst.largest_elements <= MAX_ELEMENTS:
            return None
        return f"{worst.label} makes a tensor of {worst.largest_elements:,} elements (limit 2^31)"

    # -- whole-image modes

    def in_core(self) -> Candidate:
        """Everything on the device."""
        rows = tuple(
            PlanRow(p.label, "in-core", "whole", self.kept(p), self.seconds(p.flop, 3))
            for p in self.profiles
        )
        peak = in_core_bytes(
            self.fixed_bytes, self.image_bytes, self.profiles, training=self.training
        )
        host = self.image_bytes if self.budget.on_cuda else 0
        total = sum(row.seconds for row in rows)
        return Candidate("in_core", {}, rows, peak, host, 0, total, self._too_large())

    def offload(self, group_bytes: int) -> Candidate:
        """Saved activations in host memory, or on disk on a CPU: those that find no room."""
        cuda = self.budget.on_cuda
        saved = sum(p.saved_bytes for p in self.profiles)
        link = self.speed.link_bytes_per_s if cuda else self.speed.disk_bytes_per_s
        working = int(self._overheads.offload * max(p.live_bytes for p in self.profiles))
        moving = self.fixed_bytes + self.image_bytes + min(3 * group_bytes, saved) + working
        headroom = OFFLOAD_FILLS * (self.budget.device_bytes or 0) - moving  # a CPU's heap has none
        stay = min(saved, max(0, int(headroom)))
        leaving = saved - stay
        rows, left = [], leaving
        for p in self.profiles:
            away = min(left, p.saved_bytes)
            left -= away
            # Copies run beside the compute, in forward and backward each.
            forward = max(self.seconds(p.flop, 1), away / link)
            backward = max(self.seconds(p.flop, 2), away / link)
            here = min(away, 3 * group_bytes) + p.saved_bytes - away
            rows.append(PlanRow(p.label, "offload", "whole", here, forward + backward))
        host, disk = (leaving + self.image_bytes, 0) if cuda else (0, leaving)
        options: dict[str, Any] = {"group_bytes": group_bytes, "keep_bytes_on_device": stay}
        total = sum(row.seconds for row in rows)
        return Candidate(
            "offload", options, tuple(rows), moving + stay, host, disk, total, self._too_large()
        )

    def unified(self) -> Candidate:
        """Everything in managed memory, over device and host; only where it is asked for."""
        whole = self.in_core()
        need, device = whole.device_bytes, self.budget.device_bytes
        refusal = whole.refusal or (None if device is not None else "it needs a CUDA device")
        inside = need if device is None else min(need, device)
        options: dict[str, Any] = {"limit_bytes": need}
        rows = tuple(
            PlanRow(r.label, "unified", r.tile, r.device_bytes, r.seconds) for r in whole.rows
        )
        moved = 2 * (need - inside) / self.speed.link_bytes_per_s
        return Candidate(
            "unified", options, rows, inside, need - inside, 0, whole.seconds + moved, refusal
        )

    # -- tiled

    def _runner(self, group: Group) -> GroupRunner:
        size = self.size
        for stage in self.network.stage_list[: group.first]:
            size = (
                stage.receptive_field.out_size(size[0]),
                stage.receptive_field.out_size(size[1]),
            )
        stages = self.network.stage_list[group.first : group.stop]
        unpadded = not self.budget.on_cuda
        return GroupRunner(stages, size, self._stride(group.first), unpadded=unpadded)

    def tile_overheads(self, group: Group) -> list[float]:
        """For each stage, the cells it works on for each cell of its input, halo included."""
        if group.tile_px is None:
            return [1.0] * (group.stop - group.first)
        runner, px = self._runner(group), group.tile_px
        # Rows and columns of a tiling are independent: the sum of areas is a product of sums.
        rows = [
            runner.computed_fraction_along_axis(0, r.y0, r.y1)
            for r in runner.out_tiles(px, along=0)
        ]
        columns = [
            runner.computed_fraction_along_axis(1, r.x0, r.x1)
            for r in runner.out_tiles(px, along=1)
        ]
        shares: list[float] = (np.sum(rows, axis=0) * np.sum(columns, axis=0)).tolist()
        return shares

    def _stride(self, stop: int) -> int:
        return math.prod(stage.receptive_field.stride for stage in self.network.stage_list[:stop])

    def tile_bytes(self, group: Group, *, kept: bool = False) -> int:
        """Peak of one tile's replay on the device, or beside its graph if that was ``kept``."""
        profiles = self._profiles_of(group)
        sides, shares = [self.size], [1.0] * len(profiles)
        if group.tile_px is not None:
            sides = self._tile_sides(group)
            shares = [math.prod(side) / math.prod(self.size) for side in sides]
        working = self._overheads.working if self.training else self._overheads.forward
        tile = int(working * shares[0] * working_bytes(profiles, graph=False))
        if self.training and not kept:
            own = zip(profiles, shares, strict=True)
            tile += int(self._overheads.tile * sum(p.saved_bytes * share for p, share in own))
        if group.first or kept or group.tile_px is None:
            return tile
        pixels = self.batch * math.prod(sides[0]) * 3 * self.network.dtype.itemsize
        return tile + TILES_READ * pixels

    def _tile_sides(self, group: Group) -> list[tuple[int, int]]:
        """Height and width, in image pixels, of what each stage of a tile works on."""
        assert group.tile_px is not None
        before, own = self._stride(group.first), group.tile_px + self._stride(group.stop)
        sides = (own + halo * before for halo in self._runner(group).halos)
        return [(min(self.size[0], side), min(self.size[1], side)) for side in sides]

    def _choose_tile(self, first: int, stop: int, working_bytes: int) -> Group:
        """The largest tile whose replay keeps within the working set; else the smallest."""
        whole = Group(first, stop, None)
        if self.tile_bytes(whole) <= working_bytes and not self._group_huge(whole):
            return whole
        best = Group(first, stop, TILE_SIDES[0])
        for side in TILE_SIDES[1:]:
            if side >= max(self.size):
                break
            group = Group(first, stop, side)
            if self.tile_bytes(group) > working_bytes or self._group_huge(group):
                break
            best = group
        return best

    def _group_huge(self, group: Group) -> bool:
        largest = max(p.largest_elements for p in self._profiles_of(group))
        side = group.tile_px
        receptive_field = self.network.receptive_field
        halo = receptive_field.before + receptive_field.after
        share = 1.0 if side is None else min(1.0, (side + halo) ** 2 / math.prod(self.size))
        return largest * share > MAX_ELEMENTS

    def tiled(
        self, ranges: Sequence[tuple[int, int]], working_bytes: int, place: Place
    ) -> Candidate:
        """Groups of tiles, and in-core from there.

        Args:
            ranges: the groups' stages [first, stop).
            working_bytes: most that one tile's replay may take.
            place: of the boundaries.
        """
        groups = tuple(self._choose_tile(a, b, working_bytes) for a, b in ranges)
        tail = groups[-1].stop
        in_memory = on_device(place, on_cuda=self.budget.on_cuda)
        boundaries = [self.boundary_bytes(group.stop) for group in groups]
        stored = self._boundaries_peak(boundaries, tail)
        kept = [[Shares()] * (group.stop - group.first) for group in groups]
        if self.training:
            timeline = self._ledger(groups, tail, in_memory)
            kept = self._keep(timeline, groups)
            groups = self._widen(timeline, groups)
            peak = int((self.fixed_bytes + timeline.peak()) / self._overheads.usable)
        else:
            tiles = (self.tile_bytes(group) for group in groups)
            peak = self.fixed_bytes + max(*tiles, self._tail_bytes(tail))
            peak += stored if in_memory else 0
        rows: list[PlanRow] = []
        tissues = [self._share_of_tissue(group.stop, tail) for group in groups]
        for group, shares, tissue in zip(groups, kept, tissues, strict=True):
            tile = self.tile_bytes(group)
            text = "whole" if group.tile_px is None else f"{group.tile_px} px"
            overheads = self.tile_overheads(group)
            for p, more, share in zip(self._profiles_of(group), overheads, shares, strict=True):
                work = min(more, tissue * more**2)  # smaller than tiles, with more halo
                seconds = self.seconds(work * p.flop, share.passes(p))
                rows.append(PlanRow(p.label, "tiled", text, tile, seconds))
        rows.extend(
            PlanRow(p.label, "in-core", "whole", self.kept(p), self.seconds(p.flop, 3))
            for p in self.profiles[tail:]
        )
        moves = (4 if self.training else 2) * sum(
            tissue * self.boundary_bytes(group.stop)
            for group, tissue in zip(groups, tissues, strict=True)
        )  # write, read, and gradients
        transfer = moves / self.speed.disk_bytes_per_s if place == "disk" else 0.0
        if place == "host" and self.budget.on_cuda:
            transfer = moves / self.speed.link_bytes_per_s
        options: dict[str, Any] = {
            "groups": groups,
            "boundaries": place,
            "device_bytes": max(0, self._limit),
            "resident_bytes": 0 if self.budget.on_cuda else self.budget.host_bytes,
        }
        return Candidate(
            "tiled",
            options,
            tuple(rows),
            peak,
            stored if place == "host" and self.budget.on_cuda else 0,
            stored if place == "disk" else 0,
            sum(row.seconds for row in rows) + transfer,
            self._norm_refusal() or self._too_large(tail),
        )

    def _share_of_tissue(self, stop: int, tail: int) -> float:
        """Of the boundary after ``stop`` stages, the cells that tiles make: they see tissue."""
        stages = self.network.stage_list
        if (
            reference_shape(chain([stage.receptive_field for stage in stages[:tail]]), self.size)
            is None
        ):
            return 1.0
        receptive_field = chain([stage.receptive_field for stage in stages[:stop]])
        piece = math.sqrt(self.tissue / TISSUE_REGIONS)
        piece += (receptive_field.before + receptive_field.after) / math.sqrt(math.prod(self.size))
        return min(1.0, COVER_OVERHEAD * TISSUE_REGIONS * piece**2)

    def _norm_refusal(self) -> str | None:
        try:
            refuse_image_wide_norm(self.network)
        except MemoryPlanError as error:
            return str(error)
        return None

    def _boundaries_peak(self, boundaries: list[int], tail: int) -> int:
        """The most that the boundaries of groups take together, wherever they are kept."""
        if not self.training:
            return max(a + b for a, b in pairwise([0, *boundaries]))
        tail_size = self.boundary_bytes(tail) if self.profiles[tail:] else 0
        return int(
            MemoryTimeline(
                [GroupMemory(boundary=bytes_) for bytes_ in boundaries], tail_size
            ).peak()
        )

    def _profiles_of(self, group: Group) -> list[StageProfile]:
        return self.profiles[group.first : group.stop]

    def _kept_bytes(self, group: Group) -> tuple[list[float], float]:
        """What the narrow cells, by stage, and what the graphs of all tiles of a group hold."""
        pairs = list(zip(self._profiles_of(group), self.tile_overheads(group), strict=True))
        bottleneck = [self._overheads.blocks * p.bottleneck_bytes * share for p, share in pairs]
        return bottleneck, self._overheads.graphs * sum(p.saved_bytes * share for p, share in pairs)

    @property
    def _limit(self) -> int:
        """Of what an update may hold in boundaries, tiles and graphs on the device."""
        budget = self.budget.device_bytes
        whole = self.budget.host_bytes if budget is None else budget
        return int(whole * self._overheads.usable) - self.fixed_bytes

    def _ledger(self, groups: tuple[Group, ...], tail: int, in_memory: bool) -> MemoryTimeline:
        """What an update holds that keeps no graph; ``in_memory``: boundaries on the device."""
        held = [
            GroupMemory(
                boundary=self._overheads.blocks * self.boundary_bytes(group.stop)
                if in_memory
                else 0,
                recompute=self.tile_bytes(group),
                backward_saved=self.tile_bytes(group, kept=True),
            )
            for group in groups
        ]
        tail_size = self._tail_bytes(tail, top_counted=in_memory)
        return MemoryTimeline(held, tail_size, in_blocks=not self.budget.on_cuda)

    def _keep(self, timeline: MemoryTimeline, groups: tuple[Group, ...]) -> list[list[Shares]]:
        """What tiles save, by group and stage, as in ``choose_checkpoint_policy``."""
        sizes = [self._kept_bytes(group) for group in groups]
        kept = [[Shares() for _ in bottleneck] for bottleneck, _ in sizes]
        for index, stage in by_worth(dict(enumerate(map(self._profiles_of, groups)))):
            held, (bottleneck, _) = timeline.groups[index], sizes[index]
            more = max(0.0, min(bottleneck[stage], timeline.headroom(index, self._limit)))
            held.bottleneck += more
            kept[index][stage] = Shares(bottleneck=more / max(1, bottleneck[stage]))
        for index in reversed(range(len(groups))):
            held, (bottleneck, graphs) = timeline.groups[index], sizes[index]
            before = held.bottleneck
            held.bottleneck, held.graphs, held.saves_all = 0.0, graphs, True
            if timeline.peak() <= self._limit:
                kept[index] = [Shares(graphs=1.0)] * len(bottleneck)
                continue
            held.bottleneck, held.graphs, held.saves_all = before, 0.0, False
            if sum(bottleneck) <= before < graphs and not timeline.in_blocks:  # some become graphs
                headroom = timeline.headroom(index, self._limit, graphs=True)
                share = max(0.0, min(1.0, headroom / graphs))
                held.bottleneck, held.graphs = (1 - share) * before, share * graphs
                kept[index] = [Shares(bottleneck=1 - share, graphs=share)] * len(bottleneck)
            break
        return kept

    def _widen(self, timeline: MemoryTimeline, groups: tuple[Group, ...]) -> tuple[Group, ...]:
        """Larger tiles for the groups that have room as they run again, which is not at once."""
        wider = []
        for index, (group, held) in enumerate(zip(groups, timeline.groups, strict=True)):
            if not held.bottleneck + held.graphs:
                working = int(held.recompute + timeline.recompute_headroom(index, self._limit))
                larger = self._choose_tile(group.first, group.stop, working)
                if self.tile_bytes(larger) > held.recompute:
                    group, held.recompute = larger, self.tile_bytes(larger)
            wider.append(group)
        return tuple(wider)

    def _tail_bytes(self, tail: int, *, top_counted: bool = False) -> int:
        """What the in-core stages after the groups keep and need; 0 for none."""
        return tail_bytes(
            self.profiles[tail:],
            self.boundary_bytes(tail),
            graph=self.training,
            top_counted=top_counted,
        )
