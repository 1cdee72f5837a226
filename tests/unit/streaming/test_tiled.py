import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.combinations import combinations
from tests.unit.streaming.networks import image, loss, network, relative_error, step, undamped
from wsi.errors import ConfigError, MemoryPlanError
from wsi.streaming import Group, RunOptions, TensorSource, make_mode
from wsi.streaming.image_source import Rect
from wsi.streaming.meter import resident_host_bytes
from wsi.streaming.modes import tiled
from wsi.streaming.storage.blocks import BlockFeatureMap

POOLINGS = ["average", "max", "lse", "attention"]
BACKGROUND = torch.tensor([1.0, 1.2, 0.9], dtype=torch.float64)


# Height, width, batch, side of a tile.
SHAPES = {
    "tiles divide": (256, 384, 1, 128),
    "odd size": (257, 323, 1, 96),
    "batch of two": (161, 290, 2, 100),
}


@pytest.mark.parametrize(
    ("shape", "depth", "pooling"),
    combinations(
        list(SHAPES),
        [18, 50],
        POOLINGS,
        quick=[
            ("tiles divide", 50, "average"),
            ("odd size", 18, "max"),
            ("odd size", 18, "attention"),
            ("batch of two", 18, "lse"),
            ("batch of two", 18, "attention"),
        ],
    ),
)
def test_logits_and_gradients_are_those_of_in_core_in_double(
    shape: str, depth: int, pooling: str
) -> None:
    height, width, batch, tile_px = SHAPES[shape]
    net = network(depth, pooling=pooling)  # type: ignore[arg-type]
    source = TensorSource(image(height, width, batch))
    wanted, wanted_grad, _ = step("in_core", net, source)
    found, found_grad, _ = step("tiled", net, source, tile_px=tile_px)
    torch.testing.assert_close(found.logits_nc, wanted.logits_nc, rtol=1e-10, atol=0)
    assert found.loss == pytest.approx(wanted.loss, rel=1e-10)
    assert relative_error(found_grad, wanted_grad) < 1e-10
    assert found.measured.counters["tiles_backward"] > 4


@pytest.mark.parametrize("depth", [18, pytest.param(50, marks=pytest.mark.long)])
def test_logits_and_gradients_are_those_of_in_core_in_single(depth: int) -> None:
    net = network(depth, dtype=torch.float32)
    source = TensorSource(image(257, 323, dtype=torch.float32))
    wanted, wanted_grad, _ = step("in_core", net, source)
    found, found_grad, _ = step("tiled", net, source, tile_px=96)
    torch.testing.assert_close(found.logits_nc, wanted.logits_nc, rtol=1e-4, atol=1e-6)
    assert relative_error(found_grad, wanted_grad) < 1e-4


@pytest.mark.parametrize("pooling", ["average", pytest.param("attention", marks=pytest.mark.long)])
def test_bf16_tiles_are_as_near_to_double_as_bf16_in_core_is(pooling: str) -> None:
    # bfloat16 keeps 8 bits: two runs that differ in the order of sums differ by the format's own
    # error. So both are measured against double; tiles may be half as far off again.
    run = RunOptions(autocast=torch.bfloat16)
    # Not the narrow ResNet-18: with 8 channels oneDNN 3.13, where it emulates bfloat16, writes past
    # its memory in the weight gradient of a 1x1 convolution with a stride.
    exact = network(50, pooling=pooling)  # type: ignore[arg-type]
    x = image(257, 323)
    _, truth, _ = step("in_core", exact, TensorSource(x))
    net = copy.deepcopy(exact).float()
    wanted, wanted_grad, _ = step("in_core", net, TensorSource(x.float()), run)
    found, found_grad, _ = step("tiled", net, TensorSource(x.float()), run, tile_px=96)
    torch.testing.assert_close(found.logits_nc, wanted.logits_nc, rtol=0.02, atol=0.01)
    in_core_error = relative_error(wanted_grad, truth)
    assert 1e-3 < in_core_error < 0.3
    assert relative_error(found_grad, truth) < 1.5 * in_core_error


@pytest.mark.parametrize("norm", ["frozen", "cell", "none"])
def test_every_per_position_norm_is_exact(norm: str) -> None:
    net = network(18, norm=norm)  # type: ignore[arg-type]
    source = TensorSource(image(161, 290))
    _, wanted, _ = step("in_core", net, source)
    _, found, _ = step("tiled", net, source, tile_px=100)
    assert relative_error(found, wanted) < 1e-10


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_a_norm_over_the_whole_image_is_refused_with_advice(norm: str) -> None:
    net = network(18, norm=norm).train()  # type: ignore[arg-type]
    with pytest.raises(MemoryPlanError, match="in_core or offload"):
        make_mode("tiled").step(net, TensorSource(image(96, 96)), loss)


def test_batchnorm_in_evaluation_mode_is_exact() -> None:
    net = network(18, norm="batch").eval()
    source = TensorSource(image(161, 290))
    _, wanted, _ = step("in_core", net, source)
    _, found, _ = step("tiled", net, source, tile_px=100)
    assert relative_error(found, wanted) < 1e-10


GROUPINGS = {
    "two groups": (Group(0, 5, 128), Group(5, 9, 160)),
    "in-core rest": (Group(0, 3, 96),),
    "whole group": (Group(0, 1, 64), Group(1, 2, None), Group(2, 7, 160)),
    "one group": (Group(0, 9, 200),),
}


@pytest.mark.parametrize(
    ("grouping", "boundaries"),
    combinations(
        list(GROUPINGS),
        ["device", "host", "disk"],
        quick=[
            ("two groups", "disk"),
            ("in-core rest", "host"),
            ("whole group", "disk"),
            ("one group", "device"),
        ],
    ),
)
def test_any_grouping_and_any_store_is_exact(
    grouping: str, boundaries: str, tmp_path: Path
) -> None:
    groups = GROUPINGS[grouping]
    net = network(18)
    source = TensorSource(image(257, 323, 2))
    options: dict[str, Any] = {"groups": groups, "boundaries": boundaries, "scratch": tmp_path}
    wanted, wanted_grad, _ = step("in_core", net, source)
    _, found_grad, mode = step("tiled", net, source, **options)
    assert relative_error(found_grad, wanted_grad) < 1e-10
    inferred = mode.infer(net, source)
    reference = make_mode("in_core").infer(net, source)
    torch.testing.assert_close(inferred.logits_nc, wanted.logits_nc, rtol=1e-10, atol=0)
    torch.testing.assert_close(inferred.embedding, reference.embedding, rtol=1e-10, atol=1e-12)
    assert mode.infer(net, source, keep_embedding=False).embedding is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_halo_one_step_too_small_is_wrong(side: str) -> None:
    # Guards the equality tests themselves: they must be able to see one missing step of halo.
    net = undamped(network(18))
    source = TensorSource(image(257, 323))
    groups = (Group(0, 9, 96),)
    _, wanted, _ = step("in_core", net, source)
    _, exact, _ = step("tiled", net, source, groups=groups)
    last = net.stage_list[-1]  # one cell of it is 32 px: more than the rounding of tiles hides
    last.receptive_field = dataclasses.replace(
        last.receptive_field, **{side: getattr(last.receptive_field, side) - 1}
    )
    _, found, _ = step("tiled", net, source, groups=groups)
    assert relative_error(exact, wanted) < 1e-10
    assert relative_error(found, wanted) > 1e-6


def test_gradients_accumulate_over_steps_as_autograd_does() -> None:
    source = TensorSource(image(161, 163))
    net = network(18)
    _, once, mode = step("tiled", net, source, tile_px=96)
    mode.step(net, source, loss)
    mode.step(net, source, loss)
    twice = {name: p.grad / 2 for name, p in net.named_parameters() if p.grad is not None}
    assert relative_error(twice, once) < 1e-10


# Stages that do not learn: some in a group, a whole group, all.
@pytest.mark.parametrize(
    ("frozen", "background"),
    combinations([3, 6, 9], [True, False], quick=[(3, True), (6, False), (9, True)]),
)
def test_stages_that_do_not_learn_get_no_gradient_and_the_rest_theirs(
    frozen: int, background: bool
) -> None:
    source = TensorSource(_slide(701, 1130), BACKGROUND if background else None)
    gradients = []
    for mode in (make_mode("in_core"), make_mode("tiled", tile_px=192)):
        net = network(18)
        net.stages[:frozen].requires_grad_(False)
        mode.step(net, source, loss)
        gradients.append({n: p.grad for n, p in net.named_parameters() if p.grad is not None})
    assert all(int(n.split(".")[1]) >= frozen for n in gradients[1] if n.startswith("stages"))
    assert relative_error(gradients[1], gradients[0]) < 1e-10


def _slide(height: int, width: int) -> Tensor:
    """Two regions of tissue on constant background, one of them at the border."""
    x = BACKGROUND.view(1, 3, 1, 1).expand(1, 3, height, width).clone()
    x[:, :, 280:400, 260:400] = image(120, 140)
    x[:, :, height - 90 :, 200:300] = image(90, 100)
    return x


@pytest.mark.parametrize(
    ("pooling", "groups"),
    [
        ("average", None),
        ("max", None),
        pytest.param("lse", None, marks=pytest.mark.long),
        pytest.param("attention", None, marks=pytest.mark.long),
        pytest.param("average", (Group(0, 6, 256),), marks=pytest.mark.long),
    ],
)
def test_background_computed_once_is_exact(pooling: str, groups: tuple[Group, ...] | None) -> None:
    net = network(18, pooling=pooling)  # type: ignore[arg-type]
    x = _slide(901, 1230)
    wanted, wanted_grad, _ = step("in_core", net, TensorSource(x))
    source = TensorSource(x, BACKGROUND)
    found, found_grad, _ = step("tiled", net, source, tile_px=192, groups=groups)
    _, plain_grad, _ = step("tiled", net, source, tile_px=192, groups=groups, background=False)
    torch.testing.assert_close(found.logits_nc, wanted.logits_nc, rtol=1e-10, atol=0)
    assert relative_error(plain_grad, wanted_grad) < 1e-10
    assert relative_error(found_grad, wanted_grad) < 1e-10
    counters = found.measured.counters
    assert counters["tiles_background"] > 5
    assert counters["tiles_zero_gradient"] > 0
    assert counters["positions_background"] > 0
    assert counters["positions_background_gradient"] > 0


def test_below_the_last_group_too_no_background_is_replayed() -> None:
    net = network(18, pooling="average")
    groups = (Group(0, 5, 64), Group(5, 9, None))
    source = TensorSource(_slide(901, 1230), BACKGROUND)
    found, *_ = step("tiled", net, source, groups=groups)
    counters = found.measured.counters
    forward = counters["tiles_forward"]
    # A gradient reaches further than tissue does: kept in the background, it would need more tiles.
    assert counters["tiles_backward"] == forward
    assert counters["tiles_zero_gradient"] == counters["tiles_background"]
    assert 1 < forward < counters["tiles_background"]


# What is saved: some graphs, all.
@pytest.mark.parametrize(
    ("boundaries", "kept_mb", "background"),
    combinations(
        ["host", "disk"],
        [30, 100_000],
        [True, False],
        quick=[("host", 30, True), ("disk", 100_000, False)],
    ),
)
def test_tiles_with_a_saved_graph_give_the_gradients_of_recomputation(
    boundaries: str, kept_mb: int, background: bool
) -> None:
    net = network(18, pooling="lse")
    groups = (Group(0, 5, 96), Group(5, 7, 128), Group(7, 9, 192))
    source = TensorSource(_slide(701, 1130), BACKGROUND if background else None)
    options: dict[str, Any] = {"groups": groups, "boundaries": boundaries}
    _, wanted, _ = step("in_core", net, source)
    replayed, _, _ = step("tiled", net, source, **options)
    found, gradient, _ = step("tiled", net, source, device_bytes=kept_mb * 10**6, **options)
    assert relative_error(gradient, wanted) < 1e-10
    kept = found.measured.counters["tiles_saved"]
    everything = found.measured.counters["tiles_backward"]
    assert replayed.measured.counters["tiles_saved"] == 0
    assert everything == replayed.measured.counters["tiles_backward"]
    assert 0 < kept <= everything
    assert (kept == everything) == (kept_mb == 100_000)


def test_no_graph_is_saved_of_frozen_stages() -> None:
    net = network(18)
    net.stages[:6].requires_grad_(False)
    source = TensorSource(_slide(701, 1130))
    found = make_mode("tiled", tile_px=192, device_bytes=10**11).step(net, source, loss)
    counters = found.measured.counters
    assert 0 < counters["tiles_saved"] == counters["tiles_backward"] < counters["tiles_forward"]


LINUX_ONLY = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")


@LINUX_ONLY
@pytest.mark.parametrize(("limit", "trims"), [(0, False), (1, True), (10**15, False)])
def test_free_heap_is_given_back_before_a_tile_where_much_is_resident(
    limit: int, trims: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(tiled, "trim_heap", lambda: calls.append(None))
    mode = make_mode("tiled", tile_px=96, resident_bytes=limit)
    found = mode.step(network(18), TensorSource(image(256, 256)), loss)
    counters = found.measured.counters
    tiles = counters["tiles_forward"] + counters["tiles_backward"]
    assert len(calls) == (tiles if trims else 0)


@LINUX_ONLY
def test_background_that_is_never_read_takes_no_memory() -> None:
    boundary = BlockFeatureMap((1, 64, 2048, 512), torch.float32)
    before = resident_host_bytes()
    boundary.write(Rect(0, 0, 64, 512), torch.ones(1, 64, 64, 512))
    assert resident_host_bytes() - before < 2048 * 512 * 64 * 4 / 4
    assert boundary.read(Rect(2000, 0, 2001, 2)).abs().sum() == 0


def test_a_source_that_calls_tissue_background_changes_the_result() -> None:
    # Guards the test above: the background's answer is used, not only asked for.
    net = network(18)
    x = _slide(901, 1230)

    class Liar(TensorSource):
        def background(self, y0: int, x0: int, height: int, width: int) -> bool:
            return True

    _, wanted, _ = step("in_core", net, TensorSource(x))
    _, found, _ = step("tiled", net, Liar(x), tile_px=192)
    assert relative_error(found, wanted) > 1e-3


def test_with_max_pooling_only_tiles_that_won_run_backward() -> None:
    net = network(18, pooling="max")
    x = image(512, 512) * 0.01
    x[:, :, 300:500, 300:500] *= 3000
    source = TensorSource(x)
    _, wanted, _ = step("in_core", net, source)
    found, gradients, _ = step("tiled", net, source, groups=(Group(0, 9, 128),))
    assert relative_error(gradients, wanted) < 1e-10
    counters = found.measured.counters
    assert counters["tiles_zero_gradient"] > 0
    assert counters["tiles_zero_gradient"] + counters["tiles_backward"] == 16


def test_the_image_is_never_read_whole() -> None:
    areas = []

    class Watched(TensorSource):
        def read(self, y0: int, x0: int, height: int, width: int) -> Tensor:
            assert y0 >= 0
            assert x0 >= 0
            assert y0 + height <= self.size[0]
            assert x0 + width <= self.size[1]
            areas.append(height * width)
            return super().read(y0, x0, height, width)

    net = network(18)
    step("tiled", net, Watched(image(640, 640)), tile_px=128)
    assert max(areas) < 640 * 640 / 4


def test_an_error_while_reading_reaches_the_caller() -> None:
    class Broken(TensorSource):
        def read(self, y0: int, x0: int, height: int, width: int) -> Tensor:
            if y0 > 0:
                raise OSError("bad sector")
            return super().read(y0, x0, height, width)

    with pytest.raises(OSError, match="bad sector"):
        step("tiled", network(18), Broken(image(320, 320)), tile_px=128)


def test_progress_rises_to_one_and_may_stop_the_call() -> None:
    shares: list[float] = []
    run = RunOptions(progress=shares.append)
    step("tiled", network(18), TensorSource(image(320, 320)), run, tile_px=128)
    assert shares == sorted(shares)
    assert len(shares) > 8
    assert shares[-1] == 1.0

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step(
            "tiled",
            network(18),
            TensorSource(image(320, 320)),
            RunOptions(progress=stop),
            tile_px=128,
        )


@pytest.mark.parametrize(
    "groups", [(), (Group(1, 3, 64),), (Group(0, 3, 64), Group(4, 5, 64)), (Group(0, 99, 64),)]
)
def test_groups_that_do_not_follow_each_other_are_refused(groups: tuple[Group, ...]) -> None:
    with pytest.raises(ConfigError):
        step("tiled", network(18), TensorSource(image(96, 96)), groups=groups)


def test_an_unknown_option_or_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="tile_size"):
        make_mode("tiled", tile_size=3)
    with pytest.raises(ConfigError, match="choose from: in_core, tiled"):
        make_mode("striped")


def test_an_image_too_small_for_one_embedding_position_is_refused() -> None:
    class Nothing(TensorSource):
        @property
        def size(self) -> tuple[int, int]:
            return 0, 64

    with pytest.raises(MemoryPlanError, match="0 x 64 px"):
        step("tiled", network(18), Nothing(image(64, 64)))


def test_a_tile_with_too_many_elements_is_refused_before_it_runs() -> None:
    huge = TensorSource(torch.zeros(1, 1, 1, 1).expand(1, 3, 200_000, 200_000))
    with pytest.raises(MemoryPlanError, match="smaller tile_px"):
        make_mode("tiled", tile_px=100_000).infer(network(18, dtype=torch.float32), huge)
    with pytest.raises(MemoryPlanError, match="runs in-core"):
        make_mode("tiled", groups=(Group(0, 3, 512),)).infer(network(18, dtype=torch.float32), huge)
