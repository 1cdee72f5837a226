"""Signs of life of a running job, and what comes back: cancel, stop, lease lost."""

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self

from wsi.errors import (
    AnalysisCancelledError,
    JobError,
    JobStoreUnavailableError,
    LeaseLostError,
)
from wsi.jobs import Job, JobStore

_log = logging.getLogger(__name__)


class Halt(Enum):
    """Why a job is to stop before its end."""

    CANCELLED = "cancelled"
    HANDED_BACK = "the worker stops"
    LEASE_LOST = "the lease was lost"
    HUNG = "it hangs"


class HaltedError(AnalysisCancelledError):
    """Raised inside a pipeline, through its progress callback, to make it stop."""

    def __init__(self, halt: Halt) -> None:
        super().__init__(halt.value)
        self.halt = halt


class Heart:
    """Beats for one attempt of a job in a thread of its own, so that a busy pipeline lives on.

    Args:
        store: the job store.
        job: the claimed job.
        lease_s: how long the lease lasts after a beat.
        beat_s: seconds between two beats.
        obey_s: how long a pipeline may take to stop before ``end_process``.
        stall_s: how long it may make no progress.
        stopping: whether this worker is to stop.
        end_process: ends this process at once; ``None``: never by force.
    """

    def __init__(
        self,
        store: JobStore,
        job: Job,
        *,
        lease_s: float,
        beat_s: float,
        obey_s: float,
        stall_s: float,
        stopping: Callable[[], bool],
        end_process: Callable[[], None] | None,
    ) -> None:
        self._store = store
        self._job = job
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._obey_s = obey_s
        self._stall_s = stall_s
        self._stopping = stopping
        self._end_process = end_process
        self._done = threading.Event()
        self._halt: Halt | None = None
        self._halted_at = 0.0
        self._place = (job.stage, job.progress)
        self._moved_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"heart-{job.id}", daemon=True)

    @property
    def halt(self) -> Halt | None:
        """Why the job is to stop, if it is."""
        return self._halt

    @property
    def share(self) -> float:
        """How much of the job is done, 0 to 1, as last told."""
        return self._place[1]

    def progress(self, stage: str, share: float) -> None:
        """What the pipeline calls. Cheap: the database hears of it at the next beat.

        Raises:
            HaltedError: the job is to stop.
        """
        if self._halt is not None:
            raise HaltedError(self._halt)
        place = (stage, min(1.0, max(0.0, float(share))))
        if place != self._place:
            self._place = place
            self._moved_at = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._beat_s):
            self._beat()
            now = time.monotonic()
            if self._halt is None and now - self._moved_at > self._stall_s:
                self._set(Halt.HUNG)
            if self._halt is not None and now - self._halted_at > self._obey_s:
                self._force(self._halt)

    def _beat(self) -> None:
        stage, share = self._place
        try:
            job = self._store.heartbeat(
                self._job.id, self._job.attempt, lease_s=self._lease_s, progress=share, stage=stage
            )
        except JobStoreUnavailableError as error:
            # The lease goes on for a while. If it ends, the row says so once it can be read.
            _log.warning("job %s: no sign of life: %s", self._job.id, error)
        except LeaseLostError as error:
            if not self._done.is_set():
                _log.warning("%s", error)
                self._set(Halt.LEASE_LOST)
        else:
            if job.cancel_requested:
                self._set(Halt.CANCELLED)
        if self._stopping():
            self._set(Halt.HANDED_BACK)

    def _set(self, halt: Halt) -> None:
        if self._halt is None:
            self._halt = halt
            self._halted_at = time.monotonic()

    def _force(self, halt: Halt) -> None:
        """End a process whose pipeline does not listen, its job's row settled first."""
        if self._end_process is None:
            return
        try:
            settle(self._store, self._job, halt, self._stall_s)
        except JobStoreUnavailableError:
            # Without the database nothing can be settled: the lease will do it.
            _log.warning("job %s is left to its lease", self._job.id)
        except JobError as error:
            # The job ended in this very moment: then there is nothing to force.
            _log.info("%s", error)
            if halt is not Halt.LEASE_LOST:
                return
        _log.error("job %s did not stop (%s): ending this process", self._job.id, halt.value)
        self._end_process()


def settle(store: JobStore, job: Job, halt: Halt, stall_s: float) -> None:
    """Write down how a job ends that was made to stop. Raises ``LeaseLostError``."""
    if halt is Halt.CANCELLED:
        store.confirm_cancelled(job.id, job.attempt)
    elif halt is Halt.HANDED_BACK:
        store.release(job.id, job.attempt)
    elif halt is Halt.HUNG:
        text = f"{job.request.slide_name}: no progress for {stall_s:g} seconds; it was stopped"
        store.fail(job.id, job.attempt, kind="hung", reason=text)
