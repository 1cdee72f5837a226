"""The thread that makes up for everything that can be missed.

It relays the outbox to the broker, gives lost jobs back to the queue, and notifies workers again of
jobs that nobody picked up. Several services may do so at once: every step is compare-and-set, and a
message sent twice does nothing.
"""

import logging

from wsi.jobs import JobStore, Notifier, WorkerRegistry, relay
from wsi.repeating import RepeatingThread

_log = logging.getLogger(__name__)


class Reconciler:
    """Runs until closed.

    Args:
        jobs: the job store.
        notifier: the broker, or ``None`` where workers poll the database.
        max_attempts: a job lost this often fails.
        interval_s: seconds between two rounds.
        workers: where it is read whether a queue with jobs has workers at all.
    """

    def __init__(
        self,
        jobs: JobStore,
        notifier: Notifier | None,
        *,
        max_attempts: int,
        interval_s: float,
        workers: WorkerRegistry | None = None,
    ) -> None:
        self._jobs = jobs
        self._notifier = notifier
        self._max_attempts = max_attempts
        self._workers = workers
        self._unserved: set[str] = set()
        self._thread = RepeatingThread("reconciler", interval_s)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start(self.step)

    def wake(self) -> None:
        """There is something in the outbox: do not wait for the next round."""
        self._thread.wake()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._thread.close()

    def step(self) -> None:
        """One round."""
        for job in self._jobs.reconcile(max_attempts=self._max_attempts):
            _log.info(
                "job %s waits for a worker (lost %d times)",
                job.id,
                job.losses,
                extra={"job_id": job.id},
            )
        if self._notifier is not None:
            while relay(self._jobs, self._notifier):
                pass
        if self._workers is not None:
            unserved = self._workers.flag_unserved_jobs()
            for queue in unserved.keys() - self._unserved:
                _log.warning("no worker serves the queue %r; its jobs are waiting", queue)
            self._unserved = set(unserved)
