"""Where the positions of a feature map lie, by the layers' arithmetic and by what they look at."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import ResNet

from wsi.errors import ConfigError
from wsi.models.backbones import build_backbone
from wsi.models.feature_grid import AxisGrid, feature_grid
from wsi.models.split import split_classifier
from wsi.networks import stage_network

PX = 320


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("resnet10", 0.5),
        ("resnet18", 0.5),
        ("densenet121", 14.5),
        ("efficientnet_b0", 0.5),
        ("mobilenet_v2", 0.5),
        ("convnext_tiny", 16.0),
        ("timm:convnext_atto", 16.0),
        ("timm:efficientvit_b0", 0.5),
    ],
)
def test_a_position_lies_at_the_centre_of_what_it_depends_on(name: str, first: float) -> None:
    torch.manual_seed(0)
    parts = split_classifier(build_backbone(name, 2).eval(), PX)
    assert (parts.grid.y.first, parts.grid.y.stride) == (first, 32.0)
    images = torch.rand(1, 3, PX, PX, requires_grad=True)
    features = parts.trunk.eval()(images)
    row, column = 5, 4  # near the middle: the border cuts both sides alike
    # Squared gradients of many random mixtures of channels: single ones scatter by some pixels.
    seen_hw = torch.zeros(PX, PX)
    for _ in range(8):
        mixture = (features[0, :, row, column] * torch.randn(features.shape[1])).sum()
        (gradient,) = torch.autograd.grad(mixture, images, retain_graph=True)
        seen_hw += gradient[0].square().sum(0)
    at = torch.arange(PX) + 0.5
    y = float((seen_hw.sum(1) * at).sum() / seen_hw.sum())
    x = float((seen_hw.sum(0) * at).sum() / seen_hw.sum())
    grid = parts.grid
    assert y == pytest.approx(grid.y.first + row * grid.y.stride, abs=6)
    assert x == pytest.approx(grid.x.first + column * grid.x.stride, abs=6)


@pytest.mark.parametrize("name", ["resnet10", "resnet50"])
def test_the_reach_of_a_staged_network_says_the_same(name: str) -> None:
    network = build_backbone(name, 2)
    assert isinstance(network, ResNet)
    grid = split_classifier(network, PX).grid
    field = stage_network(network, classes=2).receptive_field
    assert (field.first_centre, field.stride) == (grid.y.first, grid.y.stride)


def test_padding_stride_dilation_and_pooling_move_the_centre() -> None:
    trunk = nn.Sequential(
        nn.ZeroPad2d((2, 0, 0, 0)),  # two columns in front
        nn.Conv2d(3, 4, (3, 5), stride=(1, 2), padding=(1, 0)),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 4, 3, padding="same", dilation=2),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    grid, features = feature_grid(trunk, torch.rand(1, 3, 40, 40))
    # y: 0.5, then two rows averaged: 1.0. x: 0.5 - 2 + 2, then two columns two pixels apart: 1.5.
    assert (grid.y.first, grid.y.stride) == (1.0, 4.0)
    assert (grid.x.first, grid.x.stride) == (1.5, 8.0)
    assert (grid.y.size, grid.x.size) == tuple(features.shape[2:])


def test_paths_of_differing_centres_count_alike() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.path = nn.Conv2d(3, 3, 3, stride=2, padding=1)  # centres at 0.5
            self.shortcut = nn.AvgPool2d(2)  # centres at 1.0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.path(images) + self.shortcut(images)
            return out

    grid, _ = feature_grid(Block(), torch.rand(1, 3, 16, 16))
    assert grid.y.first == 0.75


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("timm:vit_tiny_patch16_224", 224),
        ("timm:swin_tiny_patch4_window7_224", 224),
        ("timm:swin_tiny_patch4_window7_224", 64),
        ("timm:mixer_s16_224", 224),
    ],
)
def test_a_network_of_tokens_is_refused_for_what_its_trunk_gives(name: str, pixels: int) -> None:
    network = build_backbone(name, 2).train()
    with pytest.raises(ConfigError, match=r"no spatial feature map|cannot take images of 64"):
        split_classifier(network, pixels)
    assert all(module.training for module in network.modules())


def test_two_halves_that_are_not_the_network_are_refused() -> None:
    network = build_backbone("mobilenet_v2", 2)
    forward = network.forward
    network.forward = lambda images: forward(images) + 1  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="not the network"):
        split_classifier(network, 64)


def test_a_map_that_was_thinned_by_indexing_is_not_believed() -> None:
    class Thinned(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :, ::2, ::2]

    with pytest.raises(ConfigError, match="cannot be derived"):
        feature_grid(Thinned(), torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("grid", "extent", "cells"),
    [
        (AxisGrid(0.5, 32.0, 7), 224, 4),
        (AxisGrid(16.0, 32.0, 7), 224, 4),
        (AxisGrid(0.5, 32.0, 2), 64, 4),
        (AxisGrid(14.5, 32.0, 16), 512, 32),
    ],
)
def test_resampling_draws_each_place_where_it_is(grid: AxisGrid, extent: int, cells: int) -> None:
    """Values that say where their position lies are drawn on cells that lie there."""
    places = (grid.first + np.arange(grid.size) * grid.stride).astype(np.float32)
    weights = grid.resampling(extent, cells)
    drawn = weights @ places
    centres = (np.arange(cells) + 0.5) * extent / cells
    support = max(grid.stride, extent / cells)
    inner = (centres >= places[0] + support) & (centres <= places[-1] - support)
    between = (centres >= places[0]) & (centres <= places[-1])
    chosen = between if extent / cells <= grid.stride else inner
    assert chosen.any()
    np.testing.assert_allclose(drawn[chosen], centres[chosen], atol=extent / cells / 8)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
