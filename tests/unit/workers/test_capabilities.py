"""What a worker registers about itself."""

import logging
from pathlib import Path

import pytest
import torch

from tests.integration.toy_pipeline import write_bundle
from workers import capabilities
from workers.capabilities import WorkerHeartbeat, describe, resolve_settings, summary
from workers.device import describe_device
from workers.settings import Settings
from wsi import system
from wsi.errors import ConfigError
from wsi.jobs import WorkerRegistry, create_engine
from wsi.jobs.tables import metadata


def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this machine look as if it had one."""
    seen = {"device": "cuda", "name": "Some GPU", "device_free_bytes": 8_000_000_000}
    monkeypatch.setattr(capabilities, "_probe_device", lambda device: seen)


def test_a_worker_on_a_cpu_serves_cpu_jobs() -> None:
    settings, device = resolve_settings(Settings(device="cpu"))
    assert (settings.queues, device) == (("cpu",), {"device": "cpu"})


def test_a_worker_on_a_gpu_serves_both_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_gpu(monkeypatch)
    settings, _ = resolve_settings(Settings())
    assert (settings.device, settings.queues) == ("cuda", ("gpu", "cpu"))
    monkeypatch.setenv("WSI_WORKER_QUEUES", "gpu")
    assert resolve_settings(Settings())[0].queues == ("gpu",)


def test_a_device_is_looked_at_in_a_process_of_its_own() -> None:
    with pytest.raises(ConfigError, match="WSI_DEVICE=cuda:99"):
        resolve_settings(Settings(device="cuda:99"))


def test_a_gpu_is_described_by_name_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("is_available", True),
        ("mem_get_info", (6, 8)),
        ("get_device_name", "Some GPU"),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    assert describe_device("cuda:0") == {
        "device": "cuda:0",
        "name": "Some GPU",
        "device_free_bytes": 6,
        "device_total_bytes": 8,
    }
    assert describe_device("cpu") == {"device": "cpu"}


def test_a_worker_says_what_it_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch)
    write_bundle(tmp_path / "models", "a")
    write_bundle(tmp_path / "models", "b", pipeline="whole-slide")
    (tmp_path / "models" / "bad").mkdir()
    (tmp_path / "models" / "bad" / "model.json").write_text("{")
    settings, device = resolve_settings(Settings(data_dir=tmp_path))
    worker = describe(settings, device)
    assert worker.capabilities["models"] == {"a": "patch", "b": "whole-slide"}
    assert worker.capabilities["pipelines"] == ["patch", "whole-slide"]
    words = summary(worker)
    for part in ("serves gpu, cpu", "cuda (Some GPU)", "on the GPU: 8.00 GB", "a (patch)"):
        assert part in words


def test_a_system_that_does_not_say_what_is_free_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "_MEMINFO", tmp_path / "none")
    settings, device = resolve_settings(Settings(data_dir=tmp_path, device="cpu"))
    worker = describe(settings, device)
    assert worker.capabilities["memory_free_bytes"] is None
    assert "memory free: unknown" in summary(worker)


def test_a_worker_is_listed_while_it_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    metadata.create_all(engine)
    registry = WorkerRegistry(engine)
    settings, device = resolve_settings(Settings(data_dir=tmp_path, device="cpu"))
    with WorkerHeartbeat(registry, settings, device) as heartbeat:
        heartbeat.registered.wait(30)
        (worker,) = registry.alive()
        assert worker.capabilities["device"] == "cpu"
    assert registry.alive() == []
    assert "this worker serves cpu; on cpu" in caplog.text
    engine.dispose()
