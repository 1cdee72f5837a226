"""Stages run as "valid" convolutions on the inside of a tile, without padding.

A layer with padding returns as many positions as it is given, of which those near a tile's edge
are wrong, and every layer after it computes them again. Without padding the halo shrinks from
layer to layer until only the tile's own output is left: the same values, and less work.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck

from wsi.networks.activation_cache import BottleneckActivations, can_save_bottleneck
from wsi.networks.fused_conv import Folded, conv_relu
from wsi.networks.norms import FrozenNormConv2d
from wsi.networks.receptive_field import layers_of, receptive_fields_of_paths

Axes = tuple[bool, bool]
"""For rows and for columns: whether layers run without padding along them."""
PADDED: Axes = (False, False)


def run_unpadded(
    module: nn.Module, x: Tensor, axes: Axes, bottleneck: BottleneckActivations | None = None
) -> Tensor:
    """A module's result (N, C, h, w) where padding is left out along some axes.

    Args:
        module: of a kind that ``receptive_field_of`` supports.
        x: (N, C_in, H, W).
        axes: along which there is no padding; along the others the module's own is used.
        bottleneck: saves a residual block's inner activations in a first run and provides them in
            the second.
    """
    if isinstance(module, nn.Conv2d):
        return _convolve(module, x, axes, _folded(module))
    if isinstance(module, nn.MaxPool2d):
        padding = _padding(module.padding, axes)
        return F.max_pool2d(x, module.kernel_size, module.stride, padding, module.dilation)
    if isinstance(module, nn.Sequential):
        return _run_chain(list(module), x, axes)
    if isinstance(module, BasicBlock | Bottleneck):
        return _run_block(module, x, axes, bottleneck)
    return cast(Tensor, module(x))


def _folded(conv: nn.Conv2d) -> Folded:
    return conv.folded() if isinstance(conv, FrozenNormConv2d) else (conv.weight, conv.bias)


def _convolve(conv: nn.Conv2d, x: Tensor, axes: Axes, folded: Folded) -> Tensor:
    padding = _padding(conv.padding, axes)
    return F.conv2d(x, *folded, conv.stride, padding, conv.dilation, conv.groups)


def _padding(padding: Any, axes: Axes) -> tuple[int, int]:
    rows, columns = padding if isinstance(padding, tuple) else (padding, padding)
    return (0 if axes[0] else rows), (0 if axes[1] else columns)


def _run_chain(layers: list[nn.Module], x: Tensor, axes: Axes) -> Tensor:
    while layers:
        match layers:
            case [nn.Conv2d() as conv, nn.Identity(), nn.ReLU(), nn.MaxPool2d() as pool, *layers]:
                x = _conv_pool_relu(conv, pool, x, axes)
            case [layer, *layers]:
                x = run_unpadded(layer, x, axes)
    return x


def _conv_pool_relu(conv: nn.Conv2d, pool: nn.MaxPool2d, x: Tensor, axes: Axes) -> Tensor:
    """Convolution, max-pooling, then ReLU, which so runs on a quarter of the positions.

    ReLU and a bias are monotonic: the values are those of ReLU before pooling.
    """
    weight, bias = _folded(conv)
    late = bias is not None and x.is_cuda  # torch adds it there in a separate pass
    x = _convolve(conv, x, axes, (weight, None if late else bias))
    x = run_unpadded(pool, x, axes)
    if late:
        assert bias is not None
        x = x.add_(bias.to(x.dtype)[:, None, None])
    return F.relu_(x)


def _run_block(
    block: BasicBlock | Bottleneck,
    x: Tensor,
    axes: Axes,
    bottleneck: BottleneckActivations | None,
) -> Tensor:
    """What ``block.forward`` does, with the shortcut cropped to the convolutions' output."""
    path, shortcut = receptive_fields_of_paths(block)
    before, after = path.before - shortcut.before, path.after - shortcut.after
    rows, columns = (
        slice(before, length - after) if unpadded else slice(None)
        for length, unpadded in zip(x.shape[2:], axes, strict=True)
    )
    x, residual = _Fork.apply(x, rows, columns)
    shift = None
    if block.downsample is not None:
        residual, shift = _run_shortcut(block.downsample, residual, axes)
    *first, (last, last_norm) = layers_of(block)
    if bottleneck is not None and not can_save_bottleneck(block):
        bottleneck = None
    for conv, norm in first:
        cached_output = (
            bottleneck.take() if bottleneck is not None and bottleneck.complete else None
        )
        x = _conv_norm_relu(block, conv, norm, x, axes, cached_output=cached_output)
        if bottleneck is not None and cached_output is None:
            bottleneck.put(x)
    inplace = block.downsample is not None
    return _conv_norm_relu(
        block, last, last_norm, x, axes, residual=residual, shift=shift, inplace=inplace
    )


def _run_shortcut(shortcut: nn.Module, x: Tensor, axes: Axes) -> tuple[Tensor, Tensor | None]:
    """The shortcut's output without its bias (C,), and that bias, to be added later."""
    match list(shortcut.children()):
        case [nn.Conv2d() as conv, nn.Identity()]:
            weight, bias = _folded(conv)
            return _convolve(conv, x, axes, (weight, None)), bias
    return run_unpadded(shortcut, x, axes), None


def _conv_norm_relu(
    block: BasicBlock | Bottleneck,
    conv: nn.Conv2d,
    norm: nn.Module,
    x: Tensor,
    axes: Axes,
    *,
    residual: Tensor | None = None,
    shift: Tensor | None = None,
    inplace: bool = False,
    cached_output: Tensor | None = None,
) -> Tensor:
    """ReLU(norm(conv(x)) + residual); one fused operation where the norm is folded."""
    if isinstance(norm, nn.Identity):
        padding = _padding(conv.padding, axes)
        weight, bias = _folded(conv)
        if shift is not None:
            bias = shift if bias is None else bias + shift
        folded = weight, bias
        return conv_relu(
            x,
            conv,
            folded,
            padding,
            residual=residual,
            inplace=inplace,
            cached_output=cached_output,
        )
    assert shift is None
    x = norm(run_unpadded(conv, x, axes))
    if residual is not None:
        x += residual
    return cast(Tensor, block.relu(x))


class _Fork(torch.autograd.Function):
    """The input of a residual block for its convolutions, and a crop of it for its shortcut.

    Plain slicing gives the same values. Its backward fills a tensor with zeros, copies the crop's
    gradient into it and adds that to the other path's, in NCHW order; here it is added in place.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        ctx.crop = rows, columns
        # A slice keeps the strides; ``view_as`` would give a batch of one others: then it is NCHW.
        return x[:], x[:, :, rows, columns]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_crop: Tensor) -> tuple[Tensor, None, None]:
        rows, columns = ctx.crop
        # Only one convolution uses the first output: its backward allocated this gradient.
        gradient[:, :, rows, columns] += of_crop
        return gradient, None, None
