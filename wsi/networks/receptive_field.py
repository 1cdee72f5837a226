"""What part of its input each output cell of a stage depends on, derived from its layers.

Along one axis, output cell ``o`` of a chain of convolutions and poolings depends on the input
cells from ``o * stride - before`` to ``o * stride + after``, both included. Halo and stride of any
chain follow from its layers' kernels, strides, paddings and dilations: nothing is typed in.
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
        """Input cells from the first to the last that one output cell sees."""
        return self.dilation * (self.kernel - 1) + 1

    def out_size(self, size: int) -> int:
        """Output cells along an axis of ``size`` input cells."""
        return (size + 2 * self.padding - self.span) // self.stride + 1


@dataclass(frozen=True, slots=True)
class Reach:
    """The dependence of one output cell on input cells, and the output's size.

    Attributes:
        windows: the layers of the longest path in order; they give the output's size.
        stride: input cells from one output cell to the next.
        before, after: how far a cell depends on input before and after its own place.
    """

    windows: tuple[Window, ...] = ()
    stride: int = 1
    before: int = 0
    after: int = 0

    @property
    def first_centre(self) -> float:
        """Centre of what the first output cell depends on, in input cells from the input's edge."""
        return (1 + self.after - self.before) / 2

    @classmethod
    def of_window(cls, window: Window) -> "Reach":
        """The reach of a single layer."""
        return cls((window,), window.stride, window.padding, window.span - 1 - window.padding)

    def then(self, later: "Reach") -> "Reach":
        """This chain followed by ``later``."""
        return Reach(
            self.windows + later.windows,
            self.stride * later.stride,
            later.before * self.stride + self.before,
            later.after * self.stride + self.after,
        )

    def beside(self, other: "Reach") -> "Reach":
        """This chain and ``other`` from the same input, added: a residual block's two paths."""
        if self.stride != other.stride:
            raise ConfigError(
                f"the two paths of a block have strides {self.stride} and {other.stride}"
            )
        return Reach(
            max(self.windows, other.windows, key=len),
            self.stride,
            max(self.before, other.before),
            max(self.after, other.after),
        )

    def out_size(self, size: int) -> int:
        """Output cells along an axis of ``size`` input cells."""
        for window in self.windows:
            size = window.out_size(size)
        return size

    def unpadded_size(self, size: int) -> int:
        """Output cells along an axis of ``size`` input cells where no layer pads."""
        return (size - self.before - self.after - 1) // self.stride + 1

    def needs_padding(self, start: int, stop: int, size: int) -> bool:
        """Whether output cells [start, stop) depend on cells beyond an axis of ``size`` cells."""
        return start * self.stride < self.before or self._end(stop) > size

    def needed(self, start: int, stop: int, size: int, *, padded: bool = True) -> tuple[int, int]:
        """Input cells needed for output cells [start, stop), cut at the true borders.

        Args:
            start, stop: of the output.
            size: of the input.
            padded: whether the layers pad what they are given. Then the first cell is rounded
                down to the stride, so that strided layers keep their phase when they run over the
                cut alone. Where the range ends at a true border, each layer's own zero padding
                there is the image's; elsewhere padding spoils only cells outside [start, stop).
        """
        first = start * self.stride - self.before
        if padded:
            first = max(0, first // self.stride * self.stride)
        return first, min(size, self._end(stop))

    def _end(self, stop: int) -> int:
        return (stop - 1) * self.stride + self.after + 1


def chain(reaches: Sequence[Reach]) -> Reach:
    """The reach of stages that run one after another."""
    whole = Reach()
    for reach in reaches:
        whole = whole.then(reach)
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


def reach_of(module: nn.Module) -> Reach:
    """The reach of a module, from the layers in it.

    Raises:
        ConfigError: a layer whose reach is not known here.
    """
    if isinstance(module, nn.Conv2d | nn.MaxPool2d):
        return Reach.of_window(window_of(module))
    if isinstance(module, nn.Sequential):
        return chain([reach_of(child) for child in module])
    if isinstance(module, BasicBlock | Bottleneck):
        path, shortcut = reach_of_paths(module)
        return path.beside(shortcut)
    if any(
        isinstance(part, nn.Conv2d | nn.modules.pooling._MaxPoolNd) for part in module.modules()
    ):
        raise ConfigError(f"the reach of {type(module).__name__} is not known")
    if any(type(part).__name__.endswith("Pool2d") for part in module.modules()):
        raise ConfigError(f"the reach of {type(module).__name__} is not known")
    return Reach()  # activations and normalizations look at their own cell alone


def layers_of(block: BasicBlock | Bottleneck) -> list[tuple[nn.Conv2d, nn.Module]]:
    """The convolutions on a residual block's path, each with its normalization."""
    layers = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    return [*layers, (block.conv3, block.bn3)] if isinstance(block, Bottleneck) else layers


def reach_of_paths(block: BasicBlock | Bottleneck) -> tuple[Reach, Reach]:
    """The reach of a residual block's convolutions, and that of its shortcut."""
    path = chain([reach_of(conv) for conv, _ in layers_of(block)])
    return path, Reach() if block.downsample is None else reach_of(block.downsample)
