"""Whether the JPEG frames of a DICOM image have the colours that its header says.

OpenSlide believes the header. Where that says RGB and the frames are YCbCr, or the reverse, it
gives false colours without an error.
"""

import io
import mmap
import re
import struct
from collections.abc import Sequence
from pathlib import Path

from PIL.JpegImagePlugin import JpegImageFile
from pydicom.uid import JPEGBaseline8Bit

from wsi.errors import UnsupportedSlideError
from wsi.slides.dicom.headers import Instance

# PixelData of undefined length, up to the tag of its first item.
_PIXELS = re.compile(rb"\xe0\x7f\x10\x00O[BW]\x00\x00\xff\xff\xff\xff(?=\xfe\xff\x00\xe0)")
_ITEM = struct.Struct("<HHI")
_ITEM_TAG = (0xFFFE, 0xE000)
# A JPEG header is far shorter, unless it carries a large colour profile.
_MOST_OF_HEADER = 1 << 20


def require_stated_colours(level: Sequence[Instance], name: str) -> None:
    """Refuse an image whose first JPEG frame is not in the colours that the header states.

    Args:
        level: the files of it.
        name: how messages call the slide.

    Raises:
        UnsupportedSlideError: the header says RGB and the frame is YCbCr, or the reverse.
        OSError: the system does not give a file.
    """
    for one in level:
        frame = _first_frame(one.file) if one.transfer_syntax == JPEGBaseline8Bit else b""
        header = _jpeg_header(frame)
        if header is None:
            continue  # broken or without frames, which OpenSlide says
        why = _why_ycbcr(header)
        if one.photometric == "RGB" and why:
            raise UnsupportedSlideError(
                name,
                f"its header says its JPEG frames are RGB, but they are YCbCr ({why}): the colours "
                "would be wrong; correct PhotometricInterpretation to YBR_FULL_422",
            )
        if one.photometric.startswith("YBR") and _is_rgb(header):
            raise UnsupportedSlideError(
                name,
                f"its header says its JPEG frames are {one.photometric}, but they are RGB (their "
                "Adobe marker says so): the colours would be wrong; correct "
                "PhotometricInterpretation to RGB",
            )


def _why_ycbcr(header: JpegImageFile) -> str:
    """What tells that a frame is YCbCr and not RGB; empty where nothing does."""
    transform = header.info.get("adobe_transform")
    if _is_subsampled(header):
        return "their chroma is subsampled"
    if transform == 1:
        return "their Adobe marker says so"
    if "jfif" in header.info and transform != 0:
        return "JFIF files always are"
    return ""


def _is_rgb(header: JpegImageFile) -> bool:
    rgb_marker = header.info.get("adobe_transform") == 0 and "jfif" not in header.info
    return rgb_marker and not _is_subsampled(header)


def _is_subsampled(header: JpegImageFile) -> bool:
    return len({(across, down) for _, across, down, _ in header.layer}) > 1


def _jpeg_header(frame: bytes) -> JpegImageFile | None:
    """The markers of a frame of three components, by Pillow; ``None`` where there are none."""
    try:
        header = JpegImageFile(io.BytesIO(frame))
    except (SyntaxError, OSError, ValueError):
        return None
    return header if header.layers == 3 else None


def _first_frame(file: Path) -> bytes:
    """The start of the first frame that is not empty; empty where there is none."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = _PIXELS.search(data)
        at = found.end() if found else len(data)
        is_offset_table = True
        while at + _ITEM.size <= len(data):
            group, element, length = _ITEM.unpack_from(data, at)
            at += _ITEM.size
            if (group, element) != _ITEM_TAG:
                break
            if length and not is_offset_table:
                return data[at : at + min(length, _MOST_OF_HEADER)]
            is_offset_table = False
            at += length
    return b""
