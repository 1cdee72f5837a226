"""The memory modes on a CUDA device: equality, and stress for races between streams."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.streaming.networks import image, network, relative_error
from wsi.networks import StagedNetwork, fused_conv
from wsi.streaming import Group, RunOptions, TensorSource, make_mode
from wsi.streaming.tiles import checkpoint_policy

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def _exact_kernels() -> Iterator[None]:
    """No TF32 and no run-to-run differences: what is left is the mode's own error."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    deterministic = torch.backends.cudnn.deterministic
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    torch.backends.cudnn.deterministic = deterministic


def _loss(logits: Tensor) -> Tensor:
    target = torch.arange(logits.shape[0], device=logits.device) % logits.shape[1]
    return torch.nn.functional.cross_entropy(logits, target)


def _gradients(
    mode: str, net: StagedNetwork, x: Tensor, run: RunOptions | None = None, **options: Any
) -> dict[str, Tensor]:
    net = copy.deepcopy(net).to("cuda")
    run = run or RunOptions(device="cuda")
    make_mode(mode, run, **options).step(net, TensorSource(x), _loss)
    return {n: p.grad.cpu() for n, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("boundaries", ["device", "host", "disk"])
@pytest.mark.parametrize("pooling", ["average", "max", "attention"])
def test_tiled_gradients_on_cuda_are_those_of_in_core(pooling: str, boundaries: str) -> None:
    net = network(18, pooling=pooling)  # type: ignore[arg-type]
    x = image(257, 323)
    wanted = _gradients("in_core", net, x)
    found = _gradients("tiled", net, x, tile_px=96, boundaries=boundaries)
    assert relative_error(found, wanted) < 1e-10
    rest = _gradients("tiled", net, x, groups=(Group(0, 5, 96),), boundaries=boundaries)
    assert relative_error(rest, wanted) < 1e-10


@pytest.mark.parametrize("saved", ["bottleneck", "graphs"])
@pytest.mark.parametrize("depth", [18, 50])
def test_what_tiles_save_on_cuda_changes_no_gradient(
    depth: int, saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if saved == "bottleneck":
        monkeypatch.setattr(checkpoint_policy, "_choose_graphs", lambda *_: None)
    net = network(depth)
    x = image(257, 323)
    wanted = _gradients("in_core", net, x)
    found = _gradients("tiled", net, x, tile_px=96, device_bytes=10**12)
    assert relative_error(found, wanted) < 1e-10


def test_tiled_background_on_cuda_is_exact() -> None:
    net = network(18)
    colour = torch.tensor([1.0, 1.2, 0.9], dtype=torch.float64)
    x = colour.view(1, 3, 1, 1).expand(1, 3, 900, 1200).clone()
    x[:, :, 280:400, 260:400] = image(120, 140)
    wanted = _gradients("in_core", net, x)
    net = net.to("cuda")
    make_mode("tiled", RunOptions(device="cuda"), tile_px=192).step(
        net, TensorSource(x, colour), _loss
    )
    found = {n: p.grad.cpu() for n, p in net.named_parameters() if p.grad is not None}
    assert relative_error(found, wanted) < 1e-10


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
@pytest.mark.parametrize("group_bytes", [1, 2**20, 2**30])
def test_offload_on_cuda_is_exact(norm: str, group_bytes: int) -> None:
    net = network(18, norm=norm).train()  # type: ignore[arg-type]
    x = image(257, 323, 2)
    wanted = _gradients("in_core", net, x)
    found = _gradients("offload", net, x, group_bytes=group_bytes, min_bytes=1)
    assert relative_error(found, wanted) < 1e-10


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_what_stays_on_the_device_changes_no_gradient(norm: str) -> None:
    net = network(18, norm=norm).train()  # type: ignore[arg-type]
    x = image(257, 323, 2)
    wanted = _gradients("in_core", net, x)
    options = {"group_bytes": 10**6, "min_bytes": 100_000}
    found = _gradients("offload", net, x, keep_bytes_on_device=10**7, **options)
    assert relative_error(found, wanted) < 1e-10


@pytest.mark.parametrize("prefetch", [True, False])
def test_offload_never_races_its_streams(prefetch: bool) -> None:
    # Many steps through one reused slab, with kernels of very different lengths and other work on
    # the device that keeps the allocator busy: a copy that reads or writes too early or too late
    # changes a gradient.
    run = RunOptions(device="cuda")
    nets = [network(18, norm="batch").train().to("cuda") for _ in range(2)]
    offload = make_mode("offload", run, group_bytes=2**19, min_bytes=1, prefetch=prefetch)
    in_core = make_mode("in_core", run)
    for round_ in range(60):
        side = 65 + (round_ * 53) % 400
        source = TensorSource(image(side, side + 31))
        for net, mode in zip(nets, (in_core, offload), strict=True):
            net.zero_grad()
            mode.step(net, source, _loss)
            # Freed memory is handed out again at once and overwritten.
            junk = [torch.full((2**k,), float("nan"), device="cuda") for k in range(10, 24)]
            del junk
        wanted, found = (
            {n: p.grad for n, p in net.named_parameters() if p.grad is not None} for net in nets
        )
        assert relative_error(found, wanted) < 1e-10, f"round {round_}"


def test_offload_needs_less_device_memory_than_in_core() -> None:
    peaks = []
    for mode, options in (("in_core", {}), ("offload", {"group_bytes": 2**26})):
        net = network(50, dtype=torch.float32).to("cuda")
        run = RunOptions(device="cuda", autocast=torch.bfloat16)
        source = TensorSource(image(2048, 2048, dtype=torch.float32))
        result = make_mode(mode, run, **options).step(net, source, _loss)
        peaks.append(result.measured.peak_device_bytes)
    assert peaks[1] < 0.6 * peaks[0]


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize(("kernel", "padding", "stride"), [(1, 0, 1), (3, 1, 1), (3, 0, 2)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fused_convolutions_are_those_of_single_operations(
    dtype: torch.dtype, kernel: int, padding: int, stride: int, shortcut: bool
) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(64, 96, kernel, stride, padding, device="cuda", dtype=dtype)
    x = torch.randn(2, 64, 61, 47, device="cuda", dtype=dtype)
    x = x.to(memory_format=torch.channels_last)
    assert fused_conv._fuses_in_cudnn(x, conv.weight, 1)
    # The residual is a crop of a larger tensor, as a block's shortcut is.
    residual = torch.randn(2, 96, 70, 70, device="cuda", dtype=dtype)
    residual = residual.to(memory_format=torch.channels_last)
    wide = torch.nn.functional.conv2d(
        x.double(), conv.weight.double(), conv.bias.double(), stride, padding
    )
    residual = residual[:, :, 2 : 2 + wide.shape[2], 3 : 3 + wide.shape[3]]
    wanted = torch.relu(wide + residual.double() if shortcut else wide)
    junk = torch.full((2**26,), float("nan"), device="cuda")  # what results are made in
    del junk
    other = residual if shortcut else None
    pads = (padding, padding)
    found = fused_conv.conv_relu(x, conv, (conv.weight, conv.bias), pads, residual=other)
    assert found.is_contiguous(memory_format=torch.channels_last)
    difference = (found.double() - wanted).norm() / wanted.norm()
    assert difference < 4e-3
    found.sum().backward()  # type: ignore[no-untyped-call]
    ones = (wanted > 0).double()
    grad = torch.ops.aten.convolution_backward(
        ones,
        x.double(),
        conv.weight.double(),
        [96],
        [stride, stride],
        list(pads),
        [1, 1],
        False,
        [0, 0],
        1,
        [False, True, True],
    )
    for parameter, exact in ((conv.weight, grad[1]), (conv.bias, grad[2])):
        assert parameter.grad is not None
        assert (parameter.grad.double() - exact).norm() / exact.norm() < 1e-2


def test_bf16_on_cuda_stays_near_double() -> None:
    exact = network(18)
    x = image(257, 323)
    truth = _gradients("in_core", exact, x)
    run = RunOptions(device="cuda", autocast=torch.bfloat16)
    net = copy.deepcopy(exact).float()
    in_core = relative_error(_gradients("in_core", net, x.float(), run), truth)
    for mode in ("tiled", "offload"):
        found = _gradients(mode, net, x.float(), run)
        assert relative_error(found, truth) < 1.5 * in_core


def test_unified_gradients_are_those_of_in_core() -> None:
    from wsi.streaming.storage.managed import why_unavailable

    reason = why_unavailable(torch.device("cuda"))
    if reason is not None:
        pytest.skip(reason)
    net = network(18, norm="batch").train()
    x = image(257, 323)
    wanted = _gradients("in_core", net, x)
    # Far below what any card has free: managed memory past that can hang a shared GPU.
    found = _gradients("unified", net, x, limit_bytes=2 * 10**9, min_bytes=1, group_bytes=2**19)
    assert relative_error(found, wanted) < 1e-10
