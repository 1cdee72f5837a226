"""Folders that uploads grow in. What a killed service leaves behind is found and removed."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsi.files import fsync

_LOCK = ".lock"


@contextmanager
def staging_folder(incoming: Path) -> Iterator[Path]:
    """A new folder, removed with all it still holds when the block ends."""
    folder = incoming / uuid.uuid4().hex
    folder.mkdir(parents=True)
    # The lock dies with the process, which tells a running upload from an abandoned one.
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned(incoming: Path) -> int:
    """Remove the folders of uploads whose process is gone; returns how many."""
    removed = 0
    for folder in incoming.glob("*") if incoming.is_dir() else ():
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            # Another service is making it at this moment, or has just removed it.
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
        finally:
            os.close(lock)
    return removed


def publish(staged: Path, target: Path) -> None:
    """Move a finished folder to its place in one step, with everything in it on disk."""
    for path in [*staged.rglob("*"), staged]:
        fsync(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(target)
    fsync(target.parent)
