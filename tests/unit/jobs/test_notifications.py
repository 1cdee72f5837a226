"""From the outbox to the broker, and what happens while the broker cannot be reached."""

import pytest

from wsi.errors import JobStoreUnavailableError
from wsi.jobs import CeleryNotifier, JobStatus, relay
from wsi.jobs.notifications import broker_settings
from wsi.testing.job_store_contract import job_request
from wsi.testing.jobs import MemoryJobStore


class Recorder:
    """A notifier that remembers, and fails after a number of messages."""

    def __init__(self, breaks_after: int = 1000) -> None:
        self.jobs: list[str] = []
        self.queues: list[str] = []
        self._left = breaks_after

    def notify(self, job_id: str, queue: str) -> None:
        if not self._left:
            raise JobStoreUnavailableError("the broker does not answer")
        self._left -= 1
        self.jobs.append(job_id)
        self.queues.append(queue)


def test_every_notification_of_the_outbox_is_sent_once() -> None:
    store, notifier = MemoryJobStore(), Recorder()
    ids = [store.add(job_request()).id for _ in range(3)]
    assert relay(store, notifier) == 3
    assert notifier.jobs == ids
    assert relay(store, notifier) == 0


def test_a_notification_goes_to_the_queue_of_its_job() -> None:
    store, notifier = MemoryJobStore(), Recorder()
    for queue in ("gpu", "cpu"):
        store.add(job_request(queue=queue))
    relay(store, notifier)
    assert notifier.queues == ["gpu", "cpu"]


def test_what_was_not_sent_stays_in_the_outbox() -> None:
    store = MemoryJobStore()
    ids = [store.add(job_request()).id for _ in range(3)]
    with pytest.raises(JobStoreUnavailableError):
        relay(store, Recorder(breaks_after=1))
    later = Recorder()
    relay(store, later)
    assert later.jobs == ids[1:]


def test_a_broker_that_does_not_answer_is_an_error_that_names_it() -> None:
    notifier = CeleryNotifier("redis://127.0.0.1:1/0")
    with pytest.raises(JobStoreUnavailableError, match="broker"):
        notifier.notify("job", "cpu")
    notifier.close()


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
