"""Grad-CAM on one scale, heatmaps stitched from patches."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from torch import nn

from wsi.explanations import HeatmapCanvas, grad_cam, scale_over_slide
from wsi.models.backbones import build_backbone
from wsi.models.split import split_classifier
from wsi.patches import PatchSpec, resolve_grid
from wsi.testing.fakes import ArraySlide


def head_of_two_channels() -> nn.Sequential:
    """Average pooling and a linear layer: class 1 likes channel 0 and dislikes channel 1."""
    linear = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
    return nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1), linear)


def test_grad_cam_of_a_linear_head_is_the_weighted_sum_of_channels() -> None:
    head = head_of_two_channels()
    features = torch.rand(3, 2, 4, 5)
    maps = grad_cam(head, head[0], features)
    assert maps.shape == (3, 2, 4, 5)
    assert (maps[:, 0] == 0).all()
    # d mean / d cell is 1/20, so each channel's weight is its linear weight / 20.
    expected = ((features[:, 0] - features[:, 1]) / 20).clamp_min(0).numpy()
    np.testing.assert_allclose(maps[:, 1], expected, atol=1e-6)


def test_grad_cam_keeps_patches_on_one_scale() -> None:
    head = head_of_two_channels()
    features = torch.zeros(2, 2, 4, 4)
    features[0, 0], features[1, 0] = 10.0, 0.1
    maps = grad_cam(head, head[0], features)
    assert maps[0, 1].max() == pytest.approx(100 * maps[1, 1].max(), rel=1e-4)


def test_grad_cam_leaves_the_network_and_its_gradients_as_they_were() -> None:
    network = build_backbone("resnet10", 2)
    parts = split_classifier(network, 64)
    network.train()
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    before = {k: v.clone() for k, v in network.state_dict().items()}
    grad_cam(parts.head, parts.features, torch.rand(2, 512, 2, 2))
    assert all(p.requires_grad for p in network.parameters())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradients[name])
    assert parts.head.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_cam_is_the_same_where_gradients_are_off(
    mode: Callable[[], AbstractContextManager],
) -> None:
    head = head_of_two_channels()
    features = torch.rand(3, 2, 4, 5)
    wanted = grad_cam(head, head[0], features)
    with mode():
        np.testing.assert_array_equal(grad_cam(head, head[0], features * 1), wanted)


def test_a_slide_is_scaled_as_a_whole_and_keeps_its_gaps() -> None:
    maps = np.array([[[0.0, 2.0]], [[np.nan, 4.0]]], np.float32)
    scaled = scale_over_slide(maps)
    assert scaled[1, 0, 1] == 1.0
    assert scaled[0, 0, 1] == pytest.approx(0.5, abs=0.01)
    assert np.isnan(scaled[1, 0, 0])
    assert (scale_over_slide(np.zeros((1, 2, 2), np.float32)) == 0).all()


def test_a_patch_covers_its_cells_and_no_others() -> None:
    slide = ArraySlide(np.zeros((300, 400, 3), np.uint8))
    grid = resolve_grid(slide, PatchSpec(mpp=0.5, size_px=100), None)
    canvas = HeatmapCanvas(grid, classes=2, cells=4)
    canvas.add(np.array([[1, 2]], np.int32), np.array([[0.25, 0.75]], np.float32)[:, :, None, None])
    values = canvas.values_chw()
    assert canvas.grid.shape == (12, 16)
    assert canvas.grid.mpp == 12.5
    assert canvas.grid.cell(4, 8).x == 200
    assert canvas.grid.cell(4, 8).y == 100
    assert (values[1, 4:8, 8:12] == 0.75).all()
    assert np.isfinite(values).sum() == 2 * 16


def test_overlapping_patches_are_averaged() -> None:
    slide = ArraySlide(np.zeros((100, 150, 3), np.uint8))
    grid = resolve_grid(slide, PatchSpec(mpp=0.5, size_px=100, overlap_px=50), None)
    canvas = HeatmapCanvas(grid, classes=1, cells=2)
    canvas.add(grid.cells_n2, np.array([0.0, 1.0], np.float32)[:, None, None, None])
    assert canvas.values_chw()[0, 0].tolist() == [0, 0, 0.5, 0.5, 1, 1]
