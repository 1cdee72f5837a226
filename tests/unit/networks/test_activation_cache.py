"""Tiles that save their bottleneck activations give the gradients of in_core."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import resnet50

from tests.unit.streaming.networks import image, network, relative_error, step
from wsi.networks import stage_network
from wsi.networks.activation_cache import BottleneckActivations
from wsi.networks.valid_forward import PADDED
from wsi.streaming import RunOptions, TensorSource, make_mode
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.modes.tiled import Tiled
from wsi.streaming.storage.blocks import PackedQueue
from wsi.streaming.tiles import checkpoint_policy
from wsi.streaming.tiles.saved_tiles import CheckpointPolicy
from wsi.streaming.tiles.tiling import Group

GROUPS = {18: (Group(0, 5, 96), Group(5, 9, 192)), 50: (Group(0, 8, 128), Group(8, 17, 192))}


def step_bottleneck(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> Any:
    """A tiled step with memory for everything, in which no graph is saved."""
    monkeypatch.setattr(checkpoint_policy, "_choose_graphs", lambda *_: None)
    return step("tiled", *arguments, device_bytes=10**12, **options)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("norm", ["frozen", "none", "cell"])
@pytest.mark.parametrize(("height", "width", "batch"), [(257, 323, 1), (161, 290, 2)])
def test_gradients_with_saved_bottlenecks_are_those_of_in_core(
    depth: int, norm: Any, height: int, width: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(depth, norm=norm)
    source = TensorSource(image(height, width, batch))
    _, wanted, _ = step("in_core", net, source)
    found, gradient, _ = step_bottleneck(monkeypatch, net, source, groups=GROUPS[depth])
    assert relative_error(gradient, wanted) < 1e-10
    counters = found.measured.counters
    assert counters["tiles_bottleneck"] == (0 if norm == "cell" else counters["tiles_backward"])
    assert counters["tiles_saved"] == 0


def test_saved_bottlenecks_in_bfloat16_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(50, dtype=torch.float32)
    source = TensorSource(image(257, 323, dtype=torch.float32))
    run = RunOptions(autocast=torch.bfloat16)
    _, wanted, _ = step("tiled", net, source, run, groups=GROUPS[50])
    found, gradient, _ = step_bottleneck(monkeypatch, net, source, run, groups=GROUPS[50])
    assert found.measured.counters["tiles_bottleneck"] > 0
    # The same kernels on the same cells: sums of tiles alone may come in another order.
    assert relative_error(gradient, wanted) < 0.02


def test_wrong_saved_activations_give_wrong_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    put = BottleneckActivations.put
    monkeypatch.setattr(BottleneckActivations, "put", lambda self, x: put(self, x * 1.001))
    net = network(50)
    source = TensorSource(image(257, 323))
    _, wanted, _ = step("in_core", net, source)
    _, gradient, _ = step_bottleneck(monkeypatch, net, source, groups=GROUPS[50])
    assert relative_error(gradient, wanted) > 1e-5


def test_recomputation_runs_only_a_blocks_last_convolution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = []
    convolve = torch.nn.functional.conv2d

    def count(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        ran.append(tuple(weight.shape[2:]))
        return convolve(x, weight, *rest)

    monkeypatch.setattr(torch.nn.functional, "conv2d", count)
    stage = network(50).stage_list[2]
    x = torch.randn(1, stage.channels, 20, 24, dtype=torch.float64)
    bottleneck = BottleneckActivations(host_storage=PackedQueue)
    first = stage(x, PADDED, bottleneck)
    assert ran == [(1, 1), (3, 3), (1, 1)]
    bottleneck.close()
    ran.clear()
    torch.testing.assert_close(stage(x, PADDED, bottleneck), first, rtol=0, atol=0)
    assert ran == [(1, 1)]
    assert bottleneck.nbytes == 0


def test_only_the_part_of_a_tile_with_a_gradient_is_recomputed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = network(18, pooling="max")
    source = TensorSource(image(257, 323))
    _, wanted, _ = step("in_core", net, source)
    found, gradient, _ = step_bottleneck(monkeypatch, net, source, groups=GROUPS[18])
    assert relative_error(gradient, wanted) < 1e-10
    counters = found.measured.counters
    assert counters["tiles_bottleneck"] < counters["tiles_backward"]


def test_bottleneck_activations_are_a_third_of_the_saved_bytes_and_most_of_the_flop() -> None:
    profile = profile_network(stage_network(resnet50(), classes=2), (512, 512))[2]
    assert profile.bottleneck_bytes == pytest.approx(profile.saved_bytes / 3, rel=0.01)
    assert profile.bottleneck_flop == pytest.approx(profile.flop * 13 / 17, rel=0.01)


def test_tiles_of_the_last_group_save_first() -> None:
    net = network(50)
    source = TensorSource(image(385, 513))

    def policies(megabytes: int) -> Counter[tuple[int, CheckpointPolicy]]:
        mode = make_mode("tiled", groups=GROUPS[50], device_bytes=megabytes * 10**6)
        assert isinstance(mode, Tiled)
        saved = mode._build_pass(net, source, step=True).saved.policies
        return Counter((index, policy) for (index, _), policy in saved.items())

    everything = policies(10**6)
    tiles = [everything[index, CheckpointPolicy.SAVE_ALL] for index in (0, 1)]
    assert everything.total() == sum(tiles)
    some = [policies(megabytes) for megabytes in range(0, 1800, 45)]
    totals = [saved.total() for saved in some]
    assert totals == sorted(totals)
    assert totals[0] == 0
    assert some[-1] == everything
    for saved in some:
        of_last = saved[1, CheckpointPolicy.SAVE_BOTTLENECK] + saved[1, CheckpointPolicy.SAVE_ALL]
        if saved[0, CheckpointPolicy.SAVE_ALL] > 1:
            assert of_last == tiles[1]


def test_stages_that_save_the_most_flop_per_byte_save_first() -> None:
    net = network(50)
    source = TensorSource(image(385, 513))
    worth = [
        p.bottleneck_flop / max(1, p.bottleneck_bytes) for p in profile_network(net, source.size)
    ]
    for megabytes in range(45, 1800, 90):
        mode = make_mode("tiled", groups=GROUPS[50], device_bytes=megabytes * 10**6)
        assert isinstance(mode, Tiled)
        work = mode._build_pass(net, source, step=True)
        saved = {
            (GROUPS[50][index].first + stage, tile)
            for (index, tile), stages in work.saved.bottleneck_stages.items()
            for stage in stages
        }
        tile_counts = [len(work.tiles[0])] * 8 + [len(work.tiles[1])] * 9
        count = Counter(stage for stage, _ in saved)
        partial = [stage for stage in count if count[stage] < tile_counts[stage]]
        # At most the last one chosen is begun and not done, but for tiles that are too large.
        least = min((worth[stage] for stage in count), default=0.0)
        assert all(worth[stage] <= 2.1 * least for stage in partial)
