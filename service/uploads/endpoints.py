"""Resumable uploads: tus 1.0 with creation, checksum, termination and expiration.

https://tus.io/protocols/resumable-upload. When the last byte has arrived the slide is checked and
taken in; ``GET`` on the upload then names it.
"""

import base64
import binascii
import hashlib
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from service.auth.access import Operator, Public
from service.context import Config, SlideIntake, Uploads
from service.errors import (
    BadRequestError,
    ChecksumError,
    DiskFullError,
    ExternallyManagedError,
    OffsetError,
    TooLargeError,
    TusVersionError,
    UploadBusyError,
)
from service.responses import refusals
from service.settings import Settings
from service.slides.intake import Intake
from service.slides.multipart import Upload, clean_name, disk_name
from service.slides.service import form_flag, form_mpp
from service.slides.staging import staging_folder
from service.uploads.partial import CHECKSUMS, Checksum, Info, PartialUpload, PartialUploads
from wsi.errors import SlideError

VERSION = "1.0.0"
_BUFFER = 1 << 20


def speaks_tus(
    response: Response,
    tus_resumable: Annotated[str | None, Header(json_schema_extra={"const": VERSION})] = None,
) -> None:
    """Refuse other versions of the protocol."""
    response.headers["Tus-Resumable"] = VERSION
    if tus_resumable != VERSION:
        raise TusVersionError(f"send Tus-Resumable: {VERSION}")


router = APIRouter(prefix="/uploads", tags=["uploads"])
# After the caller in a signature: who may not call is told that first.
Tus = Annotated[None, Depends(speaks_tus)]


class UploadOut(BaseModel):
    """The progress of an upload; ``slide_id`` once its slide is stored."""

    id: str
    offset: int
    length: int
    expires_at: datetime
    slide_id: str | None


@router.options("", status_code=204)
def options(response: Response, caller: Public, settings: Config) -> None:
    """The protocol version and extensions that this server supports."""
    response.headers.update(
        {
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": "creation,checksum,termination,expiration",
            "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
            "Tus-Max-Size": str(settings.max_upload_bytes),
        }
    )


@router.post(
    "", status_code=201, responses=refusals(BadRequestError, TusVersionError, DiskFullError)
)
def create(
    response: Response,
    caller: Operator,
    tus: Tus,
    uploads: Uploads,
    settings: Config,
    intake: SlideIntake,
    upload_length: Annotated[int | None, Header(ge=0)] = None,
    upload_metadata: Annotated[str, Header(max_length=4096)] = "",
) -> None:
    """Start an upload, described by ``Upload-Metadata`` (values in base64, as tus defines).

    - ``filename``: needed; its ending is part of the format.
    - ``mpp``: micrometres per pixel, where the file states none.
    - ``force_mpp``: ``true`` to override the resolution in the file.
    - ``strip_labels``: ``true`` to store no label and macro images, as with plain uploads. A format
      that they cannot be taken out of is refused after the last byte.
    """
    if upload_length is None:
        raise BadRequestError("Upload-Length is missing: uploads need a known length")
    if upload_length > settings.max_upload_bytes:
        raise TooLargeError(f"the limit is {settings.max_upload_bytes} bytes")
    intake.require_room(upload_length)
    metadata = _metadata(upload_metadata)
    name = clean_name(metadata.get("filename", metadata.get("name", "")))
    if not name:
        raise BadRequestError("Upload-Metadata must contain a filename")
    upload = uploads.create(
        Info(
            length=upload_length,
            name=name,
            mpp=form_mpp(metadata.get("mpp", "")),
            force_mpp=form_flag("force_mpp", metadata.get("force_mpp", "")),
            strip_labels=_yes("strip_labels", metadata.get("strip_labels", "false")),
        )
    )
    response.headers["Location"] = f"/api/v1/uploads/{upload.id}"
    _show_expiry(response, uploads, upload)


@router.get("/{upload_id}")
def get_upload(upload_id: str, caller: Operator, uploads: Uploads) -> UploadOut:
    """The progress of an upload, and its slide once it is complete."""
    upload = uploads.get(upload_id)
    info = upload.info
    return UploadOut(
        id=upload.id,
        offset=upload.offset,
        length=info.length,
        expires_at=uploads.expires_at(upload),
        slide_id=info.slide_id,
    )


@router.head("/{upload_id}", include_in_schema=False)
def head_upload(
    upload_id: str, response: Response, caller: Operator, tus: Tus, uploads: Uploads
) -> None:
    """Where to go on."""
    upload = uploads.get(upload_id)
    response.headers["Upload-Offset"] = str(upload.offset)
    response.headers["Upload-Length"] = str(upload.info.length)
    response.headers["Cache-Control"] = "no-store"
    _show_expiry(response, uploads, upload)


@router.delete(
    "/{upload_id}", status_code=204, responses=refusals(TusVersionError, UploadBusyError)
)
def terminate(upload_id: str, caller: Operator, tus: Tus, uploads: Uploads) -> None:
    """Cancel an upload. A slide that was already stored stays."""
    upload = uploads.get(upload_id)
    with upload.locked():
        upload.remove()


@router.patch(
    "/{upload_id}",
    status_code=204,
    responses=refusals(
        BadRequestError,
        TusVersionError,
        OffsetError,
        UploadBusyError,
        ChecksumError,
        DiskFullError,
        ExternallyManagedError,
    ),
)
async def append(
    upload_id: str,
    request: Request,
    response: Response,
    caller: Operator,
    tus: Tus,
    uploads: Uploads,
    settings: Config,
    intake: SlideIntake,
    upload_offset: Annotated[int | None, Header(ge=0)] = None,
    upload_checksum: Annotated[str | None, Header(max_length=200)] = None,
) -> None:
    """Send the next bytes. After the last one the slide is checked: 422 says what is wrong."""
    if request.headers.get("content-type") != "application/offset+octet-stream":
        raise BadRequestError("Content-Type must be application/offset+octet-stream")
    if upload_offset is None:
        raise BadRequestError("Upload-Offset is missing")
    checksum = Checksum(upload_checksum)
    upload = uploads.get(upload_id)
    with upload.locked():
        upload.require_offset(upload_offset)
        offset = await _write(request, upload, upload_offset, checksum)
        info = upload.info
        if offset == info.length and info.slide_id is None:
            await anyio.to_thread.run_sync(_take, settings, intake, upload, info)
        response.headers["Upload-Offset"] = str(offset)
        _show_expiry(response, uploads, upload)


async def _write(request: Request, upload: PartialUpload, start: int, checksum: Checksum) -> int:
    """Bytes of one request to disk; returns the new offset.

    What arrived before a connection broke is kept, so that the client can go on there; unless it
    came with a checksum that can no longer be compared.
    """
    offset, length = start, upload.info.length
    buffer = bytearray()

    async def flush() -> None:
        nonlocal offset
        await anyio.to_thread.run_sync(upload.append, offset, bytes(buffer))
        checksum.update(bytes(buffer))
        offset += len(buffer)
        buffer.clear()

    try:
        async for chunk in request.stream():
            buffer += chunk
            if offset + len(buffer) > length:
                raise TooLargeError(f"more bytes than the {length} that were announced")
            if len(buffer) >= _BUFFER:
                await flush()
        await flush()
        checksum.verify()
    except ClientDisconnect:
        if checksum.is_given:
            upload.truncate(start)
        else:
            await flush()
        raise
    except BaseException:
        upload.truncate(start)
        raise
    return offset


def _take(settings: Settings, intake: Intake, upload: PartialUpload, info: Info) -> None:
    """Check a complete upload and take its slide in; one that is refused is removed.

    Where something else fails, such as the database, the upload stays complete: sending nothing at
    its end tries again.
    """
    with upload.data.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        with staging_folder(settings.incoming) as folder:
            path = folder / disk_name(info.name)
            path.hardlink_to(upload.data)
            arrived = Upload(path=path, name=info.name, sha256=sha256, size_bytes=info.length)
            slide, _ = intake.take(
                arrived, info.mpp, force_mpp=info.force_mpp, strip=info.strip_labels
            )
    except (SlideError, TooLargeError, ExternallyManagedError):
        upload.remove()
        raise
    upload.write_info(replace(info, slide_id=slide.id))
    upload.data.unlink()


def _show_expiry(response: Response, uploads: PartialUploads, upload: PartialUpload) -> None:
    expires_at = uploads.expires_at(upload)
    response.headers["Upload-Expires"] = format_datetime(expires_at, usegmt=True)


def _yes(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise BadRequestError(f"Upload-Metadata: {name} must be true or false, not {value[:40]!r}")
    return value.lower() == "true"


def _metadata(header: str) -> dict[str, str]:
    """``key base64value, key base64value`` as text."""
    found = {}
    for pair in header.split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise BadRequestError(f"Upload-Metadata: {key[:40]!r} is not base64 of text") from None
    return found
