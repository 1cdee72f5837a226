"""Frozen normalizations folded once for many tiles."""

import pytest
import torch
from torch.nn import functional as F

from tests.unit.streaming.networks import image, network, relative_error
from wsi.networks.norms import FrozenNormConv2d, folded_once


def _gradients(dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Of two images, folded once for both, or by each call where ``dtype`` is ``None``."""
    net = network(18)
    frozen = next(m for m in net.modules() if isinstance(m, FrozenNormConv2d))
    frozen.weight.requires_grad_(False)
    images = [image(64, 96), image(96, 64)]
    if dtype is None:
        for pixels in images:
            net.embed(pixels).square().sum().backward()
    else:
        with folded_once(net, dtype):
            for pixels in images:
                net.embed(pixels.to(dtype)).square().sum().backward()
    assert frozen.weight.grad is None
    return {name: p.grad for name, p in net.stages.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_gradients_of_folded_weights_reach_the_weights(
    dtype: torch.dtype, tolerance: float
) -> None:
    wanted, found = _gradients(None), _gradients(dtype)
    assert len(found) > 10
    assert all(g.dtype == torch.float64 for g in found.values())  # the weights' precision
    assert relative_error(found, wanted) < tolerance


def test_nothing_stays_folded_after_an_error() -> None:
    net, pixels = network(18), image(64, 64)
    before = net.embed(pixels)
    with pytest.raises(RuntimeError, match="stop"), folded_once(net, torch.float64):
        raise RuntimeError("stop")
    with torch.no_grad():
        for parameter in net.stages.parameters():
            parameter.mul_(1.01)
    after = net.embed(pixels)
    assert not torch.allclose(before, after)
    F.mse_loss(after, before.detach()).backward()
    assert all(p.grad is not None for p in net.stages.parameters())
