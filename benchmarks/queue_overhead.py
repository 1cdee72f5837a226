"""What the queue itself costs: a pipeline that does nothing, on each queue, by 1, 2, 4 processes.

A job here is all that any job needs: claimed, its model looked up, its slide opened, an empty
result stored, its end written; only the pipeline is free. Seconds from the first claim to the last
end, by the rows of the database. The embedded queue on SQLite; Redis and RabbitMQ with PostgreSQL,
where they are there. Beside it, how long a single job waits for an idle worker.

    python -m benchmarks.queue_overhead [--jobs 1000] [--processes 1 2 4]
"""

import argparse
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import kombu
import sqlalchemy as sa

from benchmarks.common import middle, write_result
from benchmarks.served import served
from wsi.cli.client import ServiceClient
from wsi.jobs import QUEUES, Job, JobRequest, JobStatus, SqlJobStore, create_engine, default_url
from wsi.jobs.database import writing
from wsi.jobs.notifications import queue_on_broker
from wsi.jobs.tables import jobs
from wsi.models.card import ModelCard
from wsi.progress import Progress
from wsi.slides import SlideReader
from wsi.storage import SlideResult, SlideStore
from wsi.testing.slides import synthetic_slide

POSTGRES = os.environ.get("WSI_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
BROKERS = {
    "redis": os.environ.get("WSI_TEST_REDIS", "redis://127.0.0.1:6379/0"),
    "rabbitmq": os.environ.get("WSI_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//"),
}
_SINGLE = 20


class NoPipeline:
    """Does nothing and says so."""

    name = "patch"

    @classmethod
    def load(cls, bundle: Path, device: str) -> Self:
        return cls()

    def analyze(self, slide: SlideReader, store: SlideStore, progress: Progress) -> SlideResult:
        return SlideResult(
            slide=slide.name,
            pipeline=self.name,
            model="nothing",
            model_digest="0" * 64,
            classes=("benign", "cancer"),
            probabilities={"benign": 0.5, "cancer": 0.5},
            grid=None,
            layers=(),
            hotspots=(),
        )


def load(name: str, bundle: Path, device: str) -> NoPipeline:
    """What ``WSI_PIPELINE_LOADER`` names."""
    return NoPipeline.load(bundle, device)


def listens(url: str) -> bool:
    """Whether there is a server."""
    parsed = sa.make_url(url)
    try:
        socket.create_connection((parsed.host or "", parsed.port or 0), timeout=2).close()
    except OSError:
        return False
    return True


@contextmanager
def database() -> Iterator[str]:
    """A PostgreSQL URL whose tables lie in a schema of their own."""
    schema = f"wsi_{uuid.uuid4().hex}"
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    try:
        yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


@contextmanager
def own_queue(url: str) -> Iterator[str]:
    """The name of a queue on a broker, removed afterwards."""
    name = f"wsi-bench-{uuid.uuid4().hex[:12]}"
    try:
        yield name
    finally:
        with kombu.Connection(url) as connection:
            for queue in QUEUES:
                connection.default_channel.queue_delete(queue_on_broker(name, queue))


def install(models: Path) -> None:
    """A bundle that the pipeline above never looks into."""
    (models / "nothing").mkdir(parents=True)
    card = ModelCard(
        name="nothing",
        pipeline="patch",
        architecture="none",
        classes=("benign", "cancer"),
        mpp=1.0,
        input_px=64,
        weights_sha256="0" * 64,
    )
    (models / "nothing" / "model.json").write_text(card.to_json())


def wait_all(store: SqlJobStore, count: int) -> None:
    """Until so many jobs have succeeded."""
    while store.count(status=JobStatus.SUCCEEDED) < count:
        if store.count(status=JobStatus.FAILED):
            raise RuntimeError(store.find(status=JobStatus.FAILED, limit=1)[0].error)
        time.sleep(0.1)


def many(engine: sa.Engine, store: SqlJobStore, request: JobRequest, count: int) -> float:
    """Seconds from the first claim to the last end of so many jobs that come at once."""
    before = store.count()
    now = datetime.now(UTC)
    with writing(engine) as connection:
        for _ in range(count):
            job = Job(
                id=str(uuid.uuid4()), request=request, status=JobStatus.QUEUED, created_at=now
            )
            store.insert(connection, job)
    wait_all(store, before + count)
    with engine.connect() as connection:
        first, last = connection.execute(
            sa.select(sa.func.min(jobs.c.started_at), sa.func.max(jobs.c.finished_at)).where(
                jobs.c.created_at == now
            )
        ).one()
    return float((last - first).total_seconds())


def single(client: ServiceClient, store: SqlJobStore, slide_id: str) -> float:
    """Milliseconds from a job's row to its claim, where a worker is idle; the median."""
    waits = []
    for _ in range(_SINGLE):
        job = store.get(client.start(slide_id, "patch")["id"])
        wait_all(store, store.count())
        job = store.get(job.id)
        assert job.started_at is not None
        waits.append((job.started_at - job.created_at).total_seconds() * 1000)
        # Out of step with whatever looks at fixed times.
        time.sleep(0.137)
    return middle(waits)


def measure(folder: Path, queue: str, processes: int, count: int) -> dict[str, float]:
    """Figures of one queue with so many worker processes."""
    install(folder / "models")
    environment = {
        "WSI_PIPELINE_LOADER": "benchmarks.queue_overhead:load",
        "WSI_RECONCILE_INTERVAL_S": "0.5",
        "OMP_NUM_THREADS": "1",
        "WSI_WORKER_PROCESSES": str(processes),
    }
    with ExitStack() as stack:
        url = default_url(folder)
        if queue != "embedded":
            url = environment["WSI_DATABASE_URL"] = stack.enter_context(database())
            environment["WSI_BROKER_URL"] = BROKERS[queue]
            environment["WSI_QUEUE"] = stack.enter_context(own_queue(BROKERS[queue]))
        service = stack.enter_context(served(folder, **environment))
        client = stack.enter_context(ServiceClient(service.url))
        service.start("workers")
        engine = create_engine(url)
        stack.callback(engine.dispose)
        store = SqlJobStore(engine)
        slide = client.upload(synthetic_slide(folder / "s.tif", 512, 1.0, seed=0).path)
        first = store.get(client.start(slide["id"], "patch")["id"])
        client.wait(first.id)
        # Every process has started and has its model.
        many(engine, store, first.request, 20 * processes)
        seconds = many(engine, store, first.request, count)
        wait_ms = single(client, store, slide["id"]) if processes == 1 else None
    figures = {
        "seconds": round(seconds, 2),
        "jobs_per_s": round(count / seconds, 1),
        "ms_a_job_and_process": round(1000 * seconds * processes / count, 1),
    }
    return figures if wait_ms is None else {**figures, "pick_up_ms": round(wait_ms, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    there = [name for name, url in BROKERS.items() if listens(url) and listens(POSTGRES)]
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for queue in ("embedded", *there):
        for processes in options.processes:
            with tempfile.TemporaryDirectory() as scratch:
                found = measure(Path(scratch), queue, processes, options.jobs)
            print(queue, processes, found, flush=True)
            figures.setdefault(queue, {})[str(processes)] = found
    least = str(min(options.processes))
    texts = [
        f"{name} {by[least]['ms_a_job_and_process']:.0f} ms a job "
        f"({options.jobs} jobs: "
        + ", ".join(f"{found['seconds']:.0f} s with {n}" for n, found in by.items())
        + ")"
        for name, by in figures.items()
    ]
    write_result(
        "queue_overhead",
        "What the queue and an empty result cost, by worker processes: " + "; ".join(texts) + ".",
        {"jobs": options.jobs, "queues": figures},
    )


if __name__ == "__main__":
    main()
