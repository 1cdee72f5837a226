"""multipart/form-data as a stream: the file goes to disk while it arrives.

(FastAPI's UploadFile holds the whole body before an endpoint runs.)
"""

import hashlib
import re
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import anyio.to_thread
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from service.errors import BadRequestError, DiskFullError, TooLargeError
from wsi.errors import is_disk_full

_BUFFER = 1 << 20
_MAX_FIELD = 4096
_MAX_NAME = 200


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that has arrived.

    Attributes:
        path: where it lies.
        name: as the sender calls it, without folders.
        sha256: of its content, hexadecimal.
        size_bytes: its length.
        fields: the form's other fields.
    """

    path: Path
    name: str
    sha256: str
    size_bytes: int
    fields: dict[str, str] = field(default_factory=dict)


async def receive(request: Request, folder: Path, *, max_bytes: int) -> Upload:
    """Read a form with one ``file`` part into ``folder``.

    Memory stays at about a mebibyte however long the file is.

    Raises:
        BadRequestError: the body is no such form.
        TooLargeError: it is longer than ``max_bytes``.
        DiskFullError: the disk has no room.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes + _BUFFER:
        raise TooLargeError(f"the upload of {declared} bytes is over the limit of {max_bytes}")
    form = _Form(_boundary(request), folder, max_bytes)
    try:
        # Closing writes what is still buffered, and may find the disk full as well.
        with closing(form):
            buffer = bytearray()
            async for chunk in request.stream():
                buffer += chunk
                if len(buffer) >= _BUFFER:
                    await anyio.to_thread.run_sync(form.feed, bytes(buffer))
                    buffer.clear()
            await anyio.to_thread.run_sync(form.feed, bytes(buffer))
            return form.result()
    except MultipartParseError as error:
        raise BadRequestError(f"the form cannot be read: {error}") from error
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError("the service's disk is full; nothing was stored") from error
        raise


def clean_name(name: str) -> str:
    """The last part of a file name, without control characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(char for char in last if char.isprintable()).strip()[-_MAX_NAME:]


def disk_name(name: str) -> str:
    """A name for the disk that keeps the ending, which some formats are told by."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".-") or "slide"


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise BadRequestError("send the slide as multipart/form-data with a part named 'file'")
    return boundary


class _Form:
    """Callbacks of the parser: the file part to disk, other parts into ``fields``."""

    def __init__(self, boundary: bytes, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max = max_bytes
        self._fields: dict[str, bytearray] = {}
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._field: bytearray | None = None
        self._file: BinaryIO | None = None
        self._in_file = False
        self._path: Path | None = None
        self._name = ""
        self._digest = hashlib.sha256()
        self._size = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        if data:
            self._parser.write(data)

    def result(self) -> Upload:
        if not self._ended:
            raise BadRequestError("the form is incomplete")
        if self._path is None:
            raise BadRequestError("the form has no part named 'file' with a file name")
        return Upload(
            path=self._path,
            name=self._name,
            sha256=self._digest.hexdigest(),
            size_bytes=self._size,
            fields={name: bytes(value).decode() for name, value in self._fields.items()},
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._headers = {}
        self._field = None
        self._in_file = False

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        part = options.get(b"name", b"").decode(errors="replace")
        if part != "file":
            self._field = self._fields.setdefault(part, bytearray())
            return
        if self._path is not None:
            raise BadRequestError("send one file per request")
        name = options.get(b"filename", b"").decode(errors="replace")
        extended = options.get(b"filename*", b"").decode(errors="replace")
        if extended.lower().startswith("utf-8''"):
            name = unquote(extended[len("utf-8''") :])
        self._name = clean_name(name)
        if not self._name:
            raise BadRequestError("the part 'file' needs a file name")
        self._in_file = True
        self._path = self._folder / disk_name(self._name)
        self._file = self._path.open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = memoryview(data)[start:end]
        if self._in_file:
            assert self._file is not None
            self._size += len(part)
            if self._size > self._max:
                raise TooLargeError(f"the upload is over the limit of {self._max} bytes")
            self._digest.update(part)
            self._file.write(part)
        elif self._field is not None:
            self._field += part
            if len(self._field) > _MAX_FIELD:
                raise BadRequestError(f"a form field is longer than {_MAX_FIELD} bytes")

    def _part_end(self) -> None:
        if self._in_file and self._file is not None:
            self._file.close()
            self._file = None

    def _end(self) -> None:
        self._ended = True
