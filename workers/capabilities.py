"""What a worker can run: found out once at its start, and registered in the database."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Self

from workers.settings import Settings
from wsi.errors import ConfigError, JobStoreUnavailableError, ModelError
from wsi.jobs import CPU, GPU, Worker, WorkerRegistry
from wsi.jobs.workers import HEARTBEAT_INTERVAL_S
from wsi.models.card import AGGREGATOR, CARD_FILE, read_card
from wsi.repeating import RepeatingThread
from wsi.system import format_bytes, free_memory, usable_cores

_log = logging.getLogger(__name__)

_DEVICE_TIMEOUT_S = 300.0


def resolve_settings(settings: Settings) -> tuple[Settings, dict[str, Any]]:
    """Settings with device and queues filled in, and what was found out about the device.

    A worker on a GPU serves both queues, one without serves that of CPU jobs, unless set
    otherwise.

    Raises:
        ConfigError: the device is not there, or has a queue that it cannot serve.
    """
    device = {"device": "cpu"} if settings.device == "cpu" else _probe_device(settings.device)
    on_gpu = device["device"] != "cpu"
    queues = settings.queues or ((GPU, CPU) if on_gpu else (CPU,))
    return settings.model_copy(update={"device": device["device"], "queues": queues}), device


def _probe_device(device: str) -> dict[str, Any]:
    # In a process of its own: torch takes seconds and hundreds of megabytes, and a CUDA context
    # some of the GPU's memory, for as long as its process lives.
    try:
        found = subprocess.run(
            [sys.executable, "-m", "workers.device", device],
            capture_output=True,
            text=True,
            timeout=_DEVICE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"WSI_DEVICE={device}: it does not answer ({error})") from error
    if found.returncode:
        last = found.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise ConfigError(f"WSI_DEVICE={device}: {last[0]}")
    device_found: dict[str, Any] = json.loads(found.stdout)
    return device_found


def describe(settings: Settings, device: dict[str, Any]) -> Worker:
    """The worker as it is now; ``settings`` and ``device`` are those of ``resolve_settings``."""
    models = {}
    for path in sorted(settings.models.glob(f"*/{CARD_FILE}")):
        try:
            card = read_card(path.parent)
        except ModelError as error:
            _log.error("%s", error)
            continue
        if card.pipeline != AGGREGATOR:
            models[card.name] = card.pipeline
    return Worker(
        name=f"{socket.gethostname()}:{os.getpid()}",
        queues=settings.queues,
        capabilities={
            **device,
            "processes": settings.processes,
            "cores": usable_cores(),
            "memory_free_bytes": _free_memory(),
            "pipelines": sorted(set(models.values())),
            "models": models,
        },
    )


def _free_memory() -> int | None:
    """Bytes that this machine, or this container, has left; ``None`` where it does not say."""
    try:
        return free_memory()
    except ConfigError:
        return None


def summary(worker: Worker) -> str:
    """One line for the log."""
    can = worker.capabilities
    parts = [
        f"serves {', '.join(worker.queues)}",
        f"on {can['device']}" + (f" ({can['name']})" if "name" in can else ""),
        f"{can['processes']} process(es), {can['cores']} cores",
        f"memory free: {format_bytes(can['memory_free_bytes'])}",
    ]
    if "device_free_bytes" in can:
        parts.append(f"on the GPU: {format_bytes(can['device_free_bytes'])}")
    models = ", ".join(f"{name} ({pipeline})" for name, pipeline in can["models"].items())
    return "; ".join([*parts, f"models: {models or 'none yet'}"])


class WorkerHeartbeat:
    """Keeps this worker registered until the block ends.

    Attributes:
        registered: set once the worker stands in the database.
    """

    def __init__(
        self, registry: WorkerRegistry, settings: Settings, device: dict[str, Any]
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._device = device
        self.registered = threading.Event()
        self._thread = RepeatingThread("worker heartbeat", HEARTBEAT_INTERVAL_S)

    def __enter__(self) -> Self:
        _log.info("this worker %s", summary(describe(self._settings, self._device)))
        self._thread.start(self._send)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.close()
        try:
            self._registry.unregister(describe(self._settings, self._device).name)
        except JobStoreUnavailableError as outage:
            _log.warning("%s", outage)

    def _send(self) -> None:
        self._registry.heartbeat(describe(self._settings, self._device))
        self.registered.set()
