"""JPEG tiles of a TIFF, decoded strictly: a tile of which a part is missing is an error.

libjpeg fills what is missing with grey and only warns. Here its warnings are errors, as in
OpenSlide, and so are bytes that are left over behind the last block, which OpenSlide does not look
at. What decodes without a warning but was changed (about half of all single flipped bits) no JPEG
decoder can find.
"""

import simplejpeg

from wsi.slides.reader import RGB

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_CUT_OFF = "Premature end"
# APP0 to APP15, and comments.
_APPLICATIONS = tuple(bytes([code]) for code in (*range(0xE0, 0xF0), 0xFE))
_COLOURS = ("RGB", "YCbCr")


def jpeg_head(tables: bytes | None, *, rgb: bool) -> bytes:
    """What stands before every tile of a page: its colours as the TIFF states them, its tables.

    Args:
        tables: the page's JPEGTables, if it has any.
        rgb: whether tiles are stored as RGB; else as YCbCr.

    Raises:
        ValueError: the tables are no JPEG.
    """
    colours = _SOI + _ADOBE + (b"\0" if rgb else b"\1")
    if tables is None:
        return colours
    if not tables.startswith(_SOI) or _EOI not in tables:
        raise ValueError("its JPEG tables are broken")
    return colours + tables[_after_applications(tables) : tables.rfind(_EOI)]


def decode_tile(data: bytes, head: bytes) -> RGB:
    """One stored tile, (height, width, 3) uint8.

    Raises:
        ValueError: it does not decode without a warning: it was cut off or changed.
    """
    stream = _stream(data, head)
    try:
        return _decode(stream)
    except ValueError as error:
        if _CUT_OFF not in str(error):
            raise
        cut_off = error
    try:
        # Every block may be there, and the marker behind them alone be missing.
        return _decode(stream + _EOI)
    except ValueError:
        raise cut_off from None


def is_colour_tile(data: bytes, head: bytes) -> bool:
    """Whether a tile has three components and decodes."""
    try:
        return begins_as_colour_tile(data, head) and decode_tile(data, head).size > 0
    except ValueError:
        return False


def begins_as_colour_tile(data: bytes, head: bytes) -> bool:
    """Whether a tile's header states three components, whatever comes behind it."""
    try:
        *_, colours, _ = simplejpeg.decode_jpeg_header(_stream(data, head))
    except ValueError:
        return False
    return colours in _COLOURS


def _stream(data: bytes, head: bytes) -> bytes:
    if not data.startswith(_SOI):
        raise ValueError("it does not start as a JPEG")
    return head + data[_after_applications(data) :]


def _decode(stream: bytes) -> RGB:
    pixels: RGB = simplejpeg.decode_jpeg(stream, "RGB", strict=True)
    return pixels


def _after_applications(data: bytes) -> int:
    """Where the segments of applications end: JFIF or Adobe may state other colours there."""
    start = len(_SOI)
    while (marker := data[start : start + 2])[:1] == b"\xff" and marker[1:] in _APPLICATIONS:
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return start
