"""Bells: from the outbox to the broker, and what happens while the broker is away."""

import pytest

from wsi.errors import JobStoreUnavailableError
from wsi.jobs import CeleryBells, JobStatus, relay
from wsi.jobs.bell import broker_settings
from wsi.testing.job_store_contract import job_request
from wsi.testing.jobs import MemoryJobStore


class Heard:
    """Bells that remember, and break after a number of rings."""

    def __init__(self, breaks_after: int = 1000) -> None:
        self.jobs: list[str] = []
        self.queues: list[str] = []
        self._left = breaks_after

    def ring(self, job_id: str, queue: str) -> None:
        if not self._left:
            raise JobStoreUnavailableError("the broker is away")
        self._left -= 1
        self.jobs.append(job_id)
        self.queues.append(queue)


def test_every_bell_of_the_outbox_is_rung_once() -> None:
    store, bells = MemoryJobStore(), Heard()
    ids = [store.add(job_request()).id for _ in range(3)]
    assert relay(store, bells) == 3
    assert bells.jobs == ids
    assert relay(store, bells) == 0


def test_a_bell_is_rung_in_the_queue_of_its_job() -> None:
    store, bells = MemoryJobStore(), Heard()
    for queue in ("gpu", "cpu"):
        store.add(job_request(queue=queue))
    relay(store, bells)
    assert bells.queues == ["gpu", "cpu"]


def test_what_was_not_sent_stays_in_the_outbox() -> None:
    store = MemoryJobStore()
    ids = [store.add(job_request()).id for _ in range(3)]
    with pytest.raises(JobStoreUnavailableError):
        relay(store, Heard(breaks_after=1))
    later = Heard()
    relay(store, later)
    assert later.jobs == ids[1:]


def test_a_broker_that_is_away_is_said_to_be_away() -> None:
    bells = CeleryBells("redis://127.0.0.1:1/0")
    with pytest.raises(JobStoreUnavailableError, match="broker"):
        bells.ring("job", "cpu")
    bells.close()


def test_both_ends_declare_the_queue_alike() -> None:
    first, second = (broker_settings("q")["task_queues"][0] for _ in range(2))
    assert [queue.name for queue in broker_settings("q")["task_queues"]] == ["q", "q.gpu"]
    assert first.queue_arguments == second.queue_arguments
    assert first.queue_arguments["x-queue-type"] == "quorum"
    assert (first.name, first.routing_key, first.durable) == ("q", "q", True)


def test_final_states_are_final() -> None:
    assert [status for status in JobStatus if status.is_final] == [
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    ]
