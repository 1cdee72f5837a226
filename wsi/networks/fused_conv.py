"""Convolution, bias, shortcut and ReLU of a residual block in one operation.

On a CPU a pass over activations to cut off at zero takes a twentieth of the time of the convolution
before it; one more to add the shortcut makes that up to two thirds, where the convolution is small.
On a GPU the passes for bias, shortcut and ReLU take up to six times the convolution's own time.
oneDNN and cuDNN do them as they write the result; where neither can, they run one after the other.
Backward needs the convolution's input and the result alone.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Folded = tuple[Tensor, Tensor | None]
"""A convolution's weight and bias, with what follows it folded in."""


def conv_relu(
    cells: Tensor,
    conv: nn.Conv2d,
    folded: Folded,
    padding: tuple[int, int],
    *,
    beside: Tensor | None = None,
    into: bool = False,
    known: Tensor | None = None,
) -> Tensor:
    """ReLU of a convolution, (N, C, h, w).

    Args:
        cells: the convolution's input (N, C_in, H, W).
        conv: the convolution, for its stride and the like.
        folded: its weight and bias.
        padding: rows and columns of zeros that it runs with.
        beside: (N, C, h, w), added before the ReLU.
        into: ``beside`` may become the result: nobody else needs it.
        known: the result, if it is known: then only backward computes.
    """
    dtype = _compute_dtype(cells)
    given = [None if t is None else t.to(dtype) for t in (cells, *folded, beside)]
    geometry = list(padding), list(conv.stride), list(conv.dilation), conv.groups
    out: Tensor = _ConvReLU.apply(known, into, geometry, *given)
    return out


def _compute_dtype(cells: Tensor) -> torch.dtype:
    """What autocast, of which a custom function knows nothing, would have a convolution run in."""
    kind = cells.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return cells.dtype


class _ConvReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        known: Tensor | None,
        into: bool,
        geometry: Any,
        cells: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        beside: Tensor | None,
    ) -> Tensor:
        if known is None:
            result = _compute(geometry, cells, weight, bias, beside, into=into)
        else:
            result = known.detach()
        if result is beside:
            ctx.mark_dirty(beside)
        ctx.save_for_backward(cells, weight, result)
        ctx.geometry = geometry
        ctx.bias_sizes = None if bias is None else [weight.shape[0]]
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cells, weight, result = ctx.saved_tensors
        padding, stride, dilation, groups = ctx.geometry
        gradient = torch.ops.aten.threshold_backward(gradient, result, 0)
        *wanted, shortcut = ctx.needs_input_grad[3:]
        of_cells, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient,
            cells,
            weight,
            ctx.bias_sizes,
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            groups,
            wanted,
        )
        return None, None, None, of_cells, of_weight, of_bias, gradient if shortcut else None


def _compute(
    geometry: Any,
    cells: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    beside: Tensor | None,
    *,
    into: bool,
) -> Tensor:
    padding, stride, dilation, groups = geometry
    if _fuses_in_cudnn(cells, weight, groups):
        order = (stride, padding, dilation, groups)
        if beside is None:
            return torch.cudnn_convolution_relu(cells, weight, bias, *order)
        return torch.cudnn_convolution_add_relu(cells, weight, beside, 1.0, bias, *order)
    if not _fuses_in_onednn(cells):
        result = F.conv2d(cells, weight, bias, stride, padding, dilation, groups)
        return F.relu_(result if beside is None else result.add_(beside))
    tail = (padding, stride, dilation, groups)
    if beside is None:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            cells, weight, bias, *tail, "relu", [], ""
        )
        return out
    whole = into and beside.is_contiguous(memory_format=torch.channels_last)
    total = beside if whole else beside.clone(memory_format=torch.channels_last)
    out = torch.ops.mkldnn._convolution_pointwise_(
        total, cells, weight, bias, *tail, "add", 1.0, "relu", [], ""
    )
    return out


CUDNN_CHANNELS = 8
"""Channels, in and out, must be a multiple of this: cuDNN's fused kernels move 16 bytes at once."""


def _fuses_in_cudnn(cells: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether cuDNN has fused convolutions for such cells: narrow types on tensor cores."""
    if not cells.is_cuda or cells.dtype not in (torch.bfloat16, torch.float16) or groups != 1:
        return False
    if weight.shape[0] % CUDNN_CHANNELS or weight.shape[1] % CUDNN_CHANNELS:
        return False
    if torch.version.cuda is None or not torch.backends.cudnn.enabled:
        return False
    return torch.cuda.get_device_capability(cells.device) >= (8, 0)


def _fuses_in_onednn(cells: Tensor) -> bool:
    """Whether torch's build has oneDNN's fused convolutions for such cells."""
    if cells.device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    if not (_BUILT and cells.is_contiguous(memory_format=torch.channels_last)):
        return False
    if cells.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return cells.dtype == torch.float32


def _built() -> bool:
    with contextlib.suppress(AttributeError, RuntimeError):
        torch.ops.mkldnn._convolution_pointwise_.binary  # noqa: B018 - it is looked up
        torch.ops.mkldnn._convolution_pointwise.default  # noqa: B018
        return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return False


_BUILT = _built()
