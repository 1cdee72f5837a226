"""Costs of the tiled mode: tile sizes, memory over time, recomputation, halo and transfers."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from wsi.errors import MemoryPlanError
from wsi.networks.norms import refuse_image_wide_norm
from wsi.networks.receptive_field import chain
from wsi.planning.cost_model import CostModel
from wsi.streaming.accounting.candidate import Candidate, PlanRow, Shares
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
from wsi.streaming.tiles.checkpoint_policy import (
    GroupTiles,
    TileMemory,
    choose_checkpoint_policy,
)
from wsi.streaming.tiles.tiling import Group, GroupRunner, first_trainable

TILE_SIDES = tuple(eighths * 2**power for power in range(5, 11) for eighths in (8, 10, 12, 14))
"""Image pixels per side, 256 to 14,336."""
TISSUE_REGIONS = 3
"""Number of round regions of tissue assumed where only the share of tissue is known."""
COVER_OVERHEAD = 1.05
"""Positions in tiles' rectangles per position that depends on tissue."""


class TiledCosts:
    """Candidates of the tiled mode.

    Args:
        model: the network, the image size and the machine.
    """

    def __init__(self, model: CostModel) -> None:
        self._model = model

    def _runner(self, group: Group) -> GroupRunner:
        size = self._model.size
        for stage in self._model.network.stage_list[: group.first]:
            size = (
                stage.receptive_field.out_size(size[0]),
                stage.receptive_field.out_size(size[1]),
            )
        stages = self._model.network.stage_list[group.first : group.stop]
        unpadded = not self._model.budget.on_cuda
        return GroupRunner(stages, size, self._stride(group.first), unpadded=unpadded)

    def tile_overheads(self, group: Group) -> list[float]:
        """For each stage, positions computed per position of its input, halo included."""
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
        return math.prod(
            stage.receptive_field.stride for stage in self._model.network.stage_list[:stop]
        )

    def tile_bytes(self, group: Group, *, graph_saved: bool = False) -> int:
        """Peak of one tile's recomputation and backward, or of backward through its saved graph."""
        profiles = self._profiles_of(group)
        sides, shares = [self._model.size], [1.0] * len(profiles)
        if group.tile_px is not None:
            sides = self._tile_sides(group)
            shares = [math.prod(side) / math.prod(self._model.size) for side in sides]
        working = (
            self._model.overheads.working if self._model.training else self._model.overheads.forward
        )
        tile = int(working * shares[0] * working_bytes(profiles, graph=False))
        if self._model.training and not graph_saved:
            own = zip(profiles, shares, strict=True)
            tile += int(self._model.overheads.tile * sum(p.saved_bytes * share for p, share in own))
        if group.first or graph_saved or group.tile_px is None:
            return tile
        pixels = self._model.batch * math.prod(sides[0]) * 3 * self._model.network.dtype.itemsize
        return tile + TILES_READ * pixels

    def _tile_sides(self, group: Group) -> list[tuple[int, int]]:
        """Height and width, in image pixels, of what each stage computes for a tile."""
        assert group.tile_px is not None
        before, own = self._stride(group.first), group.tile_px + self._stride(group.stop)
        sides = (own + halo * before for halo in self._runner(group).halos)
        return [(min(self._model.size[0], side), min(self._model.size[1], side)) for side in sides]

    def _choose_tile(self, first: int, stop: int, working_bytes: int) -> Group:
        """The largest tile that is recomputed in at most ``working_bytes``; else the smallest."""
        whole = Group(first, stop, None)
        if self.tile_bytes(whole) <= working_bytes and not self._group_huge(whole):
            return whole
        best = Group(first, stop, TILE_SIDES[0])
        for side in TILE_SIDES[1:]:
            if side >= max(self._model.size):
                break
            group = Group(first, stop, side)
            if self.tile_bytes(group) > working_bytes or self._group_huge(group):
                break
            best = group
        return best

    def _group_huge(self, group: Group) -> bool:
        largest = max(p.largest_elements for p in self._profiles_of(group))
        side = group.tile_px
        receptive_field = self._model.network.receptive_field
        halo = receptive_field.before + receptive_field.after
        share = 1.0 if side is None else min(1.0, (side + halo) ** 2 / math.prod(self._model.size))
        return largest * share > MAX_ELEMENTS

    def candidate(
        self, ranges: Sequence[tuple[int, int]], working_bytes: int, place: Place
    ) -> Candidate:
        """Tiled groups, then in-core stages.

        Args:
            ranges: the groups' stages [first, stop).
            working_bytes: most that the recomputation of one tile may need.
            place: where group outputs are stored.
        """
        model, cuda = self._model, self._model.budget.on_cuda
        groups = tuple(self._choose_tile(a, b, working_bytes) for a, b in ranges)
        tail = groups[-1].stop
        in_memory = on_device(place, on_cuda=cuda)
        stored = self._boundaries_peak([model.boundary_bytes(g.stop) for g in groups], tail)
        saved = [[Shares()] * (group.stop - group.first) for group in groups]
        if model.training:
            timeline = self._timeline(groups, tail, in_memory)
            saved = self.choose_saved(timeline, groups)
            groups = self._widen(timeline, groups)
            peak = int((model.fixed_bytes + timeline.peak()) / model.overheads.usable)
        else:
            tiles = (self.tile_bytes(group) for group in groups)
            peak = model.fixed_bytes + max(*tiles, self._tail_bytes(tail))
            peak += stored if in_memory else 0
        tissues = [self._share_of_tissue(group.stop, tail) for group in groups]
        rows = self._rows(groups, saved, tissues)
        options: dict[str, Any] = {
            "groups": groups,
            "boundaries": place,
            "device_bytes": max(0, self._limit),
            "resident_bytes": 0 if cuda else model.budget.host_bytes,
        }
        return Candidate(
            "tiled",
            options,
            rows,
            peak,
            stored if place == "host" and cuda else 0,
            stored if place == "disk" else 0,
            sum(row.seconds for row in rows) + self._transfer_seconds(groups, tissues, place),
            self._norm_refusal() or model.too_large(tail),
        )

    def _rows(
        self,
        groups: Sequence[Group],
        saved: Sequence[Sequence[Shares]],
        tissues: Sequence[float],
    ) -> tuple[PlanRow, ...]:
        model = self._model
        rows: list[PlanRow] = []
        for group, shares, tissue in zip(groups, saved, tissues, strict=True):
            tile = self.tile_bytes(group)
            text = "whole" if group.tile_px is None else f"{group.tile_px} px"
            overheads = self.tile_overheads(group)
            for p, more, share in zip(self._profiles_of(group), overheads, shares, strict=True):
                work = min(more, tissue * more**2)  # tissue rectangles are smaller, with more halo
                seconds = model.seconds(work * p.flop, share.passes(p))
                rows.append(PlanRow(p.label, "tiled", text, tile, seconds))
        rows.extend(
            PlanRow(p.label, "in-core", "whole", model.saved_bytes(p), model.seconds(p.flop, 3))
            for p in model.profiles[groups[-1].stop :]
        )
        return tuple(rows)

    def _transfer_seconds(
        self, groups: Sequence[Group], tissues: Sequence[float], place: Place
    ) -> float:
        """Time to write and read the groups' outputs, and in training their gradients."""
        model = self._model
        moves = (4 if model.training else 2) * sum(
            tissue * model.boundary_bytes(group.stop)
            for group, tissue in zip(groups, tissues, strict=True)
        )
        if place == "disk":
            return moves / model.speed.disk_bytes_per_s
        if place == "host" and model.budget.on_cuda:
            return moves / model.speed.link_bytes_per_s
        return 0.0

    def _share_of_tissue(self, stop: int, tail: int) -> float:
        """Share of the feature map after ``stop`` stages that depends on tissue."""
        stages = self._model.network.stage_list
        if (
            reference_shape(
                chain([stage.receptive_field for stage in stages[:tail]]), self._model.size
            )
            is None
        ):
            return 1.0
        receptive_field = chain([stage.receptive_field for stage in stages[:stop]])
        region = math.sqrt(self._model.tissue / TISSUE_REGIONS)
        region += (receptive_field.before + receptive_field.after) / math.sqrt(
            math.prod(self._model.size)
        )
        return min(1.0, COVER_OVERHEAD * TISSUE_REGIONS * region**2)

    def _norm_refusal(self) -> str | None:
        try:
            refuse_image_wide_norm(self._model.network)
        except MemoryPlanError as error:
            return str(error)
        return None

    def _boundaries_peak(self, boundaries: list[int], tail: int) -> int:
        """Peak memory of all group outputs and their gradients, wherever they are stored."""
        if not self._model.training:
            return max(a + b for a, b in pairwise([0, *boundaries]))
        tail_size = self._model.boundary_bytes(tail) if self._model.profiles[tail:] else 0
        return int(
            MemoryTimeline(
                [GroupMemory(boundary=bytes_) for bytes_ in boundaries], tail_size
            ).peak()
        )

    def _profiles_of(self, group: Group) -> list[StageProfile]:
        return self._model.profiles[group.first : group.stop]

    @property
    def _limit(self) -> int:
        """Device memory for group outputs, tiles and what they save, in bytes."""
        budget = self._model.budget.device_bytes
        whole = self._model.budget.host_bytes if budget is None else budget
        return int(whole * self._model.overheads.usable) - self._model.fixed_bytes

    def _timeline(self, groups: Sequence[Group], tail: int, in_memory: bool) -> MemoryTimeline:
        """Memory of an update that recomputes all tiles.

        Args:
            groups: the tiled groups.
            tail: the first in-core stage.
            in_memory: whether group outputs are stored on the device.
        """
        model = self._model
        memory = []
        for group in groups:
            boundary = model.overheads.blocks * model.boundary_bytes(group.stop)
            memory.append(
                GroupMemory(
                    boundary=boundary if in_memory else 0,
                    recompute=self.tile_bytes(group),
                    backward_saved=self.tile_bytes(group, graph_saved=True),
                )
            )
        tail_size = self._tail_bytes(tail, top_counted=in_memory)
        return MemoryTimeline(memory, tail_size, in_blocks=not model.budget.on_cuda)

    def choose_saved(self, timeline: MemoryTimeline, groups: Sequence[Group]) -> list[list[Shares]]:
        """What tiles save, by group and stage; ``timeline`` is updated."""
        tiles = [self._all_tiles(group) for group in groups]
        stages = self._model.network.stage_list
        first = first_trainable([stages[group.first : group.stop] for group in groups])
        saved = choose_checkpoint_policy(timeline, tiles, limit=self._limit, first=first)
        return [
            [
                Shares(bottleneck=(1 - all_tiles.graph) * share, graphs=all_tiles.graph)
                for share in all_tiles.bottleneck
            ]
            for (all_tiles,) in saved
        ]

    def _all_tiles(self, group: Group) -> GroupTiles:
        """All tiles of a group as one entry, of which any fraction may be saved."""
        overheads, profiles = self._model.overheads, self._profiles_of(group)
        pairs = list(zip(profiles, self.tile_overheads(group), strict=True))
        together = TileMemory(
            bottleneck=[overheads.blocks * p.bottleneck_bytes * share for p, share in pairs],
            graph=overheads.graphs * sum(p.saved_bytes * share for p, share in pairs),
            recompute=self.tile_bytes(group),
        )
        return GroupTiles(profiles, [together], divisible=True)

    def _widen(self, timeline: MemoryTimeline, groups: Sequence[Group]) -> tuple[Group, ...]:
        """Larger tiles for groups that save nothing: they are not recomputed at the same time."""
        wider = []
        for index, (group, memory) in enumerate(zip(groups, timeline.groups, strict=True)):
            if not memory.bottleneck + memory.graphs:
                working = int(memory.recompute + timeline.recompute_headroom(index, self._limit))
                larger = self._choose_tile(group.first, group.stop, working)
                if self.tile_bytes(larger) > memory.recompute:
                    group, memory.recompute = larger, self.tile_bytes(larger)
            wider.append(group)
        return tuple(wider)

    def _tail_bytes(self, tail: int, *, top_counted: bool = False) -> int:
        """Memory of the in-core stages after the groups; 0 if there are none."""
        return tail_bytes(
            self._model.profiles[tail:],
            self._model.boundary_bytes(tail),
            graph=self._model.training,
            top_counted=top_counted,
        )
