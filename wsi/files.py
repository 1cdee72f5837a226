"""Files and folders that are written whole or not at all.

The content is written under a temporary name beside its target, flushed to the disk, and renamed
in one step. A crash at any moment leaves the old content or the new, never half of it.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsi.errors import DatasetError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file to write to, which replaces ``path`` when the block ends without error.

    The temporary file lies in the folder of ``path``, which must exist, is removed if anything
    fails, and gets the permissions that the umask gives a new file.

    Args:
        path: the file to write.

    Yields:
        The temporary file, which exists and is empty.

    Raises:
        OSError: the file cannot be written; ``path`` is as it was before.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        # ``mkstemp`` and some writers keep their files to the owner.
        scratch.chmod(0o666 & ~_umask())
        fsync(scratch)
        scratch.replace(path)
        fsync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def atomic_directory(folder: Path, *, mode: int | None = None) -> Iterator[Path]:
    """A temporary folder to fill, which becomes ``folder`` when the block ends without error.

    Missing parents are made. The temporary folder lies beside ``folder`` and is removed if anything
    fails. A folder that exists is replaced; since POSIX cannot do that in one step, a crash between
    the two renames leaves the old one as ``.NAME.old`` beside it.

    Args:
        folder: the folder to make.
        mode: permissions of the files, such as 0o644; folders can be entered by whom they let read.
            ``None`` for those that the umask gives.

    Yields:
        The temporary folder, which exists and is empty.

    Raises:
        OSError: it cannot be written; ``folder`` is as it was before.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    content, old = scratch / folder.name, folder.with_name(f".{folder.name}.old")
    try:
        content.mkdir()
        yield content
        file_mode = 0o666 & ~_umask() if mode is None else mode
        for path in [*content.rglob("*"), content]:
            path.chmod(file_mode | (file_mode & 0o444) >> 2 if path.is_dir() else file_mode)
            fsync(path)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        try:
            content.rename(folder)
        except OSError:
            if old.exists() and not folder.exists():
                old.rename(folder)
            raise
        fsync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; missing folders are made.

    Raises:
        DatasetError: the disk is full or the file cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; missing folders are made.

    Raises:
        DatasetError: the disk is full or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as scratch:
            scratch.write_bytes(data)
    except OSError as error:
        raise DatasetError(f"{path}: was not written: {error}") from error


def fsync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk.

    Raises:
        OSError: the disk refuses.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        if path.is_dir():
            with contextlib.suppress(OSError):  # not every file system can sync a folder
                os.fsync(handle)
        else:
            os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("Umask:"))
        return int(line.split()[1], 8)
    umask = os.umask(0)
    os.umask(umask)
    return umask
