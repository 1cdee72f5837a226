"""Tiles that keep their narrow cells from forward to backward give in-core's gradients."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models import resnet50

from tests.unit.streaming.networks import image, network, relative_error, step
from wsi.networks import stage_network
from wsi.networks.activation_cache import NarrowCells
from wsi.networks.valid_forward import PADDED
from wsi.streaming import RunOptions, TensorSource, make_mode
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.modes.tiled import Tiled
from wsi.streaming.storage.blocks import Packed
from wsi.streaming.tiles import checkpoint_policy as choose
from wsi.streaming.tiles.saved_tiles import Keep
from wsi.streaming.tiles.tiling import Group

GROUPS = {18: (Group(0, 5, 96), Group(5, 9, 192)), 50: (Group(0, 8, 128), Group(8, 17, 192))}


def step_narrow(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> Any:
    """A tiled step with memory for all, of which no graph gets any."""
    monkeypatch.setattr(choose, "_choose_graphs", lambda *_: None)
    return step("tiled", *arguments, device_bytes=10**12, **options)


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("norm", ["frozen", "none", "cell"])
@pytest.mark.parametrize(("height", "width", "batch"), [(257, 323, 1), (161, 290, 2)])
def test_gradients_through_narrow_cells_are_those_of_in_core(
    depth: int, norm: Any, height: int, width: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(depth, norm=norm)
    source = TensorSource(image(height, width, batch))
    _, wanted, _ = step("in_core", net, source)
    found, gradient, _ = step_narrow(monkeypatch, net, source, groups=GROUPS[depth])
    assert relative_error(gradient, wanted) < 1e-10
    counters = found.measured.counters
    assert counters["tiles_narrow"] == (0 if norm == "cell" else counters["tiles_backward"])
    assert counters["tiles_kept"] == 0


def test_narrow_cells_in_bfloat16_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(50, dtype=torch.float32)
    source = TensorSource(image(257, 323, dtype=torch.float32))
    run = RunOptions(autocast=torch.bfloat16)
    _, wanted, _ = step("tiled", net, source, run, groups=GROUPS[50])
    found, gradient, _ = step_narrow(monkeypatch, net, source, run, groups=GROUPS[50])
    assert found.measured.counters["tiles_narrow"] > 0
    # The same kernels on the same cells: sums of tiles alone may come in another order.
    assert relative_error(gradient, wanted) < 0.02


def test_wrong_narrow_cells_give_wrong_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    put = NarrowCells.put
    monkeypatch.setattr(NarrowCells, "put", lambda self, cells: put(self, cells * 1.001))
    net = network(50)
    source = TensorSource(image(257, 323))
    _, wanted, _ = step("in_core", net, source)
    _, gradient, _ = step_narrow(monkeypatch, net, source, groups=GROUPS[50])
    assert relative_error(gradient, wanted) > 1e-5


def test_a_second_run_computes_a_blocks_last_convolution_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = []
    convolve = torch.nn.functional.conv2d

    def count(cells: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        ran.append(tuple(weight.shape[2:]))
        return convolve(cells, weight, *rest)

    monkeypatch.setattr(torch.nn.functional, "conv2d", count)
    stage = network(50).stage_list[2]
    cells = torch.randn(1, stage.channels, 20, 24, dtype=torch.float64)
    narrow = NarrowCells(host_storage=Packed)
    first = stage(cells, PADDED, narrow)
    assert ran == [(1, 1), (3, 3), (1, 1)]
    narrow.close()
    ran.clear()
    torch.testing.assert_close(stage(cells, PADDED, narrow), first, rtol=0, atol=0)
    assert ran == [(1, 1)]
    assert narrow.nbytes == 0


def test_few_cells_with_a_gradient_run_again_without_the_rest_of_their_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = network(18, pooling="max")
    source = TensorSource(image(257, 323))
    _, wanted, _ = step("in_core", net, source)
    found, gradient, _ = step_narrow(monkeypatch, net, source, groups=GROUPS[18])
    assert relative_error(gradient, wanted) < 1e-10
    counters = found.measured.counters
    assert counters["tiles_narrow"] < counters["tiles_backward"]


def test_a_bottleneck_narrow_cells_are_a_third_of_what_it_saves_and_most_of_its_work() -> None:
    profile = profile_network(stage_network(resnet50(), classes=2), (512, 512))[2]
    assert profile.narrow_bytes == pytest.approx(profile.saved_bytes / 3, rel=0.01)
    assert profile.narrow_flop == pytest.approx(profile.flop * 13 / 17, rel=0.01)


def test_the_last_groups_tiles_keep_first() -> None:
    net = network(50)
    source = TensorSource(image(385, 513))

    def chosen(megabytes: int) -> Counter[tuple[int, Keep]]:
        mode = make_mode("tiled", groups=GROUPS[50], device_bytes=megabytes * 10**6)
        assert isinstance(mode, Tiled)
        kept = mode._prepare(net, source, step=True).kept.chosen
        return Counter((index, keep) for (index, _), keep in kept.items())

    everything = chosen(10**6)
    tiles = [everything[index, Keep.GRAPH] for index in (0, 1)]
    assert everything.total() == sum(tiles)
    some = [chosen(megabytes) for megabytes in range(0, 1800, 45)]
    totals = [kept.total() for kept in some]
    assert totals == sorted(totals)
    assert totals[0] == 0
    assert some[-1] == everything
    for kept in some:
        of_last = kept[1, Keep.NARROW] + kept[1, Keep.GRAPH]
        if kept[0, Keep.GRAPH] > 1:
            assert of_last == tiles[1]


def test_the_stages_that_spare_the_most_for_a_byte_keep_first() -> None:
    net = network(50)
    source = TensorSource(image(385, 513))
    worth = [p.narrow_flop / max(1, p.narrow_bytes) for p in profile_network(net, source.size)]
    for megabytes in range(45, 1800, 90):
        mode = make_mode("tiled", groups=GROUPS[50], device_bytes=megabytes * 10**6)
        assert isinstance(mode, Tiled)
        work = mode._prepare(net, source, step=True)
        kept = {
            (GROUPS[50][index].first + stage, part)
            for (index, part), stages in work.kept.narrow.items()
            for stage in stages
        }
        all_parts = [len(work.parts[0])] * 8 + [len(work.parts[1])] * 9
        count = Counter(stage for stage, _ in kept)
        begun = [stage for stage in count if count[stage] < all_parts[stage]]
        # At most the last one chosen is begun and not done, but for tiles that are too large.
        least = min((worth[stage] for stage in count), default=0.0)
        assert all(worth[stage] <= 2.1 * least for stage in begun)
