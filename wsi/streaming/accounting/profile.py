"""Memory and arithmetic of each stage of a network at an image size, without running it.

The stages run on torch's meta device, where tensors have shapes and no data: sizes of every
tensor, bytes that autograd keeps and floating-point operations come from the network itself.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from wsi.networks.activation_cache import BottleneckActivations
from wsi.networks.norms import FrozenNormConv2d
from wsi.networks.staged import Stage, StagedNetwork
from wsi.networks.valid_forward import PADDED


@dataclass(frozen=True, slots=True)
class StageProfile:
    """One stage at one size.

    Attributes:
        label: the stage's name.
        in_shape, out_shape: (N, C, H, W).
        flop: floating-point operations of the forward pass.
        saved_bytes: what autograd saves for backward, each storage once, without parameters; the
            input is counted here and not in the stage before.
        bottleneck_bytes: part of ``saved_bytes`` that ``BottleneckActivations`` can save; 0 for
            none.
        bottleneck_flop: part of ``flop`` that recomputation then leaves out.
        largest_elements: elements of the largest tensor inside the stage.
        live_bytes: most bytes alive at once in a forward pass that keeps nothing.
    """

    label: str
    in_shape: tuple[int, int, int, int]
    out_shape: tuple[int, int, int, int]
    flop: int
    saved_bytes: int
    bottleneck_bytes: int
    bottleneck_flop: int
    largest_elements: int
    live_bytes: int

    @property
    def out_elements(self) -> int:
        """Elements of the stage's output."""
        n, c, h, w = self.out_shape
        return n * c * h * w


class _Watch(TorchDispatchMode):
    """Counts operations, the largest tensor, and the most bytes that one operation touches."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = 0
        self.live = 0
        self.flop = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            # Two operations per weight and output position; the bias is not counted.
            self.flop += 2 * out.numel() * args[1][0].numel()
        made = [t for t in _tensors(out) if t.ndim == 4]
        taken = [t for t in _tensors(args) if t.ndim == 4]
        for tensor in made:
            self.largest = max(self.largest, tensor.numel())
        alive = {id(t): t.numel() * t.element_size() for t in made + taken}
        self.live = max(self.live, sum(alive.values()))
        return out


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _meta_copy(network: StagedNetwork, dtype: torch.dtype) -> StagedNetwork:
    """The network's structure on the meta device; no weight is copied."""
    memo: dict[int, Any] = {}
    for tensor in [*network.parameters(), *network.buffers()]:
        is_float = tensor.is_floating_point()
        empty = torch.empty_like(tensor, device="meta", dtype=dtype if is_float else None)
        memo[id(tensor)] = (
            nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
        )
    return copy.deepcopy(network, memo)


_cache: WeakKeyDictionary[StagedNetwork, dict[Any, list[StageProfile]]] = WeakKeyDictionary()
_CACHE_SIZE = 256


def profile_network(
    network: StagedNetwork,
    size: tuple[int, int],
    *,
    batch: int = 1,
    dtype: torch.dtype | None = None,
) -> list[StageProfile]:
    """One profile per stage for images of ``size`` (height, width) px; recent results are cached.

    Args:
        network: on any device; it is not run and not changed.
        size: height and width of the image.
        batch: N.
        dtype: compute dtype, as autocast would set it; ``None`` for the parameters' own.
    """
    compute = dtype or network.dtype
    learns = tuple(parameter.requires_grad for parameter in network.parameters())
    training = tuple(module.training for module in network.modules())
    cached, key = (
        _cache.setdefault(network, {}),
        (size, batch, compute, learns, training),
    )
    if key not in cached:
        if len(cached) >= _CACHE_SIZE:
            del cached[next(iter(cached))]
        cached[key] = _profile(network, size, batch, compute)
    return cached[key]


@torch.inference_mode(False)
@torch.enable_grad()
def _profile(
    network: StagedNetwork, size: tuple[int, int], batch: int, compute: torch.dtype
) -> list[StageProfile]:
    meta = _meta_copy(network, compute)
    x = torch.empty((batch, 3, *size), device="meta", dtype=compute)
    x = x.to(memory_format=torch.channels_last)
    profiles = []
    for index, stage in enumerate(meta.stage_list):
        x = x.detach().requires_grad_(index > 0)
        keep = {id(t) for t in [*stage.parameters(), *stage.buffers()]}
        saved: dict[int, Tensor] = {}

        def pack(tensor: Tensor, saved: dict[int, Tensor] = saved, keep: set[int] = keep) -> Tensor:
            if id(tensor) not in keep and tensor.ndim == 4 and tensor.shape[2] > 7:
                saved[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), _Watch() as watch:
            y = stage(x)
        if index + 1 < len(meta.stages):
            # The next stage saves the same storage as its input: counted there.
            saved.pop(y.untyped_storage()._cdata, None)
        bottleneck_bytes, bottleneck_flop = _bottleneck_of(stage, x)
        n, c, h, w = (int(v) for v in x.shape)
        n2, c2, h2, w2 = (int(v) for v in y.shape)
        profiles.append(
            StageProfile(
                stage.label,
                (n, c, h, w),
                (n2, c2, h2, w2),
                watch.flop,
                sum(t.untyped_storage().nbytes() for t in saved.values()),
                bottleneck_bytes,
                bottleneck_flop,
                max(watch.largest, x.numel()),
                watch.live,
            )
        )
        x = y
    return profiles


def _bottleneck_of(stage: Stage, x: Tensor) -> tuple[int, int]:
    """Bytes of a stage's bottleneck activations, and the operations that made them."""
    bottleneck = BottleneckActivations()
    with torch.no_grad():
        with _Watch() as first:
            stage(x, PADDED, bottleneck)
        if not bottleneck.nbytes:
            return 0, 0
        saved_bytes = bottleneck.nbytes
        bottleneck.close()
        with _Watch() as second:
            stage(x, PADDED, bottleneck)
    return saved_bytes, first.flop - second.flop


def graph_weight_bytes(stages: Iterable[Stage], dtype: torch.dtype) -> int:
    """Bytes of weights that the autograd graph of one tile holds: cast copies, not folded ones."""
    layers = [m for stage in stages for m in stage.modules()]
    shared = {id(layer.weight) for layer in layers if isinstance(layer, FrozenNormConv2d)}
    own = {id(p): p for layer in layers for p in layer.parameters(recurse=False)}
    cast = [p for key, p in own.items() if key not in shared and p.dtype != dtype]
    return dtype.itemsize * sum(p.numel() for p in cast)
