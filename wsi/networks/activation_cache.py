"""Selective activation checkpointing of residual blocks.

A residual block computes on few channels and adds to many. The outputs of all its convolutions but
the last, such as the two inside a torchvision bottleneck, are small and took most of the
arithmetic. Saved from forward to backward, they reduce recomputation to each block's last
convolution, its shortcut and the sum: a third of the memory of a full autograd graph saves three
quarters of the recomputation. (Choosing activations by their size and the cost to recompute them:
Korthikanti et al., 2022.)
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from wsi.networks.receptive_field import layers_of


def can_save_bottleneck(block: BasicBlock | Bottleneck) -> bool:
    """Whether the inner activations of a block suffice to recompute it and to differentiate it.

    They do where ReLU alone follows each convolution but the last. A normalization layer in
    between would need its own input for backward, too.
    """
    return all(isinstance(norm, nn.Identity) for _, norm in layers_of(block)[:-1])


class TensorQueue(Protocol):
    """A first-in, first-out queue of tensors, such as ``PackedQueue`` in host memory."""

    @property
    def nbytes(self) -> int:
        """Bytes in the queue."""
        ...

    def put(self, tensor: Tensor) -> None:
        """Append a copy of a tensor."""
        ...

    def take(self) -> Tensor:
        """Remove and return the oldest tensor."""
        ...


class BottleneckActivations:
    """Inner activations of one tile's residual blocks, saved in forward and used in recomputation.

    The first run of the tile, without a graph, calls ``put`` for each activation and then
    ``close``; the second run, with a graph, calls ``take`` in the same order.

    Args:
        stages: indices, within the group, of the stages that save theirs; ``None`` for all.
        host_storage: makes the queue that CPU tensors are copied into, so that they do not
            fragment the heap between the tile's own tensors; ``None`` keeps the tensors themselves.
    """

    def __init__(
        self,
        stages: frozenset[int] | None = None,
        host_storage: Callable[[], TensorQueue] | None = None,
    ) -> None:
        self._stages = stages
        self._on_device: deque[Tensor] = deque()
        self._host_storage = host_storage
        self._on_host: TensorQueue | None = None
        self._full = False

    @property
    def nbytes(self) -> int:
        """Bytes that are saved."""
        on_host = self._on_host.nbytes if self._on_host is not None else 0
        return on_host + sum(x.nbytes for x in self._on_device)

    def for_stage(self, stage: int) -> "BottleneckActivations | None":
        """This cache if the stage saves its activations; ``None`` if it recomputes them."""
        return self if self._stages is None or stage in self._stages else None

    @property
    def complete(self) -> bool:
        """Whether the first run is over, so that ``take`` may be called."""
        return self._full

    def close(self) -> None:
        """End the first run."""
        self._full = True

    def put(self, x: Tensor) -> None:
        """Save the output of a convolution and its ReLU."""
        if x.device.type == "cpu" and self._host_storage is not None:
            if self._on_host is None:
                self._on_host = self._host_storage()
            self._on_host.put(x)
        else:
            self._on_device.append(x)

    def take(self) -> Tensor:
        """Remove and return the oldest saved activation."""
        return self._on_host.take() if self._on_host is not None else self._on_device.popleft()
