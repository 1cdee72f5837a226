"""A whole installation in processes of its own: API, worker, database, broker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import amqp  # type: ignore[import-untyped]
import httpx
import redis

from tests.integration.services import RABBITMQ, REDIS, need_service, postgres_url
from tests.integration.toy_pipeline import write_bundle
from tests.support.processes import LEASHED

ROOT = Path(__file__).parents[2]
WAIT_S = 90.0


def wait_until(true: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
    """Wait for a true value. The limit is there to fail a test that would hang, no more."""
    deadline = time.monotonic() + timeout_s
    while not (value := true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.05)
    return value


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Deployment:
    """Processes of one installation.

    Attributes:
        folder: data and logs.
        environment: ``WSI_...`` variables for all of them.
        traced: whether coverage follows them, which makes them half as slow again.
    """

    folder: Path
    environment: dict[str, str]
    traced: bool = False
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def models(self) -> Path:
        """Where bundles go."""
        return self.folder / "models"

    def start(
        self, module: str, *, under: Sequence[str] = (), **more: str
    ) -> subprocess.Popen[bytes]:
        """``python -m service`` or ``python -m workers``; its output goes to a log.

        ``under``: a command that runs it, such as one that sets a limit first.
        """
        with (self.folder / f"{module}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [*LEASHED, *under, sys.executable, "-m", module],
                cwd=ROOT,
                env={**self._surroundings(), **self.environment, **more},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def start_api(
        self, port: str = "", **more: str
    ) -> tuple[subprocess.Popen[bytes], httpx.Client]:
        """The API, once it is ready, and a client for it."""
        port = port or str(free_port())
        process = self.start("service", WSI_PORT=port, **more)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/", timeout=30)
        self.clients.append(client)

        def ready() -> bool:
            assert process.poll() is None, f"the API ended:\n{self.logs()}"
            try:
                return client.get("ready").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, "the API")
        return process, client

    def _surroundings(self) -> dict[str, str]:
        """This process's environment; without what coverage starts by, where they go untraced."""
        return {
            name: value
            for name, value in os.environ.items()
            if self.traced or not name.startswith("COVERAGE_PROCESS_")
        }

    def logs(self) -> str:
        """All logs, for the message of a test that fails."""
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-4000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def stop(self) -> None:
        """End what still runs."""
        for client in self.clients:
            client.close()
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def deployment(
    folder: Path,
    *,
    broker: str = "embedded",
    database: str = "sqlite",
    traced: bool = False,
    **environment: str,
) -> Iterator[Deployment]:
    """An installation with nothing started yet.

    Args:
        folder: made where it is not there.
        broker: ``embedded``, ``redis`` or ``rabbitmq``.
        database: ``sqlite`` or ``postgresql``.
        traced: see ``Deployment``.
        environment: further ``WSI_...`` variables.
    """
    variables = {
        "WSI_DATA_DIR": str(folder),
        "WSI_PIPELINE_LOADER": "tests.integration.toy_pipeline:load",
        "WSI_DEVICE": "cpu",
        "WSI_RECONCILE_INTERVAL_S": "0.5",
        "WSI_HEARTBEAT_INTERVAL_S": "0.2",
        "WSI_POLL_S": "0.05",
        "OMP_NUM_THREADS": "1",
    }
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        if database == "postgresql":
            variables["WSI_DATABASE_URL"] = stack.enter_context(postgres_url())
        if broker != "embedded":
            variables |= stack.enter_context(_queue(broker))
        place = Deployment(folder, {**variables, **environment}, traced)
        stack.callback(place.stop)
        try:
            yield place
        except BaseException:
            sys.stderr.write(place.logs())
            raise


@contextmanager
def _queue(broker: str) -> Iterator[dict[str, str]]:
    """A queue of our own on a broker, removed afterwards."""
    queue = f"wsi-test-{uuid.uuid4().hex[:12]}"
    url = {"redis": REDIS, "rabbitmq": RABBITMQ}[broker]
    need_service(broker, url)
    try:
        yield {"WSI_BROKER_URL": url, "WSI_QUEUE": queue}
    finally:
        if broker == "redis":
            client = redis.Redis.from_url(url)
            for name in (queue, f"{queue}.gpu"):
                client.delete(name, f"_kombu.binding.{name}", f"_kombu.binding_permanent.{name}")
            client.close()
        else:
            parsed = httpx.URL(url)
            with amqp.Connection(
                f"{parsed.host}:{parsed.port}", userid=parsed.username, password=parsed.password
            ) as connection:
                channel = connection.channel()
                for name in (queue, f"{queue}.gpu"):
                    channel.queue_delete(name)
                    channel.exchange_delete(name)


def add_toy(place: Deployment, name: str = "toy", pipeline: str = "patch", **settings: Any) -> None:
    """Install a toy model."""
    write_bundle(place.models, name, pipeline, **settings)


def upload(client: httpx.Client, path: Path, **fields: str) -> dict[str, Any]:
    """Upload a slide that must be taken."""
    with path.open("rb") as file:
        answer = client.post("slides", files={"file": (path.name, file)}, data=fields)
    assert answer.status_code in (200, 201), answer.text
    body: dict[str, Any] = answer.json()
    return body


def submit(client: httpx.Client, slide_id: str, pipeline: str = "patch", **more: Any) -> str:
    """Queue a job; returns its id."""
    answer = client.post("jobs", json={"slide_id": slide_id, "pipeline": pipeline, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """A job as the API shows it."""
    body: dict[str, Any] = client.get(f"jobs/{job_id}").json()
    return body


def wait_status(client: httpx.Client, job_id: str, *statuses: str) -> dict[str, Any]:
    """Wait until a job has one of these states."""

    def there() -> dict[str, Any] | None:
        found = job(client, job_id)
        return found if found["status"] in statuses else None

    found: dict[str, Any] = wait_until(there, f"job {job_id} to be {statuses}")
    return found


def event_data(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    """Every event of a job, until the stream ends."""
    with client.stream("GET", f"jobs/{job_id}/events", timeout=WAIT_S) as answer:
        return [
            json.loads(line.removeprefix("data: "))
            for line in answer.iter_lines()
            if line.startswith("data: ")
        ]
