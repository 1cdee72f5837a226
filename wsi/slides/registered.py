"""Slides that are read where they lie: whether they are still what they were when registered."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wsi.errors import ChangedSlideError, UnreadableSlideError
from wsi.slides.identity import slide_digest, slide_stamp
from wsi.slides.slide_files import slide_files

_CHUNK = 4 << 20
_REMEMBERED = 4096

Tell = Callable[[float], object]
"""Told again and again which share has been read, 0..1; it may raise to stop the reading."""

_verified: set[tuple[str, str]] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Registered:
    """What a slide was when it was registered.

    Attributes:
        sha256: of all its bytes: of the file, or of its files' digests and names.
        digest, stamp: ``slide_digest`` and ``slide_stamp``.
    """

    sha256: str
    digest: str
    stamp: str

    def __str__(self) -> str:
        """As one text, for ``registered_from``."""
        return f"{self.sha256} {self.digest} {self.stamp}"


def registered_from(text: str) -> Registered:
    """What ``str`` made of one."""
    sha256, digest, stamp = [*text.split(" "), "", ""][:3]
    return Registered(sha256, digest, stamp)


def require_registered(
    path: Path,
    known: Registered,
    name: str,
    *,
    whole: bool = True,
    tell: Tell = lambda share: None,
) -> None:
    """Refuse a slide that is no longer what was registered.

    Times and sizes that are as they were are believed. Where they are not, a digest that differs
    settles it, and else the slide is read whole, once a process: it may have been copied back.

    Args:
        path: where it lies.
        known: what was registered; earlier versions noted no digest and stamp: then it is read
            whole.
        name: how messages call it.
        whole: whether to read it whole where nothing else tells; else the digest is believed.
        tell: progress of reading it whole.

    Raises:
        ChangedSlideError: it was replaced or edited.
        UnreadableSlideError: it is gone.
        SlideError: it is not a slide any more.
    """
    stamp = slide_stamp(path)
    seen = (known.sha256, stamp)
    if stamp == known.stamp or seen in _verified:
        return
    if known.digest and slide_digest(path) != known.digest:
        raise _changed(name)
    if not whole:
        return
    same = content_sha256(path, tell)[0] == known.sha256
    if not same and not known.digest:
        same = _earlier_sha256(path) == known.sha256
    if not same or slide_stamp(path) != stamp:
        raise _changed(name)
    with _lock:
        if len(_verified) >= _REMEMBERED:
            _verified.clear()
        _verified.add(seen)


def changed_at(path: Path) -> datetime:
    """When a file of a slide was last written to, or put in its place, whichever is later.

    Raises:
        UnreadableSlideError: a file is missing.
        SlideError: a folder that holds no slide, or several.
    """
    try:
        found = [file.stat() for _, file in slide_files(path)]
    except OSError as error:
        raise UnreadableSlideError(
            path.name, f"the file cannot be read: {error.strerror or error}"
        ) from error
    return datetime.fromtimestamp(max(max(one.st_mtime, one.st_ctime) for one in found), UTC)


def content_sha256(path: Path, tell: Tell = lambda share: None) -> tuple[str, int]:
    """SHA-256 of all bytes of a slide, and how many there are.

    Of one file it is the file's. Of several it is that of a line for each, ``DIGEST NAME``.

    Raises:
        UnreadableSlideError: a file cannot be read.
    """
    files = [file for _, file in slide_files(path)]
    try:
        total, done, digests = sum(file.stat().st_size for file in files), 0, []
        for file in files:
            digest = hashlib.sha256()
            with file.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    digest.update(chunk)
                    done += len(chunk)
                    tell(done / max(1, total))
            digests.append((digest.hexdigest(), file.name))
    except OSError as error:
        raise UnreadableSlideError(
            path.name, f"the file cannot be read: {error.strerror or error}"
        ) from error
    if len(digests) == 1 and not path.is_dir():
        return digests[0][0], done
    lines = sorted(digests, key=lambda one: one[1])
    return hashlib.sha256("".join(f"{d} {n}\n" for d, n in lines).encode()).hexdigest(), done


def _earlier_sha256(path: Path) -> str:
    """What earlier versions noted: of the file that was named alone, or of a folder's files."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    digests = []
    for file in files:
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    if not path.is_dir():
        return digests[0]
    lines = (f"{digest} {file.name}\n" for digest, file in zip(digests, files, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _changed(name: str) -> ChangedSlideError:
    return ChangedSlideError(
        name,
        "the file is not the one that was registered: it was replaced or edited since. Put the "
        "old one back, or register the new one again: it becomes a slide of its own",
    )
