"""What a memory mode is and what it returns.

Every mode of ``wsi.streaming.modes.MODES`` gives the logits and gradients of ``in_core``; they
differ in memory and time alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from wsi.errors import MemoryPlanError
from wsi.networks.staged import Stage, StagedNetwork
from wsi.streaming.image_source import ImageSource

LossFunction = Callable[[Tensor], Tensor]
"""Logits (N, classes) -> a scalar with a graph."""

Forward = Callable[[Tensor], Tensor]
"""A feature map (N, C, H, W) -> that of a later stage."""

MAX_ELEMENTS = 2**31 - 1
"""Kernels of torch, cuDNN and oneDNN count a tensor's elements in 32 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and in which precision a mode computes.

    Attributes:
        device: torch's name, "cpu", "cuda", "cuda:1". The network must be there already.
        autocast: dtype of the spatial stages (bfloat16), or ``None`` for the parameters' own.
            Pooling, head and loss always run in the parameters' dtype.
        channels_last: run convolutions in NHWC, the faster layout on CPUs and tensor cores.
        stage_runner: returns a function that runs a chain of spatial stages in ``infer``, such as
            that of an inference engine; ``None`` calls the stages one after another, as ``step``
            always does.
        progress: called with the finished fraction in [0, 1]. An exception that it raises ends the
            call; gradients are then incomplete and must be dropped.
    """

    device: str = "cpu"
    autocast: torch.dtype | None = None
    channels_last: bool = True
    stage_runner: Callable[[Sequence[Stage]], Forward] | None = None
    progress: Callable[[float], None] | None = None

    def report(self, share: float) -> None:
        """Call the progress callback, if there is one."""
        if self.progress is not None:
            self.progress(min(1.0, share))

    def compute_dtype(self, network: StagedNetwork) -> torch.dtype:
        """The dtype of the spatial stages' activations."""
        return self.autocast or network.dtype

    @property
    def torch_device(self) -> torch.device:
        """The device, typed."""
        return torch.device(self.device)


@dataclass(frozen=True, slots=True)
class Measured:
    """Time and memory of one call.

    Attributes:
        seconds: wall time.
        peak_device_bytes: peak of torch's memory on a CUDA device; 0 on a CPU.
        peak_host_bytes: peak resident memory of the process since it started, from the operating
            system; a small call after a large one reports the large one's peak.
        counters: counts of the mode's own, such as tiles run and tiles skipped.
    """

    seconds: float
    peak_device_bytes: int
    peak_host_bytes: int
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inference:
    """Logits of an image and the embedding that a CAM or Grad-CAM is made from.

    Attributes:
        logits_nc: (N, classes), parameters' dtype, on the CPU.
        embedding: (N, D, h, w) on the CPU in the compute dtype; ``None`` if not asked for.
        measured: time and memory.
    """

    logits_nc: Tensor
    embedding: Tensor | None
    measured: Measured


@dataclass(frozen=True, slots=True)
class StepResult:
    """Loss and logits of a training step; gradients are in the parameters' ``.grad``.

    Attributes:
        loss: the loss's value.
        logits_nc: (N, classes), parameters' dtype, on the CPU, detached.
        measured: time and memory.
    """

    loss: float
    logits_nc: Tensor
    measured: Measured


class MemoryMode(Protocol):
    """A way to run a staged network on an image that may be larger than the device."""

    name: str
    run: RunOptions

    def infer(
        self, network: StagedNetwork, source: ImageSource, *, keep_embedding: bool = True
    ) -> Inference:
        """Logits in evaluation mode, no gradients; the network's train flag does not change.

        Raises:
            MemoryPlanError: this mode cannot run the network or the size exactly.
        """
        ...

    def step(
        self, network: StagedNetwork, source: ImageSource, loss_fn: LossFunction
    ) -> StepResult:
        """One forward and backward pass; adds to the parameters' ``.grad`` as autograd does.

        ``network`` runs in its current train or evaluation mode. ``loss_fn`` is called once.

        Raises:
            MemoryPlanError: this mode cannot run the network or the size exactly.
        """
        ...


@contextmanager
def evaluation(network: StagedNetwork) -> Iterator[None]:
    """Evaluation mode inside the context; every module's train flag is restored after."""
    flags = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def autocast(run: RunOptions) -> torch.autocast:
    """The autocast context of these options."""
    return torch.autocast(
        run.torch_device.type, dtype=run.autocast, enabled=run.autocast is not None
    )


def to_device(pixels: Tensor, network: StagedNetwork, run: RunOptions) -> Tensor:
    """Pixels in the parameters' dtype, on the device, in the layout of ``run``."""
    layout = torch.channels_last if run.channels_last else torch.contiguous_format
    return pixels.to(run.torch_device, network.dtype, non_blocking=True, memory_format=layout)


def check_image(network: StagedNetwork, source: ImageSource) -> tuple[int, int]:
    """The embedding's height and width.

    Raises:
        MemoryPlanError: the image is too small for an embedding of one position.
    """
    height, width = source.size
    h, w = network.receptive_field.out_size(height), network.receptive_field.out_size(width)
    if min(h, w, height, width) < 1 or source.batch < 1:
        raise MemoryPlanError(
            f"an image of {height} x {width} px is too small for this network: "
            f"{network.receptive_field.stride} px per side are needed"
        )
    return h, w
