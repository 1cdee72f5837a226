"""Uploads in the middle: what has arrived so far, on disk, so that they outlive this process."""

import base64
import binascii
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.errors import (
    BadRequestError,
    ChecksumError,
    DiskFullError,
    NotFoundError,
    OffsetError,
    UploadBusyError,
)
from wsi.errors import is_disk_full
from wsi.files import atomic_write

_INFO = "info.json"
_DATA = "data"
CHECKSUMS = ("sha1", "sha256", "md5")


@dataclass(frozen=True, kw_only=True)
class Info:
    """What is known of an upload from its start, and what became of it."""

    length: int
    name: str
    mpp: float | None
    force_mpp: bool = False
    strip_labels: bool = False
    slide_id: str | None = None


class PartialUpload:
    """One upload's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name

    @property
    def data(self) -> Path:
        """The bytes so far."""
        return self.folder / _DATA

    @property
    def info(self) -> Info:
        """What is known of it. Raises ``NotFoundError`` once it is gone."""
        try:
            return Info(**json.loads((self.folder / _INFO).read_text()))
        except FileNotFoundError:
            raise NotFoundError(f"no upload {self.id}") from None

    @property
    def offset(self) -> int:
        """How many bytes have arrived."""
        info = self.info
        return info.length if info.slide_id else self.data.stat().st_size

    def write_info(self, info: Info) -> None:
        """Replace the description in one step."""
        with atomic_write(self.folder / _INFO) as scratch:
            scratch.write_text(json.dumps(asdict(info)))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one request at a time may write. Raises ``UploadBusyError``."""
        try:
            handle = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        except FileNotFoundError:
            raise NotFoundError(f"no upload {self.id}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise UploadBusyError("another request is writing to this upload") from None
        finally:
            os.close(handle)

    def append(self, offset: int, block: bytes) -> None:
        """Write bytes at ``offset``. Raises ``DiskFullError``."""
        try:
            with self.data.open("r+b") as file:
                file.seek(offset)
                file.write(block)
        except OSError as error:
            if is_disk_full(error):
                raise DiskFullError("the service's disk is full; resume later") from error
            raise

    def truncate(self, length: int) -> None:
        """Forget what came after ``length``."""
        os.truncate(self.data, length)

    def require_offset(self, stated: int) -> None:
        """Raises ``OffsetError`` where the client is at another place than the file."""
        if stated != self.offset:
            raise OffsetError(f"the upload is at byte {self.offset}, not {stated}")

    def remove(self) -> None:
        """Remove it with all it holds."""
        shutil.rmtree(self.folder, ignore_errors=True)


class PartialUploads:
    """All uploads in the middle.

    Args:
        folder: one folder an upload.
        lasts: how long one may lie untouched.
    """

    def __init__(self, folder: Path, lasts: timedelta) -> None:
        self._folder = folder
        self._lasts = lasts

    def create(self, info: Info) -> PartialUpload:
        """A new upload of ``info.length`` bytes."""
        self.remove_expired()
        upload = PartialUpload(self._folder / uuid.uuid4().hex)
        upload.folder.mkdir(parents=True)
        upload.data.touch()
        upload.write_info(info)
        return upload

    def get(self, upload_id: str) -> PartialUpload:
        """An upload by its id. Raises ``NotFoundError``."""
        try:
            known = uuid.UUID(upload_id).hex == upload_id
        except ValueError:
            known = False
        upload = PartialUpload(self._folder / upload_id)
        if not known or not (upload.folder / _INFO).is_file():
            raise NotFoundError(f"no upload {upload_id[:40]!r}")
        return upload

    def expires_at(self, upload: PartialUpload) -> datetime:
        """When it is removed unless something more arrives."""
        touched = max(path.stat().st_mtime for path in upload.folder.iterdir())
        return datetime.fromtimestamp(touched, UTC) + self._lasts

    def remove_expired(self) -> int:
        """Remove uploads that were given up; returns how many."""
        removed = 0
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            upload = PartialUpload(folder)
            try:
                if self.expires_at(upload) < datetime.now(UTC):
                    with upload.locked():
                        upload.remove()
                        removed += 1
            except (FileNotFoundError, ValueError, NotFoundError, UploadBusyError):
                # Removed or being written at this moment, which is no business of ours.
                continue
        return removed


class Checksum:
    """Checks the bytes of one request against ``Upload-Checksum``."""

    def __init__(self, header: str | None) -> None:
        self._digest = None
        if header is None:
            return
        kind, _, encoded = header.partition(" ")
        if kind not in CHECKSUMS:
            raise BadRequestError(f"checksums may be {', '.join(CHECKSUMS)}, not {kind[:20]!r}")
        try:
            self._expected = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise BadRequestError(f"Upload-Checksum is not base64: {error}") from None
        # Not for secrecy: tus names sha1 as what every server must know.
        self._digest = hashlib.new(kind, usedforsecurity=False)

    @property
    def is_given(self) -> bool:
        """Whether the client sent one."""
        return self._digest is not None

    def update(self, block: bytes) -> None:
        """Take in the next bytes."""
        if self._digest is not None:
            self._digest.update(block)

    def verify(self) -> None:
        """Raises ``ChecksumError``."""
        if self._digest is not None and self._digest.digest() != self._expected:
            raise ChecksumError("the data does not match its checksum; send it again")
