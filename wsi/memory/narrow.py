"""The narrow cells of a tile: a third of what its graph holds, three quarters of what it saves.

A residual block computes on few channels and adds to many. What its convolutions but the last
give, a bottleneck's two narrow activations, is small and took most of the arithmetic. Kept from
forward to backward, they spare a tile's second run all but each block's last convolution, its
shortcut and the sum. (Activations chosen by what they cost to keep and to recompute:
Korthikanti et al., 2022.)
"""

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from wsi.memory.reach import layers_of


def has_narrow_cells(block: BasicBlock | Bottleneck) -> bool:
    """Whether ReLU alone follows the block's convolutions but the last: its result tells enough.

    A normalization of its own would need what came before it, too.
    """
    return all(isinstance(norm, nn.Identity) for _, norm in layers_of(block)[:-1])


class NarrowCells:
    """Filled as a tile runs without a graph, and used up as it runs again with one."""

    def __init__(self) -> None:
        self._cells: deque[Tensor] = deque()
        self._full = False

    @property
    def nbytes(self) -> int:
        """What is held."""
        return sum(cells.nbytes for cells in self._cells)

    @property
    def full(self) -> bool:
        """Whether the first run is over: from then on cells are given back, in order."""
        return self._full

    def close(self) -> None:
        """End of the first run."""
        self._full = True

    def put(self, cells: Tensor) -> None:
        """Keep what a convolution and its ReLU gave."""
        self._cells.append(cells)

    def take(
        self, cells: Tensor, conv: nn.Conv2d, folded: tuple[Tensor, Tensor | None], padding: Any
    ) -> Tensor:
        """What ``put`` kept of this convolution and its ReLU, with a graph as if they had run.

        Args:
            cells: the convolution's input (N, C, H, W).
            conv: the convolution, for its stride and the like.
            folded: its weight and bias.
            padding: rows and columns of zeros that it ran with.
        """
        known = self._cells.popleft()
        given = [tensor.to(known.dtype) for tensor in (cells, *folded) if tensor is not None]
        geometry = list(conv.stride), list(padding), list(conv.dilation), conv.groups
        out: Tensor = _Known.apply(known, geometry, *given)
        return out


class _Known(torch.autograd.Function):
    """Convolution and ReLU whose result is known: only backward computes."""

    @staticmethod
    def forward(ctx: Any, known: Tensor, geometry: Any, *given: Tensor) -> Tensor:
        cells, weight, *bias = given
        result = known.detach()
        ctx.save_for_backward(cells, weight, result)
        ctx.geometry = geometry
        ctx.bias_sizes = [weight.shape[0]] if bias else None
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cells, weight, result = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.geometry
        needed = [*ctx.needs_input_grad[2:], False][:3]
        gradients = torch.ops.aten.convolution_backward(
            torch.ops.aten.threshold_backward(gradient, result, 0),
            cells,
            weight,
            ctx.bias_sizes,
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            groups,
            needed,
        )
        return None, None, *gradients[: len(ctx.needs_input_grad) - 2]
