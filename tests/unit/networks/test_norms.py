"""Normalizations of staged networks against torch's own."""

import pytest
import torch
from torch import Tensor, nn

from wsi.networks.norms import WideGroupNorm


def activations(dtype: torch.dtype) -> Tensor:
    """(2, 64, 19, 23), far from zero mean: so that sums in bfloat16 lose digits."""
    made = 3 + torch.randn(2, 64, 19, 23, generator=torch.Generator().manual_seed(0))
    return made.to(dtype).to(memory_format=torch.channels_last).requires_grad_()


def gradients(norm: nn.Module, x: Tensor) -> list[Tensor]:
    """The result, and the gradients of input, weight and bias."""
    y = norm(x)
    back = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y, *torch.autograd.grad(y, [x, norm.weight, norm.bias], back)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_wide_group_norm_is_torchs_own_in_wide_precision(dtype: torch.dtype) -> None:
    plain, wide = nn.GroupNorm(32, 64).to(dtype), WideGroupNorm(32, 64).to(dtype)
    for expected, found in zip(
        gradients(plain, activations(dtype)), gradients(wide, activations(dtype)), strict=True
    ):
        assert found.dtype == dtype
        assert torch.equal(found, expected)


def test_under_autocast_it_gives_back_what_it_takes_and_loses_only_the_last_rounding() -> None:
    x, norm = activations(torch.bfloat16), WideGroupNorm(32, 64)
    exact = gradients(nn.GroupNorm(32, 64).double(), x.detach().double().requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(norm, x)
    assert [tensor.dtype for tensor in found] == [torch.bfloat16] * 2 + [torch.float32] * 2
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    half_a_bit = torch.finfo(torch.bfloat16).eps / 2
    torch.testing.assert_close(found[0].double(), exact[0], rtol=1.01 * half_a_bit, atol=1e-6)
