"""The reconciler makes up for what was missed, and outlives everything."""

import threading

import pytest

from service.jobs.reconciler import Reconciler
from tests.unit.jobs.test_notifications import Recorder
from wsi.errors import JobStoreUnavailableError
from wsi.jobs import Job, JobStatus
from wsi.testing.job_store_contract import Clock, job_request
from wsi.testing.jobs import MemoryJobStore


def test_a_round_requeues_lost_jobs_and_notifies_workers() -> None:
    clock, notifier = Clock(), Recorder()
    store = MemoryJobStore(clock)
    job = store.add(job_request())
    store.claim("w", lease_s=30)
    clock.pass_s(31)
    Reconciler(store, notifier, max_attempts=3, interval_s=60).step()
    assert store.get(job.id).status is JobStatus.QUEUED
    assert notifier.jobs == [job.id]


def test_without_a_broker_nothing_is_sent() -> None:
    store = MemoryJobStore()
    store.add(job_request())
    Reconciler(store, None, max_attempts=3, interval_s=60).step()
    assert len(store.outbox()) == 1


@pytest.mark.parametrize("error", [JobStoreUnavailableError("gone"), ZeroDivisionError("a bug")])
def test_the_thread_goes_on_after_an_error(error: Exception) -> None:
    rounds = threading.Semaphore(0)

    class Broken(MemoryJobStore):
        def reconcile(self, *, max_attempts: int) -> list[Job]:
            rounds.release()
            raise error

    reconciler = Reconciler(Broken(), None, max_attempts=3, interval_s=0.01)
    reconciler.start()
    assert all(rounds.acquire(timeout=30) for _ in range(3))
    reconciler.close()


def test_a_wake_up_does_not_wait_for_the_next_round() -> None:
    store, notifier = MemoryJobStore(), Recorder()
    sent = threading.Event()

    class Signalling(Recorder):
        def notify(self, job_id: str, queue: str) -> None:
            notifier.notify(job_id, queue)
            sent.set()

    # A round an hour: only the wake-up can make it send.
    reconciler = Reconciler(store, Signalling(), max_attempts=3, interval_s=3600)
    reconciler.start()
    job = store.add(job_request())
    reconciler.wake()
    assert sent.wait(30)
    reconciler.close()
    assert notifier.jobs == [job.id]
