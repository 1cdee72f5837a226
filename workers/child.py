"""One embedded worker process: claims jobs from the database until it is told to stop."""

import logging
import os
import signal
import threading
from pathlib import Path

from workers.loaded import LoadedPipelines, loader_by_name
from workers.run_job import Patience, run_job
from workers.settings import Settings
from wsi.errors import JobStoreUnavailableError
from wsi.jobs import SqlJobStore, create_engine
from wsi.logs import set_up_logging
from wsi.storage.slide_cache import SlideCache
from wsi.tracing import set_up_tracing

_log = logging.getLogger(__name__)

FORCED_EXIT = 75


def patience_of(settings: Settings) -> Patience:
    """The time limits of a job."""
    return Patience(
        lease_s=settings.lease_s,
        beat_s=settings.heartbeat_interval_s,
        obey_s=settings.shutdown_timeout_s,
        stall_s=settings.stall_s,
    )


def pipelines_of(settings: Settings) -> LoadedPipelines:
    """An empty cache of models for this process."""
    return LoadedPipelines(
        settings.models, settings.device, loader_by_name(settings.pipeline_loader, settings.engine)
    )


def slides_of(settings: Settings) -> SlideCache:
    """Copies of slides in object storage, shared by the processes of this machine."""
    return SlideCache(settings.slide_cache, settings.slide_cache_bytes)


def end_this_process() -> None:
    """Leave at once: a pipeline that does not listen cannot be asked."""
    logging.shutdown()
    os._exit(FORCED_EXIT)


def work(settings: Settings, name: str, supervisor_pid: int) -> None:
    """Entry point of a worker process.

    Args:
        settings: the supervisor's, with device and queues filled in.
        name: what the jobs table calls this process.
        supervisor_pid: a worker whose supervisor is gone gives its job back and leaves.
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
    pipelines = pipelines_of(settings)
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
        run_job(
            store,
            job,
            pipelines,
            slides_of(settings),
            patience_of(settings),
            stopping=stopping,
            end_process=end_this_process,
        )
    engine.dispose()
    _log.info("worker %s has stopped", name)
