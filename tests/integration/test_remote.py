"""``wsi remote`` as a user runs it, against a real service: broken lines, killed processes."""

import csv
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile

from tests.integration.deployment import (
    Deployment,
    add_toy,
    deployment,
    free_port,
    submit,
    upload,
    wait_until,
)
from tests.integration.proxy import Proxy
from tests.integration.test_faults import kill_9
from tests.support.processes import LEASHED
from tests.unit.service.conftest import write_slide


class User:
    """Somebody at a terminal, with folders of their own."""

    def __init__(self, home: Path, port: int, key: str = "") -> None:
        self.home = home
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("WSI_", "XDG_"))}
        self.environment = {
            **environment,
            "HOME": str(home),
            "WSI_REMOTE_URL": f"http://127.0.0.1:{port}",
            **({"WSI_REMOTE_KEY": key} if key else {}),
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*LEASHED, sys.executable, "-m", "wsi", "remote", *words],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, given: str = "", fails: bool = False) -> str:
        """The output of a command: stdout, or stderr of one that must fail with exit code 2."""
        process = self.start(*words)
        out, error = process.communicate(given, timeout=120)
        assert process.returncode == (2 if fails else 0), out + error
        return error if fails else out


@contextmanager
def served(
    tmp_path: Path, pause_s: float = 0.0, **environment: str
) -> Iterator[tuple[Deployment, httpx.Client, Proxy, User]]:
    """A service behind a line that can be slow and can be cut, and a user of it."""
    port = free_port()
    with (
        Proxy(("127.0.0.1", port), pause_s) as proxy,
        deployment(tmp_path / "d", **environment) as place,
    ):
        add_toy(place, steps=5)
        _, client = place.start_api(str(port))
        yield place, client, proxy, User(tmp_path / "home", proxy.port)


def large_slide(path: Path, side: int = 2816) -> Path:
    """A slide of 24 MB: three pieces of an upload."""
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        resolution=(2e4, 2e4),
        resolutionunit="CENTIMETER",
    )
    return path


def arrived(place: Deployment) -> int:
    """Bytes of uploads that have not ended."""
    return sum(path.stat().st_size for path in place.folder.glob("uploads/*/data"))


def test_an_upload_goes_on_after_its_client_was_killed(tmp_path: Path) -> None:
    slide = large_slide(tmp_path / "large.tif")
    with served(tmp_path, pause_s=0.002) as (place, client, _, user):
        first = user.start("upload", str(slide))
        wait_until(lambda: arrived(place) > 9 << 20, "a first piece")
        kill_9(first.pid)
        first.communicate()
        before = arrived(place)
        assert before < slide.stat().st_size
        line = user.run("upload", str(slide))
        slide_id, name = line.strip().split("\t")
        assert name == "large.tif"
        digest = hashlib.sha256(slide.read_bytes()).hexdigest()
        assert client.get(f"slides/{slide_id}").json()["sha256"] == digest
        # One upload, gone on with: a new one would have left the first behind.
        assert len(list(place.folder.glob("uploads/*"))) == 1
        assert list((user.home / ".cache" / "wholeslide" / "uploads").iterdir()) == []


def test_an_upload_outlives_a_service_that_is_killed_and_started_again(tmp_path: Path) -> None:
    slide = large_slide(tmp_path / "large.tif")
    with served(tmp_path, pause_s=0.002) as (place, client, _, user):
        (api,) = place.processes
        uploading = user.start("upload", str(slide))
        wait_until(lambda: arrived(place) > 9 << 20, "a first piece")
        kill_9(api.pid)
        api.wait()
        place.start_api(str(client.base_url.port))
        out, error = uploading.communicate(timeout=120)
        assert uploading.returncode == 0, error
        shown = client.get(f"slides/{out.split()[0]}").json()
        assert shown["sha256"] == hashlib.sha256(slide.read_bytes()).hexdigest()


def test_slides_go_in_and_results_come_out_as_files(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path / f"s{n}.tif", seed=n) for n in range(3)]
    (tmp_path / "notes.svs").write_text("no slide")
    out = tmp_path / "results"
    with served(tmp_path) as (place, _, _, user):
        refused = user.run("upload", str(tmp_path / "notes.svs"), fails=True)
        assert "notes.svs: not a slide" in refused
        assert "Traceback" not in refused
        listed = user.run("upload", *map(str, slides))
        batch = user.run("submit", "-", "--pipeline", "patch", given=listed).strip()
        watching = user.start("watch", batch)
        place.start("workers")
        words, error = watching.communicate(timeout=120)
        assert (watching.returncode, words) == (0, f"{batch}\t3 SUCCEEDED\n"), error
        table = user.run("fetch", batch, "--out", str(out)).strip()
    rows = list(csv.DictReader(Path(table).read_text().splitlines()))
    assert [row["slide"] for row in rows] == ["s0.tif", "s1.tif", "s2.tif"]
    for row in rows:
        folder = out / f"{Path(row['slide']).stem}-{row['slide_id'][:8]}"
        result = json.loads((folder / "patch.json").read_text())
        assert float(row["probability cancer"]) == result["probabilities"]["cancer"]
        assert json.loads((folder / "patch.geojson").read_text())["type"] == "FeatureCollection"
        assert (folder / "patch-probability-cancer.png").read_bytes().startswith(b"\x89PNG")


def test_a_watch_goes_on_over_a_line_that_breaks(tmp_path: Path) -> None:
    with served(tmp_path) as (place, client, proxy, user):
        add_toy(place, "slow", pipeline="whole-slide", steps=60)
        slide = upload(client, write_slide(tmp_path / "s.tif"))
        job_id = submit(client, slide["id"], "whole-slide")
        watching = user.start("watch", job_id)
        place.start("workers")
        wait_until(
            lambda: client.get(f"jobs/{job_id}").json()["status"] == "RUNNING", "the job to run"
        )
        proxy.cut()
        proxy.mend()
        out, error = watching.communicate(timeout=120)
        assert (watching.returncode, out) == (0, f"{job_id}\tSUCCEEDED\ts.tif\n"), error


def test_a_job_that_fails_is_told_in_words_and_by_the_exit_code(tmp_path: Path) -> None:
    with served(tmp_path) as (place, client, _, user):
        add_toy(place, "bad", pipeline="whole-slide", damaged=True)
        slide = upload(client, write_slide(tmp_path / "s.tif"))
        job_id = user.run("submit", slide["id"], "--pipeline", "whole-slide").strip()
        place.start("workers")
        watching = user.start("watch", job_id)
        out, _ = watching.communicate(timeout=120)
        assert watching.returncode == 2
        assert out == f"{job_id}\tFAILED\ts.tif\ts.tif: made so by the test\n"
        error = user.run("fetch", job_id, "--out", str(tmp_path / "r"), fails=True)
        assert "s.tif (whole-slide): s.tif: made so by the test" in error
        (row,) = csv.DictReader((tmp_path / "r" / "results.csv").read_text().splitlines())
        assert (row["status"], row["error"]) == ("FAILED", "s.tif: made so by the test")


def test_a_key_is_asked_for_once_and_kept_from_others(tmp_path: Path) -> None:
    with served(tmp_path, WSI_AUTH="on") as (place, _, _, user):
        log = (place.folder / "service-0.log").read_text()
        key = next(word for word in log.split() if word.startswith("wsk_"))
        assert user.run("submit", "x", "--pipeline", "patch", fails=True).startswith("wsi: 401: ")
        assert user.run("--key", "wsk_wrong", "login", fails=True).startswith("wsi: 401: ")
        assert "you are first key (admin)" in user.run("--key", key, "login")
        stored = user.home / ".config" / "wholeslide" / "remote.json"
        assert stored.stat().st_mode & 0o777 == 0o600
        del user.environment["WSI_REMOTE_URL"]
        missing = user.run("watch", "no-such-job", fails=True)
        assert missing == "wsi: there is no job and no batch no-such-job\n"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://127.0.0.1:{free_port()}", "no answer"),
        ("http://example.org", "a key is not sent unencrypted"),
        ("example.org", "is not an address"),
    ],
    ids=[
        "nobody there",
        "unencrypted",
        "not an address",
    ],  # the port differs between test processes
)
def test_what_cannot_work_is_said_in_one_line(tmp_path: Path, url: str, said: str) -> None:
    user = User(tmp_path, 1, key="wsk_x")
    error = user.run("--url", url, "watch", "some-id", fails=True)
    assert said in error
    assert error.count("\n") == 1


def test_an_upload_to_nowhere_ends_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    user = User(tmp_path / "home", free_port())
    slide = write_slide(tmp_path / "s.tif")
    begun = time.monotonic()
    error = user.run("upload", str(slide), fails=True)
    assert error.splitlines()[-1].startswith("wsi: s.tif: http://127.0.0.1:")
    assert "no answer" in error
    assert time.monotonic() - begun < 30
    assert list((user.home / ".cache").rglob("*.json")) == []
