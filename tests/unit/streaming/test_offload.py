import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.unit.streaming.networks import image, loss, network, relative_error, step
from wsi.errors import ConfigError, MemoryPlanError
from wsi.streaming import RunOptions, TensorSource, make_mode


@pytest.mark.parametrize("norm", ["frozen", "batch", "group", "cell", "none"])
@pytest.mark.parametrize("depth", [18, 50])
def test_logits_and_gradients_are_those_of_in_core(depth: int, norm: str) -> None:
    net = network(depth, norm=norm).train()  # type: ignore[arg-type]
    source = TensorSource(image(97, 131, 2))
    wanted, wanted_grad, _ = step("in_core", net, source)
    found, found_grad, _ = step("offload", net, source, group_bytes=300_000, min_bytes=1)
    torch.testing.assert_close(found.logits_nc, wanted.logits_nc, rtol=1e-10, atol=0)
    assert relative_error(found_grad, wanted_grad) < 1e-10
    counters = found.measured.counters
    assert counters["groups"] > 5
    assert counters["loaded"] == counters["stored"]


@pytest.mark.parametrize("pooling", ["average", "max", "lse", "attention"])
def test_every_pooling_is_exact(pooling: str) -> None:
    net = network(18, pooling=pooling)  # type: ignore[arg-type]
    source = TensorSource(image(97, 131))
    _, wanted, _ = step("in_core", net, source)
    _, found, _ = step("offload", net, source, group_bytes=300_000, min_bytes=1)
    assert relative_error(found, wanted) < 1e-10


def test_running_statistics_are_updated_once() -> None:
    net = network(18, norm="batch").train()
    source = TensorSource(image(97, 131, 2))
    plain = copy.deepcopy(net)
    make_mode("in_core").step(plain, source, loss)
    make_mode("offload", min_bytes=1, group_bytes=300_000).step(net, source, loss)
    for (name, found), wanted in zip(net.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0, msg=name)
        if name.endswith("num_batches_tracked"):
            assert int(found) == 1


@pytest.mark.parametrize("prefetch", [True, False])
def test_grouping_and_prefetch_change_no_bit(prefetch: bool) -> None:
    net = network(50, norm="batch", dtype=torch.float32).train()
    source = TensorSource(image(97, 131, dtype=torch.float32))
    for autocast in (None, torch.bfloat16):
        run = RunOptions(autocast=autocast)
        _, wanted, _ = step("in_core", net, source, run)
        for group_bytes in (1, 100_000, 10**9):
            _, found, _ = step(
                "offload",
                net,
                source,
                run,
                group_bytes=group_bytes,
                min_bytes=1,
                prefetch=prefetch,
            )
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("group_bytes", [1, 10**6])
def test_a_storage_saved_twice_moves_once(group_bytes: int) -> None:
    net = network(18, norm="batch").train()
    found, _, _ = step(
        "offload", net, TensorSource(image(96, 96)), group_bytes=group_bytes, min_bytes=20_000
    )
    counters = found.measured.counters
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.append(tensor)
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    kept: list[Tensor] = []
    parameters = {t.untyped_storage().data_ptr() for t in [*net.parameters(), *net.buffers()]}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        net(image(96, 96))
    once = [n for p, n in sizes.items() if p not in parameters and n >= 20_000]
    assert counters["shared"] > 5
    assert counters["stored_bytes"] == sum(once)


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_what_is_saved_last_stays_where_there_is_room(norm: str) -> None:
    net = network(18, norm=norm).train()  # type: ignore[arg-type]
    source = TensorSource(image(257, 323))
    _, wanted, _ = step("in_core", net, source)
    options = {"group_bytes": 10**6, "min_bytes": 100_000}
    all_away, _, _ = step("offload", net, source, **options)
    stored = [all_away.measured.counters["stored_bytes"]]
    for stay in (stored[0] // 2, 10**12):
        result, found, _ = step("offload", net, source, keep_bytes_on_device=stay, **options)
        assert relative_error(found, wanted) < 1e-10
        assert result.measured.counters["loaded"] == result.measured.counters["stored"]
        stored.append(result.measured.counters["stored_bytes"])
    assert 0.4 * stored[0] < stored[1] < 0.7 * stored[0]
    assert stored[2] == 0


def test_steps_reuse_the_tier_and_accumulate() -> None:
    net = network(18)
    source = TensorSource(image(97, 131))
    _, once, mode = step("offload", net, source, group_bytes=300_000, min_bytes=1)
    for _ in range(3):
        mode.step(net, source, loss)
    third = {name: p.grad / 3 for name, p in net.named_parameters() if p.grad is not None}
    assert relative_error(third, once) < 1e-10


def test_inference_is_that_of_in_core() -> None:
    net = network(18, norm="batch").train()
    source = TensorSource(image(97, 131))
    wanted = make_mode("in_core").infer(net, source)
    found = make_mode("offload").infer(net, source)
    assert torch.equal(found.logits_nc, wanted.logits_nc)


def test_a_disk_that_is_too_small_is_refused_with_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "wsi.streaming.storage.offload_tiers.shutil.disk_usage",
        lambda folder: type("Usage", (), {"free": 1000}),
    )
    with pytest.raises(MemoryPlanError, match=r"0\.0\d GB for backward and .* has 0\.00 GB free"):
        step("offload", network(18), TensorSource(image(97, 131)), scratch=tmp_path)


def test_a_write_that_fails_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, offset: int, data: Tensor) -> None:
        raise MemoryPlanError("disk full")

    monkeypatch.setattr("wsi.streaming.storage.offload_tiers.DiskTier._write", fail)
    with pytest.raises(MemoryPlanError, match="disk full"):
        step("offload", network(18), TensorSource(image(97, 131)), min_bytes=1)


def test_the_host_tier_is_refused_without_cuda() -> None:
    with pytest.raises(ConfigError, match="on a CPU use disk"):
        step("offload", network(18), TensorSource(image(97, 131)), tier="host")
