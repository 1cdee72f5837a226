"""The embedded worker: keeps worker processes alive and reconciles the queue, without a broker."""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess

from workers.capabilities import WorkerHeartbeat, resolve_settings
from workers.settings import Settings
from wsi.errors import JobStoreUnavailableError
from wsi.heap import set_environment
from wsi.jobs import SqlJobStore, WorkerRegistry, create_engine

_log = logging.getLogger(__name__)

_POLL_S = 0.2
_MAX_PAUSE_S = 30.0
_STABLE_S = 60.0
_KILL_AFTER_S = 10.0


def _work(settings: Settings, name: str, supervisor_pid: int) -> None:
    # Imported in the child alone: a supervisor reads no slides, and starts in a third of the time.
    from workers.child import work

    work(settings, name, supervisor_pid)


@dataclass
class _Slot:
    """One worker process and its successors."""

    number: int
    process: SpawnProcess | None = None
    name: str = ""
    generation: int = 0
    started_at: float = 0.0
    restart_at: float = 0.0
    pause_s: float = 0.5


class Supervisor:
    """Starts ``settings.processes`` workers, restarts those that die, stops all at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = create_engine(settings.database)
        self._store = SqlJobStore(self._engine)
        self._stop = threading.Event()
        self._slots = [_Slot(number) for number in range(settings.processes)]
        self._next_reconcile = 0.0

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. Running jobs go back to the queue."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        set_environment()
        try:
            self._settings, device = resolve_settings(self._settings)
            self._wait_for_database()
            with WorkerHeartbeat(WorkerRegistry(self._engine), self._settings, device):
                try:
                    self._supervise()
                finally:
                    self._end_workers()
        finally:
            self._engine.dispose()

    def _supervise(self) -> None:
        while not self._stop.is_set():
            for slot in self._slots:
                self._check(slot)
            self._reconcile()
            self._stop.wait(_POLL_S)

    def _wait_for_database(self) -> None:
        logged = False
        while not self._stop.is_set():
            try:
                if self._store.is_ready():
                    return
            except JobStoreUnavailableError as error:
                _log.warning("%s", error)
            if not logged:
                _log.info("waiting for the service to prepare the database")
                logged = True
            self._stop.wait(1.0)

    def _check(self, slot: _Slot) -> None:
        now = time.monotonic()
        if slot.process is not None and not slot.process.is_alive():
            self._handle_exit(slot, now)
        if slot.process is None and now >= slot.restart_at:
            self._start(slot, now)

    def _start(self, slot: _Slot, now: float) -> None:
        slot.generation += 1
        slot.name = f"{socket.gethostname()}:{os.getpid()}:{slot.number}:{slot.generation}"
        # Spawned, not forked: CUDA and thread pools do not survive a fork.
        slot.process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(self._settings, slot.name, os.getpid()), name=slot.name
        )
        slot.process.start()
        slot.started_at = now

    def _handle_exit(self, slot: _Slot, now: float) -> None:
        assert slot.process is not None
        _log.error("worker %s ended with %s", slot.name, slot.process.exitcode)
        try:
            # It is known to be dead, so its job need not wait for the end of its lease.
            if self._store.expire_leases_of(slot.name):
                self._next_reconcile = now
        except JobStoreUnavailableError as error:
            _log.warning("%s", error)
        slot.process.close()
        slot.process = None
        # One that dies at every start must not keep the machine busy with starting it.
        stable = now - slot.started_at > _STABLE_S
        slot.pause_s = 0.5 if stable else min(_MAX_PAUSE_S, slot.pause_s * 2)
        slot.restart_at = now + slot.pause_s

    def _reconcile(self) -> None:
        now = time.monotonic()
        if now < self._next_reconcile:
            return
        self._next_reconcile = now + self._settings.reconcile_interval_s
        try:
            for job in self._store.reconcile(max_attempts=self._settings.max_attempts):
                _log.info("job %s waits for a worker (lost %d times)", job.id, job.losses)
        except JobStoreUnavailableError as error:
            _log.warning("%s", error)

    def _end_workers(self) -> None:
        running = [slot.process for slot in self._slots if slot.process is not None]
        for process in running:
            process.terminate()
        # After shutdown_timeout_s a worker ends its own process if the pipeline does not stop.
        deadline = time.monotonic() + self._settings.shutdown_timeout_s + _KILL_AFTER_S
        for process in running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                _log.error("worker %s does not stop: killing it", process.name)
                process.kill()
                process.join()
