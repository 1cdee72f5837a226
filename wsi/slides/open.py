"""Opening a slide by path, and saying exactly what is wrong where that fails."""

import logging
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
from wsi.geometry import Region, Size
from wsi.slides.dicom.reader import DicomReader
from wsi.slides.entry import Entry, entry_of
from wsi.slides.openslide_errors import is_unsupported, without_path
from wsi.slides.openslide_reader import OpenSlideReader
from wsi.slides.reader import SlideReader
from wsi.slides.tiff_check import check_extent, check_tile_ends
from wsi.slides.tiff_layout import is_tiff
from wsi.slides.tiff_open import refuse_tiff_kinds, settle_tiff

Backend = Literal["auto", "openslide", "direct"]
BACKENDS: tuple[Backend, ...] = ("auto", "openslide", "direct")

_DICOM_MAGIC_AT = 128
_READS = "Aperio SVS, NDPI, MRXS, SCN, DICOM, pyramidal TIFF and everything else OpenSlide 4 reads"
_AGAIN = "copy or scan it again"
_SPOT_CHECK_PX = 512
_CZI_MAGIC = b"ZISRAWFILE"

logger = logging.getLogger(__name__)


def open_slide(
    path: Path | str,
    *,
    mpp: float | None = None,
    force_mpp: bool = False,
    name: str | None = None,
    backend: Backend = "auto",
) -> SlideReader:
    """Open a slide.

    Args:
        path: a file, or a folder that holds one slide (with others beside it that are none). Of
            a DICOM slide any of its images, which means the pyramid that it belongs to.
        mpp: level-0 micrometres per pixel, where the file states none or an implausible one; see
            ``wsi.slides.resolution``.
        force_mpp: ``mpp`` counts although the file states another one.
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
        MppError: ``mpp`` contradicts what the file states and is not forced, or is implausible.
        ConfigError: ``mpp`` is not a positive number, or there is no such backend.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"no backend {backend!r}; choose from: {', '.join(BACKENDS)}")
    path = Path(path)
    name = name or path.name
    entry = entry_of(path, name)
    if entry.picture is not None:
        made = DicomReader(
            entry.file, entry.picture, name, mpp, entry.warnings, force_mpp=force_mpp
        )
        return _dicom(made, backend)
    return _through_openslide(_opened(entry, name, mpp, force_mpp=force_mpp), backend)


def _through_openslide(reader: OpenSlideReader, backend: Backend) -> SlideReader:
    direct = None
    try:
        direct = settle_tiff(reader)
        if direct is None and backend == "direct":
            raise UnsupportedSlideError(
                reader.name,
                "its tiles are not all plain JPEG in a TIFF; open it with another backend",
            )
    except BaseException:
        reader.close()
        raise
    if direct is not None and backend == "openslide":
        direct.let_go()
        return reader
    return direct or reader


def _opened(entry: Entry, name: str, mpp: float | None, *, force_mpp: bool) -> OpenSlideReader:
    file = entry.file
    try:
        return OpenSlideReader(file, name, mpp, entry.warnings, force_mpp=force_mpp)
    except openslide.OpenSlideUnsupportedFormatError:
        raise _diagnose(file, name) from None
    except openslide.OpenSlideError as error:
        refuse_tiff_kinds(file, name)
        told = without_path(error, file, name)
        if is_unsupported(error):
            raise UnsupportedSlideError(
                name, f"{told}; convert it to a pyramidal TIFF with JPEG tiles"
            ) from error
        raise DamagedSlideError(name, f"OpenSlide cannot open it: {told}; {_AGAIN}") from error


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
    slide must all lie inside the file. Of its JPEG tiles both ends are looked at: all of them, or
    as many as a few seconds allow, spread over the slide.

    Raises:
        SlideError: as ``open_slide``, or because something read does not decode.
    """
    with open_slide(path, name=name) as slide:
        check_extent(slide.path, slide.name)
        share = check_tile_ends(slide.path, slide.name)
        if share < 1:
            logger.info("%s: %.0f %% of the stored tiles were looked at", slide.name, share * 100)
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
    if is_tiff(path):
        return _diagnose_tiff(path, name)
    if head.startswith(_CZI_MAGIC):
        return UnsupportedSlideError(name, "a Zeiss CZI that is not read; convert it to a TIFF")
    if head[_DICOM_MAGIC_AT:] == b"DICM":
        return UnsupportedSlideError(name, "a DICOM file that is not a whole-slide VOLUME image")
    return NotASlideError(name, f"not a slide; supported formats: {_READS}")


def _diagnose_tiff(path: Path, name: str) -> SlideError:
    try:
        check_extent(path, name)
        refuse_tiff_kinds(path, name)
        with tifffile.TiffFile(path) as tiff:
            tiled = any(page.keyframe is not None and page.keyframe.is_tiled for page in tiff.pages)
    except SlideError as error:
        return error
    if not tiled:
        return UnsupportedSlideError(
            name, "a TIFF without tiles; convert it to a tiled, pyramidal TIFF"
        )
    return UnsupportedSlideError(
        name, f"a TIFF layout that is not supported; supported formats: {_READS}"
    )


def _spots(size: Size, downsample: float) -> list[Region]:
    """Four corners and the centre of a slide, as level-0 regions of one level's spot size."""
    width = min(size.width, _SPOT_CHECK_PX * downsample)
    height = min(size.height, _SPOT_CHECK_PX * downsample)
    xs, ys = size.width - width, size.height - height
    corners = [(0.0, 0.0), (xs, 0.0), (0.0, ys), (xs, ys), (xs / 2, ys / 2)]
    return [Region(x, y, width, height) for x, y in dict.fromkeys(corners)]
