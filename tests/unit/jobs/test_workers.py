"""Which workers there are, and what a job says whose queue nobody serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.services import postgres_url
from wsi.jobs import SqlJobStore, Worker, WorkerRegistry, create_engine
from wsi.jobs.tables import metadata
from wsi.jobs.workers import ALIVE_TIMEOUT_S, GRACE_S
from wsi.testing.job_store_contract import Clock, job_request


class Bench:
    """A database with a job store and a registry of one clock."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        metadata.create_all(self.engine)
        self.clock = Clock()
        self.jobs = SqlJobStore(self.engine, self.clock)
        self.workers = WorkerRegistry(self.engine, self.clock)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "sqlite":
        found = Bench(f"sqlite:///{tmp_path / 'a.db'}")
        yield found
        found.engine.dispose()
        return
    with postgres_url() as url:
        found = Bench(url)
        yield found
        found.engine.dispose()


CPU_WORKER = Worker(name="a", queues=("cpu",), capabilities={"device": "cpu", "models": {}})
GPU_WORKER = Worker(name="b", queues=("gpu", "cpu"), capabilities={"device": "cuda"})


def test_a_worker_is_alive_while_its_heartbeats_come(bench: Bench) -> None:
    bench.workers.heartbeat(CPU_WORKER)
    bench.clock.pass_s(ALIVE_TIMEOUT_S - 1)
    (seen,) = bench.workers.alive()
    assert (seen.name, seen.queues, seen.capabilities) == ("a", ("cpu",), CPU_WORKER.capabilities)
    bench.workers.heartbeat(CPU_WORKER)
    bench.clock.pass_s(2)
    (again,) = bench.workers.alive()
    assert again.started_at == seen.started_at
    bench.clock.pass_s(ALIVE_TIMEOUT_S)
    assert bench.workers.alive() == []


def test_a_worker_that_unregisters_is_gone_at_once(bench: Bench) -> None:
    for worker in (CPU_WORKER, GPU_WORKER):
        bench.workers.heartbeat(worker)
    bench.workers.unregister("a")
    assert [worker.name for worker in bench.workers.alive()] == ["b"]


def test_a_job_says_that_no_worker_serves_its_queue_and_stops_saying_so(bench: Bench) -> None:
    on_gpu = bench.jobs.add(job_request(queue="gpu"))
    on_cpu = bench.jobs.add(job_request())
    bench.workers.heartbeat(CPU_WORKER)
    bench.workers.flag_unserved_jobs()
    assert bench.jobs.get(on_gpu.id).stage == "", "workers may be starting"
    bench.clock.pass_s(GRACE_S)
    assert bench.workers.flag_unserved_jobs() == {"gpu": 1}
    assert bench.jobs.get(on_gpu.id).stage == "waiting: no worker serves the queue 'gpu'"
    assert bench.jobs.get(on_cpu.id).stage == ""
    bench.workers.heartbeat(GPU_WORKER)
    assert bench.workers.flag_unserved_jobs() == {}
    assert bench.jobs.get(on_gpu.id).stage == "waiting"


def test_running_jobs_are_not_flagged(bench: Bench) -> None:
    job = bench.jobs.add(job_request())
    claimed = bench.jobs.claim("w", lease_s=60)
    assert claimed is not None
    assert bench.workers.flag_unserved_jobs() == {}
    assert bench.jobs.get(job.id).stage == "starting"
