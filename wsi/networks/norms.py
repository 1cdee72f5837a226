"""The normalizations that a staged network can have, and which of them tiles reproduce exactly.

A tile is a part of the image. Tiles reproduce a normalization exactly only if the result at a
position depends on that position (and constants) alone: BatchNorm with fixed statistics, none at
all, or normalization over the channels of each position. BatchNorm in train mode and GroupNorm
take statistics over the whole image, so they need a mode that runs it whole: in_core, offload or
unified.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from wsi.errors import ConfigError, MemoryPlanError

NormKind = Literal["frozen", "batch", "group", "cell", "none"]
"""frozen: BatchNorm with fixed statistics and affine, folded into its convolution.
batch: BatchNorm as torchvision has it. group: GroupNorm (Wu and He, 2018) over the whole image.
cell: LayerNorm over the channels of each position. none: no normalization, a bias instead."""

GROUPS = 32


class FrozenNormConv2d(nn.Conv2d):
    """A convolution followed by a constant affine map of each channel, as one convolution.

    Folding the map into the weight saves one pass over the activations and one saved tensor. The
    gradient of ``weight`` is that of the unfolded pair: the product rule does the rest.
    """

    norm_scale: Tensor
    norm_shift: Tensor
    _folded: tuple[Tensor, Tensor] | None = None

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of that one convolution."""
        return self._folded or (self.weight * self._scale, self.norm_shift)

    @property
    def _scale(self) -> Tensor:
        return self.norm_scale[:, None, None, None]

    def fold(self, dtype: torch.dtype) -> None:
        """Compute the folded weight once, in ``dtype``, and use it until ``unfold``."""
        weight = (self.weight.detach() * self._scale).to(dtype)
        if self.weight.requires_grad and torch.is_grad_enabled():
            weight.requires_grad_()
            weight.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                self._take_gradient
            )
        self._folded = weight, self.norm_shift.to(dtype)

    def unfold(self) -> None:
        """Drop the folded weight; the next call folds again."""
        self._folded = None

    def _take_gradient(self, folded: Tensor) -> None:
        """Move a folded weight's gradient to the weight, by the product rule."""
        assert folded.grad is not None
        if self.weight.grad is None:
            self.weight.grad = folded.grad.to(self.weight.dtype) * self._scale
        else:
            self.weight.grad.addcmul_(folded.grad, self._scale)
        folded.grad = None

    def forward(self, input: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, h, w)."""
        weight, bias = self.folded()
        return F.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)


@contextmanager
def folded_once(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Fold frozen normalizations once for many tiles instead of once per tile.

    A tile of a late group is small and its weights are large; saved autograd graphs then also
    share the folded weights.

    Args:
        network: whose ``FrozenNormConv2d`` layers are folded.
        dtype: compute dtype of the convolutions.
    """
    layers = [module for module in network.modules() if isinstance(module, FrozenNormConv2d)]
    try:
        for layer in layers:
            layer.fold(dtype)
        yield
    finally:
        for layer in layers:
            layer.unfold()


class WideGroupNorm(nn.GroupNorm):
    """GroupNorm computed in at least float32; the result has the input's dtype.

    Autocast on CUDA computes it in float32 too, but then leaves what follows in float32. On CPUs
    the backward pass in bfloat16 took almost three times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape and dtype."""
        wide = torch.promote_types(input.dtype, torch.float32)
        weight, bias = self.weight.to(wide), self.bias.to(wide)
        normed = F.group_norm(input.to(wide), self.num_groups, weight, bias, self.eps)
        return normed.to(input.dtype)


class ChannelNorm2d(nn.Module):
    """LayerNorm over the channels of each position, so exact in tiles (Liu et al., 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape; without a copy where ``x`` is channels_last."""
        normed: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)


def _affine_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) of a BatchNorm with its running statistics."""
    if norm.running_mean is None or norm.running_var is None:
        raise ConfigError("a BatchNorm without running statistics cannot be frozen")
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach()
    return scale, shift


def _conv_like(conv: nn.Conv2d, kind: type[nn.Conv2d], *, bias: bool) -> nn.Conv2d:
    """A convolution of ``kind`` with the weight (shared) and geometry of ``conv``."""
    if conv.bias is not None:
        raise ConfigError("a convolution before a BatchNorm is expected to have no bias")
    new = kind(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        conv.groups,
        bias=bias,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    new.weight = conv.weight
    return new


def replace_norm(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, kind: NormKind
) -> tuple[nn.Conv2d, nn.Module]:
    """The pair (convolution, normalization) that replaces ``conv`` then ``norm``.

    Raises:
        ConfigError: unknown kind.
    """
    channels = norm.num_features
    if kind == "frozen":
        frozen = _conv_like(conv, FrozenNormConv2d, bias=False)
        scale, shift = _affine_of(norm)
        frozen.register_buffer("norm_scale", scale)
        frozen.register_buffer("norm_shift", shift)
        return frozen, nn.Identity()
    if kind == "none":
        free = _conv_like(conv, nn.Conv2d, bias=True)
        scale, shift = _affine_of(norm)
        free.weight = nn.Parameter(conv.weight.detach() * scale[:, None, None, None])
        free.bias = nn.Parameter(shift.clone())
        return free, nn.Identity()
    if kind == "batch":
        return conv, norm
    if kind in ("group", "cell"):
        groups = next(g for g in range(min(GROUPS, channels), 0, -1) if channels % g == 0)
        new = WideGroupNorm(groups, channels) if kind == "group" else ChannelNorm2d(channels)
        return conv, new.to(conv.weight.device, conv.weight.dtype)
    raise ConfigError(f"unknown norm {kind!r}; choose from: {', '.join(get_args(NormKind))}")


def refuse_image_wide_norm(network: nn.Module) -> None:
    """Refuse normalizations whose statistics span the image: tiles would change the result.

    Raises:
        MemoryPlanError: the network has one; the message says which and what to do.
    """
    for name, module in network.named_modules():
        batch = isinstance(module, _BatchNorm) and (
            module.training or module.running_mean is None or module.running_var is None
        )
        image = isinstance(module, nn.GroupNorm | _InstanceNorm)
        if batch or image:
            what = "BatchNorm in train mode" if batch else type(module).__name__
            raise MemoryPlanError(
                f"{name}: {what} takes statistics over the whole image, which tiles cannot "
                "reproduce exactly. Use norm='frozen', 'cell' or 'none' with the tiled mode, "
                "or keep the norm and use the in_core or offload mode."
            )
