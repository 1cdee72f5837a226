"""Convolution, shortcut and ReLU in one operation: the values and gradients of the three."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsi.networks import fused_conv
from wsi.networks.fused_conv import conv_relu

SHAPES = [(1, 0, 1), (3, 1, 1), (3, 0, 2)]


@pytest.fixture(params=[True, False], ids=["fused", "one after the other"])
def built(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With oneDNN's operations, where torch has them, and without."""
    if request.param and not fused_conv._BUILT:
        pytest.skip("this build of torch has no fused convolutions")
    monkeypatch.setattr(fused_conv, "_BUILT", request.param)
    return bool(request.param)


def given(
    kernel: int, padding: int, stride: int, dtype: torch.dtype
) -> tuple[Tensor, nn.Conv2d, Tensor]:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 24, kernel, stride, padding).to(dtype)
    x = torch.randn(2, 16, 21, 18).to(dtype).contiguous(memory_format=torch.channels_last)
    residual = torch.randn_like(conv(x)).contiguous(memory_format=torch.channels_last)
    return x, conv, residual.detach()


def backward(out: Tensor, leaves: Iterator[Tensor]) -> list[Tensor]:
    weights = torch.linspace(-1, 1, out.numel()).reshape(out.shape).to(out)
    (out * weights).sum().backward()  # type: ignore[no-untyped-call]
    return [leaf.grad for leaf in leaves if leaf.grad is not None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("kernel", "padding", "stride"), SHAPES)
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("inplace", [True, False])
def test_values_and_gradients_are_those_of_the_three_operations(
    kernel: int,
    padding: int,
    stride: int,
    shortcut: bool,
    inplace: bool,
    dtype: torch.dtype,
    tolerance: float,
    built: bool,
) -> None:
    x, conv, residual = given(kernel, padding, stride, dtype)
    results = []
    for plain in (True, False):
        conv.zero_grad()
        leaves = [x.clone().requires_grad_(), residual.clone().requires_grad_()]
        added = leaves[1] * 1  # not a leaf: it may become the result
        if plain:
            out = conv(leaves[0])
            out = F.relu(out + added if shortcut else out)
        else:
            folded, pads = (conv.weight, conv.bias), (padding, padding)
            other = added if shortcut else None
            out = conv_relu(leaves[0], conv, folded, pads, residual=other, inplace=inplace)
        results.append([out.detach(), *backward(out, iter([*leaves, *conv.parameters()]))])
    assert len(results[0]) == len(results[1]) == (5 if shortcut else 4)
    for wanted, found in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance * 100)


def test_the_residual_is_unchanged_unless_inplace(built: bool) -> None:
    x, conv, residual = given(3, 1, 1, torch.float32)
    before = residual.clone()
    with torch.no_grad():
        out = conv_relu(x, conv, (conv.weight, conv.bias), (1, 1), residual=residual)
        assert torch.equal(residual, before)
        again = conv_relu(
            x, conv, (conv.weight, conv.bias), (1, 1), residual=residual, inplace=True
        )
    torch.testing.assert_close(again, out)
    assert (again.data_ptr() == residual.data_ptr()) == built


def test_autocast_says_in_which_precision_it_runs(built: bool) -> None:
    x, conv, residual = given(3, 1, 1, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        wanted = F.relu(conv(x) + residual.to(torch.bfloat16))
        found = conv_relu(x, conv, (conv.weight, conv.bias), (1, 1), residual=residual)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.05)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert conv.weight.grad is not None
    assert conv.weight.grad.dtype == torch.float32


def test_a_cached_output_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    x, conv, _ = given(3, 1, 1, torch.float32)
    cached_output = F.relu(conv(x)).detach()
    monkeypatch.setattr(fused_conv, "_compute", None)
    x.requires_grad_()
    out = conv_relu(x, conv, (conv.weight, conv.bias), (1, 1), cached_output=cached_output)
    assert torch.equal(out, cached_output)
    found = backward(out, iter([x, *conv.parameters()]))
    conv.zero_grad()
    x.grad = None
    wanted = backward(F.relu(conv(x)), iter([x, *conv.parameters()]))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)
