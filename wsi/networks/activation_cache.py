"""The narrow cells of a tile: a third of what its graph holds, three quarters of what it saves.

A residual block computes on few channels and adds to many. What its convolutions but the last
give, a bottleneck's two narrow activations, is small and took most of the arithmetic. Kept from
forward to backward, they spare a tile's second run all but each block's last convolution, its
shortcut and the sum. (Activations chosen by what they cost to keep and to recompute:
Korthikanti et al., 2022.)
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from wsi.networks.receptive_field import layers_of


def has_narrow_cells(block: BasicBlock | Bottleneck) -> bool:
    """Whether ReLU alone follows the block's convolutions but the last: its result tells enough.

    A normalization of its own would need what came before it, too.
    """
    return all(isinstance(norm, nn.Identity) for _, norm in layers_of(block)[:-1])


class TensorQueue(Protocol):
    """Tensors in the order in which they went in, such as ``Packed`` blocks of host memory."""

    @property
    def nbytes(self) -> int:
        """What is held."""
        ...

    def put(self, tensor: Tensor) -> None:
        """Copy a tensor in here."""
        ...

    def take(self) -> Tensor:
        """The tensor that went in first of those that are left."""
        ...


class NarrowCells:
    """Filled as a tile runs without a graph, and used up as it runs again with one.

    On the host they are copied into blocks: between a tile's own tensors they would leave holes.

    Args:
        stages: of the tile's group that keep theirs, counted from its first; ``None`` for all.
        host_storage: makes what holds those of the host; ``None`` keeps the tensors themselves.
    """

    def __init__(
        self,
        stages: frozenset[int] | None = None,
        host_storage: Callable[[], TensorQueue] | None = None,
    ) -> None:
        self._stages = stages
        self._cells: deque[Tensor] = deque()
        self._host_storage = host_storage
        self._on_host: TensorQueue | None = None
        self._full = False

    @property
    def nbytes(self) -> int:
        """What is held."""
        on_host = self._on_host.nbytes if self._on_host is not None else 0
        return on_host + sum(cells.nbytes for cells in self._cells)

    def of_stage(self, stage: int) -> "NarrowCells | None":
        """These, if a stage of the group keeps its own."""
        return self if self._stages is None or stage in self._stages else None

    @property
    def full(self) -> bool:
        """Whether the first run is over: from then on cells are given back, in order."""
        return self._full

    def close(self) -> None:
        """End of the first run."""
        self._full = True

    def put(self, cells: Tensor) -> None:
        """Keep what a convolution and its ReLU gave."""
        if cells.device.type == "cpu" and self._host_storage is not None:
            if self._on_host is None:
                self._on_host = self._host_storage()
            self._on_host.put(cells)
        else:
            self._cells.append(cells)

    def take(self) -> Tensor:
        """What ``put`` kept, first of those that are left."""
        return self._on_host.take() if self._on_host is not None else self._cells.popleft()
