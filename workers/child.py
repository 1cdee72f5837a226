"""One embedded worker process: claims jobs from the database until it is told to stop."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from workers.heartbeat import JobTimeouts
from workers.loaded import LoadedPipelines, loader_by_name
from workers.run_job import JobRunner
from workers.settings import Settings
from wsi.errors import JobStoreUnavailableError
from wsi.jobs import JobStore, SqlJobStore, create_engine
from wsi.logs import set_up_logging
from wsi.storage.slide_cache import SlideCache
from wsi.tracing import set_up_tracing

_log = logging.getLogger(__name__)

FORCED_EXIT = 75


def runner_of(settings: Settings, store: JobStore, stopping: Callable[[], bool]) -> JobRunner:
    """What runs the jobs of this process, with an empty cache of models."""
    return JobRunner(
        store,
        pipelines_of(settings),
        SlideCache(settings.slide_cache, settings.slide_cache_bytes),
        JobTimeouts(
            lease_s=settings.lease_s,
            heartbeat_interval_s=settings.heartbeat_interval_s,
            shutdown_timeout_s=settings.shutdown_timeout_s,
            stall_s=settings.stall_s,
        ),
        stopping=stopping,
        end_process=end_this_process,
    )


def pipelines_of(settings: Settings) -> LoadedPipelines:
    """An empty cache of models for this process."""
    return LoadedPipelines(
        settings.models, settings.device, loader_by_name(settings.pipeline_loader, settings.engine)
    )


def end_this_process() -> None:
    """Leave at once: a pipeline that does not report progress cannot be asked to stop."""
    logging.shutdown()
    os._exit(FORCED_EXIT)


def work(settings: Settings, name: str, supervisor_pid: int) -> None:
    """Entry point of a worker process.

    Args:
        settings: the supervisor's, with device and queues filled in.
        name: what the jobs table calls this process.
        supervisor_pid: a worker whose supervisor is gone releases its job and ends.
    """
    set_up_logging(settings.log_level, settings.log_format)
    set_up_tracing("wholeslide-worker")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Ctrl-C reaches every process of the terminal; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def stopping() -> bool:
        return stop.is_set() or os.getppid() != supervisor_pid

    engine = create_engine(settings.database)
    store = SqlJobStore(engine)
    runner = runner_of(settings, store, stopping)
    _log.info("worker %s is ready (models in %s)", name, Path(settings.models).absolute())
    while not stopping():
        try:
            job = store.claim(name, lease_s=settings.lease_s, queues=settings.queues)
        except JobStoreUnavailableError as error:
            _log.warning("%s", error)
            stop.wait(settings.poll_s * 4)
            continue
        if job is None:
            stop.wait(settings.poll_s)
            continue
        runner.run(job)
    engine.dispose()
    _log.info("worker %s has stopped", name)
