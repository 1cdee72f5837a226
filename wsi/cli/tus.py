"""Uploads that go on where they broke off: tus 1.0, whose server is ``service/uploads``."""

import base64
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any, BinaryIO

from wsi.cli.client import RetryPolicy, ServiceClient, ServiceError
from wsi.errors import UnreadableSlideError, WsiError
from wsi.files import atomic_write
from wsi.progress import Progress, no_progress

CHUNK_BYTES = 8 << 20
_TUS = {"Tus-Resumable": "1.0.0"}
_GONE = (404, 410)
_CONFLICT = 409
_REFUSED = (400, 413, 422)


class UploadChangedError(WsiError):
    """What the service holds is not the file that was sent."""


class Upload:
    """One file on its way.

    Where it stands is remembered in ``memory``, so that another process goes on with it.

    Args:
        client: the service.
        path: the file; a multi-file slide is sent as a zip.
        mpp: its micrometres per pixel, where it states none.
        force_mpp: they count also where it states others.
        memory: folder of what is remembered.

    Raises:
        UnreadableSlideError: there is no such file.
    """

    def __init__(
        self,
        client: ServiceClient,
        path: Path,
        memory: Path,
        mpp: float | None = None,
        *,
        force_mpp: bool = False,
    ) -> None:
        self._client = client
        self._path = path
        self._about = {} if mpp is None else {"mpp": str(mpp)}
        self._about |= {"force_mpp": "true"} if force_mpp else {}
        if path.is_dir():
            raise UnreadableSlideError(path.name, "this is a folder; send it as a zip")
        try:
            facts = path.stat()
        except OSError as error:
            raise UnreadableSlideError(path.name, str(error.strerror or error)) from error
        self._length = facts.st_size
        # A file that was changed is another upload.
        made_of = [client.url, str(path.absolute()), facts.st_size, facts.st_mtime_ns, self._about]
        name = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32]
        self._memory = memory / f"{name}.json"

    def run(self, progress: Progress = no_progress) -> dict[str, Any]:
        """Send what the service does not have yet; returns the slide.

        Raises:
            ServiceError: the service refused it, or is away for too long.
            UploadChangedError: the digests differ at the end.
        """
        retries = RetryPolicy()
        while True:
            remembered = self._memory.exists()
            try:
                place = self._place()
                sha256 = self._send(place, retries, progress)
                slide_id = self._client.json("GET", place)["slide_id"]
                break
            except ServiceError as error:
                if error.status in (*_GONE, *_REFUSED):
                    self._forget()
                # Expired, or the service has a new disk: from the start. Or it stands at another
                # offset than we thought: ask again.
                again = error.status == _CONFLICT or (remembered and error.status in _GONE)
                progress("uploading, the service is away" if error.may_pass else "uploading", 0.0)
                retries.failure(error, may_pass=again)
        self._forget()
        slide = self._client.json("GET", f"/slides/{slide_id}")
        if slide["sha256"] != sha256:
            raise UploadChangedError(
                f"{self._path.name}: the service holds {slide['sha256']}, the file here is "
                f"{sha256}; it was changed while it was sent, upload it again"
            )
        return slide

    def _place(self) -> str:
        """Where the upload lies on the service: remembered, or newly made."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(self._memory.read_text())["place"])
        fields = {"filename": self._path.name, **self._about}
        metadata = ",".join(
            f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items()
        )
        answer = self._client.request(
            "POST",
            "/uploads",
            headers={
                **_TUS,
                "Upload-Length": str(self._length),
                "Upload-Metadata": metadata,
            },
        )
        place = "/uploads/" + answer.headers["Location"].rsplit("/", 1)[-1]
        self._memory.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._memory) as scratch:
            scratch.write_text(json.dumps({"place": place, "file": str(self._path.absolute())}))
        return place

    def _send(self, place: str, retries: RetryPolicy, progress: Progress) -> str:
        """Send from where the service stands to the end; returns the file's SHA-256."""
        offset = int(self._client.request("HEAD", place, headers=_TUS).headers["Upload-Offset"])
        retries.success()
        whole = hashlib.sha256()
        with self._path.open("rb") as file:
            _digest_until(file, offset, whole)
            if offset == self._length and self._client.json("GET", place)["slide_id"]:
                return whole.hexdigest()
            while True:
                progress("uploading", offset / self._length if self._length else 1.0)
                chunk = file.read(min(CHUNK_BYTES, self._length - offset))
                if not chunk and offset < self._length:
                    raise UploadChangedError(
                        f"{self._path.name}: it became shorter in the meantime"
                    )
                whole.update(chunk)
                # Also with nothing left to send: then it asks for the check that a service which
                # was killed in the middle of it did not finish.
                answer = self._client.request(
                    "PATCH",
                    place,
                    content=chunk,
                    headers={
                        **_TUS,
                        "Content-Type": "application/offset+octet-stream",
                        "Upload-Offset": str(offset),
                        "Upload-Checksum": f"sha256 {_base64_sha256(chunk)}",
                    },
                )
                retries.success()
                offset = int(answer.headers["Upload-Offset"])
                if offset >= self._length:
                    progress("uploading", 1.0)
                    return whole.hexdigest()

    def _forget(self) -> None:
        self._memory.unlink(missing_ok=True)


def _digest_until(file: BinaryIO, offset: int, digest: Any) -> None:
    """Digest what an earlier process sent."""
    left = offset
    while left:
        block = file.read(min(CHUNK_BYTES, left))
        if not block:
            return
        digest.update(block)
        left -= len(block)


def _base64_sha256(chunk: bytes) -> str:
    return base64.b64encode(hashlib.sha256(chunk).digest()).decode()
