"""The reconciler makes up for what was missed, and outlives everything."""

import threading

import pytest

from service.jobs.reconciler import Reconciler
from tests.unit.jobs.test_bell import Heard
from wsi.errors import JobStoreUnavailableError
from wsi.jobs import Job, JobStatus
from wsi.testing.job_store_contract import Clock, job_request
from wsi.testing.jobs import MemoryJobStore


def test_a_round_sweeps_lost_jobs_and_rings_for_them() -> None:
    clock, bells = Clock(), Heard()
    store = MemoryJobStore(clock)
    job = store.add(job_request())
    store.claim("w", lease_s=30)
    clock.pass_s(31)
    Reconciler(store, bells, max_attempts=3, sweep_s=60).step()
    assert store.get(job.id).status is JobStatus.QUEUED
    assert bells.jobs == [job.id]


def test_without_a_broker_nothing_is_rung() -> None:
    store = MemoryJobStore()
    store.add(job_request())
    Reconciler(store, None, max_attempts=3, sweep_s=60).step()
    assert len(store.outbox()) == 1


@pytest.mark.parametrize("error", [JobStoreUnavailableError("away"), ZeroDivisionError("a bug")])
def test_the_thread_goes_on_after_an_error(error: Exception) -> None:
    rounds = threading.Semaphore(0)

    class Broken(MemoryJobStore):
        def sweep(self, *, max_attempts: int) -> list[Job]:
            rounds.release()
            raise error

    reconciler = Reconciler(Broken(), None, max_attempts=3, sweep_s=0.01)
    reconciler.start()
    assert all(rounds.acquire(timeout=30) for _ in range(3))
    reconciler.close()


def test_a_wake_up_does_not_wait_for_the_next_round() -> None:
    store, bells = MemoryJobStore(), Heard()
    rung = threading.Event()

    class Ringing(Heard):
        def ring(self, job_id: str, queue: str) -> None:
            bells.ring(job_id, queue)
            rung.set()

    # A round an hour: only the wake-up can make it ring.
    reconciler = Reconciler(store, Ringing(), max_attempts=3, sweep_s=3600)
    reconciler.start()
    job = store.add(job_request())
    reconciler.wake()
    assert rung.wait(30)
    reconciler.close()
    assert bells.jobs == [job.id]
