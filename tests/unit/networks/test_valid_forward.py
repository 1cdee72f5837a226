import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tests.unit.streaming.networks import image, network, relative_error, step
from wsi.networks.staged import Stage
from wsi.streaming import Group, RunOptions, TensorSource, make_mode
from wsi.streaming.api import Forward
from wsi.streaming.image_source import Rect
from wsi.streaming.tiles.tiling import GroupRunner

BOTH, ROWS, COLUMNS = (True, True), (True, False), (False, True)


def gradients(stage: Stage, x: Tensor) -> dict[str, Tensor]:
    found = {name: p.grad for name, p in stage.named_parameters() if p.grad is not None}
    assert x.grad is not None
    return {"cells": x.grad, **found}


@pytest.mark.parametrize("axes", [BOTH, ROWS, COLUMNS])
@pytest.mark.parametrize("norm", ["frozen", "cell"])
@pytest.mark.parametrize("depth", [18, 50])
def test_a_stage_without_padding_gives_the_inside_of_the_padded_one(
    depth: int, norm: str, axes: tuple[bool, bool]
) -> None:
    net = network(depth, norm=norm)  # type: ignore[arg-type]
    x = image(60, 52, 2)
    for stage in net.stage_list:
        whole, receptive_field = stage(x), stage.receptive_field
        rows, columns = (
            slice(2, size - 2) if unpadded else slice(None)
            for size, unpadded in zip(whole.shape[2:], axes, strict=True)
        )
        spans = (
            slice(*receptive_field.needed(2, out - 2, size, padded=False))
            if unpadded
            else slice(None)
            for size, out, unpadded in zip(x.shape[2:], whole.shape[2:], axes, strict=True)
        )
        first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
        reference = copy.deepcopy(stage)
        wanted = stage(first)[:, :, rows, columns]
        found = reference(second[:, :, *spans], axes)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        weights = torch.randn(wanted.shape, dtype=wanted.dtype)
        (wanted * weights).sum().backward()
        (found * weights).sum().backward()
        assert relative_error(gradients(reference, second), gradients(stage, first)) < 1e-12
        x = torch.nn.functional.interpolate(whole.detach(), (28, 26))


@pytest.mark.parametrize("depth", [18, 50])
def test_tiles_inside_the_image_are_exact(depth: int) -> None:
    net = network(depth)
    source = TensorSource(image(417, 385, 2))
    groups = (Group(0, 3, 64), Group(3, 5, 96), Group(5, len(net.stages), None))
    _, wanted, _ = step("in_core", net, source)
    _, found, mode = step("tiled", net, source, groups=groups)
    assert relative_error(found, wanted) < 1e-10
    reference = make_mode("in_core").infer(net, source)
    torch.testing.assert_close(
        mode.infer(net, source).embedding, reference.embedding, rtol=1e-10, atol=1e-12
    )


def test_an_engine_gets_tiles_whose_padding_spoils_only_halo() -> None:
    net, ran = network(18), []

    def stage_runner(stages: Sequence[Stage]) -> Forward:
        def run(x: Tensor) -> Tensor:
            ran.append(x.shape)
            for stage in stages:
                x = stage(x)
            return x

        return run

    source = TensorSource(image(417, 385))
    mode = make_mode("tiled", RunOptions(stage_runner=stage_runner), groups=(Group(0, 3, 64),))
    wanted = make_mode("in_core").infer(net, source)
    torch.testing.assert_close(
        mode.infer(net, source).embedding, wanted.embedding, rtol=1e-10, atol=1e-12
    )
    assert len(ran) > 30


@pytest.mark.parametrize(
    "out", [Rect(8, 9, 20, 19), Rect(0, 9, 20, 19), Rect(0, 20, 12, 49), Rect(0, 0, 53, 49)]
)
def test_what_stages_work_on_is_told_before_they_run(out: Rect) -> None:
    net = network(18)
    stages, size = net.stage_list[:5], (417, 385)
    runner = GroupRunner(stages, size, 1)
    computed_fraction, whole = [], []
    for stage in stages:
        stage.register_forward_hook(
            lambda _, given, __: computed_fraction.append(given[0].shape[2:].numel())
        )
    pixels = image(*size)
    net.embed(pixels)
    whole = computed_fraction[:5]
    computed_fraction.clear()
    at = runner.needed(out)
    result = runner.run(pixels[:, :, at.y0 : at.y1, at.x0 : at.x1], out)
    assert runner.computed_fraction(out) == pytest.approx(
        [part / all_ for part, all_ in zip(computed_fraction, whole, strict=True)]
    )
    rows, columns = runner.inside(out).relative_to(0, 0)
    assert result[:, :, rows, columns].shape[2:] == (out.height, out.width)


def test_inside_an_image_later_stages_work_on_less_halo() -> None:
    stages = network(50).stage_list[:8]
    inside = GroupRunner(stages, (4000, 4000), 1)
    engine = GroupRunner(stages, (4000, 4000), 1, torch.nn.Identity())
    out = Rect(100, 100, 200, 200)
    shares, padded = inside.computed_fraction(out), engine.computed_fraction(out)
    assert shares == sorted(shares, reverse=True)
    assert all(a < b for a, b in zip(shares[1:], padded[1:], strict=True))
    assert 0.2 < inside.mean_halo_fraction < 0.8
    assert engine.mean_halo_fraction == 1
