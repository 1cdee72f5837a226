"""What a plan chooses among, and what it counts with."""

from dataclasses import dataclass
from typing import Any

import torch

CPU_TILE_SLACK = 2.8
"""Resident heap over counted bytes while tiles run on a CPU, measured at 10,000 px with tiles of
1,150 to 1,800 px: twice for tiles of one shape, for what convolutions' backward takes for itself;
the rest are holes that tiles of unlike sizes leave."""

CPU_KEPT_SLACK = 1.15
"""The same of what tiles keep from forward to backward."""

CPU_USABLE = 0.85
"""What an update on a CPU may use of its memory by this count."""

CPU_TRIM_ABOVE = 0.95
"""Share of a CPU's memory from which on free memory is given back before a tile. It is fetched
again at a price, so this is for what the count did not foresee."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a machine is, in what the plan counts.

    Attributes:
        flop_per_s: floating-point operations of convolutions a second, forward and backward.
        link_bytes_per_s: between device and host, one way.
        disk_bytes_per_s: of the scratch folder.
    """

    flop_per_s: float
    link_bytes_per_s: float = 20e9
    disk_bytes_per_s: float = 1e9

    @classmethod
    def assumed(cls, device: str, dtype: torch.dtype) -> "Speed":
        """A guess where nothing was measured: a data-centre GPU, or this machine's CPU threads."""
        half = dtype in (torch.bfloat16, torch.float16)
        if device.startswith("cuda"):
            return cls(flop_per_s=60e12 if half else 15e12)
        return cls(flop_per_s=torch.get_num_threads() * (0.23e12 if half else 0.1e12))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Most memory that a plan may use.

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


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One stage of a plan.

    Attributes:
        label: the stage.
        mode: how it runs.
        tile: side of its tiles in image pixels, or what it runs whole on.
        device_bytes: kept for backward while it runs.
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
        host_bytes: peak on the host beside a CUDA device; 0 on a CPU.
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
