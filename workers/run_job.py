"""Running claimed jobs: the same for the embedded worker and for Celery."""

import dataclasses
import logging
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from workers.heartbeat import JobHeartbeat, JobStoppedError, JobTimeouts, store_stop
from workers.loaded import LoadedPipelines
from wsi.errors import (
    JobError,
    JobStoreUnavailableError,
    SlideUnavailableError,
    StoreFullError,
    WsiError,
)
from wsi.jobs import Job, JobRequest, JobStore
from wsi.logs import about_job
from wsi.slides import open_slide
from wsi.slides.identity import require_unchanged, slide_digest
from wsi.slides.registered import registered_from, require_registered
from wsi.storage import SlideStore, put_result
from wsi.storage.slide_cache import SlideCache, is_object
from wsi.tracing import note_failure, span

_log = logging.getLogger(__name__)

_FOLDERS = re.compile(r"(?<![\w/])/(?:[^\s/:'\"]+/)+")
_STORE_ATTEMPTS = 60
_STORE_WAIT_S = 5.0
_DEFAULTS = JobTimeouts()


def _never() -> bool:
    return False


class JobRunner:
    """Runs claimed jobs in this process, one at a time.

    Args:
        store: the job store.
        pipelines: models of this process.
        slides: copies of slides in object storage.
        timeouts: how long what may take.
        stopping: whether this worker is to stop; then its job goes back to the queue.
        end_process: ends this process where a pipeline does not stop; ``None``: never.
    """

    def __init__(
        self,
        store: JobStore,
        pipelines: LoadedPipelines,
        slides: SlideCache,
        timeouts: JobTimeouts = _DEFAULTS,
        *,
        stopping: Callable[[], bool] = _never,
        end_process: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._pipelines = pipelines
        self._slides = slides
        self._timeouts = timeouts
        self._stopping = stopping
        self._end_process = end_process

    def run(self, job: Job) -> None:
        """Run a job, as ``store.claim`` returned it, to one of its ends.

        Every error ends in the job's row, none is raised. Whatever the worker computed counts only
        while its attempt is current: the result is stored under an id of its own attempt, and the
        row names the winner's, so two that ran by accident never mix.
        """
        heartbeat = JobHeartbeat(
            self._store,
            job,
            self._timeouts,
            stopping=self._stopping,
            end_process=self._end_process,
        )
        started = time.monotonic()
        with about_job(job.id), _span_of(job), heartbeat:
            _log.info("job %s attempt %d: %s", job.id, job.attempt, job.request.slide_name)
            try:
                end = self._attempt(job, heartbeat)
            # The row must hear of every error, whatever a pipeline raises.
            except Exception as error:  # noqa: BLE001
                end = _failure(self._store, job, error)
            try:
                _store_end(end)
            except JobError as error:
                # Usually a lost lease: another attempt owns the job now.
                _log.warning("the result is dropped: %s", error)
            seconds = time.monotonic() - started
            _log.info("job %s attempt %d took %.1f s", job.id, job.attempt, seconds)

    def _attempt(self, job: Job, heartbeat: JobHeartbeat) -> Callable[[], object]:
        """Do the work; returns the call that stores how it ended."""
        try:
            result_id, seconds = self._analyze(job, heartbeat)
        except JobStoppedError as error:
            reason = error.reason
            _log.info("job %s stops: %s", job.id, reason.value)
            return lambda: store_stop(self._store, job, reason, self._timeouts.stall_s)
        return lambda: self._store.succeed(
            job.id, job.attempt, result_id=result_id, stage_seconds=seconds
        )

    def _analyze(self, job: Job, heartbeat: JobHeartbeat) -> tuple[str, dict[str, float]]:
        """Score the slide and store the result; returns the result's id and seconds by stage."""
        request = job.request
        seconds = {}
        heartbeat.progress("loading the model", 0.0)
        begun = time.monotonic()
        pipeline = self._pipelines.get(request.pipeline, request.model)
        seconds["load model"] = time.monotonic() - begun
        heartbeat.progress("opening the slide", 0.0)
        with ExitStack() as held:
            fetched = time.monotonic()
            file = self._fetch(held, request.slide_path, heartbeat)
            if is_object(request.slide_path):
                seconds["fetch slide"] = time.monotonic() - fetched
            _require_registered(request, heartbeat)
            # A given resolution was accepted with the job.
            slide = held.enter_context(
                open_slide(file, mpp=request.mpp, force_mpp=True, name=request.slide_name)
            )
            digest = slide_digest(slide)
            slide_store = SlideStore(request.store_url, when_full=self._wait_for_room(heartbeat))
            slide_store.assign(digest, slide.name)
            result = pipeline.analyze(slide, slide_store, heartbeat.progress)
            # Replaced while it was scored: the result may be of both.
            require_unchanged(slide)
            _require_registered(request, heartbeat)
            result = dataclasses.replace(result, slide_digest=digest)
        heartbeat.progress("storing the result", 1.0)
        stages = {**result.timings_s, **seconds}
        total = time.monotonic() - begun
        result = dataclasses.replace(result, timings_s={**stages, "job": total})
        result_id = f"{job.id}-{job.attempt}"
        put_result(slide_store, result_id, result)
        stages["store result"] = time.monotonic() - begun - total
        # The last moment at which a cancel still counts.
        heartbeat.progress("storing the result", 1.0)
        return result_id, stages

    def _fetch(self, held: ExitStack, place: str, heartbeat: JobHeartbeat) -> Path:
        """The slide as a file, kept until ``held`` ends; waits while object storage is down."""
        give_up = time.monotonic() + self._timeouts.outage_s
        while True:
            try:
                return held.enter_context(
                    self._slides.local(
                        place, lambda share: heartbeat.progress(f"fetching, {share:.0%}", 0.0)
                    )
                )
            except SlideUnavailableError as error:
                if time.monotonic() > give_up:
                    raise
                self._pause("waiting for object storage", error, heartbeat)

    def _wait_for_room(self, heartbeat: JobHeartbeat) -> Callable[[StoreFullError], None]:
        """A call for each failed write: it waits, or raises once the job has waited too long."""
        waited_s = 0.0

        def wait(error: StoreFullError) -> None:
            nonlocal waited_s
            if waited_s >= self._timeouts.outage_s:
                raise error
            self._pause("waiting for disk space", error, heartbeat)
            waited_s += self._timeouts.outage_poll_s

        return wait

    def _pause(self, stage: str, error: WsiError, heartbeat: JobHeartbeat) -> None:
        """Wait before the next try; raises ``JobStoppedError`` where the job is to stop."""
        _log.warning("%s; trying again", error)
        poll_s = self._timeouts.outage_poll_s
        again = time.monotonic() + poll_s
        while time.monotonic() < again:
            heartbeat.progress(stage, heartbeat.share)
            time.sleep(min(poll_s, self._timeouts.heartbeat_interval_s))


def _span_of(job: Job) -> AbstractContextManager[object]:
    """The attempt as part of the trace of the request that asked for it. No names of slides."""
    return span(
        f"job {job.request.pipeline}",
        job.request.trace_parent,
        job_id=job.id,
        job_attempt=job.attempt,
        job_pipeline=job.request.pipeline,
        job_model=job.request.model,
        slide_id=job.request.slide_id,
    )


def _require_registered(request: JobRequest, heartbeat: JobHeartbeat) -> None:
    """Refuse a slide that lies where it was registered and is another one by now."""
    if request.slide_identity is None:
        return
    require_registered(
        Path(request.slide_path),
        registered_from(request.slide_identity),
        request.slide_name,
        tell=lambda share: heartbeat.progress(f"checking the slide is the same, {share:.0%}", 0.0),
    )


def _failure(store: JobStore, job: Job, error: Exception) -> Callable[[], object]:
    if isinstance(error, WsiError):
        _log.warning("job %s fails: %s", job.id, error)
        kind, reason = error_kind(error), str(error)
    elif is_out_of_memory(error):
        _log.error("job %s is out of memory", job.id, exc_info=error)
        kind = "out_of_memory"
        reason = f"{job.request.slide_name}: the worker has too little memory for it ({error})"
    else:
        _log.error("job %s fails unexpectedly", job.id, exc_info=error)
        kind = "internal"
        reason = f"{job.request.slide_name}: {type(error).__name__}: {error}"
    note_failure(kind)
    shown = without_folders(reason)
    return lambda: store.fail(job.id, job.attempt, kind=kind, reason=shown)


def without_folders(text: str) -> str:
    """A reason without the folders of this machine: readers see it; the log has them."""
    return _FOLDERS.sub("", text)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory was refused: to Python, or to torch on a GPU or the host.

    By name and text, as torch is not imported here and says it of the host in words alone.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def error_kind(error: WsiError) -> str:
    """A stable word for an error: its ``kind``, else its class in snake case."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()
    return str(getattr(error, "kind", name))


def _store_end(end: Callable[[], object]) -> None:
    """Store the end, waiting for a database that does not answer: hours of work depend on it."""
    for attempts_left in reversed(range(_STORE_ATTEMPTS)):
        try:
            end()
        except JobStoreUnavailableError as error:
            _log.warning("the end of the job cannot be stored: %s", error)
            if not attempts_left:
                _log.error("giving up: the job runs again once its lease has run out")
                return
            time.sleep(_STORE_WAIT_S)
        else:
            return
