"""What each memory mode would need and take for a network at a size: the plan's arithmetic."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch

from wsi.errors import MemoryPlanError
from wsi.memory.boundary import Place
from wsi.memory.candidate import CPU_HEAP_SLACK, Budget, Candidate, PlanRow, Speed
from wsi.memory.mode import MAX_ELEMENTS
from wsi.memory.network import StagedNetwork
from wsi.memory.norms import refuse_image_wide_norm
from wsi.memory.profile import StageProfile
from wsi.memory.reach import chain
from wsi.memory.tiling import Group, GroupRunner, cut_stages

TILE_SIDES = (256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
OFFLOAD_GROUP_BYTES = (2**30, 2**28, 2**26)


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
    fixed_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        weights = sum(p.numel() * p.element_size() for p in self.network.parameters())
        # Weights, gradients and, folded or cast, a copy of the weights; the framework itself.
        copies = 3 if self.training else 2
        framework = 600e6 if self.budget.on_cuda else 750e6
        self.fixed_bytes = int(copies * weights + framework)
        if self.training:
            count = sum(p.numel() for p in self.network.parameters())
            self.fixed_bytes += self.state_per_parameter * count

    @property
    def _slack(self) -> float:
        return 1.0 if self.budget.on_cuda else CPU_HEAP_SLACK

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
        peak = self.fixed_bytes + self.image_bytes
        peak += sum(self.kept(p) for p in self.profiles)
        peak += max(p.live_bytes for p in self.profiles)
        host = self.image_bytes if self.budget.on_cuda else 0
        total = sum(row.seconds for row in rows)
        return Candidate("in_core", {}, rows, peak, host, 0, total, self._too_large())

    def offload(self, group_bytes: int) -> Candidate:
        """Saved activations in host memory, or on disk on a CPU."""
        cuda = self.budget.on_cuda
        saved = sum(p.saved_bytes for p in self.profiles)
        link = self.speed.link_bytes_per_s if cuda else self.speed.disk_bytes_per_s
        rows = []
        for p in self.profiles:
            # Copies run beside the compute, in forward and backward each.
            forward = max(self.seconds(p.flop, 1), p.saved_bytes / link)
            backward = max(self.seconds(p.flop, 2), p.saved_bytes / link)
            rows.append(
                PlanRow(
                    p.label,
                    "offload",
                    "whole",
                    min(p.saved_bytes, 3 * group_bytes),
                    forward + backward,
                )
            )
        largest = max(p.live_bytes for p in self.profiles)
        # A storage larger than a group is a group of its own.
        groups = 3 * max(group_bytes, largest // 2)
        peak = self.fixed_bytes + self.image_bytes + min(groups, saved) + 2 * largest
        host, disk = (saved + self.image_bytes, 0) if cuda else (0, saved)
        options: dict[str, Any] = {"group_bytes": group_bytes}
        total = sum(row.seconds for row in rows)
        return Candidate(
            "offload", options, tuple(rows), peak, host, disk, total, self._too_large()
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

    def tile_overhead(self, group: Group) -> float:
        """Pixels computed for each pixel wanted, halo included."""
        if group.tile_px is None:
            return 1.0
        size = self.size
        for stage in self.network.stage_list[: group.first]:
            size = (stage.reach.out_size(size[0]), stage.reach.out_size(size[1]))
        stages = self.network.stage_list[group.first : group.stop]
        runner = GroupRunner(stages, size, self._stride(group.first))
        # Rows and columns of a tiling are independent: the sum of areas is a product of sums.
        read = [0, 0]
        for rect in runner.out_tiles(group.tile_px, along=0):
            read[0] += runner.needed(rect).height
        for rect in runner.out_tiles(group.tile_px, along=1):
            read[1] += runner.needed(rect).width
        return read[0] * read[1] / (size[0] * size[1])

    def _stride(self, stop: int) -> int:
        return math.prod(stage.reach.stride for stage in self.network.stage_list[:stop])

    def tile_bytes(self, group: Group) -> int:
        """Peak of one tile's replay on the device."""
        profiles = self.profiles[group.first : group.stop]
        whole = sum(self.kept(p) for p in profiles) + 2 * max(p.live_bytes for p in profiles)
        if group.tile_px is None:
            return int(whole * self._slack)
        own = chain([s.reach for s in self.network.stage_list[group.first : group.stop]])
        halo = (own.before + own.after) * self._stride(group.first)
        stride = self._stride(group.stop)
        side = [min(s, group.tile_px + halo + stride) for s in self.size]
        pixels = self.batch * side[0] * side[1] * 3 * self.network.dtype.itemsize
        tile = whole * side[0] * side[1] / (self.size[0] * self.size[1])
        return int(tile * self._slack) + 3 * pixels  # this tile's, the next, one being decoded

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
        largest = max(p.largest_elements for p in self.profiles[group.first : group.stop])
        side = group.tile_px
        reach = self.network.reach
        halo = reach.before + reach.after
        share = 1.0 if side is None else min(1.0, (side + halo) ** 2 / math.prod(self.size))
        return largest * share > MAX_ELEMENTS

    def tiled(
        self, working_bytes: int, tail: int, place: Place, *, merged: bool = False
    ) -> Candidate:
        """Groups of tiles up to stage ``tail``, in-core from there.

        Args:
            working_bytes: most that one tile's replay may take.
            tail: first stage that runs in-core; the number of stages for none.
            place: of the boundaries.
            merged: one group of all tiled stages: more halo, no boundary inside.
        """
        ranges = [(a, b) for a, b in cut_stages(self.network) if b <= tail]
        if merged:
            ranges = [(0, tail)]
        groups = tuple(self._choose_tile(a, b, working_bytes) for a, b in ranges)
        in_memory = place == "device" or (place == "host" and not self.budget.on_cuda)
        during, tiles = self._boundaries_during(groups), [self.tile_bytes(g) for g in groups]
        used = [a + b for a, b in zip(tiles, during, strict=True)] if in_memory else tiles
        peak, stored = self._tiled_peaks(groups, tail)
        peak += stored if in_memory else 0
        rest = self._rest_bytes(tail) + (stored if in_memory else 0)
        graphs = self._graphs_that_fit(groups, used, rest)
        alive = [bytes_ + sum(graphs[: g + 1]) for g, bytes_ in enumerate(used)]
        peak = max(peak, self.fixed_bytes + max(alive), self.fixed_bytes + rest + sum(graphs))
        rows: list[PlanRow] = []
        for group, tile, graph in zip(groups, tiles, graphs, strict=True):
            overhead = self.tile_overhead(group)
            kept = graph / max(1, self._graph_bytes(group))
            text = "whole" if group.tile_px is None else f"{group.tile_px} px"
            rows.extend(
                PlanRow(p.label, "tiled", text, tile, self.seconds(p.flop * overhead, 4 - kept))
                for p in self.profiles[group.first : group.stop]
            )
        rows.extend(
            PlanRow(p.label, "in-core", "whole", self.kept(p), self.seconds(p.flop, 3))
            for p in self.profiles[tail:]
        )
        moves = (4 if self.training else 2) * sum(
            self.boundary_bytes(g.stop) for g in groups
        )  # write, read, and gradients
        transfer = moves / self.speed.disk_bytes_per_s if place == "disk" else 0.0
        if place == "host" and self.budget.on_cuda:
            transfer = moves / self.speed.link_bytes_per_s
        options: dict[str, Any] = {
            "groups": groups,
            "boundaries": place,
            "kept_bytes": int(sum(graphs) / self._slack),
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

    def _norm_refusal(self) -> str | None:
        try:
            refuse_image_wide_norm(self.network)
        except MemoryPlanError as error:
            return str(error)
        return None

    def _boundaries_during(self, groups: tuple[Group, ...]) -> list[int]:
        """Bytes of boundaries while each group runs, in the direction that needs more of them."""
        kept = [self.boundary_bytes(group.stop) for group in groups]
        if not self.training:
            return [a + b for a, b in pairwise([0, *kept])]
        # While group g is replayed: activations below it, and gradients on both sides of it.
        return [
            sum(kept[: index + 1]) + (kept[index - 1] if index else 0)
            for index in range(len(groups))
        ]

    def _graph_bytes(self, group: Group) -> int:
        """What the graphs of all tiles of a group hold."""
        own = sum(p.saved_bytes for p in self.profiles[group.first : group.stop])
        return int(own * self.tile_overhead(group) * self._slack)

    def _graphs_that_fit(self, groups: tuple[Group, ...], used: list[int], rest: int) -> list[int]:
        """Bytes of tiles' graphs, of each group, that fit beside what is in use.

        The last groups' graphs wait the longest, but are gone before the first groups' replay.

        Args:
            groups: the tiled ones.
            used: while each group runs.
            rest: while the in-core rest runs.
        """
        fitting = [0] * len(groups)
        if not self.training:
            return fitting
        budget = self.budget.device_bytes if self.budget.on_cuda else self.budget.host_bytes
        assert budget is not None
        room = budget - self.fixed_bytes - rest
        for index in reversed(range(len(groups))):
            own = self._graph_bytes(groups[index])
            room = min(room, budget - self.fixed_bytes - used[index])
            fitting[index] = max(0, min(own, room - sum(fitting)))
            if fitting[index] < own:
                break
        return fitting

    def _rest_bytes(self, tail: int) -> int:
        """What the in-core stages after the groups keep and need; 0 for none."""
        rest = self.profiles[tail:]
        if not rest:
            return 0
        whole = sum(self.kept(p) for p in rest) + 2 * max(p.live_bytes for p in rest)
        return whole + 2 * self.boundary_bytes(tail)

    def _tiled_peaks(self, groups: tuple[Group, ...], tail: int) -> tuple[int, int]:
        """Peak on the device without boundaries, and the peak of the boundaries."""
        kept = [self.boundary_bytes(group.stop) for group in groups]
        during = self._boundaries_during(groups)
        rest = self.profiles[tail:]
        device = max(*(self.tile_bytes(group) for group in groups), self._rest_bytes(tail))
        if self.training:
            during.append(sum(kept) + (0 if rest else kept[-1]))
        return self.fixed_bytes + device, max(during)
