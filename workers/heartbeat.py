"""Heartbeats of a running job, and what they bring back: cancel, stop, lease lost."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from wsi.repeating import RepeatingThread

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobTimeouts:
    """How long each part of a job may take; see ``workers.settings.Settings``. All in seconds.

    Attributes:
        lease_s: how long the lease lasts after a heartbeat.
        heartbeat_interval_s: between two heartbeats.
        shutdown_timeout_s: how long a pipeline may take to stop before its process is ended.
        stall_s: how long a pipeline may make no progress.
        outage_s: how long to wait for object storage that does not answer, or for disk space.
        outage_poll_s: between two tries meanwhile.
    """

    lease_s: float = 60.0
    heartbeat_interval_s: float = 1.0
    shutdown_timeout_s: float = 10.0
    stall_s: float = 1800.0
    outage_s: float = 600.0
    outage_poll_s: float = 5.0


class StopReason(Enum):
    """Why a job is to stop before its end."""

    CANCELLED = "cancelled"
    RELEASED = "the worker stops"
    LEASE_LOST = "the lease was lost"
    HUNG = "it hangs"


class JobStoppedError(AnalysisCancelledError):
    """Raised inside a pipeline, through its progress callback, to make it stop."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class JobHeartbeat:
    """Renews the lease of one attempt from a thread of its own, however busy the pipeline is.

    Args:
        store: the job store.
        job: the claimed job.
        timeouts: how long what may take.
        stopping: whether this worker is to stop.
        end_process: ends this process at once; ``None``: never by force.
    """

    def __init__(
        self,
        store: JobStore,
        job: Job,
        timeouts: JobTimeouts,
        *,
        stopping: Callable[[], bool],
        end_process: Callable[[], None] | None,
    ) -> None:
        self._store = store
        self._job = job
        self._timeouts = timeouts
        self._stopping = stopping
        self._end_process = end_process
        self._stop_reason: StopReason | None = None
        self._stopped_at = 0.0
        self._position = (job.stage, job.progress)
        self._moved_at = time.monotonic()
        self._thread = RepeatingThread(f"heartbeat-{job.id}", timeouts.heartbeat_interval_s)

    @property
    def share(self) -> float:
        """How much of the job is done, 0 to 1, as last reported."""
        return self._position[1]

    def progress(self, stage: str, share: float) -> None:
        """What the pipeline calls. Cheap: it reaches the database with the next heartbeat.

        Raises:
            JobStoppedError: the job is to stop.
        """
        if self._stop_reason is not None:
            raise JobStoppedError(self._stop_reason)
        position = (stage, min(1.0, max(0.0, float(share))))
        if position != self._position:
            self._position = position
            self._moved_at = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start(self._step, wait_first=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.close()

    def _step(self) -> None:
        self._send()
        now = time.monotonic()
        if self._stop_reason is None and now - self._moved_at > self._timeouts.stall_s:
            self._stop(StopReason.HUNG)
        too_late = self._stopped_at + self._timeouts.shutdown_timeout_s
        if self._stop_reason is not None and now > too_late:
            self._force(self._stop_reason)

    def _send(self) -> None:
        stage, share = self._position
        try:
            job = self._store.heartbeat(
                self._job.id,
                self._job.attempt,
                lease_s=self._timeouts.lease_s,
                progress=share,
                stage=stage,
            )
        except JobStoreUnavailableError as error:
            # The lease goes on for a while. If it ends, the row says so once it can be read.
            _log.warning("job %s: no heartbeat was sent: %s", self._job.id, error)
        except LeaseLostError as error:
            if not self._thread.closing:
                _log.warning("%s", error)
                self._stop(StopReason.LEASE_LOST)
        else:
            if job.cancel_requested:
                self._stop(StopReason.CANCELLED)
        if self._stopping():
            self._stop(StopReason.RELEASED)

    def _stop(self, reason: StopReason) -> None:
        if self._stop_reason is None:
            self._stop_reason = reason
            self._stopped_at = time.monotonic()

    def _force(self, reason: StopReason) -> None:
        """End a process whose pipeline does not stop, after storing how its job ended."""
        if self._end_process is None:
            return
        try:
            store_stop(self._store, self._job, reason, self._timeouts.stall_s)
        except JobStoreUnavailableError:
            # Without the database nothing can be stored: the job waits for its lease to end.
            _log.warning("job %s waits for the end of its lease", self._job.id)
        except JobError as error:
            # The job ended in this very moment: then there is nothing to force.
            _log.info("%s", error)
            if reason is not StopReason.LEASE_LOST:
                return
        _log.error("job %s did not stop (%s): ending this process", self._job.id, reason.value)
        self._end_process()


def store_stop(store: JobStore, job: Job, reason: StopReason, stall_s: float) -> None:
    """Store how a stopped job ended. Raises ``LeaseLostError``."""
    if reason is StopReason.CANCELLED:
        store.confirm_cancelled(job.id, job.attempt)
    elif reason is StopReason.RELEASED:
        store.release(job.id, job.attempt)
    elif reason is StopReason.HUNG:
        text = f"{job.request.slide_name}: no progress for {stall_s:g} seconds; it was stopped"
        store.fail(job.id, job.attempt, kind="hung", reason=text)
