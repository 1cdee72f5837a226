"""Convolution, bias, shortcut and ReLU of a residual block in one operation.

On a CPU a separate pass for ReLU takes a twentieth of the time of the convolution before it;
another pass to add the shortcut raises that to two thirds where the convolution is small.
On a GPU the passes for bias, shortcut and ReLU take up to six times the convolution's own time.
oneDNN and cuDNN do them while they write the result; where neither can, the operations run one
after another. Backward needs only the convolution's input and the result.
"""

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Folded = tuple[Tensor, Tensor | None]
"""Weight and bias of a convolution, with the normalization after it folded in."""


def conv_relu(
    x: Tensor,
    conv: nn.Conv2d,
    folded: Folded,
    padding: tuple[int, int],
    *,
    residual: Tensor | None = None,
    inplace: bool = False,
    cached_output: Tensor | None = None,
) -> Tensor:
    """ReLU of a convolution, (N, C, h, w).

    Args:
        x: the convolution's input (N, C_in, H, W).
        conv: the convolution, for its stride and the like.
        folded: its weight and bias.
        padding: rows and columns of zeros that it runs with.
        residual: (N, C, h, w), added before the ReLU.
        inplace: whether the result may overwrite ``residual``.
        cached_output: the result of an earlier run. Forward then returns it and computes nothing.
    """
    dtype = _compute_dtype(x)
    given = [None if t is None else t.to(dtype) for t in (x, *folded, residual)]
    geometry = list(padding), list(conv.stride), list(conv.dilation), conv.groups
    out: Tensor = _ConvReLU.apply(cached_output, inplace, geometry, *given)
    return out


def _compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype that autocast gives a convolution: custom functions are not told of autocast."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


class _ConvReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cached_output: Tensor | None,
        inplace: bool,
        geometry: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
    ) -> Tensor:
        if cached_output is None:
            result = _compute(geometry, x, weight, bias, residual, inplace=inplace)
        else:
            result = cached_output.detach()
        if result is residual:
            ctx.mark_dirty(residual)
        ctx.save_for_backward(x, weight, result)
        ctx.geometry = geometry
        ctx.bias_sizes = None if bias is None else [weight.shape[0]]
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, result = ctx.saved_tensors
        padding, stride, dilation, groups = ctx.geometry
        gradient = torch.ops.aten.threshold_backward(gradient, result, 0)
        *wanted, shortcut = ctx.needs_input_grad[3:]
        of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient,
            x,
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
        return None, None, None, of_x, of_weight, of_bias, gradient if shortcut else None


def _compute(
    geometry: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    inplace: bool,
) -> Tensor:
    padding, stride, dilation, groups = geometry
    if _fuses_in_cudnn(x, weight, groups):
        order = (stride, padding, dilation, groups)
        if residual is None:
            return torch.cudnn_convolution_relu(x, weight, bias, *order)
        return torch.cudnn_convolution_add_relu(x, weight, residual, 1.0, bias, *order)
    if not _fuses_in_onednn(x):
        result = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
        return F.relu_(result if residual is None else result.add_(residual))
    tail = (padding, stride, dilation, groups)
    if residual is None:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, *tail, "relu", [], ""
        )
        return out
    whole = inplace and residual.is_contiguous(memory_format=torch.channels_last)
    total = residual if whole else residual.clone(memory_format=torch.channels_last)
    out = torch.ops.mkldnn._convolution_pointwise_(
        total, x, weight, bias, *tail, "add", 1.0, "relu", [], ""
    )
    return out


CUDNN_CHANNELS = 8
"""Channels, in and out, must be a multiple of this: cuDNN's fused kernels move 16 bytes at once."""


def _fuses_in_cudnn(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether cuDNN has fused convolutions for this input: 16-bit floats on tensor cores."""
    if not x.is_cuda or x.dtype not in (torch.bfloat16, torch.float16) or groups != 1:
        return False
    if weight.shape[0] % CUDNN_CHANNELS or weight.shape[1] % CUDNN_CHANNELS:
        return False
    if torch.version.cuda is None or not torch.backends.cudnn.enabled:
        return False
    return torch.cuda.get_device_capability(x.device) >= (8, 0)


def _fuses_in_onednn(x: Tensor) -> bool:
    """Whether this build of torch has oneDNN's fused convolutions for this input."""
    if x.device.type != "cpu" or not torch.backends.mkldnn.enabled:
        return False
    if not (_BUILT and x.is_contiguous(memory_format=torch.channels_last)):
        return False
    if x.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return x.dtype == torch.float32


def _built() -> bool:
    with contextlib.suppress(AttributeError, RuntimeError):
        torch.ops.mkldnn._convolution_pointwise_.binary  # noqa: B018 - raises where it is missing
        torch.ops.mkldnn._convolution_pointwise.default  # noqa: B018
        return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return False


_BUILT = _built()
