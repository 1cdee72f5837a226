"""Where the positions of a feature map lie in the image, derived from the layers that ran.

A position's receptive field is a rectangle of input pixels; its centre is what the position looks
at, and where a heatmap must draw it (Araujo, Norris and Sim, "Computing Receptive Fields of
Convolutional Neural Networks", Distill 2019). Kernel, stride, padding and dilation of each
convolution and pooling move that centre: after torchvision's ResNet the first position looks at
the first pixel's centre, half a stride left of where a plain enlargement of the map draws it;
after ConvNeXt it looks at the middle of its own square.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wsi.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AxisGrid:
    """The positions of a feature map along one axis.

    Attributes:
        first: centre of the first position's receptive field, input pixels from the image's edge.
        stride: input pixels from one position to the next.
        size: number of positions.
    """

    first: float
    stride: float
    size: int

    def window(
        self, kernel: int, stride: int, padding: int, dilation: int, size: int
    ) -> "AxisGrid":
        """After a sliding window; ``size`` is that of its output."""
        shift = dilation * (kernel - 1) / 2 - padding
        return AxisGrid(self.first + shift * self.stride, self.stride * stride, size)

    def padded(self, before: int, size: int) -> "AxisGrid":
        """With ``before`` more positions in front, ``size`` in all."""
        return AxisGrid(self.first - before * self.stride, self.stride, size)

    def resampling(self, extent_px: float, cells: int) -> NDArray[np.float32]:
        """Weights that draw the positions on equal cells over an image, registered to its pixels.

        Linear between the centres of positions, averaged where a cell spans several, constant
        beyond the outer ones.

        Args:
            extent_px: input pixels along this axis.
            cells: number of cells over them.

        Returns:
            (cells, size) float32; each row sums to 1.
        """
        cell_px = extent_px / cells
        centres = ((np.arange(cells) + 0.5) * cell_px - self.first) / self.stride
        support = max(1.0, cell_px / self.stride)
        apart = np.arange(self.size)[None, :] - centres.clip(0, self.size - 1)[:, None]
        weights = np.clip(1 - np.abs(apart) / support, 0, None)
        return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


@dataclass(frozen=True, slots=True)
class FeatureGrid:
    """The positions of a feature map: rows along ``y``, columns along ``x``."""

    y: AxisGrid
    x: AxisGrid


def feature_grid(trunk: nn.Module, images: Tensor) -> tuple[FeatureGrid, Tensor]:
    """Run ``trunk`` and follow each convolution and pooling from the image to its output.

    Args:
        trunk: (N, 3, H, W) -> (N, D, h, w).
        images: (N, 3, H, W).

    Returns:
        The grid of the feature map for images of this size, and the feature map.

    Raises:
        ConfigError: the output is no feature map (N, D, h, w), or something on the way moved
            positions in a way that is not known here.
    """
    tracer = _Tracer(images)
    with torch.no_grad(), tracer:
        features = trunk(images)
    if not isinstance(features, Tensor) or features.ndim != 4:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ConfigError(f"its trunk gives {shape}, not a feature map (N, D, h, w)")
    grid = tracer.grid_of(features)
    if grid is None or (grid.y.size, grid.x.size) != tuple(features.shape[2:]):
        raise ConfigError(
            f"its trunk gives {tuple(features.shape)}, and where its positions lie in the image "
            "cannot be derived from its layers: it is not a plain feature map (N, D, h, w)"
        )
    return grid, features


class _Tracer(TorchFunctionMode):
    """Watches the functions that torch calls and carries grids from their inputs to outputs."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        whole = FeatureGrid(*(AxisGrid(0.5, 1.0, size) for size in images.shape[2:]))
        # The tensors are kept, so that no later one gets the id of one that is gone.
        self._grids: dict[int, tuple[Tensor, FeatureGrid]] = {id(images): (images, whole)}

    def grid_of(self, tensor: Tensor) -> FeatureGrid | None:
        found = self._grids.get(id(tensor))
        return found and found[1]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        out = func(*args, **kwargs)
        given = [
            grid for one in _tensors([args, kwargs]) if (grid := self.grid_of(one)) is not None
        ]
        if given:
            for tensor in _tensors(out):
                grid = _after(func.__name__, given, args, kwargs, tensor)
                if grid is not None:
                    self._grids[id(tensor)] = (tensor, grid)
        return out


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _after(
    name: str, given: list[FeatureGrid], args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> FeatureGrid | None:
    """The grid of a function's output; ``None`` where it has none or is not known."""
    if name.lstrip("_") in _WINDOWS and out.ndim == 4:
        return _slide(_WINDOWS[name.lstrip("_")](args, kwargs), given[0], out)
    if name in ("pad", "constant_pad_nd") and out.ndim == 4:
        return _pad(given[0], [*args[1:], *kwargs.values()][0], out)
    fitting = [grid for grid in given if _carries(out, grid)]
    strides = {(grid.y.stride, grid.x.stride) for grid in fitting}
    if len(strides) != 1:
        return None
    return FeatureGrid(*(_joined([getattr(grid, axis) for grid in fitting]) for axis in "yx"))


def _joined(paths: Sequence[AxisGrid]) -> AxisGrid:
    """Where paths meet; of differing centres the mean, as no layer says which path counts more."""
    first = sum(path.first for path in paths) / len(paths)
    return AxisGrid(first, paths[0].stride, paths[0].size)


def _carries(out: Tensor, grid: FeatureGrid) -> bool:
    """Whether a tensor has the grid's positions still: (N, D, h, w), (N, h, w, D) or tokens."""
    size = (grid.y.size, grid.x.size)
    if out.ndim == 4:
        return size in (tuple(out.shape[2:]), tuple(out.shape[1:3]))
    return out.ndim == 3 and size[0] * size[1] in out.shape[1:]


@dataclass(frozen=True, slots=True)
class _Window:
    kernel: Any
    stride: Any
    padding: Any
    dilation: Any

    def axis(self, which: int) -> tuple[int, int, int, int]:
        kernel = _pair(self.kernel)[which]
        padding, dilation = self.padding, _pair(self.dilation)[which]
        if padding == "same":
            padding = dilation * (kernel - 1) // 2
        elif padding == "valid":
            padding = 0
        stride = _pair(self.stride)[which] if self.stride not in (None, ()) else kernel
        return kernel, stride, _pair(padding)[which], dilation


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    first, *rest = value
    return int(first), int(rest[0] if rest else first)


def _arguments(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Arguments by position or name; ``None`` where not given."""
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    return [given.get(name) for name in names]


def _of_convolution(args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Window:
    names = ("input", "weight", "bias", "stride", "padding", "dilation")
    _, weight, _, stride, padding, dilation = _arguments(names, args, kwargs)
    kernel = tuple(weight.shape[2:])
    return _Window(kernel, 1 if stride is None else stride, padding or 0, dilation or 1)


def _of_max_pooling(args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Window:
    names = ("input", "kernel_size", "stride", "padding", "dilation")
    _, kernel, stride, padding, dilation = _arguments(names, args, kwargs)
    return _Window(kernel, stride, padding or 0, dilation or 1)


def _of_average_pooling(args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Window:
    names = ("input", "kernel_size", "stride", "padding")
    _, kernel, stride, padding = _arguments(names, args, kwargs)
    return _Window(kernel, stride, padding or 0, 1)


_WINDOWS: Mapping[str, Callable[[Sequence[Any], Mapping[str, Any]], _Window]] = {
    "conv2d": _of_convolution,
    "max_pool2d": _of_max_pooling,
    "max_pool2d_with_indices": _of_max_pooling,
    "avg_pool2d": _of_average_pooling,
}


def _slide(window: _Window, given: FeatureGrid, out: Tensor) -> FeatureGrid:
    sides = ((given.y, out.shape[2]), (given.x, out.shape[3]))
    moved = [grid.window(*window.axis(i), int(size)) for i, (grid, size) in enumerate(sides)]
    return FeatureGrid(*moved)


def _pad(given: FeatureGrid, pads: Sequence[int], out: Tensor) -> FeatureGrid | None:
    """``torch.nn.functional.pad``: left, right, top, bottom; more would pad channels."""
    left, _, top, _ = [*pads, 0, 0][:4]
    if any(pads[4:]):
        return None
    sides = ((given.y, top, out.shape[2]), (given.x, left, out.shape[3]))
    return FeatureGrid(*starmap(AxisGrid.padded, ((g, int(b), int(s)) for g, b, s in sides)))
