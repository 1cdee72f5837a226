"""Processes that tests start: they end with their test, and a run that leaves one alive fails."""

import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

_RUN = "WHOLESLIDE_TEST_RUN"
_GRACE_S = 10.0
# What belongs to pytest itself: its xdist workers, and multiprocessing's own helpers.
_OURS = (b"sys.stdin.readline", b"resource_tracker", b"forkserver")

LEASHED: tuple[str, ...] = ("setpriv", "--pdeathsig", "TERM", "--")
"""Goes before a command that must not outlive the test process, even if that is killed."""
if not shutil.which("setpriv"):
    LEASHED = ()


def mark_run() -> None:
    """Have every process that this run starts carry the run's name in its environment."""
    os.environ.setdefault(_RUN, uuid.uuid4().hex)


def end_survivors() -> list[str]:
    """Processes of this run that are still alive some seconds after its end; they are killed."""
    deadline = time.monotonic() + _GRACE_S
    while (alive := _alive()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in alive:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return [f"{pid}: {command}" for pid, command in alive.items()]


def _alive() -> dict[int, str]:
    name = f"{_RUN}={os.environ[_RUN]}".encode()
    found = {}
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        if name in environment.split(b"\0") and not any(text in command for text in _OURS):
            found[pid] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def _pids() -> Iterable[int]:
    if sys.platform != "linux":
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            yield int(entry.name)
