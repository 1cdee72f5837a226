"""Answer times while a job runs on the same machine: tiles at a steady rate, long lists, results.

Requests start on a timetable, whatever became of those before, so that a service that falls behind
shows it (a closed loop would ask less often and hide it). Times are from the timetable's moment to
the last byte. The job is a ResNet-50 over the patches of a large slide, on all cores.

    python -m benchmarks.service_load [--rate 50] [--seconds 30] [--slides 2000]
"""

import argparse
import http.client
import queue
import random
import tempfile
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from benchmarks.common import benchmark_slide, write_result
from benchmarks.served import Served, percentile, served
from service.tables import slides
from service.tiles.deepzoom import TILE_PX, DeepZoom
from wsi.cli.client import ServiceClient
from wsi.geometry import Size
from wsi.jobs import create_engine, default_url
from wsi.models.backbones import build_backbone
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard

_CLIENTS = 8


def write_model(models: Path) -> None:
    """An untrained ResNet-50: it costs what a trained one costs."""
    network = build_backbone("resnet50", 2)
    card = ModelCard(
        name="resnet50",
        pipeline="patch",
        architecture="resnet50",
        classes=("benign", "cancer"),
        mpp=0.5,
        input_px=224,
    )
    save_bundle(models / "resnet50", card, network.state_dict())


def add_slides(folder: Path, count: int) -> None:
    """Rows of slides that nobody opens, for lists as long as a hospital's."""
    engine = create_engine(default_url(folder))
    now = datetime.now(UTC)
    rows = [
        {
            "id": str(uuid.uuid4()),
            "name": f"case {number}.svs",
            "sha256": f"{number:064x}",
            "size_bytes": 10**9,
            "path": f"/nowhere/{number}.svs",
            "store_url": f"/nowhere/{number}.zarr",
            "vendor": "aperio",
            "width": 80_000,
            "height": 60_000,
            "levels": 4,
            "stated_mpp": 0.25,
            "created_at": now - timedelta(days=1, seconds=number),
        }
        for number in range(count)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(slides), rows)
    engine.dispose()


def tile_paths(slide_id: str, size_px: int, count: int) -> list[str]:
    """Tiles as somebody sees them who zooms and pans: mostly of the finer levels, none twice."""
    dice = random.Random(0)
    pyramid = DeepZoom(Size(size_px, size_px))
    found: dict[str, None] = {}
    while len(found) < count:
        level = pyramid.top - min(5, int(dice.expovariate(0.7)))
        whole = pyramid.level_size(level)
        column = dice.randrange(-(-whole.width // TILE_PX))
        row = dice.randrange(-(-whole.height // TILE_PX))
        found[f"/slides/{slide_id}/slide_files/{level}/{column}_{row}.jpeg"] = None
    return list(found)


def steady(port: int, paths: list[str], rate: float) -> list[float]:
    """Milliseconds of each request, started ``rate`` times a second by several clients."""
    begun = time.perf_counter() + 0.2
    waiting: queue.SimpleQueue[tuple[float, str] | None] = queue.SimpleQueue()
    for number, path in enumerate(paths):
        waiting.put((begun + number / rate, path))
    for _ in range(_CLIENTS):
        waiting.put(None)
    times: list[float] = []
    failures: list[str] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (item := waiting.get()) is not None:
            due, path = item
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.request("GET", f"/api/v1{path}")
            answer = connection.getresponse()
            answer.read()
            times.append((time.perf_counter() - due) * 1000)
            if answer.status != http.client.OK:
                failures.append(f"{path}: {answer.status}")
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures or len(times) != len(paths):
        raise RuntimeError(f"{len(failures)} requests failed: {failures[:3]}")
    return times


def shown(times: list[float], limit_ms: float | None = None) -> dict[str, float]:
    """Percentiles, in milliseconds."""
    figures = {f"p{share}_ms": round(percentile(times, share / 100), 1) for share in (50, 95, 99)}
    if limit_ms is not None:
        figures["share_below_60_ms"] = round(
            sum(value < limit_ms for value in times) / len(times), 4
        )
    return {"requests": len(times), **figures}


def wait_for(service: Served, job_id: str, stage: str) -> None:
    """Until a job is at a stage, and stays there for long."""
    while (job := service.get(f"/jobs/{job_id}"))["stage"] != stage:
        if job["status"] not in ("QUEUED", "RUNNING"):
            raise RuntimeError(f"the job is {job['status']}: {job['error']}")
        time.sleep(0.2)


def beside_a_job(
    service: Served, slide_id: str, paths: list[str], options: argparse.Namespace
) -> list[float]:
    """Milliseconds of tiles while a worker works on the same slide."""
    with ServiceClient(service.url) as client:
        job_id = client.start(slide_id, "patch")["id"]
        wait_for(service, job_id, options.stage)
        times = steady(service.port, paths, options.rate)
        still = service.get(f"/jobs/{job_id}")
        if still["status"] != "RUNNING":
            raise RuntimeError(f"the job ended before the measurement: {still['status']}")
        client.json("POST", f"/jobs/{job_id}/cancel")
        while service.get(f"/jobs/{job_id}")["status"] == "RUNNING":
            time.sleep(0.1)
    return times


def measure(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All figures of one run."""
    made, small = benchmark_slide(folder, options.size), benchmark_slide(folder, 1024)
    write_model(folder / "data" / "models")
    with served(folder / "data") as service, ServiceClient(service.url) as client:
        slide, little = client.upload(made.path), client.upload(small.path)
        service.start("workers")
        done = client.start(little["id"], "patch")["id"]
        client.wait(done)
        add_slides(folder / "data", options.slides)
        count = int(options.rate * options.seconds)
        paths = tile_paths(slide["id"], options.size, 2 * count)
        idle = steady(service.port, paths[:count], options.rate)
        busy = beside_a_job(service, slide["id"], paths[count:], options)
        pages = min(40, options.slides // 50)
        listing = steady(
            service.port, [f"/slides?limit=50&offset={50 * page}" for page in range(pages)], 5
        )
        results = steady(service.port, [f"/jobs/{done}/result"] * 40, 10)
    return {
        "tiles_while_a_job_runs": shown(busy, 60),
        "tiles_idle": shown(idle, 60),
        "list_of_50_slides_idle": shown(listing),
        "result_idle": shown(results),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--slides", type=int, default=2000)
    parser.add_argument("--size", type=int, default=30_000)
    parser.add_argument("--stage", default="patches", help="of the job, during which is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch), options)
    busy, listing = figures["tiles_while_a_job_runs"], figures["list_of_50_slides_idle"]
    write_result(
        "service_load",
        f"Tiles at {options.rate:.0f} a second for {options.seconds:.0f} s while a job runs: "
        f"p50 {busy['p50_ms']:.0f} ms, p95 {busy['p95_ms']:.0f} ms, p99 {busy['p99_ms']:.0f} ms, "
        f"{busy['share_below_60_ms']:.1%} below 60 ms; 50 of {options.slides} slides listed in "
        f"{listing['p95_ms']:.0f} ms (p95).",
        {
            "rate_per_s": options.rate,
            "seconds": options.seconds,
            "slide_px": options.size,
            **figures,
        },
    )


if __name__ == "__main__":
    main()
