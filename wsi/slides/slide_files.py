"""Which files a slide consists of: most formats are one file, some are a folder of them."""

import struct
from pathlib import Path

from wsi.errors import UnreadableSlideError

_DICOM_AT, _DICOM = 128, b"DICM"
_HEADS = (8 << 10, 1 << 20)
"""How much of a DICOM file is looked at for its series: as a rule the first is enough."""
_SERIES = (0x0020, 0x000E)
_SYNTAX = (0x0002, 0x0010)
_IMPLICIT = b"1.2.840.10008.1.2"
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_MAX_INDEX = 1 << 20


def slide_files(entry: Path) -> tuple[tuple[str, Path], ...]:
    """The files of a slide, its own first, then its companions by name.

    A MIRAX slide has the files of the folder of its name; a Hamamatsu VMS or VMU those that it
    names; a DICOM instance the instances of its series beside it. Any other slide is one file.

    Args:
        entry: the file that is opened, as ``SlideReader.path`` names it.

    Returns:
        Pairs of a name and a path. Names are those of companions; that of the slide's own file is
        empty, as a renamed slide is the same slide.

    Raises:
        UnreadableSlideError: the file or its folder cannot be read.
    """
    try:
        found = _companions(entry)
    except OSError as error:
        raise UnreadableSlideError(
            entry.name, f"the file cannot be read: {error.strerror or error}"
        ) from error
    return (("", entry), *sorted((file.name, file) for file in found if file != entry))


def _companions(entry: Path) -> list[Path]:
    ending = entry.suffix.lower()
    if ending == ".mrxs":
        folder = entry.with_suffix("")
        return [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    if ending in (".vms", ".vmu"):
        return _named_in(entry)
    series = _series_of(entry)
    if series is None:
        return []
    beside = (file for file in entry.parent.iterdir() if file != entry and file.is_file())
    return [file for file in beside if _series_of(file) == series]


def _named_in(index: Path) -> list[Path]:
    """Files that a Hamamatsu index names: lines such as ``ImageFile=a.jpg``."""
    with index.open("rb") as file:
        text = file.read(_MAX_INDEX).decode("utf-8", "replace")
    values = {line.partition("=")[2].strip() for line in text.splitlines()}
    # Names of files beside it alone: a path in it is followed by nobody.
    names = {value for value in values if value and Path(value).name == value}
    return [index.parent / name for name in names if (index.parent / name).is_file()]


def _series_of(file: Path) -> bytes | None:
    """SeriesInstanceUID of a DICOM instance; ``b""`` where it cannot be told, ``None``: no DICOM.

    By hand, as this is asked of every file of a folder and pydicom is an extra.
    """
    with file.open("rb") as opened:
        opened.seek(_DICOM_AT)
        if opened.read(len(_DICOM)) != _DICOM:
            return None
        for length in _HEADS:
            opened.seek(_DICOM_AT + len(_DICOM))
            try:
                return _series_in(opened.read(length))
            except struct.error:
                continue
    return b""


def _series_in(head: bytes) -> bytes:
    place, implicit = 0, False
    while True:
        tag, length, start = _element(head, place, implicit)
        value = head[start : start + length] if length != _UNDEFINED else b""
        if tag == _SYNTAX:
            implicit = value.rstrip(b"\0 ") == _IMPLICIT
        if tag == _SERIES:
            return value.rstrip(b"\0 ")
        if tag > _SERIES:
            return b""
        place = start + length if length != _UNDEFINED else _after(head, start, implicit)


def _element(head: bytes, place: int, implicit: bool) -> tuple[tuple[int, int], int, int]:
    """Tag, length and start of the value of the element at a place."""
    tag = struct.unpack_from("<HH", head, place)
    if tag[0] == 0xFFFE or (implicit and tag[0] != 2):
        return tag, struct.unpack_from("<I", head, place + 4)[0], place + 8
    if head[place + 4 : place + 6] in _LONG:
        return tag, struct.unpack_from("<I", head, place + 8)[0], place + 12
    return tag, struct.unpack_from("<H", head, place + 6)[0], place + 8


def _after(head: bytes, place: int, implicit: bool) -> int:
    """Where a sequence or item of undefined length ends that begins at a place."""
    while True:
        tag, length, start = _element(head, place, implicit)
        if tag in (_SEQUENCE_END, _ITEM_END):
            return start
        place = start + length if length != _UNDEFINED else _after(head, start, implicit)
