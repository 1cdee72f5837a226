"""Opening a slide by path, and saying exactly what is wrong where that fails."""

import struct
from pathlib import Path
from typing import Literal

import openslide
import tifffile

from wsi.errors import (
    ConfigError,
    DamagedSlideError,
    NotASlideError,
    SlideError,
    UnsupportedSlideError,
)
from wsi.geometry import Mpp, Region, Size
from wsi.slides.dicom.reader import DicomReader
from wsi.slides.entry import entry_of
from wsi.slides.openslide_reader import OpenSlideReader
from wsi.slides.reader import SlideReader
from wsi.slides.tiff_reader import direct_reader

Backend = Literal["auto", "openslide", "direct"]
BACKENDS: tuple[Backend, ...] = ("auto", "openslide", "direct")

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DICOM_MAGIC_AT = 128
_READS = "Aperio SVS, NDPI, MRXS, SCN, DICOM, pyramidal TIFF and what else OpenSlide 4 reads"
_AGAIN = "copy or scan it again"
_SPOT_CHECK_PX = 512
_TIFF_ERRORS = (
    tifffile.TiffFileError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    struct.error,
)


def open_slide(
    path: Path | str,
    *,
    mpp: float | None = None,
    name: str | None = None,
    backend: Backend = "auto",
) -> SlideReader:
    """Open a slide.

    Args:
        path: a file, or a folder that holds one slide (with others beside it that are none). Of
            a DICOM slide any of its images, which means the pyramid that it belongs to.
        mpp: level-0 micrometres per pixel, where the file states none or a wrong one.
        name: how messages call the slide; its file name unless given.
        backend: ``auto`` decodes the stored JPEG tiles directly where the file allows it, which
            is several times faster, else reads through OpenSlide; ``openslide`` always does that;
            ``direct`` refuses a file that does not allow it.

    Raises:
        UnreadableSlideError: the file is missing or the system refuses to read it.
        NotASlideError: the file is empty, or no image format that slides come in.
        UnsupportedSlideError: an image whose format or layout OpenSlide does not read, or a folder
            with several slides.
        DamagedSlideError: the file is truncated or its structure is broken.
        ConfigError: ``mpp`` is not a positive number, or there is no such backend.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"no backend {backend!r}; there are: {', '.join(BACKENDS)}")
    path = Path(path)
    name = name or path.name
    override = Mpp.square(mpp) if mpp is not None else None
    entry = entry_of(path, name)
    file = entry.file
    if entry.picture is not None:
        return _dicom(DicomReader(file, entry.picture, name, override, entry.warnings), backend)
    try:
        reader = OpenSlideReader(file, name, override, entry.warnings)
    except openslide.OpenSlideUnsupportedFormatError:
        raise _diagnose(file, name) from None
    except openslide.OpenSlideError as error:
        if "nsupported" in str(error):
            raise UnsupportedSlideError(
                name, f"{error}; convert it to a pyramidal TIFF with JPEG tiles"
            ) from error
        raise DamagedSlideError(name, f"OpenSlide cannot open it: {error}; {_AGAIN}") from error
    direct = direct_reader(reader) if backend != "openslide" else None
    if direct is None and backend == "direct":
        reader.close()
        raise UnsupportedSlideError(
            name, "its tiles are not all plain JPEG in a TIFF; open it with another backend"
        )
    return direct or reader


def _dicom(reader: DicomReader, backend: Backend) -> SlideReader:
    if backend != "direct":
        return reader
    reader.close()
    raise UnsupportedSlideError(
        reader.name, "its tiles are not all plain JPEG in a TIFF; open it with another backend"
    )


def check_slide(path: Path | str, *, name: str | None = None) -> None:
    """Open a slide and read enough of it to know that it can be scored.

    Every level is read at its four corners and its centre, and the stored tiles of a TIFF-based
    slide must all lie inside the file.

    Raises:
        SlideError: as ``open_slide``, or because something read does not decode.
    """
    with open_slide(path, name=name) as slide:
        _check_tiff_extent(slide.path, slide.name)
        for level in slide.levels:
            for region in _spots(slide.size, level.downsample):
                slide.read_region(
                    region,
                    Size(
                        max(1, round(region.width / level.downsample)),
                        max(1, round(region.height / level.downsample)),
                    ),
                )


def _diagnose(path: Path, name: str) -> SlideError:
    """Why OpenSlide does not know this file."""
    with path.open("rb") as file:
        head = file.read(_DICOM_MAGIC_AT + 4)
    if not head:
        return NotASlideError(name, "the file is empty")
    if head[:4] in _TIFF_MAGIC:
        return _diagnose_tiff(path, name)
    if head[_DICOM_MAGIC_AT:] == b"DICM":
        return UnsupportedSlideError(name, "a DICOM file that is no whole-slide VOLUME image")
    return NotASlideError(name, f"this is no slide; readable are {_READS}")


def _diagnose_tiff(path: Path, name: str) -> SlideError:
    try:
        _check_tiff_extent(path, name)
        with tifffile.TiffFile(path) as tiff:
            tiled = any(page.keyframe is not None and page.keyframe.is_tiled for page in tiff.pages)
    except DamagedSlideError as error:
        return error
    if not tiled:
        return UnsupportedSlideError(
            name, "a TIFF without tiles; convert it to a tiled, pyramidal TIFF"
        )
    return UnsupportedSlideError(name, f"a TIFF layout that is not read; readable are {_READS}")


def _check_tiff_extent(path: Path, name: str) -> None:
    """Refuse a TIFF whose directories or stored tiles lie beyond its end: it was cut off."""
    with path.open("rb") as file:
        if file.read(4) not in _TIFF_MAGIC:
            return
    size = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as tiff:
            ends = [
                offset + count
                for page in tiff.pages
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)
            ]
            last = max([*ends, _next_directory(tiff)])
    except _TIFF_ERRORS as error:
        raise DamagedSlideError(name, f"its TIFF directory is broken ({error}); {_AGAIN}") from None
    if not ends or last > size:
        raise DamagedSlideError(
            name, f"the file is cut off: {size} bytes, but its directory points to {last}; {_AGAIN}"
        )


def _next_directory(tiff: tifffile.TiffFile) -> int:
    """Where the directory after the last readable one should be; 0 where the chain ends."""
    header, file = tiff.tiff, tiff.filehandle
    if len(tiff.pages) == 0:
        file.seek(4 if header.version == 42 else 8)
    else:
        start = tiff.pages[len(tiff.pages) - 1].offset
        file.seek(start)
        (tags,) = struct.unpack(header.tagnoformat, file.read(header.tagnosize))
        file.seek(start + header.tagnosize + tags * header.tagsize)
    (offset,) = struct.unpack(header.offsetformat, file.read(header.offsetsize))
    return int(offset)


def _spots(size: Size, downsample: float) -> list[Region]:
    """Four corners and the centre of a slide, as level-0 regions of one level's spot size."""
    width = min(size.width, _SPOT_CHECK_PX * downsample)
    height = min(size.height, _SPOT_CHECK_PX * downsample)
    xs, ys = size.width - width, size.height - height
    corners = [(0.0, 0.0), (xs, 0.0), (0.0, ys), (xs, ys), (xs / 2, ys / 2)]
    return [Region(x, y, width, height) for x, y in dict.fromkeys(corners)]
