"""Disks that are full for real: small tmpfs mounts, which only root may make."""

import asyncio
import errno
import hashlib
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from starlette.requests import Request
from tusclient import client as tus
from tusclient.exceptions import TusCommunicationError

from service.errors import DiskFullError
from service.slides.multipart import receive
from tests.integration.deployment import (
    Deployment,
    add_toy,
    deployment,
    submit,
    upload,
    wait_status,
    wait_until,
)
from tests.unit.service.conftest import write_slide

MIB = 1024**2


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """A file system of this size at ``folder``; the test is skipped where none can be made."""
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int) -> Path:
    """A file that leaves so much of the disk."""
    ballast = folder / "ballast"
    for _ in range(100):
        disk = os.statvfs(folder)
        try:
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - leave_bytes)
        except OSError as error:  # a worker wrote meanwhile: there is less than was read
            if error.errno != errno.ENOSPC:
                raise
            ballast.unlink()
        else:
            return ballast
    raise AssertionError(f"{folder} never stood still")


def test_a_result_that_does_not_fit_waits_until_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with small_disk(folder / "stores", 16 * 1024), deployment(folder, traced=True) as place:
        add_toy(place)
        _, client = place.start_api()
        place.start("workers")
        slide = upload(client, write_slide(tmp_path / "s.tif"))
        job_id = submit(client, slide["id"])
        wait_until(
            lambda: client.get(f"jobs/{job_id}").json()["stage"] == "waiting for disk space",
            "the job waits for room",
        )
        subprocess.run(["mount", "-o", "remount,size=8m", str(folder / "stores")], check=True)
        ended = wait_status(client, job_id, "FAILED", "SUCCEEDED")
        assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 1), ended["error"]
        assert client.get(f"jobs/{job_id}/result").status_code == 200


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Deployment]:
    """An installation on a disk of 32 MiB: database, uploads and results."""
    with ExitStack() as stack:
        stack.enter_context(small_disk(tmp_path / "d", 32 * MIB))
        place = stack.enter_context(deployment(tmp_path / "d"))
        add_toy(place)
        yield place


def large_slide(path: Path) -> Path:
    """A slide of 3 MiB."""
    return write_slide(path, side=1000, compression=None)


def test_an_upload_that_fills_the_disk_is_refused_and_leaves_nothing(
    tmp_path: Path, place: Deployment
) -> None:
    _, client = place.start_api()
    slide = large_slide(tmp_path / "s.tif")
    ballast = fill(place.folder, MIB)
    with slide.open("rb") as file:
        refused = client.post("slides", files={"file": ("s.tif", file)})
    assert (refused.status_code, refused.json()["kind"]) == (507, "disk_full")
    boundary = b'--b\r\nContent-Disposition: form-data; name="file"; filename="s.tif"\r\n\r\n'
    # Of unknown length, so that nobody can see beforehand that it does not fit.
    unseen = client.post(
        "slides",
        content=iter([boundary, slide.read_bytes(), b"\r\n--b--\r\n"]),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert (unseen.status_code, unseen.json()["kind"]) == (507, "disk_full")
    assert list((place.folder / "incoming").iterdir()) == []
    ballast.unlink()
    digest = hashlib.sha256(slide.read_bytes()).hexdigest()
    assert upload(client, slide)["sha256"] == digest


@pytest.mark.parametrize("block", [10_000, 65_536, 70_000, 3 * MIB])
def test_a_form_that_fills_the_disk_is_told_so_wherever_its_blocks_end(
    tmp_path: Path, block: int
) -> None:
    """Bytes may wait in a buffer when the disk is full, and fail again when the file is closed."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="s.tif"\r\n\r\n'
    body = head + bytes(3 * MIB) + b"\r\n--b--\r\n"
    blocks = [body[start : start + block] for start in range(0, len(body), block)]

    async def arrive() -> dict[str, object]:
        return {"type": "http.request", "body": blocks.pop(0), "more_body": bool(blocks)}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, arrive)
    receiving = receive(request, tmp_path / "d", max_bytes=10 * MIB)
    # In a thread of its own: the browser tests before this one may have left a loop in theirs.
    with (
        small_disk(tmp_path / "d", MIB),
        ThreadPoolExecutor(1) as thread,
        pytest.raises(DiskFullError, match="is full"),
    ):
        thread.submit(asyncio.run, receiving).result()


def test_a_resumable_upload_goes_on_when_the_disk_has_room_again(
    tmp_path: Path, place: Deployment
) -> None:
    _, client = place.start_api()
    slide = large_slide(tmp_path / "s.tif")
    with slide.open("rb") as file:
        sender = tus.TusClient(str(client.base_url.join("uploads"))).uploader(
            file_stream=file, chunk_size=MIB // 2, metadata={"filename": "s.tif"}
        )
        sender.upload_chunk()
        ballast = fill(place.folder, MIB)
        with pytest.raises(TusCommunicationError) as refused:
            sender.upload()
        assert refused.value.status_code == 507
        assert client.get("health").status_code == 200
        ballast.unlink()
        sender.offset = sender.get_offset()
        assert sender.offset >= MIB // 2
        sender.upload()
        assert sender.url is not None
        slide_id = client.get(sender.url).json()["slide_id"]
    shown = client.get(f"slides/{slide_id}").json()
    assert shown["sha256"] == hashlib.sha256(slide.read_bytes()).hexdigest()


def test_a_disk_full_in_mid_job_costs_time_and_no_job(tmp_path: Path, place: Deployment) -> None:
    place.environment["WSI_LEASE_S"] = "2"
    add_toy(place, "slow", pipeline="whole-slide", steps=40)
    _, client = place.start_api()
    worker = place.start("workers")
    slide = upload(client, write_slide(tmp_path / "s.tif"))
    job_id = submit(client, slide["id"], "whole-slide")
    wait_status(client, job_id, "RUNNING")
    ballast = fill(place.folder, 0)
    # The database lies on the same disk: neither progress nor the end can be written.
    refused = client.post("jobs", json={"slide_id": slide["id"], "pipeline": "patch"})
    assert (refused.status_code, refused.json()["kind"]) == (503, "unavailable")
    assert client.get(f"jobs/{job_id}").json()["status"] == "RUNNING"
    ballast.unlink()
    ended = wait_status(client, job_id, "FAILED", "SUCCEEDED")
    assert ended["status"] == "SUCCEEDED", ended["error"]
    assert worker.poll() is None
