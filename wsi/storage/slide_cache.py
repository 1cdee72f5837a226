"""Slides in object storage, read through files on this machine: OpenSlide needs files.

An object is named by an *address*: its URL and the ETag that it had when it was registered
(``s3://bucket/key#etag=...``), so that an address stands for the same bytes always. In the folder a
slide is ``<digest of its address><ending>``; it grows as ``<digest>.part`` and is renamed when it
is whole. Whoever reads it holds a shared lock on ``<digest>.lock``, who fetches or removes it an
exclusive one; locks end with their process. Reads mark the file as used, and the least recently
used one makes room.
"""

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from wsi.errors import (
    ChangedSlideError,
    MissingExtraError,
    SlideUnavailableError,
    UnreadableSlideError,
    WsiError,
)
from wsi.files import fsync

_log = logging.getLogger(__name__)

SCHEME = "s3://"
_MARK = "#etag="
_CHUNK = 16 << 20
_POLL_S = 0.1
# s3fs tries five times by itself; with botocore's own tries within each, an outage takes a minute.
_CONFIG = {"connect_timeout": 5, "read_timeout": 30, "retries": {"total_max_attempts": 1}}

Tell = Callable[[float], object]
"""Told again and again which share has arrived, 0..1; it may raise to stop the fetching."""


def is_object(place: str) -> bool:
    """Whether a slide lies in object storage; else ``place`` is a path."""
    return place.startswith(SCHEME)


def url_of(address: str) -> str:
    """The URL of an object, without its ETag."""
    return address.rpartition(_MARK)[0] or address


class SlideCache:
    """Copies of slides in object storage, for all processes of this machine.

    Args:
        folder: on a local disk; made when it is first needed.
        max_bytes: what the copies may take together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def address(self, url: str) -> str:
        """The address of the object as it is now.

        Raises:
            UnreadableSlideError: there is no such object, or it may not be read.
            SlideUnavailableError: the storage does not answer.
        """
        with _storage_errors(url):
            info = _objects().info(url, refresh=True)
        if info["type"] != "file" or not info.get("ETag"):
            raise UnreadableSlideError(_name(url), f"{url} is not an object with an ETag")
        return _address(url, info["ETag"])

    @contextmanager
    def local(self, place: str, tell: Tell = lambda share: None) -> Iterator[Path]:
        """A file to open instead of an address, there until the block ends; a path is its own file.

        Raises:
            UnreadableSlideError: there is no such object, it may not be read, or is too large.
            ChangedSlideError: the object is another one by now.
            SlideUnavailableError: the storage does not answer, or slides in use leave no room.
        """
        if not is_object(place):
            yield Path(place)
            return
        key = hashlib.sha256(place.encode()).hexdigest()[:32]
        file = self._folder / (key + _ending(url_of(place)))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            lock = self._lock(key, fcntl.LOCK_SH, tell)
            if file.exists():
                break
            os.close(lock)
            lock = self._lock(key, fcntl.LOCK_EX, tell)
            try:
                if not file.exists():
                    self._fetch(place, key, file, tell)
            finally:
                os.close(lock)
        try:
            self._require_same(place)
            # By hand: what the kernel takes for now may be milliseconds old. The time of the last
            # change stays: another one would say that the slide was written to.
            os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))
            yield file
        finally:
            os.close(lock)

    def forget(self, place: str) -> None:
        """Remove the copy of an object that nobody needs any more, unless it is in use."""
        if is_object(place) and self._folder.is_dir():
            self._remove(hashlib.sha256(place.encode()).hexdigest()[:32])

    def _require_same(self, address: str) -> None:
        """Who may no longer read an object, or finds another in its place, is not shown a copy."""
        try:
            now = self.address(url_of(address))
        except SlideUnavailableError as error:
            # The copy is what was registered; an outage of the storage need not stop its readers.
            _log.warning("%s; its copy is used", error)
            return
        if now != address:
            raise _changed(address)

    def _fetch(self, address: str, key: str, file: Path, tell: Tell) -> None:
        url, name, part = url_of(address), _name(address), self._folder / f"{key}.part"
        with _storage_errors(url):
            source = _objects().open(url, "rb", block_size=_CHUNK, cache_type="none")
            etag = source.details["ETag"]
        if _address(url, etag) != address:
            raise _changed(address)
        try:
            with source, self._room(part, source.size, name).open("r+b") as sink:
                while (done := sink.tell()) < source.size:
                    tell(done / source.size)
                    with _storage_errors(url):
                        # Each range is asked for with the ETag of the first.
                        block = source.read(_CHUNK)
                    sink.write(block)
                sink.flush()
                os.fsync(sink.fileno())
            # Not every storage heeds that ETag: once more, now that all has arrived.
            if self.address(url) != address:
                raise _changed(address)
            part.rename(file)
            fsync(self._folder)
        except OSError as error:
            raise SlideUnavailableError(
                name, f"it cannot be kept in {self._folder}: {error.strerror or error}"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    def _room(self, part: Path, size: int, name: str) -> Path:
        """Make room, and take it by a file of that size, so that two who fetch at once fit."""
        if size > self._max_bytes:
            raise UnreadableSlideError(
                name,
                f"its {size} bytes are more than the cache of {self._max_bytes} holds: raise "
                "WSI_SLIDE_CACHE_BYTES, or mount the bucket and register the slide by its path",
            )
        lock = self._lock("room", fcntl.LOCK_EX)
        try:
            files = [path for path in self._folder.iterdir() if path.suffix != ".lock"]
            sizes = {path: path.stat() for path in files if path.exists()}
            used = sum(stat.st_size for stat in sizes.values())
            for path in sorted(sizes, key=lambda path: sizes[path].st_atime_ns):
                if used + size <= self._max_bytes:
                    break
                if self._remove(path.stem):
                    used -= sizes[path].st_size
            if used + size > self._max_bytes:
                raise SlideUnavailableError(
                    name, "the cache is full of slides in use; try again, or raise its size"
                )
            part.touch(mode=0o600)
            os.truncate(part, size)
            return part
        finally:
            os.close(lock)

    def _remove(self, key: str) -> bool:
        """Remove a slide, or what a dead process left of it, unless it is in use."""
        lock = self._try_lock(key, fcntl.LOCK_EX)
        if lock is None:
            return False
        for path in self._folder.glob(f"{key}.*"):
            path.unlink()
        os.close(lock)
        return True

    def _lock(self, key: str, kind: int, tell: Tell = lambda share: None) -> int:
        """Wait for a lock; the handle to close in the end."""
        while (lock := self._try_lock(key, kind)) is None:
            tell(0.0)
            time.sleep(_POLL_S)
        return lock

    def _try_lock(self, key: str, kind: int) -> int | None:
        path = self._folder / f"{key}.lock"
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            # Who removes a slide removes this file as well: then others lock another one.
            if path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(handle)
        return None


def _objects() -> Any:
    try:
        import fsspec

        # By name and never by URL: fsspec's URLs may chain file systems ("s3://a::file://b").
        return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=_CONFIG)
    except ImportError as error:
        raise MissingExtraError("s3fs", "s3") from error


def _address(url: str, etag: str) -> str:
    return url + _MARK + etag.strip('"')


def _name(url: str) -> str:
    return PurePosixPath(url_of(url)).name


def _ending(url: str) -> str:
    ending = PurePosixPath(url).suffix.lower()
    return ending if ending[1:].isalnum() and ending not in (".part", ".lock") else ".slide"


def _changed(address: str) -> ChangedSlideError:
    return ChangedSlideError(
        _name(address),
        f"{url_of(address)} was replaced by another object since it was registered; put the old "
        "one back, or register the new one",
    )


@contextmanager
def _storage_errors(url: str) -> Iterator[None]:
    """Whatever the storage says, as an error about the slide."""
    try:
        yield
    except WsiError:
        raise
    except FileNotFoundError as error:
        raise UnreadableSlideError(_name(url), f"there is no object {url}") from error
    except PermissionError as error:
        raise UnreadableSlideError(
            _name(url), f"the storage denies access to {url}: {error.strerror or error}"
        ) from error
    except Exception as error:
        # s3fs passes errors of the libraries below it on, which only S3 users have.
        known = type(error).__module__.split(".")[0] in ("aiobotocore", "botocore", "aiohttp")
        if not (known or isinstance(error, OSError)):
            raise
        if type(error).__name__ == "FileExpired":
            raise _changed(url) from error
        raise SlideUnavailableError(
            _name(url), f"the storage cannot deliver {url}: {error}"
        ) from error
