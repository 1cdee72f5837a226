"""A service in processes of its own, for the benchmarks of service and queue."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_START_S = 90.0


@dataclass
class Served:
    """Processes of one installation, and how to reach it."""

    folder: Path
    environment: Mapping[str, str]
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, module: str, **more: str) -> subprocess.Popen[bytes]:
        """``python -m module``, its output in a log."""
        with (self.folder / f"{module}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env={**os.environ, **self.environment, **more},
                stdout=log,
                stderr=subprocess.STDOUT,
                # As `wsi serve` starts them.
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def get(self, path: str) -> Any:
        """JSON of a GET below the API's prefix."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", f"/api/v1{path}")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != http.client.OK:
                raise RuntimeError(f"GET {path}: {answer.status} {body[:200]!r}")
            return json.loads(body)
        finally:
            connection.close()

    def wait_ready(self) -> None:
        """Until the API answers."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                self.get("/ready")
            except (OSError, RuntimeError):
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"the service did not start; see {self.folder}/service.log")

    def stop(self) -> None:
        """End every process."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def served(folder: Path, **environment: str) -> Iterator[Served]:
    """An API that is ready; workers are started by the caller.

    Args:
        folder: data and logs.
        environment: further ``WSI_...`` variables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    variables = {"WSI_DATA_DIR": str(folder), "WSI_PORT": str(port), "WSI_DEVICE": "cpu"}
    with ExitStack() as stack:
        here = Served(folder, {**variables, **environment}, port)
        stack.callback(here.stop)
        here.start("service")
        here.wait_ready()
        yield here


def percentile(values: list[float], share: float) -> float:
    """The value that this share of all values does not exceed, by nearest rank."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]
