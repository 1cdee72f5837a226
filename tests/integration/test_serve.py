"""``wsi serve`` and ``wsi demo`` as a user runs them: started, used over HTTP, stopped."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import LEASHED
from wsi.cli.client import ServiceClient, ServiceError
from wsi.testing.models import untrained_patch_bundle, untrained_whole_slide_bundle
from wsi.testing.slides import synthetic_slide

START_S = 90.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children_of(pid: int) -> set[int]:
    """Every process below one, by /proc."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found: set[int] = set()
    while True:
        more = {child for child, parent in parents.items() if parent in found | {pid}} - found
        if not more:
            return found
        found |= more


def are_gone(pids: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", ServiceClient]]:
    """A ``wsi serve`` for tests that end it."""
    with serving(tmp_path) as both:
        yield both


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceClient]:
    """A client of one ``wsi serve`` that lasts."""
    with serving(tmp_path_factory.mktemp("served")) as (_, client):
        yield client


@contextmanager
def serving(folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", ServiceClient]]:
    untrained_patch_bundle(folder / "models" / "p")
    untrained_whole_slide_bundle(folder / "models" / "w")
    port = free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith("WSI_")}
    process = subprocess.Popen(
        [*LEASHED, sys.executable, "-m", "wsi", "serve", "--port", str(port)],
        env={**env, "WSI_DATA_DIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with ServiceClient(f"http://127.0.0.1:{port}") as client:
            deadline = time.monotonic() + START_S
            while not client.is_ready():
                assert process.poll() is None, "wsi serve ended by itself"
                assert time.monotonic() < deadline, "wsi serve did not become ready"
                time.sleep(0.2)
            yield process, client
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_serve_and_every_process_it_started(
    served: tuple["subprocess.Popen[bytes]", ServiceClient], number: signal.Signals
) -> None:
    process, _ = served
    below = children_of(process.pid)
    assert len(below) >= 2, "the API and a worker"
    process.send_signal(number)
    assert process.wait(60) == 0
    deadline = time.monotonic() + 10
    while not are_gone(below) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert are_gone(below)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
def test_a_serve_that_is_killed_leaves_no_process_behind(
    served: tuple["subprocess.Popen[bytes]", ServiceClient],
) -> None:
    process, _ = served
    below = children_of(process.pid)
    assert len(below) >= 2, "the API and a worker"
    process.kill()
    process.wait()
    deadline = time.monotonic() + START_S
    while not are_gone(below) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert are_gone(below)


def test_a_slide_goes_through_both_pipelines_by_the_client(
    client: ServiceClient, tmp_path: Path
) -> None:
    path = synthetic_slide(tmp_path / "slide.tif", 1024, 1.0, seed=1).path
    slide = client.upload(path)
    assert (slide["width"], slide["mpp"]) == (1024, 1.0)
    for pipeline in ("patch", "whole-slide"):
        stages: list[str] = []
        job = client.start(slide["id"], pipeline)
        ended = client.wait(job["id"], lambda stage, share, seen=stages: seen.append(stage))  # type: ignore[misc]
        assert ended["status"] == "SUCCEEDED"
        assert stages
        result = client.result(job["id"])
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        pictures = dict(client.heatmaps(result))
        assert set(pictures) == {f"{k}-{c}" for k in result["layers"] for c in result["classes"]}
        assert all(png.startswith(b"\x89PNG") for png in pictures.values())


def test_what_the_service_refuses_reaches_the_user(client: ServiceClient, tmp_path: Path) -> None:
    (tmp_path / "notes.svs").write_text("no slide")
    with pytest.raises(ServiceError, match=r"422: notes\.svs: not a slide"):
        client.upload(tmp_path / "notes.svs")
    with pytest.raises(ServiceError, match="404"):
        client.wait("no-such-job")


def test_a_service_that_is_away_is_said_to_be_away() -> None:
    with ServiceClient(f"http://127.0.0.1:{free_port()}") as client:
        assert not client.is_ready()
        with pytest.raises(ServiceError, match="no answer"):
            client.start("slide", "patch")


def test_the_demonstration_scores_a_given_slide_with_models_made_before(tmp_path: Path) -> None:
    # Training is what `make demo` shows; here the models are there already.
    folder = tmp_path / "demo"
    untrained_patch_bundle(folder / "models" / "demo-patch")
    untrained_whole_slide_bundle(folder / "models" / "demo-whole-slide")
    slide = synthetic_slide(tmp_path / "mine.tif", 1024, 1.0, seed=5).path
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "wsi", "demo", "--once", "--dir", str(folder)),
            *("--slide", str(slide), "--port", str(free_port())),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert answer.returncode == 0, answer.stderr
    assert "uploaded mine.tif: 1024 x 1024 px" in answer.stdout
    assert "patch  " in answer.stdout
    assert "whole-slide  " in answer.stdout
    assert "not a medical device" in answer.stdout
    assert len(list((folder / "results").glob("mine-*/*.png"))) == 10
    assert (folder / "slides" / "slides.csv").exists()
    shutil.rmtree(folder)
