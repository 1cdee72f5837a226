"""Receptive fields, derived from the layers of a network.

Along one axis, output position ``o`` of a chain of convolutions and poolings depends on the input
positions from ``o * stride - before`` to ``o * stride + after``, both included. Halo and stride of
a chain follow from its layers' kernels, strides, paddings and dilations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from wsi.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Window:
    """One sliding-window layer along one axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int = 1

    @property
    def span(self) -> int:
        """Input positions from the first to the last that one output position depends on."""
        return self.dilation * (self.kernel - 1) + 1

    def out_size(self, size: int) -> int:
        """Output size along an axis of ``size`` input positions."""
        return (size + 2 * self.padding - self.span) // self.stride + 1


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """Which input positions one output position depends on, along one axis.

    Attributes:
        windows: the layers of the longest path in order, from which the output's size follows.
        stride: input positions from one output position to the next.
        before, after: how far the receptive field extends before and after ``o * stride``.
    """

    windows: tuple[Window, ...] = ()
    stride: int = 1
    before: int = 0
    after: int = 0

    @property
    def first_centre(self) -> float:
        """Centre of the first output position's receptive field, from the input's edge."""
        return (1 + self.after - self.before) / 2

    @classmethod
    def of_window(cls, window: Window) -> "ReceptiveField":
        """The receptive field of a single layer."""
        return cls((window,), window.stride, window.padding, window.span - 1 - window.padding)

    def then(self, later: "ReceptiveField") -> "ReceptiveField":
        """The receptive field of this chain followed by ``later``."""
        return ReceptiveField(
            self.windows + later.windows,
            self.stride * later.stride,
            later.before * self.stride + self.before,
            later.after * self.stride + self.after,
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """The receptive field of a sum of two paths from one input, as in a residual block.

        Raises:
            ConfigError: the paths have different strides.
        """
        if self.stride != other.stride:
            raise ConfigError(
                f"the two paths of a block have strides {self.stride} and {other.stride}"
            )
        return ReceptiveField(
            max(self.windows, other.windows, key=len),
            self.stride,
            max(self.before, other.before),
            max(self.after, other.after),
        )

    def out_size(self, size: int) -> int:
        """Output size along an axis of ``size`` input positions."""
        for window in self.windows:
            size = window.out_size(size)
        return size

    def unpadded_size(self, size: int) -> int:
        """Output size along an axis of ``size`` input positions where no layer pads."""
        return (size - self.before - self.after - 1) // self.stride + 1

    def needs_padding(self, start: int, stop: int, size: int) -> bool:
        """Whether outputs [start, stop) depend on positions outside an axis of ``size``."""
        return start * self.stride < self.before or self._end(stop) > size

    def needed(self, start: int, stop: int, size: int, *, padded: bool = True) -> tuple[int, int]:
        """Input range needed for outputs [start, stop), cut at the image's borders.

        Args:
            start, stop: output positions.
            size: of the input.
            padded: whether the layers pad their input. The first position is then rounded down to
                the stride, so that strided layers keep their phase when they run over the cut
                alone. Where the range ends at a border of the image, each layer's zero padding is
                the correct one; elsewhere padding affects only outputs outside [start, stop).
        """
        first = start * self.stride - self.before
        if padded:
            first = max(0, first // self.stride * self.stride)
        return first, min(size, self._end(stop))

    def _end(self, stop: int) -> int:
        return (stop - 1) * self.stride + self.after + 1


def chain(receptive_fields: Sequence[ReceptiveField]) -> ReceptiveField:
    """The receptive field of stages that run one after another."""
    whole = ReceptiveField()
    for receptive_field in receptive_fields:
        whole = whole.then(receptive_field)
    return whole


def _square(value: object, what: str, module: nn.Module) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, tuple) and value and all(a == b for a, b in pairwise(value)):
        return int(value[0])
    raise ConfigError(f"{type(module).__name__}: {what} {value!r} must be one number for both axes")


def window_of(module: nn.Conv2d | nn.MaxPool2d) -> Window:
    """The window of a convolution or max-pooling layer.

    Raises:
        ConfigError: the two axes differ, or the padding is not plain zeros.
    """
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise ConfigError(f"padding mode {module.padding_mode!r} has no exact tiles; use zeros")
    if isinstance(module, nn.MaxPool2d) and module.ceil_mode:
        raise ConfigError("max-pooling with ceil_mode has no exact tiles")
    return Window(
        _square(module.kernel_size, "kernel", module),
        _square(module.stride, "stride", module),
        _square(module.padding, "padding", module),
        _square(module.dilation, "dilation", module),
    )


def receptive_field_of(module: nn.Module) -> ReceptiveField:
    """The receptive field of a module, from the layers in it.

    Raises:
        ConfigError: a layer of a kind that is not supported.
    """
    if isinstance(module, nn.Conv2d | nn.MaxPool2d):
        return ReceptiveField.of_window(window_of(module))
    if isinstance(module, nn.Sequential):
        return chain([receptive_field_of(child) for child in module])
    if isinstance(module, BasicBlock | Bottleneck):
        path, shortcut = receptive_fields_of_paths(module)
        return path.union(shortcut)
    if any(
        isinstance(part, nn.Conv2d | nn.modules.pooling._MaxPoolNd) for part in module.modules()
    ):
        raise ConfigError(f"layer {type(module).__name__} is not supported in a staged network")
    if any(type(part).__name__.endswith("Pool2d") for part in module.modules()):
        raise ConfigError(f"layer {type(module).__name__} is not supported in a staged network")
    return ReceptiveField()  # activations and normalizations act on each position alone


def layers_of(block: BasicBlock | Bottleneck) -> list[tuple[nn.Conv2d, nn.Module]]:
    """The convolutions on a residual block's path, each with its normalization."""
    layers = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    return [*layers, (block.conv3, block.bn3)] if isinstance(block, Bottleneck) else layers


def receptive_fields_of_paths(
    block: BasicBlock | Bottleneck,
) -> tuple[ReceptiveField, ReceptiveField]:
    """The receptive fields of a residual block's convolutions and of its shortcut."""
    path = chain([receptive_field_of(conv) for conv, _ in layers_of(block)])
    return path, ReceptiveField() if block.downsample is None else receptive_field_of(
        block.downsample
    )
