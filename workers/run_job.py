"""Running one claimed job: the same function for the embedded worker and for Celery."""

import dataclasses
import logging
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from workers.heart import HaltedError, Heart, settle
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
_STORE_TRIES = 60
_STORE_WAIT_S = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patience:
    """How long what may take; see ``workers.settings.Settings``. All in seconds.

    ``away_s``: how long to wait for object storage that is away, and for room on a full disk.
    """

    lease_s: float = 60.0
    beat_s: float = 1.0
    obey_s: float = 10.0
    stall_s: float = 1800.0
    away_s: float = 600.0
    away_poll_s: float = 5.0


def run_job(
    store: JobStore,
    job: Job,
    pipelines: LoadedPipelines,
    slides: SlideCache,
    patience: Patience,
    *,
    stopping: Callable[[], bool] = lambda: False,
    end_process: Callable[[], None] | None = None,
) -> None:
    """Run a claimed job to one of its ends; every error ends in the job's row, none is raised.

    Whatever the worker computed counts only while its attempt is current. The result lies under an
    id of its own attempt, and the row names the winner's, so two that ran by accident never mix.

    Args:
        store: the job store.
        job: as ``store.claim`` returned it.
        pipelines: models of this process.
        slides: copies of slides in object storage.
        patience: time limits.
        stopping: whether this worker is to stop; then the job goes back to the queue.
        end_process: ends this process where the pipeline does not listen; ``None``: never.
    """
    heart = Heart(
        store,
        job,
        lease_s=patience.lease_s,
        beat_s=patience.beat_s,
        obey_s=patience.obey_s,
        stall_s=patience.stall_s,
        stopping=stopping,
        end_process=end_process,
    )
    started = time.monotonic()
    with about_job(job.id), _span_of(job), heart:
        _log.info("job %s attempt %d: %s", job.id, job.attempt, job.request.slide_name)
        try:
            end = _attempt(store, job, pipelines, slides, heart, patience)
        # The row must hear of every error, whatever a pipeline raises.
        except Exception as error:  # noqa: BLE001
            end = _failure(store, job, error)
        try:
            _settled(end)
        except JobError as error:
            # Usually a lost lease: another attempt owns the job now.
            _log.warning("what was computed is dropped: %s", error)
        _log.info("job %s attempt %d took %.1f s", job.id, job.attempt, time.monotonic() - started)


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


def _attempt(
    store: JobStore,
    job: Job,
    pipelines: LoadedPipelines,
    slides: SlideCache,
    heart: Heart,
    patience: Patience,
) -> Callable[[], object]:
    """Do the work; returns the call that writes down how it ended."""
    try:
        result_id, seconds = _analyze(job, pipelines, slides, heart, patience)
    except HaltedError as error:
        halt = error.halt
        _log.info("job %s stops: %s", job.id, halt.value)
        return lambda: settle(store, job, halt, patience.stall_s)
    return lambda: store.succeed(job.id, job.attempt, result_id=result_id, stage_seconds=seconds)


def _analyze(
    job: Job, pipelines: LoadedPipelines, slides: SlideCache, heart: Heart, patience: Patience
) -> tuple[str, dict[str, float]]:
    """Score the slide and store the result; returns the result's id and seconds by stage."""
    request = job.request
    seconds = {}
    heart.progress("loading the model", 0.0)
    begun = time.monotonic()
    pipeline = pipelines.get(request.pipeline, request.model)
    seconds["load model"] = time.monotonic() - begun
    heart.progress("opening the slide", 0.0)
    with ExitStack() as held:
        fetched = time.monotonic()
        file = _local(held, request.slide_path, slides, heart, patience)
        if is_object(request.slide_path):
            seconds["fetch slide"] = time.monotonic() - fetched
        _require_registered(request, heart)
        # A given resolution was accepted with the job.
        slide = held.enter_context(
            open_slide(file, mpp=request.mpp, force_mpp=True, name=request.slide_name)
        )
        digest = slide_digest(slide)
        slide_store = SlideStore(request.store_url, when_full=_waiting_for_room(heart, patience))
        slide_store.assign(digest, slide.name)
        result = pipeline.analyze(slide, slide_store, heart.progress)
        # Replaced while it was scored: what came out may be of both.
        require_unchanged(slide)
        _require_registered(request, heart)
        result = dataclasses.replace(result, slide_digest=digest)
    heart.progress("storing the result", 1.0)
    stages = {**result.timings_s, **seconds}
    total = time.monotonic() - begun
    result = dataclasses.replace(result, timings_s={**stages, "job": total})
    result_id = f"{job.id}-{job.attempt}"
    put_result(slide_store, result_id, result)
    stages["store result"] = time.monotonic() - begun - total
    # The last moment at which a cancel still counts.
    heart.progress("storing the result", 1.0)
    return result_id, stages


def _require_registered(request: JobRequest, heart: Heart) -> None:
    """Refuse a slide that lies where it was registered and is another one by now."""
    if request.slide_identity is None:
        return
    require_registered(
        Path(request.slide_path),
        registered_from(request.slide_identity),
        request.slide_name,
        tell=lambda share: heart.progress(f"checking that the slide is the same, {share:.0%}", 0.0),
    )


def _local(
    held: ExitStack, place: str, slides: SlideCache, heart: Heart, patience: Patience
) -> Path:
    """The slide as a file, kept until ``held`` ends; an outage of object storage is waited out."""
    give_up = time.monotonic() + patience.away_s
    while True:
        try:
            return held.enter_context(
                slides.local(place, lambda share: heart.progress(f"fetching, {share:.0%}", 0.0))
            )
        except SlideUnavailableError as error:
            if time.monotonic() > give_up:
                raise
            _pause("waiting for object storage", error, heart, patience)


def _waiting_for_room(heart: Heart, patience: Patience) -> Callable[[StoreFullError], None]:
    """A call for each failed write: it waits, or raises once the job has waited long enough."""
    waited_s = 0.0

    def wait(error: StoreFullError) -> None:
        nonlocal waited_s
        if waited_s >= patience.away_s:
            raise error
        _pause("waiting for disk space", error, heart, patience)
        waited_s += patience.away_poll_s

    return wait


def _pause(stage: str, error: WsiError, heart: Heart, patience: Patience) -> None:
    """Wait before another try at what failed, listening to whether the job is to stop."""
    _log.warning("%s; trying again", error)
    again = time.monotonic() + patience.away_poll_s
    while time.monotonic() < again:
        heart.progress(stage, heart.share)
        time.sleep(min(patience.away_poll_s, patience.beat_s))


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
    told = without_folders(reason)
    return lambda: store.fail(job.id, job.attempt, kind=kind, reason=told)


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


def _settled(end: Callable[[], object]) -> None:
    """Write the end down, waiting for a database that is away: hours of work hang on it."""
    for tries_left in reversed(range(_STORE_TRIES)):
        try:
            end()
        except JobStoreUnavailableError as error:
            _log.warning("the end of the job cannot be stored: %s", error)
            if not tries_left:
                _log.error("giving up: the job runs again once its lease has run out")
                return
            time.sleep(_STORE_WAIT_S)
        else:
            return
