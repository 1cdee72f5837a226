"""Harm done for real: processes killed, servers gone. Nothing may be lost or counted twice."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.integration.deployment import (
    Deployment,
    add_toy,
    deployment,
    free_port,
    job,
    submit,
    upload,
    wait_status,
    wait_until,
)
from tests.integration.proxy import Proxy
from tests.integration.services import POSTGRES, RABBITMQ, REDIS, need_service, postgres_url
from tests.unit.service.conftest import write_slide
from wsi.jobs import SqlJobStore, create_engine, default_url
from wsi.storage import SlideStore, get_result

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
# Both brokers in make test, not both in each test.
ON_REDIS = pytest.param("redis", marks=pytest.mark.services)
ON_RABBITMQ = pytest.param("rabbitmq", marks=pytest.mark.services)
ON_REDIS_LONG = pytest.param("redis", marks=[pytest.mark.services, pytest.mark.long])
ON_RABBITMQ_LONG = pytest.param("rabbitmq", marks=[pytest.mark.services, pytest.mark.long])


def pool_pids(worker: subprocess.Popen[bytes]) -> list[int]:
    """The processes of a worker that run jobs."""
    try:
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        return [
            int(pid)
            for pid in children
            if b"spawn_main" in (line := Path(f"/proc/{pid}/cmdline").read_bytes())
            and b"resource_tracker" not in line
            and b"semaphore_tracker" not in line
        ]
    except OSError:
        return []


def kill_9(*pids: int) -> None:
    """Kill at once, without a last word."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture
def slide_file(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "s.tif")


@pytest.mark.parametrize("broker", ["embedded", ON_REDIS, ON_RABBITMQ_LONG])
def test_a_job_whose_worker_process_is_killed_runs_again_to_its_end(
    tmp_path: Path, slide_file: Path, broker: str
) -> None:
    with deployment(tmp_path / "d", broker=broker, traced=True, WSI_LEASE_S="4") as place:
        add_toy(place, steps=40)
        _, client = place.start_api()
        worker = place.start("workers")
        job_id = submit(client, upload(client, slide_file)["id"])
        wait_status(client, job_id, "RUNNING")
        kill_9(*wait_until(lambda: pool_pids(worker), "a worker process"))
        ended = wait_status(client, job_id, *FINAL)
        assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 2)
        assert worker.poll() is None


@pytest.mark.parametrize("broker", ["embedded", ON_REDIS_LONG, ON_RABBITMQ])
def test_killing_everything_in_the_middle_loses_nothing(
    tmp_path: Path, slide_file: Path, broker: str
) -> None:
    with deployment(tmp_path / "d", broker=broker, WSI_LEASE_S="4") as place:
        add_toy(place, steps=40)
        api, client = place.start_api()
        worker = place.start("workers")
        slide = upload(client, slide_file)
        running, waiting = (submit(client, slide["id"]) for _ in range(2))
        wait_status(client, running, "RUNNING")
        kill_9(*pool_pids(worker), worker.pid, api.pid)
        worker.wait()
        api.wait()
        _, client = place.start_api()
        assert client.get("slides").json()["items"][0]["sha256"] == slide["sha256"]
        assert client.get(f"slides/{slide['id']}/thumbnail.jpg").status_code == 200
        place.start("workers")
        for job_id in (running, waiting):
            assert wait_status(client, job_id, *FINAL)["status"] == "SUCCEEDED"


def test_an_upload_that_dies_with_the_api_leaves_nothing_behind(tmp_path: Path) -> None:
    with deployment(tmp_path / "d") as place:
        api, client = place.start_api()
        head = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.svs"\r\n\r\n'
            + b"x" * 3_000_000
        )
        incoming = place.folder / "incoming"

        def body() -> Any:
            yield head
            wait_until(lambda: any(incoming.rglob("a.svs")), "the part of a file")
            kill_9(api.pid)
            yield b"more"

        with pytest.raises(httpx.TransportError):
            client.post(
                "slides",
                content=body(),
                headers={"Content-Type": "multipart/form-data; boundary=b"},
            )
        api.wait()
        assert any(incoming.rglob("a.svs"))
        place.start_api()
        assert list(incoming.iterdir()) == []


@pytest.mark.services
def test_an_api_killed_between_commit_and_enqueue_loses_no_job(
    tmp_path: Path, slide_file: Path
) -> None:
    with deployment(tmp_path / "d", broker="redis") as place:
        add_toy(place)
        # A broker that nobody can reach: the row is committed, the notification is not sent.
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        api, client = place.start_api(WSI_BROKER_URL=nowhere)
        job_id = submit(client, upload(client, slide_file)["id"])
        kill_9(api.pid)
        api.wait()
        place.start("workers")
        _, client = place.start_api()
        assert wait_status(client, job_id, *FINAL)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("broker", ["embedded", ON_REDIS, ON_RABBITMQ_LONG])
def test_a_slide_that_kills_its_worker_fails_after_three_tries_and_blocks_nobody(
    tmp_path: Path, slide_file: Path, broker: str
) -> None:
    poison = write_slide(tmp_path / "poison.tif", seed=1)
    with deployment(tmp_path / "d", broker=broker, WSI_LEASE_S="2") as place:
        add_toy(place, kill_on="poison.tif")
        _, client = place.start_api()
        bad = submit(client, upload(client, poison)["id"], priority=5)
        good = submit(client, upload(client, slide_file)["id"])
        place.start("workers")
        ended = wait_status(client, bad, *FINAL)
        assert (ended["status"], ended["error_kind"], ended["attempt"]) == (
            "FAILED",
            "worker_lost",
            3,
        )
        assert "poison.tif" in ended["error"]
        assert wait_status(client, good, *FINAL)["status"] == "SUCCEEDED"


def test_a_job_that_hangs_is_ended_and_the_next_one_runs(tmp_path: Path, slide_file: Path) -> None:
    limits = {"WSI_STALL_S": "1", "WSI_SHUTDOWN_TIMEOUT_S": "0.5"}
    with deployment(tmp_path / "d", traced=True, **limits) as place:
        add_toy(place, deaf_s=1000)
        add_toy(place, "well", pipeline="whole-slide")
        _, client = place.start_api()
        place.start("workers")
        slide = upload(client, slide_file)
        ended = wait_status(client, submit(client, slide["id"]), *FINAL)
        assert (ended["status"], ended["error_kind"]) == ("FAILED", "hung")
        after = submit(client, slide["id"], "whole-slide")
        assert wait_status(client, after, *FINAL)["status"] == "SUCCEEDED"


@pytest.mark.services
@pytest.mark.parametrize(("broker", "url"), [("redis", REDIS), ("rabbitmq", RABBITMQ)])
def test_a_broker_that_stops_and_starts_again_costs_time_and_no_job(
    tmp_path: Path, slide_file: Path, broker: str, url: str
) -> None:
    need_service(broker, url)
    parsed = sa.make_url(url)
    target = (parsed.host or "", parsed.port or 0)
    with Proxy(target) as proxy, deployment(tmp_path / "d", broker=broker) as place:
        place.environment["WSI_BROKER_URL"] = url.replace(
            f"{target[0]}:{target[1]}", f"127.0.0.1:{proxy.port}"
        )
        add_toy(place, steps=20)
        _, client = place.start_api()
        place.start("workers")
        slide = upload(client, slide_file)
        during = submit(client, slide["id"])
        wait_status(client, during, "RUNNING")
        proxy.cut()
        while_away = submit(client, slide["id"])
        # The job at hand does not need the broker.
        assert wait_status(client, during, *FINAL)["status"] == "SUCCEEDED"
        assert job(client, while_away)["status"] == "QUEUED"
        proxy.mend()
        for job_id in (while_away, submit(client, slide["id"])):
            ended = wait_status(client, job_id, *FINAL)
            assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 1)


@pytest.mark.services
def test_a_database_that_stops_and_starts_again_costs_time_and_no_job(
    tmp_path: Path, slide_file: Path
) -> None:
    need_service("PostgreSQL", POSTGRES)
    parsed = sa.make_url(POSTGRES)
    target = (parsed.host or "", parsed.port or 0)
    with (
        Proxy(target) as proxy,
        postgres_url() as url,
        deployment(tmp_path / "d", traced=True) as place,
    ):
        place.environment["WSI_DATABASE_URL"] = url.replace(
            f"{target[0]}:{target[1]}", f"127.0.0.1:{proxy.port}"
        )
        add_toy(place, steps=40)
        api, client = place.start_api()
        worker = place.start("workers")
        job_id = submit(client, upload(client, slide_file)["id"])
        wait_status(client, job_id, "RUNNING")
        proxy.cut()
        answer = client.get(f"jobs/{job_id}")
        assert (answer.status_code, answer.json()["kind"]) == (503, "unavailable")
        assert client.get("health").status_code == 200
        # Long enough for heartbeats and reconciler to meet the closed door.
        time.sleep(2)
        proxy.mend()
        ended = wait_status(client, job_id, *FINAL)
        assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 1)
        assert (api.poll(), worker.poll()) == (None, None)


FEW_KILLS = ("process", "worker", "api")
MANY_KILLS = ("process", "worker", "process", "api", "process", "worker")


@pytest.mark.parametrize(
    ("broker", "jobs_n", "harms"),
    [
        ("embedded", 60, FEW_KILLS),
        pytest.param("embedded", 200, MANY_KILLS, marks=pytest.mark.long),
        pytest.param("redis", 200, MANY_KILLS, marks=[pytest.mark.services, pytest.mark.long]),
        pytest.param("rabbitmq", 200, MANY_KILLS, marks=[pytest.mark.services, pytest.mark.long]),
    ],
    ids=["embedded, a few", "embedded", "redis", "rabbitmq"],
)
def test_of_many_jobs_under_random_kills_each_ends_once(
    tmp_path: Path, slide_file: Path, broker: str, jobs_n: int, harms: tuple[str, ...]
) -> None:
    dice = random.Random(7)
    limits = {"WSI_LEASE_S": "3", "WSI_MAX_ATTEMPTS": "50", "WSI_WORKER_PROCESSES": "2"}
    with deployment(tmp_path / "d", broker=broker, **limits) as place:
        add_toy(place, steps=2, step_s=0.01)
        api, client = place.start_api()
        worker = place.start("workers")
        slide = upload(client, slide_file)
        jobs = [submit(client, slide["id"]) for _ in range(jobs_n // 2)]
        wait_until(lambda: pool_pids(worker), "worker processes")
        for harm in harms:
            jobs += [submit(client, slide["id"]) for _ in range(jobs_n // 12)]
            wait_for_more(client)
            if harm == "process":
                kill_9(*dice.sample(pool_pids(worker), k=1))
            elif harm == "worker":
                kill_9(*pool_pids(worker), worker.pid)
                worker.wait()
                worker = place.start("workers")
            else:
                kill_9(api.pid)
                api.wait()
                api, client = place.start_api()
        jobs += [submit(client, slide["id"]) for _ in range(jobs_n - len(jobs))]
        wait_until(lambda: count(client, "SUCCEEDED") == jobs_n, "all jobs to end", 240)
        assert_each_ended_once(place, jobs)


def wait_for_more(client: httpx.Client) -> None:
    """Wait until a few more jobs have succeeded than now."""
    before = count(client, "SUCCEEDED")
    wait_until(lambda: count(client, "SUCCEEDED") > before + 2, "some jobs to end")


def count(client: httpx.Client, status: str) -> int:
    """How many jobs have this state."""
    return int(client.get("jobs", params={"status": status, "limit": 1}).json()["total"])


def assert_each_ended_once(place: Deployment, jobs: list[str]) -> None:
    """Every job is there, succeeded, and names one stored result that is its own."""
    engine = create_engine(default_url(place.folder))
    rows = SqlJobStore(engine).find()
    engine.dispose()
    assert Counter(row.id for row in rows) == Counter(jobs)
    store = SlideStore(rows[0].request.store_url)
    for row in rows:
        assert row.status == "SUCCEEDED"
        assert row.result_id == f"{row.id}-{row.attempt}"
        assert get_result(store, row.result_id).outcome == "scored"
