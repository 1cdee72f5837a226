import dataclasses

import pytest
import torch
from torchvision.models import resnet50

from tests.unit.streaming.networks import image, loss, network, relative_error
from wsi.errors import ConfigError, MemoryPlanError
from wsi.networks import NormKind, StagedNetwork, stage_network
from wsi.planning import MemoryPlan, Speed, calibrate, plan
from wsi.streaming import RunOptions, TensorSource, make_mode
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.tiles.tiling import cut_stages

GB = 10**9


def _resnet50(norm: NormKind = "frozen") -> StagedNetwork:
    with torch.device("meta"):
        net = resnet50()
    return stage_network(net, classes=2, norm=norm)


def test_the_profile_agrees_with_hand_calculation_for_resnet50() -> None:
    # Computed by hand from the layers' shapes at 10,000 px.
    frozen = profile_network(_resnet50(), (10_000, 10_000), dtype=torch.bfloat16)
    assert sum(p.flop for p in frozen) == pytest.approx(16.3e12, rel=0.01)
    assert sum(p.saved_bytes for p in frozen) == pytest.approx(43e9, rel=0.02)
    batch = profile_network(_resnet50("batch"), (10_000, 10_000), dtype=torch.bfloat16)
    assert sum(p.saved_bytes for p in batch) == pytest.approx(87e9, rel=0.02)
    assert max(p.largest_elements for p in frozen) == 16 * 10_000 * 10_000


def test_the_profile_counts_what_autograd_really_saves() -> None:
    net = network(18, norm="batch").train()
    predicted = sum(p.saved_bytes for p in profile_network(net, (256, 256)))
    result = make_mode("offload", min_bytes=10_000).step(net, TensorSource(image(256, 256)), loss)
    stored = result.measured.counters["stored_bytes"]
    image_bytes = 3 * 256 * 256 * 8
    assert predicted == pytest.approx(stored - image_bytes, rel=0.1) or predicted == pytest.approx(
        stored, rel=0.1
    )


@pytest.mark.parametrize(
    ("device", "host", "disk", "norm", "mode"),
    [
        (16 * GB, 64 * GB, 0, "frozen", "tiled"),
        (100 * GB, 64 * GB, 0, "frozen", "in_core"),
        (None, 8 * GB, 0, "frozen", "tiled"),
        (60 * GB, 128 * GB, 0, "batch", "offload"),
    ],
)
def test_the_fastest_mode_that_fits_is_chosen(
    device: int | None, host: int, disk: int, norm: NormKind, mode: str
) -> None:
    chosen = plan(
        _resnet50(norm), (10_000, 10_000), device, host, disk_budget=disk, dtype=torch.bfloat16
    )
    assert chosen.mode == mode
    assert chosen.device_bytes <= (device or host)
    assert chosen.host_bytes <= host


def test_late_stages_run_in_core_where_they_fit() -> None:
    roomy = plan(_resnet50(), (10_000, 10_000), 20 * GB, 64 * GB, dtype=torch.bfloat16)
    tight = plan(_resnet50(), (10_000, 10_000), 6 * GB, 64 * GB, dtype=torch.bfloat16)
    assert roomy.rows[-1].mode == "in-core"
    assert roomy.seconds < tight.seconds


def test_a_slide_with_background_is_planned_with_tiles_throughout() -> None:
    def planned(tissue: float, side: int = 5_000) -> MemoryPlan:
        budget = 16 * GB
        return plan(_resnet50(), (side, side), None, budget, dtype=torch.bfloat16, tissue=tissue)

    full, third = planned(1.0), planned(0.33)
    # Stages that run in-core would work on the glass, too.
    assert full.rows[-1].mode == "in-core"
    assert {row.mode for row in third.rows} == {"tiled"}
    assert third.seconds < 0.6 * full.seconds
    assert third.device_bytes <= 16 * GB  # for tissue everywhere, whatever the share
    assert "33% tissue" in third.table()
    # Receptive fields of an image this small see tissue nearly everywhere.
    with pytest.raises(ConfigError, match="0 to 1, not 33"):
        planned(33)
    assert planned(0.33, side=256) == dataclasses.replace(planned(1.0, side=256), tissue=0.33)


def test_boundaries_lie_behind_the_strides_and_long_runs_are_cut() -> None:
    network50 = _resnet50()
    assert cut_stages(network50) == [(0, 9), (9, 12), (12, 15), (15, 17)]
    assert cut_stages(network50, longest=17) == [(0, 9), (9, 15), (15, 17)]
    sizes = [p.out_elements for p in profile_network(network50, (4_096, 4_096))]
    for _, stop in cut_stages(network50, longest=17)[:-1]:
        assert sizes[stop - 1] == sizes[stop - 2] / 2
    assert cut_stages(network(18)) == [(0, 6), (6, 8), (8, 9)]


def test_fewer_boundaries_are_planned_where_more_do_not_fit() -> None:
    tight = plan(_resnet50(), (10_000, 10_000), None, 4 * GB, dtype=torch.bfloat16)
    assert [(g.first, g.stop) for g in tight.options["groups"]] == [(0, 9), (9, 15), (15, 17)]
    assert tight.options["boundaries"] == "host"


def test_boundaries_move_outward_as_the_budget_shrinks() -> None:
    size = (20_000, 20_000)
    on_host = plan(_resnet50(), size, 8 * GB, 64 * GB, dtype=torch.bfloat16)
    assert on_host.options["boundaries"] == "host"
    on_disk = plan(_resnet50(), size, None, 8 * GB, disk_budget=100 * GB, dtype=torch.bfloat16)
    assert on_disk.options["boundaries"] == "disk"
    assert 0 < on_disk.disk_bytes <= 100 * GB


def test_a_refusal_tells_every_modes_need_and_a_size_that_does_fit() -> None:
    with pytest.raises(MemoryPlanError) as refusal:
        plan(_resnet50(), (20_000, 20_000), None, 4 * GB, dtype=torch.bfloat16)
    text = str(refusal.value)
    assert "in_core: " in text
    assert "elements (limit 2^31)" in text
    assert "tiled: needs" in text
    side = int(text.split("up to about ")[1].split(" px")[0])
    assert 1000 < side < 20_000
    fits = plan(_resnet50(), (side, side), None, 4 * GB, dtype=torch.bfloat16)
    assert fits.device_bytes <= 4 * GB


def test_a_budget_smaller_than_the_network_is_refused() -> None:
    with pytest.raises(MemoryPlanError, match="No image fits"):
        plan(_resnet50(), (1_000, 1_000), None, GB // 10)


def test_a_mode_can_be_asked_for_and_refused() -> None:
    with pytest.raises(MemoryPlanError, match="whole image"):
        plan(_resnet50("batch"), (2_000, 2_000), None, 64 * GB, mode="tiled")
    assert plan(_resnet50(), (500, 500), None, 8 * GB, mode="tiled").mode == "tiled"


def test_the_table_has_one_row_per_stage_with_measured_and_predicted() -> None:
    net = network(18)
    chosen = plan(net, (300, 400), None, 2 * GB, mode="tiled")
    source = TensorSource(image(300, 400))
    result = chosen.make_mode().step(net, source, loss)
    table = chosen.table(result.measured)
    for stage in net.stage_list:
        assert f"\n{stage.label} " in table
    assert "tiled at 300 x 400 px, batch 1" in table
    assert "measured" in table
    assert f"{result.measured.peak_host_bytes / 1e9:.2f}" in table
    assert "measured" not in chosen.table()


@pytest.mark.parametrize("mode", ["in_core", "tiled", "offload"])
def test_a_planned_mode_gives_the_gradients_of_in_core(mode: str) -> None:
    source = TensorSource(image(300, 401))
    nets = [network(18), network(18)]
    make_mode("in_core").step(nets[0], source, loss)
    chosen: MemoryPlan = plan(nets[1], (300, 401), None, 2 * GB, disk_budget=GB, mode=mode)
    chosen.make_mode().step(nets[1], source, loss)
    wanted, found = (
        {k: p.grad for k, p in n.named_parameters() if p.grad is not None} for n in nets
    )
    assert relative_error(found, wanted) < 1e-10


def test_a_faster_machine_needs_fewer_seconds() -> None:
    slow, fast = (
        plan(_resnet50(), (4_000, 4_000), None, 8 * GB, speed=Speed(flop_per_s=flop)).seconds
        for flop in (1e11, 1e12)
    )
    assert slow == pytest.approx(10 * fast, rel=0.05)


def test_calibration_leaves_the_network_alone_and_gives_a_rate() -> None:
    net = network(18, norm="batch").train()
    before = net.get_buffer("stages.1.body.bn1.running_mean").clone()
    speed = calibrate(net, RunOptions(), side=96)
    assert speed.flop_per_s > 0
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(net.get_buffer("stages.1.body.bn1.running_mean"), before)


def test_inference_needs_less_memory_and_time_than_training() -> None:
    sizes = [(10_000, 10_000), (40_000, 40_000)]
    for size in sizes:
        update, scan = (
            plan(
                _resnet50(),
                size,
                None,
                10 * GB,
                disk_budget=100 * GB,
                dtype=torch.bfloat16,
                training=training,
            )
            for training in (True, False)
        )
        assert scan.seconds < update.seconds / 2
        assert scan.disk_bytes <= update.disk_bytes
    assert plan(_resnet50(), (8_000, 8_000), None, 12 * GB, training=False).mode == "in_core"


def test_a_plan_for_inference_runs() -> None:
    net = network(18)
    source = TensorSource(image(300, 401))
    wanted = make_mode("in_core").infer(net, source)
    chosen = plan(net, (300, 401), None, 2 * GB, mode="tiled", training=False)
    found = chosen.make_mode().infer(net, source)
    torch.testing.assert_close(found.logits_nc, wanted.logits_nc, rtol=1e-10, atol=0)
    assert found.embedding is not None
    assert not found.embedding.is_inference()


def test_unified_is_planned_only_where_asked_and_only_for_a_gpu() -> None:
    asked = plan(
        _resnet50("batch"), (6_000, 6_000), 16 * GB, 64 * GB, dtype=torch.bfloat16, mode="unified"
    )
    assert asked.mode == "unified"
    assert asked.options["limit_bytes"] == asked.device_bytes + asked.host_bytes
    with pytest.raises(MemoryPlanError, match="unified: it needs a CUDA device"):
        plan(_resnet50(), (1_000, 1_000), None, 64 * GB, mode="unified")
    with pytest.raises(ConfigError, match="choose from: in_core"):
        plan(_resnet50(), (1_000, 1_000), None, 64 * GB, mode="magic")


def test_the_optimizers_state_counts_in_training_alone() -> None:
    net = network(18)
    count = sum(parameter.numel() for parameter in net.parameters())

    def bytes_of(state: int, training: bool) -> int:
        planned = plan(
            net,
            (512, 512),
            None,
            10**10,
            mode="in_core",
            training=training,
            state_per_parameter=state,
        )
        return planned.device_bytes

    assert bytes_of(8, True) - bytes_of(0, True) == 8 * count
    assert bytes_of(8, False) == bytes_of(0, False)
