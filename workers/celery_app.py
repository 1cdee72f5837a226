"""The same worker on RabbitMQ or Redis: Celery wakes it, the jobs come from the database.

What may go wrong with a message costs time, never a job: the reconciler sends whatever was lost
again. Each setting below says what it prevents.
"""

# Coverage is below 80 %: Celery forks its children itself, where coverage does not follow;
# tests/integration runs them for real on RabbitMQ and Redis.

import logging
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import celery
from celery import signals

from workers.capabilities import WorkerHeartbeat, resolve_settings
from workers.child import runner_of
from workers.settings import Settings
from wsi.errors import JobStoreUnavailableError
from wsi.heap import set_environment
from wsi.jobs import CPU, SqlJobStore, WorkerRegistry, create_engine
from wsi.jobs.notifications import TASK_NAME, broker_settings, queue_on_broker
from wsi.logs import set_up_logging
from wsi.tracing import set_up_tracing

_log = logging.getLogger(__name__)

STOP_FILE = "WSI_WORKER_STOP_FILE"
"""A file whose existence tells pool processes to release their jobs."""

app = celery.Celery("wsi-workers", set_as_current=False)


@app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]
def run_next(job_id: str, queue: str = CPU) -> None:
    """Claim the most urgent job of the queue (which need not be ``job_id``) and run it."""
    _pool_process().work(job_id, queue)


def celery_settings(settings: Settings) -> dict[str, Any]:
    """How the worker is set up, and why."""
    return {
        **broker_settings(settings.queue),
        "broker_url": settings.broker_url,
        "include": ["workers.celery_app"],
        **_acknowledgement(settings.broker_url),
        "worker_prefetch_multiplier": 1,
        # A killed pool process: the message is dropped, not put back, since a slide that kills
        # its worker would come round for ever. The reconciler counts the losses and notifies again.
        "task_reject_on_worker_lost": False,
        "task_acks_on_failure_or_timeout": True,
        # RabbitMQ went away in mid-task: let the job go on, its row is in the database. (The
        # redelivered message finds nothing to claim.)
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Neither CUDA nor thread pools survive a fork.
        "worker_pool": "prefork",
        "worker_pool_start_method": "spawn",
        "worker_concurrency": settings.processes,
        # A spawned process imports torch before it answers; by default it has four seconds.
        "worker_proc_alive_timeout": 120.0,
        # One process, one job at a time, memory kept: nothing to recycle.
        "worker_max_tasks_per_child": None,
        # Retry for ever: a broker that was stopped and started again must find us.
        "broker_connection_max_retries": None,
        # Cancel and progress live in the database; mailboxes would only make transient queues,
        # which RabbitMQ 4 deprecates.
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        # Our own log format, in parent and children alike.
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def _acknowledgement(broker_url: str) -> dict[str, Any]:
    """When a message is taken off the broker. A busy worker must hold none that an idle one wants.

    RabbitMQ: when its job has ended, which with a prefetch of one is enough.

    Redis: when it arrives. Celery acknowledges a late message over the connection it came by; if
    Redis was restarted meanwhile, that fails, the message keeps its place in the prefetch window,
    and the worker never takes another one (seen with Celery 5.7). A message that is acknowledged
    has no visibility timeout either, after which it would start again in mid-job. Nothing is
    fetched while every process is busy.
    """
    if broker_url.startswith("redis"):
        return {"task_acks_late": False, "worker_disable_prefetch": True}
    return {"task_acks_late": True}


def serve(settings: Settings) -> None:
    """Run a Celery worker until SIGTERM or SIGINT; running jobs go back to the queue."""
    settings, device = resolve_settings(settings)
    engine = create_engine(settings.database)
    with (
        tempfile.TemporaryDirectory(prefix="wsi-worker-") as folder,
        WorkerHeartbeat(WorkerRegistry(engine), settings, device),
    ):
        os.environ[STOP_FILE] = str(Path(folder) / "stop")
        # Pool processes read their settings, and the C library its own, when they start.
        set_environment()
        os.environ.update(
            WSI_DEVICE=settings.device,
            WSI_WORKER_QUEUES=",".join(settings.queues),
        )
        app.conf.update(celery_settings(settings))
        app.worker_main(
            [
                # No banner in the log.
                "--quiet",
                "worker",
                "--queues",
                ",".join(queue_on_broker(settings.queue, queue) for queue in settings.queues),
                "--loglevel",
                settings.log_level,
                # Chatter between workers that this design has no use for.
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _set_up_logging(**_: object) -> None:
    """Our log lines instead of Celery's, in the worker and in each pool process."""
    settings = Settings()
    set_up_logging(settings.log_level, settings.log_format)


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _set_up_tracing(**_: object) -> None:
    """In each pool process: the thread that sends spans does not come along from its parent."""
    set_up_tracing("wholeslide-worker")


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_jobs(**_: object) -> None:
    """The worker is told to stop: its processes release their jobs, then Celery ends them."""
    stop_file = os.environ.get(STOP_FILE)
    if stop_file:
        Path(stop_file).touch()


class _PoolProcess:
    """What a pool process keeps between jobs: its database connections and its models."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = SqlJobStore(create_engine(settings.database))
        self._stop_file = Path(os.environ.get(STOP_FILE, ""))
        self._runner = runner_of(settings, self._store, self._stopping)
        self._name = f"{socket.gethostname()}:{os.getppid()}:{os.getpid()}"

    def work(self, notified_of: str, queue: str) -> None:
        """Claim and run one job of a queue.

        Of that queue alone: were a job of another one taken, its own message might wake a worker
        that is busy while one that could have got this message stays idle.
        """
        if self._stopping():
            return
        try:
            job = self._store.claim(
                self._name, lease_s=self._settings.lease_s, queues=[queue], keep_notification=True
            )
        except JobStoreUnavailableError as error:
            # This message is used up; the reconciler sends another once the database is back.
            _log.warning("%s", error)
            return
        if job is None:
            _log.info("notified of job %s, but no job is waiting", notified_of)
            return
        self._runner.run(job)

    def _stopping(self) -> bool:
        return self._stop_file.is_file()


_pool: list[_PoolProcess] = []


def _pool_process() -> _PoolProcess:
    if not _pool:
        _pool.append(_PoolProcess(Settings()))
    return _pool[0]
