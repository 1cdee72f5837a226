"""The thread that makes up for everything that can be missed.

It relays the outbox to the broker, gives lost jobs back to the queue, and notifies workers again of
jobs that nobody picked up. Several services may do so at once: every step is compare-and-set, and a
message sent twice does nothing.
"""

import logging
import threading

from wsi.errors import JobStoreUnavailableError
from wsi.jobs import JobStore, Notifier, WorkerRegistry, relay

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
        self._interval_s = interval_s
        self._workers = workers
        self._unserved: set[str] = set()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There is something in the outbox: do not wait for the next round."""
        self._wake.set()

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

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

    def _run(self) -> None:
        away = False
        while not self._stopping:
            self._wake.clear()
            try:
                self.step()
                if away:
                    _log.info("database and broker are reachable again")
                away = False
            except JobStoreUnavailableError as error:
                # Nothing is lost: rows and outbox wait for the next round.
                if not away:
                    _log.warning("%s", error)
                away = True
            except Exception:  # noqa: BLE001 - the thread must outlive a bug; it is logged
                _log.exception("a run of the reconciler failed")
            self._wake.wait(self._interval_s)
