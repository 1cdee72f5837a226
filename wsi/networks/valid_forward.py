"""Layers on a tile's inside, without the padding that would only spoil halo.

A layer with padding gives as many cells as it takes, those near a tile's edge wrong, and every
layer after it computes them again. Without padding a tile shrinks, layer by layer, to its own
part: the same values, less work, and nothing to cut off.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, Bottleneck

from wsi.networks.activation_cache import NarrowCells, has_narrow_cells
from wsi.networks.fused_conv import Folded, conv_relu
from wsi.networks.norms import FrozenNormConv2d
from wsi.networks.receptive_field import layers_of, reach_of_paths

Axes = tuple[bool, bool]
"""For rows and for columns: whether layers run without padding along them."""
PADDED: Axes = (False, False)


def run_unpadded(
    module: nn.Module, cells: Tensor, axes: Axes, narrow: NarrowCells | None = None
) -> Tensor:
    """A module's result (N, C, h, w) where padding is left out along some axes.

    Args:
        module: of the kinds that ``reach_of`` knows.
        cells: (N, C_in, H, W).
        axes: along which there is no padding; along the others it is the module's own.
        narrow: takes a residual block's narrow cells in a first run and spares them in a second.
    """
    if isinstance(module, nn.Conv2d):
        return _convolve(module, cells, axes, _folded(module))
    if isinstance(module, nn.MaxPool2d):
        padding = _padding(module.padding, axes)
        return F.max_pool2d(cells, module.kernel_size, module.stride, padding, module.dilation)
    if isinstance(module, nn.Sequential):
        return _run_chain(list(module), cells, axes)
    if isinstance(module, BasicBlock | Bottleneck):
        return _run_block(module, cells, axes, narrow)
    return cast(Tensor, module(cells))


def _folded(conv: nn.Conv2d) -> Folded:
    return conv.folded() if isinstance(conv, FrozenNormConv2d) else (conv.weight, conv.bias)


def _convolve(conv: nn.Conv2d, cells: Tensor, axes: Axes, folded: Folded) -> Tensor:
    padding = _padding(conv.padding, axes)
    return F.conv2d(cells, *folded, conv.stride, padding, conv.dilation, conv.groups)


def _padding(padding: Any, axes: Axes) -> tuple[int, int]:
    rows, columns = padding if isinstance(padding, tuple) else (padding, padding)
    return (0 if axes[0] else rows), (0 if axes[1] else columns)


def _run_chain(layers: list[nn.Module], cells: Tensor, axes: Axes) -> Tensor:
    while layers:
        match layers:
            case [nn.Conv2d() as conv, nn.Identity(), nn.ReLU(), nn.MaxPool2d() as pool, *layers]:
                cells = _conv_pool_relu(conv, pool, cells, axes)
            case [layer, *layers]:
                cells = run_unpadded(layer, cells, axes)
    return cells


def _conv_pool_relu(conv: nn.Conv2d, pool: nn.MaxPool2d, cells: Tensor, axes: Axes) -> Tensor:
    """Convolution, max-pooling, then ReLU, which so has a quarter of the cells to pass over.

    ReLU keeps order, and so does a bias: the values are those of ReLU before pooling.
    """
    weight, bias = _folded(conv)
    late = bias is not None and cells.is_cuda  # torch adds it there in a pass of its own
    cells = _convolve(conv, cells, axes, (weight, None if late else bias))
    cells = run_unpadded(pool, cells, axes)
    if late:
        assert bias is not None
        cells = cells.add_(bias.to(cells.dtype)[:, None, None])
    return F.relu_(cells)


def _run_block(
    block: BasicBlock | Bottleneck, cells: Tensor, axes: Axes, narrow: NarrowCells | None
) -> Tensor:
    """What ``block.forward`` does, its shortcut cut to the cells that the convolutions leave."""
    path, shortcut = reach_of_paths(block)
    before, after = path.before - shortcut.before, path.after - shortcut.after
    rows, columns = (
        slice(before, length - after) if unpadded else slice(None)
        for length, unpadded in zip(cells.shape[2:], axes, strict=True)
    )
    cells, beside = _Fork.apply(cells, rows, columns)
    shift = None
    if block.downsample is not None:
        beside, shift = _run_shortcut(block.downsample, beside, axes)
    *first, (last, last_norm) = layers_of(block)
    if narrow is not None and not has_narrow_cells(block):
        narrow = None
    for conv, norm in first:
        known = narrow.take() if narrow is not None and narrow.full else None
        cells = _conv_norm_relu(block, conv, norm, cells, axes, known=known)
        if narrow is not None and known is None:
            narrow.put(cells)
    into = block.downsample is not None
    return _conv_norm_relu(
        block, last, last_norm, cells, axes, beside=beside, shift=shift, into=into
    )


def _run_shortcut(shortcut: nn.Module, cells: Tensor, axes: Axes) -> tuple[Tensor, Tensor | None]:
    """The shortcut's result, and a bias (C,) that is left for the convolution it is added to."""
    match list(shortcut.children()):
        case [nn.Conv2d() as conv, nn.Identity()]:
            weight, bias = _folded(conv)
            return _convolve(conv, cells, axes, (weight, None)), bias
    return run_unpadded(shortcut, cells, axes), None


def _conv_norm_relu(
    block: BasicBlock | Bottleneck,
    conv: nn.Conv2d,
    norm: nn.Module,
    cells: Tensor,
    axes: Axes,
    *,
    beside: Tensor | None = None,
    shift: Tensor | None = None,
    into: bool = False,
    known: Tensor | None = None,
) -> Tensor:
    """ReLU of a convolution's normalized result, as ``conv_relu`` does where one follows."""
    if isinstance(norm, nn.Identity):
        padding = _padding(conv.padding, axes)
        weight, bias = _folded(conv)
        if shift is not None:
            bias = shift if bias is None else bias + shift
        folded = weight, bias
        return conv_relu(cells, conv, folded, padding, beside=beside, into=into, known=known)
    assert shift is None
    cells = norm(run_unpadded(conv, cells, axes))
    if beside is not None:
        cells += beside
    return cast(Tensor, block.relu(cells))


class _Fork(torch.autograd.Function):
    """Cells, and a view of a part of them, for the two paths of a residual block.

    Plain slicing would do. Its backward fills a tensor with zeros, copies the part's gradient into
    it and adds that to the other path's, in NCHW order; here it is added in place.
    """

    @staticmethod
    def forward(ctx: Any, cells: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        ctx.part = rows, columns
        # A slice keeps the strides; ``view_as`` would give a batch of one others: then it is NCHW.
        return cells[:], cells[:, :, rows, columns]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_part: Tensor) -> tuple[Tensor, None, None]:
        rows, columns = ctx.part
        # One convolution alone takes the first output: its backward made this gradient anew.
        gradient[:, :, rows, columns] += of_part
        return gradient, None, None
