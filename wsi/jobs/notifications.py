"""Telling workers that a job waits. A lost message costs time, no job; a double one does nothing.

A message says that there is work, not which: the worker that gets it claims the most urgent job of
the database. So priorities hold on every broker.
"""

from typing import Any, Protocol

import celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from wsi.errors import JobStoreUnavailableError
from wsi.jobs.job import CPU, QUEUES, JobStore

TASK_NAME = "wsi.run_job"
DEFAULT_QUEUE = "wsi.jobs"


class Notifier(Protocol):
    """A way to wake workers up."""

    def notify(self, job_id: str, queue: str) -> None:
        """Send a message to the workers of a queue.

        Raises ``JobStoreUnavailableError`` where the broker cannot be reached.
        """
        ...


def queue_on_broker(name: str, queue: str) -> str:
    """What a queue is called on the broker, in the installation of this name."""
    return name if queue == CPU else f"{name}.{queue}"


def job_queue(name: str) -> Queue:
    """A queue that notifications go through; both ends must declare it alike."""
    return Queue(  # type: ignore[no-untyped-call]
        name,
        # A topic exchange, since Celery warns of delayed tasks (of which there are none) on others.
        Exchange(name, type="topic", durable=True),  # type: ignore[no-untyped-call]
        routing_key=name,
        durable=True,
        queue_arguments={
            # Replicated and safe over a broker's restart. Redis ignores these arguments.
            "x-queue-type": "quorum",
            # A message is acknowledged when its job ends. RabbitMQ's own limit of 30 minutes
            # would close the worker's channel under a long job (honoured from 3.12 on).
            "x-consumer-timeout": 24 * 3600 * 1000,
        },
    )


def broker_settings(queue_name: str) -> dict[str, Any]:
    """Celery settings that sender and worker share."""
    return {
        "task_queues": [job_queue(queue_on_broker(queue_name, queue)) for queue in QUEUES],
        "task_default_queue": queue_name,
        "task_default_exchange": queue_name,
        "task_default_exchange_type": "topic",
        "task_default_routing_key": queue_name,
        "task_ignore_result": True,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            # RabbitMQ: `notify` returns only once the broker has the message on disk.
            "confirm_publish": True,
            # Redis: an unacknowledged message comes back after this time. Shorter than a job,
            # and the message would start again and again. (Our own worker acknowledges on
            # arrival there; see workers/celery_app.py.)
            "visibility_timeout": 12 * 3600,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
        },
    }


class CeleryNotifier:
    """Notifications through RabbitMQ or Redis, by task name: the sender knows no worker code.

    Args:
        broker_url: ``amqp://...`` or ``redis://...``.
        queue: name of the installation's queues.
    """

    def __init__(self, broker_url: str, queue: str = DEFAULT_QUEUE) -> None:
        self._app = celery.Celery("wsi-notifier", broker=broker_url, set_as_current=False)
        self._app.conf.update(broker_settings(queue))
        self._name = queue

    def notify(self, job_id: str, queue: str) -> None:
        try:
            # Few retries: the outbox keeps the notification, and the next round tries again.
            self._app.send_task(
                TASK_NAME,
                args=[job_id, queue],
                queue=queue_on_broker(self._name, queue),
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0.1},
            )
        except (OperationalError, OSError) as error:
            raise JobStoreUnavailableError(f"the broker did not answer: {error}") from error

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()


def relay(store: JobStore, notifier: Notifier, *, limit: int = 100) -> int:
    """Send what is in the outbox; returns how many. What was not sent stays for the next call."""
    waiting = store.outbox(limit=limit)
    sent = []
    try:
        for notification in waiting:
            notifier.notify(notification.job_id, notification.queue)
            sent.append(notification)
    finally:
        if sent:
            store.mark_sent(sent)
    return len(sent)
