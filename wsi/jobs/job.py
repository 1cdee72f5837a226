"""A job: one slide, one pipeline, one model. The row is the truth; messages only wake workers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class JobStatus(StrEnum):
    """Where a job stands. The last three are final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return not LEGAL_MOVES[self]


LEGAL_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.RUNNING: frozenset(
        {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUEUED}
    ),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}
"""RUNNING goes back to QUEUED when its worker's lease runs out or the worker releases it."""


CPU = "cpu"
GPU = "gpu"
QUEUES = (CPU, GPU)
"""The queues there are. A worker registers which of them it serves; see ``wsi.jobs.workers``."""

NO_SECONDS: Mapping[str, float] = {}


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """What a worker needs to know; everything is a name or a path, nothing is a row of the service.

    Attributes:
        slide_id: the slide's id in the service.
        slide_path: where the worker opens the slide.
        slide_name: how messages call it.
        store_url: the slide's SlideStore.
        pipeline: a name in the pipeline registry.
        model: a model bundle's name under the models folder.
        mpp: level-0 micrometres per pixel given by the user, or ``None``.
        queue: whose workers may run it: ``cpu`` or ``gpu``.
        trace_parent: of the request that asked for it (W3C ``traceparent``), where it is traced.
        slide_identity: what a slide that is read where it lies was when it was registered; see
            ``wsi.slides.registered``. ``None`` of a copy that is the service's own.
    """

    slide_id: str
    slide_path: str
    slide_name: str
    store_url: str
    pipeline: str
    model: str
    mpp: float | None = None
    queue: str = CPU
    trace_parent: str | None = None
    slide_identity: str | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the jobs table as it was when read.

    Attributes:
        id: UUID.
        attempt: how often it was claimed; the fencing token of its lease.
        losses: how often a worker was lost with it (died, hung, or stopped sending heartbeats).
        priority: higher goes first.
        progress: share done in [0, 1].
        stage: what is being done, for people.
        lease_until: when a silent worker loses the job (UTC).
        cancel_requested: somebody asked for a stop; the worker stops at its next heartbeat.
        error_kind: machine-readable word for the failure (see ``wsi.errors``).
        error: the reason of the failure, for people.
        result_id: where in the slide's store the result of the winning attempt lies.
    """

    id: str
    request: JobRequest
    status: JobStatus
    created_at: datetime
    attempt: int = 0
    losses: int = 0
    priority: int = 0
    progress: float = 0.0
    stage: str = ""
    worker: str | None = None
    lease_until: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested: bool = False
    error_kind: str | None = None
    error: str | None = None
    result_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Notification:
    """A row of the outbox: workers must be told that a job waits.

    Attributes:
        id: what to hand to ``JobStore.mark_sent`` once the message is out.
        job_id: the job that waits.
        queue: the queue whose workers are told.
    """

    id: int
    job_id: str
    queue: str


class JobStore(Protocol):
    """Jobs that outlive every process. All moves are compare-and-set; all times are UTC.

    Every method raises ``JobStoreUnavailableError`` where the database cannot be reached.

    ``attempt`` is the fencing token: a worker whose lease ran out holds an old one, and every
    write with an old token raises ``LeaseLostError``.
    """

    def add(self, request: JobRequest, *, priority: int = 0) -> Job:
        """A new QUEUED job and its notification in the outbox, both durable when this returns."""
        ...

    def get(self, job_id: str) -> Job:
        """One job. Raises ``JobNotFoundError``."""
        ...

    def find(
        self,
        *,
        slide_id: str | None = None,
        status: JobStatus | None = None,
        limit: int = 1000,
        offset: int = 0,
    ) -> list[Job]:
        """Jobs, newest first."""
        ...

    def count(self, *, slide_id: str | None = None, status: JobStatus | None = None) -> int:
        """How many jobs ``find`` would list without a limit."""
        ...

    def newest(self, slide_ids: Sequence[str], *, status: JobStatus | None = None) -> list[Job]:
        """The newest job of each pipeline (in this state) for each of these slides."""
        ...

    def claim(
        self,
        worker: str,
        *,
        lease_s: float,
        queues: Collection[str] = QUEUES,
        job_id: str | None = None,
        keep_notification: bool = False,
    ) -> Job | None:
        """Take the next QUEUED job of these queues (or this one): RUNNING, attempt + 1, lease set.

        ``None`` where there is none, or another worker was faster. ``keep_notification``: the
        worker was woken by a message, which may have been another job's; so the notification of
        the job taken stays in the outbox, for that other one.
        """
        ...

    def heartbeat(
        self, job_id: str, attempt: int, *, lease_s: float, progress: float, stage: str
    ) -> Job:
        """Renew the lease and report progress. The Job returned says if a stop was asked for.

        Raises ``LeaseLostError`` where the job is no longer this attempt's.
        """
        ...

    def succeed(
        self,
        job_id: str,
        attempt: int,
        *,
        result_id: str,
        stage_seconds: Mapping[str, float] = NO_SECONDS,
    ) -> Job:
        """RUNNING -> SUCCEEDED, once, with the winner's result. Raises ``LeaseLostError``.

        ``stage_seconds`` (seconds by stage) are added to the figures that the metrics show.
        """
        ...

    def fail(self, job_id: str, attempt: int, *, kind: str, reason: str) -> Job:
        """RUNNING -> FAILED with a reason. Raises ``LeaseLostError``."""
        ...

    def release(self, job_id: str, attempt: int) -> Job:
        """RUNNING -> QUEUED: the worker stops before it is done. Raises ``LeaseLostError``."""
        ...

    def confirm_cancelled(self, job_id: str, attempt: int) -> Job:
        """RUNNING -> CANCELLED by the worker that stopped. Raises ``LeaseLostError``."""
        ...

    def request_cancel(self, job_id: str) -> Job:
        """QUEUED -> CANCELLED at once; a RUNNING job is asked to stop. Final ones stay.

        Raises ``JobNotFoundError``.
        """
        ...

    def expire_leases_of(self, worker: str) -> int:
        """End the leases of a worker that is known to be dead, so that ``reconcile`` acts on them.

        Returns how many jobs it held.
        """
        ...

    def reconcile(self, *, max_attempts: int) -> list[Job]:
        """Give jobs whose lease ran out back to the queue; fail those lost too often.

        Workers are notified again of jobs that stayed QUEUED, each time after twice the wait. A job
        lost ``max_attempts`` times ends FAILED, kind ``worker_lost``.

        Returns the jobs that are QUEUED and whose notification is now in the outbox (again).
        """
        ...

    def outbox(self, *, limit: int = 100) -> list[Notification]:
        """Notifications to send, oldest first."""
        ...

    def mark_sent(self, notifications: Sequence[Notification]) -> None:
        """These were sent, and leave the outbox. Doing so twice does no harm."""
        ...
