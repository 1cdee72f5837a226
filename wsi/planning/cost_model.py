"""What all memory modes' costs are computed from: a network at a size, on a machine."""

from dataclasses import dataclass, field

import torch

from wsi.networks.staged import StagedNetwork
from wsi.streaming.accounting.candidate import Budget, OverheadFactors, Speed, resident_bytes
from wsi.streaming.accounting.profile import StageProfile
from wsi.streaming.api import MAX_ELEMENTS


@dataclass(slots=True, kw_only=True)
class CostModel:
    """A network at an image size, and the machine that it is planned for.

    Attributes:
        network: the network.
        size: height and width of the image in pixels.
        batch: images together.
        dtype: compute dtype.
        budget: memory of the machine.
        speed: of the machine.
        profiles: of the network's stages at this size.
        training: whether updates are planned, or inference.
        state_per_parameter: bytes that the optimizer keeps per parameter.
        tissue: share of the image that is tissue.
        fixed_bytes: on the device in every mode.
    """

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
    def overheads(self) -> OverheadFactors:
        """From counted bytes to memory that is used."""
        return OverheadFactors.of(on_cuda=self.budget.on_cuda)

    @property
    def image_bytes(self) -> int:
        """The whole image in the parameters' dtype."""
        return self.batch * 3 * self.size[0] * self.size[1] * self.network.dtype.itemsize

    def boundary_bytes(self, stop: int) -> int:
        """The activation after ``stop`` stages."""
        return self.profiles[stop - 1].out_elements * self.dtype.itemsize

    def seconds(self, forward_flop: float, passes: float) -> float:
        """Time of a forward pass; in training, of arithmetic worth ``passes`` forward passes."""
        return forward_flop * (passes if self.training else 1) / self.speed.flop_per_s

    def saved_bytes(self, profile: StageProfile) -> int:
        """What autograd saves of a stage for backward; 0 in inference."""
        return profile.saved_bytes if self.training else 0

    def too_large(self, first: int = 0) -> str | None:
        """Why the stages from ``first`` on cannot run on the whole image, or ``None``."""
        if first == len(self.profiles):
            return None
        worst = max(self.profiles[first:], key=lambda p: p.largest_elements)
        if worst.largest_elements <= MAX_ELEMENTS:
            return None
        return f"{worst.label} makes a tensor of {worst.largest_elements:,} elements (limit 2^31)"
