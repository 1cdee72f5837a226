"""A JobStore in memory: what tests and examples use where no job has to outlive them."""

import threading
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from wsi.errors import JobNotFoundError, LeaseLostError
from wsi.jobs import Job, JobRequest, JobStatus, Notification
from wsi.jobs.job import NO_SECONDS, QUEUES
from wsi.jobs.sql_store import utc_now, worker_lost_text

_MAX_DOUBLINGS = 6


class MemoryJobStore:
    """Passes the same contract suite as SqlJobStore; safe to share between threads.

    Args:
        clock: aware UTC time.
        notify_after_s: workers are notified again of a job that is still QUEUED after this time.
    """

    def __init__(
        self, clock: Callable[[], datetime] = utc_now, *, notify_after_s: float = 60.0
    ) -> None:
        self._clock = clock
        self._notify_after_s = notify_after_s
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._order: dict[str, int] = {}
        self._notified: dict[str, tuple[int, datetime]] = {}
        self._outbox: list[Notification] = []
        self._next_id = 1
        self.stage_seconds: list[tuple[str, Mapping[str, float]]] = []

    def add(self, request: JobRequest, *, priority: int = 0) -> Job:
        with self._lock:
            now = self._clock()
            job = Job(
                id=str(uuid.uuid4()),
                request=request,
                status=JobStatus.QUEUED,
                created_at=now,
                priority=priority,
            )
            self._jobs[job.id] = job
            self._order[job.id] = len(self._order)
            self._enqueue_notification(job, notify_count=0)
            return job

    def get(self, job_id: str) -> Job:
        with self._lock:
            if job_id not in self._jobs:
                raise JobNotFoundError(f"there is no job {job_id}")
            return self._jobs[job_id]

    def find(
        self,
        *,
        slide_id: str | None = None,
        status: JobStatus | None = None,
        limit: int = 1000,
        offset: int = 0,
    ) -> list[Job]:
        with self._lock:
            found = sorted(self._matching(slide_id, status), key=self._age)
            return found[::-1][offset : offset + limit]

    def count(self, *, slide_id: str | None = None, status: JobStatus | None = None) -> int:
        with self._lock:
            return len(self._matching(slide_id, status))

    def newest(self, slide_ids: Sequence[str], *, status: JobStatus | None = None) -> list[Job]:
        with self._lock:
            found: dict[tuple[str, str], Job] = {}
            for job in sorted(self._jobs.values(), key=self._age):
                if job.request.slide_id in slide_ids and status in (None, job.status):
                    found[job.request.slide_id, job.request.pipeline] = job
            return [found[key] for key in sorted(found)]

    def claim(
        self,
        worker: str,
        *,
        lease_s: float,
        queues: Collection[str] = QUEUES,
        job_id: str | None = None,
        keep_notification: bool = False,
    ) -> Job | None:
        with self._lock:
            waiting = [
                job
                for job in self._jobs.values()
                if job.status is JobStatus.QUEUED
                and job.request.queue in queues
                and job_id in (None, job.id)
            ]
            if not waiting:
                return None
            job = min(waiting, key=lambda job: (-job.priority, *self._age(job)))
            now = self._clock()
            if not keep_notification:
                self._drop_notifications(job.id)
            return self._set(
                job,
                status=JobStatus.RUNNING,
                attempt=job.attempt + 1,
                worker=worker,
                lease_until=now + timedelta(seconds=lease_s),
                started_at=job.started_at or now,
                progress=0.0,
                stage="starting",
            )

    def heartbeat(
        self, job_id: str, attempt: int, *, lease_s: float, progress: float, stage: str
    ) -> Job:
        with self._lock:
            job = self._running(job_id, attempt)
            lease_until = self._clock() + timedelta(seconds=lease_s)
            return self._set(job, lease_until=lease_until, progress=progress, stage=stage)

    def succeed(
        self,
        job_id: str,
        attempt: int,
        *,
        result_id: str,
        stage_seconds: Mapping[str, float] = NO_SECONDS,
    ) -> Job:
        with self._lock:
            job = self._end(
                job_id,
                attempt,
                JobStatus.SUCCEEDED,
                result_id=result_id,
                progress=1.0,
                stage="done",
            )
            self.stage_seconds.append((job.request.pipeline, stage_seconds))
            return job

    def fail(self, job_id: str, attempt: int, *, kind: str, reason: str) -> Job:
        return self._end(job_id, attempt, JobStatus.FAILED, error_kind=kind, error=reason)

    def confirm_cancelled(self, job_id: str, attempt: int) -> Job:
        return self._end(job_id, attempt, JobStatus.CANCELLED)

    def release(self, job_id: str, attempt: int) -> Job:
        with self._lock:
            job = self._requeue(self._running(job_id, attempt), "waiting again")
            self._enqueue_notification(job, notify_count=0)
            return job

    def request_cancel(self, job_id: str) -> Job:
        with self._lock:
            job = self.get(job_id)
            if job.status is JobStatus.QUEUED:
                self._drop_notifications(job_id)
                return self._set(
                    job,
                    status=JobStatus.CANCELLED,
                    cancel_requested=True,
                    finished_at=self._clock(),
                )
            return self._set(job, cancel_requested=True) if not job.status.is_final else job

    def expire_leases_of(self, worker: str) -> int:
        with self._lock:
            held = [
                job
                for job in self._jobs.values()
                if job.worker == worker and job.status is JobStatus.RUNNING
            ]
            for job in held:
                self._set(job, lease_until=self._clock())
            return len(held)

    def reconcile(self, *, max_attempts: int) -> list[Job]:
        with self._lock:
            now = self._clock()
            changed: list[str] = []
            for job in list(self._jobs.values()):
                lease = job.lease_until
                if job.status is JobStatus.RUNNING and lease is not None and lease <= now:
                    changed.append(self._requeue_lost(job, max_attempts).id)
            for job in sorted(
                self._jobs.values(), key=lambda job: (-job.priority, *self._age(job))
            ):
                notify_count, due = self._notified[job.id]
                if job.status is JobStatus.QUEUED and due <= now:
                    self._drop_notifications(job.id)
                    self._enqueue_notification(job, notify_count=notify_count)
                    changed.append(job.id)
            found = [self._jobs[job_id] for job_id in dict.fromkeys(changed)]
            return [job for job in found if job.status is JobStatus.QUEUED]

    def outbox(self, *, limit: int = 100) -> list[Notification]:
        with self._lock:
            return self._outbox[:limit]

    def mark_sent(self, notifications: Sequence[Notification]) -> None:
        with self._lock:
            sent = {one.id for one in notifications}
            self._outbox = [one for one in self._outbox if one.id not in sent]

    def _age(self, job: Job) -> tuple[datetime, int]:
        return job.created_at, self._order[job.id]

    def _matching(self, slide_id: str | None, status: JobStatus | None) -> list[Job]:
        return [
            job
            for job in self._jobs.values()
            if slide_id in (None, job.request.slide_id) and status in (None, job.status)
        ]

    def _set(self, job: Job, **values: Any) -> Job:
        self._jobs[job.id] = replace(job, **values)
        return self._jobs[job.id]

    def _running(self, job_id: str, attempt: int) -> Job:
        job = self.get(job_id)
        if job.status is not JobStatus.RUNNING or job.attempt != attempt:
            raise LeaseLostError(
                f"job {job_id}: attempt {attempt} no longer owns it; "
                f"it is {job.status} in attempt {job.attempt}"
            )
        return job

    def _end(self, job_id: str, attempt: int, status: JobStatus, **values: Any) -> Job:
        with self._lock:
            job = self._running(job_id, attempt)
            return self._set(
                job, status=status, finished_at=self._clock(), lease_until=None, **values
            )

    def _requeue(self, job: Job, stage: str, **values: Any) -> Job:
        return self._set(
            job,
            status=JobStatus.QUEUED,
            worker=None,
            lease_until=None,
            progress=0.0,
            stage=stage,
            **values,
        )

    def _requeue_lost(self, job: Job, max_attempts: int) -> Job:
        losses = job.losses + 1
        ended = {"finished_at": self._clock(), "lease_until": None, "losses": losses}
        if job.cancel_requested:
            return self._set(job, status=JobStatus.CANCELLED, **ended)
        if losses >= max_attempts:
            return self._set(
                job,
                status=JobStatus.FAILED,
                error_kind="worker_lost",
                error=worker_lost_text(job, losses),
                **ended,
            )
        job = self._requeue(job, "waiting again: its worker was lost", losses=losses)
        self._enqueue_notification(job, notify_count=0)
        return job

    def _enqueue_notification(self, job: Job, *, notify_count: int) -> None:
        wait_s = self._notify_after_s * 2 ** min(notify_count, _MAX_DOUBLINGS)
        self._notified[job.id] = (notify_count + 1, self._clock() + timedelta(seconds=wait_s))
        self._outbox.append(Notification(id=self._next_id, job_id=job.id, queue=job.request.queue))
        self._next_id += 1

    def _drop_notifications(self, job_id: str) -> None:
        self._outbox = [one for one in self._outbox if one.job_id != job_id]
