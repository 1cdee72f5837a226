"""Which memory mode, groups and tiles to use: the fastest that fits, with the numbers shown."""

import copy
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from wsi.errors import ConfigError, MemoryPlanError
from wsi.networks.staged import StagedNetwork
from wsi.planning import whole_image_costs
from wsi.planning.cost_model import CostModel
from wsi.planning.tiled_costs import TiledCosts
from wsi.streaming.accounting.candidate import Budget, Candidate, PlanRow, Speed
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.api import Measured, MemoryMode, RunOptions
from wsi.streaming.image_source import TensorSource
from wsi.streaming.modes import MODES, make_mode
from wsi.streaming.tiles.tiling import LONGEST_RUN, cut_stages

OPTIMIZER_STATE = {"adamw": 8, "sgd": 4}
"""Bytes per parameter: two float32 moments (Loshchilov and Hutter, 2019); one of momentum."""

WORKING_BYTES = tuple(int(gib * 2**30) for gib in (0.125, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 16, 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """A way to run one training update, predicted before it runs.

    Attributes:
        mode, options: for ``make_mode``.
        size: height and width of the image.
        batch: images together.
        rows: one per stage.
        device_bytes: predicted peak on the device; on a CPU of the process.
        host_bytes: predicted peak on the host beside a CUDA device; 0 on a CPU.
        disk_bytes: predicted scratch space.
        seconds: predicted time of an update, or of a slide's inference.
        budget: what it was made for.
        training: whether updates are planned, or inference.
        tissue: share of the image that is tissue, which the time was predicted for.
    """

    mode: str
    options: dict[str, Any]
    size: tuple[int, int]
    batch: int
    rows: tuple[PlanRow, ...]
    device_bytes: int
    host_bytes: int
    disk_bytes: int
    seconds: float
    budget: Budget
    training: bool = True
    tissue: float = 1.0

    def make_mode(self, run: RunOptions | None = None, **changes: Any) -> MemoryMode:
        """The planned mode; ``changes`` are further options such as ``scratch``."""
        return make_mode(self.mode, run, **{**self.options, **changes})

    def table(self, measured: Measured | None = None) -> str:
        """The plan as text, one row per stage; with the measured figures of a step, if given."""
        lines = [
            f"{self.mode} at {self.size[0]} x {self.size[1]} px, batch {self.batch}, "
            f"{self.tissue:.0%} tissue",
            f"{'stage':<12}{'mode':<10}{'tile':<10}{'GB':>8}{'seconds':>10}",
        ]
        lines += [
            f"{row.label:<12}{row.mode:<10}{row.tile:<10}"
            f"{row.device_bytes / 1e9:>8.2f}{row.seconds:>10.2f}"
            for row in self.rows
        ]
        where = "device" if self.budget.on_cuda else "memory"
        lines.append("")
        lines.append(f"{'':<22}{'predicted':>12}" + (f"{'measured':>12}" if measured else ""))
        got: dict[str, str] = {}
        if measured:
            device = measured.peak_device_bytes if self.budget.on_cuda else measured.peak_host_bytes
            got = {
                where: f"{device / 1e9:>12.2f}",
                "host": f"{measured.peak_host_bytes / 1e9:>12.2f}",
                "time": f"{measured.seconds:>12.1f}",
            }
        lines.append(
            f"{f'peak {where}, GB':<22}{self.device_bytes / 1e9:>12.2f}{got.get(where, '')}"
        )
        if self.budget.on_cuda:
            host = got.get("host", "")
            lines.append(f"{'peak host, GB':<22}{self.host_bytes / 1e9:>12.2f}{host}")
        if self.disk_bytes:
            lines.append(f"{'scratch on disk, GB':<22}{self.disk_bytes / 1e9:>12.2f}")
        what = "seconds per update" if self.training else "seconds per slide"
        lines.append(f"{what:<22}{self.seconds:>12.1f}{got.get('time', '')}")
        return "\n".join(lines)


def plan(
    network: StagedNetwork,
    input_size: tuple[int, int],
    device_budget: int | None,
    host_budget: int,
    *,
    disk_budget: int = 0,
    batch: int = 1,
    dtype: torch.dtype | None = None,
    speed: Speed | None = None,
    mode: str | None = None,
    training: bool = True,
    state_per_parameter: int = 0,
    tissue: float = 1.0,
) -> MemoryPlan:
    """The fastest way to run images of this size within the budgets. Needs no GPU.

    Args:
        network: on any device, the meta device too; its train flag counts.
        input_size: height and width in pixels.
        device_budget: bytes of the CUDA device; ``None`` plans for a CPU.
        host_budget: bytes of the process on the host.
        disk_budget: bytes of scratch space; 0 for none.
        batch: images together.
        dtype: compute dtype as in ``RunOptions.autocast``.
        speed: of the machine, as ``calibrate`` measures it; ``None`` for an assumed one.
        mode: only this mode; ``None`` chooses among in_core, tiled and offload.
        training: plan ``step``; else ``infer``, which keeps nothing for backward.
        state_per_parameter: bytes per parameter that the optimizer keeps on the device, as in
            ``OPTIMIZER_STATE``.
        tissue: share of the image that is tissue, for sources that know background, which is
            computed once. It changes the predicted time; memory is planned for tissue everywhere.

    Raises:
        ConfigError: unknown mode, or a share of tissue outside 0 to 1.
        MemoryPlanError: nothing fits; with each mode's need and the largest image that fits.
    """
    if mode is not None and mode not in MODES:
        raise ConfigError(f"unknown memory mode {mode!r}; choose from: {', '.join(MODES)}")
    if not 0 <= tissue <= 1:
        raise ConfigError(f"tissue is a share of the image, 0 to 1, not {tissue}")
    budget = Budget(device_bytes=device_budget, host_bytes=host_budget, disk_bytes=disk_budget)
    request = _Request(
        network, budget, batch, dtype, speed, mode, training, state_per_parameter, tissue
    )
    best, closest = _best(request, input_size)
    if best is None:
        advice = _largest_that_fits(request, input_size)
        raise MemoryPlanError(_refusal(input_size, budget, closest, advice))
    return MemoryPlan(
        mode=best.mode,
        options=best.options,
        size=input_size,
        batch=batch,
        rows=best.rows,
        device_bytes=best.device_bytes,
        host_bytes=best.host_bytes,
        disk_bytes=best.disk_bytes,
        seconds=best.seconds,
        budget=budget,
        training=training,
        tissue=tissue,
    )


CALIBRATION_PX, CALIBRATION_PX_CUDA = 768, 3072
"""Side of the image that speed is measured on: on a GPU, kernels must outlast launches."""


def calibrate(network: StagedNetwork, run: RunOptions, side: int | None = None) -> Speed:
    """Measure the machine's speed by in-core steps of a copy of ``network`` on ``side`` px.

    Only the arithmetic is measured; link and disk keep their assumed rates. Without a ``side`` it
    is ``CALIBRATION_PX``; on a CUDA device ``CALIBRATION_PX_CUDA``, or what a quarter of its free
    memory holds.
    """
    copied = copy.deepcopy(network)
    if side is None and run.torch_device.type == "cuda":
        side = CALIBRATION_PX_CUDA
        free, _ = torch.cuda.mem_get_info(run.torch_device)
        profiles = profile_network(network, (side, side), dtype=run.autocast)
        need = sum(p.saved_bytes for p in profiles)
        side = max(32, int(side * min(1.0, free / 4 / need) ** 0.5))
    side = side or CALIBRATION_PX
    source = TensorSource(torch.zeros(1, 3, side, side, device=run.torch_device))
    mode = make_mode("in_core", dataclasses.replace(run, progress=None))
    flop = 3 * sum(p.flop for p in profile_network(network, (side, side), dtype=run.autocast))
    seconds = [
        mode.step(copied, source, lambda logits: logits.sum()).measured.seconds for _ in range(3)
    ]
    assumed = Speed.assumed(run.device, run.compute_dtype(network))
    return dataclasses.replace(assumed, flop_per_s=flop / min(seconds))


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of ``plan``, except the image's size."""

    network: StagedNetwork
    budget: Budget
    batch: int
    dtype: torch.dtype | None
    speed: Speed | None
    mode: str | None
    training: bool
    state_per_parameter: int
    tissue: float


def _candidates(model: CostModel, mode: str | None) -> Iterator[Candidate]:
    if mode in (None, "in_core"):
        yield whole_image_costs.in_core(model)
    if mode in (None, "tiled"):
        tiled = TiledCosts(model)
        ways: list[list[tuple[int, int]]] = []
        for longest in (LONGEST_RUN, len(model.profiles)):  # fewer stored outputs need less memory
            cuts = cut_stages(model.network, longest)
            begun = (cuts[:count] for count in range(1, len(cuts) + 1))
            ways += [ranges for ranges in begun if ranges not in ways]
        if not model.training:  # one group of all tiled stages: more halo, no stored output inside
            ways += [[(0, stop)] for _, stop in cuts[1:]]
        for place in ("device", "host", "disk"):
            if place == "device" and not model.budget.on_cuda:
                continue
            if place == "disk" and not model.budget.disk_bytes:
                continue
            for ranges in ways:
                for working in WORKING_BYTES:
                    yield tiled.candidate(ranges, working, place)
    if mode == "unified":
        yield whole_image_costs.unified(model)
    if mode in (None, "offload") and model.training:
        for group_bytes in whole_image_costs.OFFLOAD_GROUP_BYTES:
            yield whole_image_costs.offload(model, group_bytes)


def _best(request: _Request, size: tuple[int, int]) -> tuple[Candidate | None, list[Candidate]]:
    """The fastest candidate that fits, and of each mode the one nearest to fitting."""
    network, budget = request.network, request.budget
    compute = request.dtype or network.dtype
    model = CostModel(
        network=network,
        size=size,
        batch=request.batch,
        dtype=compute,
        budget=budget,
        speed=request.speed or Speed.assumed("cuda" if budget.on_cuda else "cpu", compute),
        profiles=profile_network(network, size, batch=request.batch, dtype=request.dtype),
        training=request.training,
        state_per_parameter=request.state_per_parameter,
        tissue=request.tissue,
    )
    best: Candidate | None = None
    closest: dict[str, Candidate] = {}
    for candidate in _candidates(model, request.mode):
        if candidate.fits(budget) and (best is None or candidate.seconds < best.seconds):
            best = candidate
        rival = closest.get(candidate.mode)
        if rival is None or _need(candidate) < _need(rival):
            closest[candidate.mode] = candidate
    return best, list(closest.values())


def _need(candidate: Candidate) -> tuple[bool, int]:
    return candidate.refusal is not None, candidate.device_bytes + candidate.host_bytes


def _largest_that_fits(request: _Request, size: tuple[int, int]) -> int:
    """The longest side of an image of the same shape that fits, to about 3 %; 0 for none."""
    low, high = 0.0, 1.0
    longest = max(size)
    while high - low > 0.03 * high and high * longest > 64:
        middle = (low + high) / 2
        smaller = (max(1, round(size[0] * middle)), max(1, round(size[1] * middle)))
        fits = _best(request, smaller)[0] is not None
        low, high = (middle, high) if fits else (low, middle)
    return int(low * longest)


def _refusal(size: tuple[int, int], budget: Budget, closest: list[Candidate], largest: int) -> str:
    device = "" if budget.device_bytes is None else f"{budget.device_bytes / 1e9:.2f} GB device, "
    disk = f", {budget.disk_bytes / 1e9:.2f} GB disk" if budget.disk_bytes else ""
    lines = [
        f"no memory mode takes {size[0]} x {size[1]} px within {device}"
        f"{budget.host_bytes / 1e9:.2f} GB host{disk}:"
    ]
    for candidate in closest:
        if candidate.refusal is not None:
            lines.append(f"  {candidate.mode}: {candidate.refusal}")
            continue
        where = "device" if budget.on_cuda else "memory"
        needs = [f"{candidate.device_bytes / 1e9:.2f} GB {where}"]
        if candidate.host_bytes:
            needs.append(f"{candidate.host_bytes / 1e9:.2f} GB host")
        if candidate.disk_bytes:
            needs.append(f"{candidate.disk_bytes / 1e9:.2f} GB disk")
        lines.append(f"  {candidate.mode}: needs {', '.join(needs)}")
    if largest:
        lines.append(f"An image of up to about {largest} px on its longer side would fit.")
    else:
        lines.append("No image fits: the network alone is too large for this budget.")
    return "\n".join(lines)
