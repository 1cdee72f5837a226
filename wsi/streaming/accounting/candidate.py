"""The candidates of a memory plan, and the constants of its cost model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from wsi.networks.staged import StagedNetwork
from wsi.streaming.accounting.profile import StageProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadFactors:
    """Factors from counted tensor bytes to the memory that is really used; 1 on a GPU.

    Attributes:
        tile: for what a tile's recomputation saves for backward (heap fragmentation by tiles of
            different sizes).
        working: for the temporary tensors of a tile's backward (workspace of convolutions).
        forward: the same for a forward pass alone.
        offload: working memory of the offload mode, as a multiple of the largest operation.
        graphs: for autograd graphs that are saved from forward to backward (fragmentation).
        blocks: for feature maps and bottleneck activations in blocks: the last one is not full.
        kernel_bytes: of the kernels that oneDNN compiles for each shape, in an update of a slide
            with background.
        usable: share of the memory budget that the counted bytes may reach.
    """

    tile: float = 1.0
    working: float = 1.0
    forward: float = 1.0
    offload: float = 1.5
    graphs: float = 1.0
    blocks: float = 1.0
    kernel_bytes: int = 0
    usable: float = 1.0

    @classmethod
    def of(cls, *, on_cuda: bool) -> "OverheadFactors":
        """The factors of a GPU, or those measured on a CPU."""
        return cls() if on_cuda else _ON_CPU


_ON_CPU = OverheadFactors(
    tile=1.35,
    working=5.0,
    forward=2.4,
    offload=9.0,
    graphs=1.6,
    blocks=1.05,
    kernel_bytes=350_000_000,
    usable=0.9,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Speed of a machine, in the units of the cost model.

    Attributes:
        flop_per_s: floating-point operations of convolutions per second, forward and backward.
        link_bytes_per_s: between device and host, in one direction.
        disk_bytes_per_s: of the scratch folder.
    """

    flop_per_s: float
    link_bytes_per_s: float = 20e9
    disk_bytes_per_s: float = 1e9

    @classmethod
    def assumed(cls, device: str, dtype: torch.dtype) -> "Speed":
        """Assumed speed, not measured: a data-centre GPU, or this machine's CPU threads."""
        half = dtype in (torch.bfloat16, torch.float16)
        if device.startswith("cuda"):
            return cls(flop_per_s=60e12 if half else 15e12)
        return cls(flop_per_s=torch.get_num_threads() * (0.23e12 if half else 0.1e12))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of the memory that a plan may use.

    Attributes:
        device_bytes: of the CUDA device; ``None``: the CPU computes, in the host's memory.
        host_bytes: of the process on the host.
        disk_bytes: of the scratch folder.
    """

    device_bytes: int | None
    host_bytes: int
    disk_bytes: int = 0

    @property
    def on_cuda(self) -> bool:
        """Whether a CUDA device computes."""
        return self.device_bytes is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of a group's tiles that save their bottleneck activations, or their whole graph."""

    bottleneck: float = 0.0
    graphs: float = 0.0

    def passes(self, profile: StageProfile) -> float:
        """Arithmetic of an update in one stage, as a number of its forward passes."""
        spared = profile.bottleneck_flop / max(1, profile.flop)
        return 4 - self.graphs - self.bottleneck * spared


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One stage of a plan.

    Attributes:
        label: the stage.
        mode: how it runs.
        tile: side of its tiles in image pixels, or what it runs whole on.
        device_bytes: saved for backward while it runs.
        seconds: forward, recomputation and backward.
    """

    label: str
    mode: str
    tile: str
    device_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to run a step, with what it is predicted to need.

    Attributes:
        mode, options: for ``make_mode``.
        device_bytes: peak on the device; on a CPU of the whole process.
        host_bytes: peak on the host of a CUDA device; 0 on a CPU.
        disk_bytes: of the scratch folder.
        seconds: of one update.
        refusal: why this way cannot run at all, or ``None``.
    """

    mode: str
    options: dict[str, Any]
    rows: tuple[PlanRow, ...]
    device_bytes: int
    host_bytes: int
    disk_bytes: int
    seconds: float
    refusal: str | None = None

    def fits(self, budget: Budget) -> bool:
        """Whether it runs and stays within the budget."""
        device = budget.host_bytes if budget.device_bytes is None else budget.device_bytes
        return (
            self.refusal is None
            and self.device_bytes <= device
            and (not budget.on_cuda or self.host_bytes <= budget.host_bytes)
            and self.disk_bytes <= budget.disk_bytes
        )


def resident_bytes(
    network: StagedNetwork, *, on_cuda: bool, training: bool, state_per_parameter: int
) -> int:
    """What is on the device whatever the mode: weights, gradients, optimizer state, framework."""
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    # Weights, gradients and, folded or cast, a copy of the weights; the framework itself.
    copies = 3 if training else 2
    resident = int(copies * weights + (600e6 if on_cuda else 750e6))
    if training:
        resident += state_per_parameter * sum(p.numel() for p in network.parameters())
        resident += OverheadFactors.of(on_cuda=on_cuda).kernel_bytes
    return resident


def in_core_bytes(
    resident: int, image_bytes: int, profiles: Sequence[StageProfile], *, training: bool
) -> int:
    """The peak of a network that runs over the whole image on the device."""
    saved = sum(profile.saved_bytes for profile in profiles) if training else 0
    return resident + image_bytes + saved + max(profile.live_bytes for profile in profiles)
