"""One claimed job, run to each of its ends in this process."""

import dataclasses
import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import zarr

from tests.integration.toy_pipeline import ToyPipeline, load, write_bundle
from tests.unit.service.conftest import write_slide
from workers import run_job as module
from workers.heartbeat import JobHeartbeat, JobTimeouts
from workers.loaded import LoadedPipelines, loader_by_name
from workers.run_job import JobRunner, error_kind, without_folders
from wsi.errors import ConfigError, JobStoreUnavailableError, ModelError, StoreError
from wsi.jobs import Job, JobRequest, JobStatus
from wsi.storage import SlideStore, get_result
from wsi.storage.slide_cache import SlideCache
from wsi.testing.jobs import MemoryJobStore

QUICK = JobTimeouts(lease_s=60, heartbeat_interval_s=0.02, shutdown_timeout_s=0.2, stall_s=60)


class Bench:
    """A store with one claimed job, and models beside it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.models = folder / "models"
        write_bundle(self.models, **settings)
        self.store = MemoryJobStore()
        self.slide = write_slide(folder / "s.tif")
        self.pipelines = LoadedPipelines(self.models, "cpu", load)
        self.slides = SlideCache(folder / "cache", 1 << 30)
        self.store.add(
            JobRequest(
                slide_id="1",
                slide_path=str(self.slide),
                slide_name="s.tif",
                store_url=str(folder / "s.zarr"),
                pipeline="patch",
                model="toy",
            )
        )
        self.job = self.claim()

    def claim(self) -> Job:
        job = self.store.claim("w", lease_s=60)
        assert job is not None
        return job

    def run(self, job: Job | None = None, timeouts: JobTimeouts = QUICK, **options: Any) -> Job:
        """Run a job (by default the first) to its end; its row then."""
        runner = JobRunner(self.store, self.pipelines, self.slides, timeouts, **options)
        runner.run(job or self.job)
        return self.store.get(self.job.id)

    def results(self) -> tuple[str, ...]:
        return SlideStore(self.job.request.store_url).digests("results")


def test_a_job_that_ends_well_names_its_stored_result(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    job = bench.run()
    assert (job.status, job.result_id) == (JobStatus.SUCCEEDED, f"{job.id}-1")
    result = get_result(SlideStore(job.request.store_url), f"{job.id}-1")
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert {"load model", "job"} <= set(result.timings_s)
    ((pipeline, seconds),) = bench.store.stage_seconds
    assert pipeline == "patch"
    assert set(seconds) == {"load model", "store result"}


def test_progress_reaches_the_row_while_the_job_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, steps=20, step_s=0.02)
    seen = set()
    heartbeat = bench.store.heartbeat

    def watched(*args: Any, **more: Any) -> Job:
        seen.add(more["stage"])
        return heartbeat(*args, **more)

    bench.store.heartbeat = watched  # type: ignore[method-assign]
    bench.run()
    assert "working" in seen


def test_an_error_of_the_library_fails_the_job_with_its_kind_and_text(tmp_path: Path) -> None:
    job = Bench(tmp_path, damaged=True).run()
    assert (job.status, job.error_kind) == (JobStatus.FAILED, "damaged")
    assert job.error == "s.tif: made so by the test"


def test_an_unexpected_error_fails_the_job_and_its_trace_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = Bench(tmp_path, raises="deep inside").run()
    assert (job.status, job.error_kind) == (JobStatus.FAILED, "internal")
    assert job.error == "s.tif: ZeroDivisionError: deep inside"
    assert "Traceback" in caplog.text


def test_a_file_that_is_gone_fails_the_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.slide.unlink()
    job = bench.run()
    assert (job.status, job.error_kind) == (JobStatus.FAILED, "unreadable")


def test_a_model_that_is_gone_fails_the_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.models / "toy" / "model.json").unlink()
    job = bench.run()
    assert (job.status, job.error_kind) == (JobStatus.FAILED, "model")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("allocate 9 TiB"), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 TiB"), "out_of_memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 TiB"),
            "out_of_memory",
        ),
        (RuntimeError("something else"), "internal"),
        (StoreError("disk full"), "store"),
    ],
)
def test_lack_of_memory_and_of_disk_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ToyPipeline, "_work", fail)
    job = Bench(tmp_path).run()
    assert (job.status, job.error_kind) == (JobStatus.FAILED, kind)


@pytest.mark.parametrize(("failures", "status"), [(2, "SUCCEEDED"), (3, "FAILED")])
def test_a_job_waits_a_while_for_room_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, status: str
) -> None:
    real, stages = zarr.Group.create_array, []

    def full_disk(group: zarr.Group, *args: Any, **options: Any) -> Any:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(group, *args, **options)

    monkeypatch.setattr(zarr.Group, "create_array", full_disk)
    monkeypatch.setattr(module, "JobHeartbeat", recording_heartbeat(stages))
    job = Bench(tmp_path).run(
        timeouts=dataclasses.replace(QUICK, outage_s=0.02, outage_poll_s=0.01)
    )
    assert job.status.value == status
    assert "waiting for disk space" in stages
    if status == "FAILED":
        assert job.error_kind == "store"
        assert "No space left" in str(job.error)


def recording_heartbeat(stages: list[str]) -> type[JobHeartbeat]:
    """A heartbeat that records every stage that is reported to it."""

    class Recording(JobHeartbeat):
        def progress(self, stage: str, share: float) -> None:
            stages.append(stage)
            super().progress(stage, share)

    return Recording


def test_a_running_job_that_is_cancelled_stops_and_leaves_no_result(tmp_path: Path) -> None:
    bench = Bench(tmp_path, steps=1000, step_s=0.02)
    bench.store.request_cancel(bench.job.id)
    assert bench.run().status is JobStatus.CANCELLED
    assert bench.results() == ()


def test_a_worker_that_stops_releases_its_job(tmp_path: Path) -> None:
    bench = Bench(tmp_path, steps=1000, step_s=0.02)
    job = bench.run(stopping=lambda: True)
    assert (job.status, job.losses) == (JobStatus.QUEUED, 0)
    assert [one.job_id for one in bench.store.outbox()] == [job.id]


def test_what_a_worker_computed_after_losing_its_lease_is_dropped(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.store.expire_leases_of("w")
    bench.store.reconcile(max_attempts=3)
    second = bench.claim()
    # No heartbeat in between: the worker would learn of it, and stop earlier.
    job = bench.run(timeouts=JobTimeouts(heartbeat_interval_s=60))
    assert (job.status, job.attempt, job.result_id) == (JobStatus.RUNNING, second.attempt, None)
    bench.run(second)
    # Both attempts stored something; the row names the one that won.
    assert bench.store.get(job.id).result_id == f"{job.id}-2"
    assert set(bench.results()) == {f"{job.id}-1", f"{job.id}-2"}


def test_a_lease_lost_in_the_middle_stops_the_work(tmp_path: Path) -> None:
    bench = Bench(tmp_path, steps=1000, step_s=0.02)
    bench.store.expire_leases_of("w")
    bench.store.reconcile(max_attempts=3)
    assert bench.run().status is JobStatus.QUEUED
    assert bench.results() == ()


def deaf_until(
    monkeypatch: pytest.MonkeyPatch,
    event: threading.Event,
    begun: Callable[[], object] = lambda: None,
) -> None:
    """Make the pipeline ignore everything until the event; ``begun`` is called before."""

    def work(*_: object) -> None:
        begun()
        event.wait(60)

    monkeypatch.setattr(ToyPipeline, "_work", work)


@pytest.mark.parametrize(
    ("harm", "status"), [("cancel", JobStatus.CANCELLED), ("stop", JobStatus.QUEUED)]
)
def test_a_pipeline_that_does_not_stop_is_killed_after_its_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str, status: JobStatus
) -> None:
    bench = Bench(tmp_path)
    stop, ended = threading.Event(), threading.Event()
    at_end = []

    def begun() -> None:
        # Only now: before, the pipeline would have heard of it.
        if harm == "cancel":
            bench.store.request_cancel(bench.job.id)
        else:
            stop.set()

    def end_process() -> None:
        if not ended.is_set():
            at_end.append(bench.store.get(bench.job.id).status)
            ended.set()

    deaf_until(monkeypatch, ended, begun)
    bench.run(stopping=stop.is_set, end_process=end_process)
    assert at_end == [status]


def test_a_job_without_any_progress_fails_as_hung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    ended = threading.Event()
    deaf_until(monkeypatch, ended)
    job = bench.run(
        timeouts=dataclasses.replace(QUICK, shutdown_timeout_s=0.1, stall_s=1),
        end_process=ended.set,
    )
    assert (job.status, job.error_kind) == (JobStatus.FAILED, "hung")
    assert ended.is_set()


def test_the_end_of_a_job_waits_for_a_database_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    monkeypatch.setattr(module, "_STORE_WAIT_S", 0.0)
    succeed, away = bench.store.succeed, [3]

    def sometimes(*args: Any, **more: Any) -> Job:
        if away[0]:
            away[0] -= 1
            raise JobStoreUnavailableError("gone")
        return succeed(*args, **more)

    bench.store.succeed = sometimes  # type: ignore[method-assign]
    assert bench.run().status is JobStatus.SUCCEEDED


def test_a_database_that_does_not_answer_during_the_work_does_not_stop_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, steps=10, step_s=0.02)

    def away(*_: Any, **__: Any) -> Job:
        raise JobStoreUnavailableError("gone")

    bench.store.heartbeat = away  # type: ignore[method-assign]
    assert bench.run().status is JobStatus.SUCCEEDED


def test_a_model_is_loaded_once_and_again_when_its_weights_change(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    loads = []

    def counted(name: str, bundle: Path, device: str) -> ToyPipeline:
        loads.append((name, bundle.name, device))
        return load(name, bundle, device)

    pipelines = LoadedPipelines(tmp_path, "cpu", counted)
    assert pipelines.get("patch", "toy") is pipelines.get("patch", "toy")
    assert loads == [("patch", "toy", "cpu")]
    card = tmp_path / "toy" / "model.json"
    card.write_text(card.read_text().replace("0" * 64, "1" * 64))
    pipelines.get("patch", "toy")
    assert len(loads) == 2


def test_only_so_many_models_stay_in_memory(tmp_path: Path) -> None:
    for name in "abc":
        write_bundle(tmp_path, name)
    pipelines = LoadedPipelines(tmp_path, "cpu", load, capacity=2)
    first = pipelines.get("patch", "a")
    for name in "bc":
        pipelines.get("patch", name)
    assert pipelines.get("patch", "a") is not first


@pytest.mark.parametrize("name", ["../outside", "/etc", "a/b", ".."])
def test_a_models_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError):
        LoadedPipelines(tmp_path, "cpu", load).get("patch", name)


def test_the_loader_is_found_by_name() -> None:
    assert loader_by_name("tests.integration.toy_pipeline:load") is load
    for name in ("nothing:load", "tests.integration.toy_pipeline:nothing", "", "os"):
        with pytest.raises(ConfigError, match="WSI_PIPELINE_LOADER"):
            loader_by_name(name)


def test_errors_have_stable_words() -> None:
    assert error_kind(ModelError("x")) == "model"
    assert error_kind(JobStoreUnavailableError("x")) == "job_store_unavailable"


def test_heartbeats_stop_with_their_job(tmp_path: Path) -> None:
    Bench(tmp_path).run()
    time.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("heartbeat-")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "/srv/models/patch-1/weights.safetensors: not the file that model.json describes",
            "weights.safetensors: not the file that model.json describes",
        ),
        ("cannot open '/mnt/share/a b.svs'", "cannot open 'a b.svs'"),
        ("s3://bucket/stores/x: cannot be opened", "s3://bucket/stores/x: cannot be opened"),
        ("a.svs: 0.25 um/px and 3/4 of it", "a.svs: 0.25 um/px and 3/4 of it"),
    ],
)
def test_a_reason_names_no_folder_of_the_worker(text: str, told: str) -> None:
    assert without_folders(text) == told
