"""What the header of a DICOM instance says, as far as choosing those of a slide needs it."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pydicom
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage

# What pydicom raises on files that are not what they say.
HEADER_ERRORS = (
    pydicom.errors.InvalidDicomError,
    pydicom.errors.BytesLengthException,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    NotImplementedError,
    RecursionError,
    struct.error,
    zlib.error,
)
_MAGIC, _MAGIC_AT = b"DICM", 128
# Positions of single frames follow, which are many, and then the pixels.
_STOP = Tag(0x5200, 0x9230)
# What this pydicom does not know by name yet.
_LATER_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}
# Without these OpenSlide reads nothing; DICOM demands them of every colour image.
_NEEDED = (
    *("SOPInstanceUID", "SeriesInstanceUID", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsStored", "HighBit", "PixelRepresentation"),
)
_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One DICOM file. Texts are empty and numbers 0 where the file does not state them.

    Attributes:
        file: where it lies.
        sop_class: its storage class; a slide image is ``VLWholeSlideMicroscopyImageStorage``.
        flavour: third value of ImageType: VOLUME, LABEL, OVERVIEW, THUMBNAIL.
        resampled: whether the fourth value of ImageType says so.
        container: the glass slide's identifier.
        columns, rows: of the whole image, in pixels.
        tile_columns, tile_rows: of one frame.
        frames: how many are stored.
        samples, bits: of a pixel, and of each sample.
        focal_planes, optical_paths: how many.
        path_names: identifiers of the optical paths.
        illumination: code values of the methods.
        depth: where the (first) plane lies in the glass, in micrometres.
        concatenation, part, parts: where the image is split into several files.
        is_full: every tile is stored, in order (TILED_FULL).
        label_in_image: whether it says that the slide's label is in the picture.
        missing: what it must state and does not.
        broken: what is wrong with the header, where it cannot be read.
    """

    file: Path
    sop_class: str = ""
    sop_uid: str = ""
    series: str = ""
    study: str = ""
    pyramid: str = ""
    container: str = ""
    flavour: str = ""
    resampled: bool = False
    transfer_syntax: str = ""
    columns: int = 0
    rows: int = 0
    tile_columns: int = 0
    tile_rows: int = 0
    frames: int = 0
    samples: int = 0
    bits: int = 0
    photometric: str = ""
    focal_planes: int = 1
    optical_paths: int = 1
    path_names: tuple[str, ...] = ()
    illumination: tuple[str, ...] = ()
    depth: str = ""
    concatenation: str = ""
    part: int = 0
    parts: int = 0
    is_full: bool = False
    label_in_image: bool = False
    missing: tuple[str, ...] = ()
    broken: str = ""

    @property
    def is_slide_image(self) -> bool:
        """Whether its storage class is that of whole slides."""
        return self.sop_class == VLWholeSlideMicroscopyImageStorage

    @property
    def class_name(self) -> str:
        """Its storage class in words, such as ``Segmentation Storage``."""
        known = _LATER_CLASSES.get(self.sop_class)
        return known or (UID(self.sop_class).name if self.sop_class else "no storage class")

    @property
    def tiles(self) -> int:
        """How many tiles the whole image has."""
        if not self.tile_columns or not self.tile_rows:
            return 0
        return -(-self.columns // self.tile_columns) * -(-self.rows // self.tile_rows)


def is_dicom(file: Path) -> bool:
    """Whether the file says at its start that it is DICOM. Raises ``OSError``."""
    with file.open("rb") as opened:
        opened.seek(_MAGIC_AT)
        return opened.read(len(_MAGIC)) == _MAGIC


def read_instance(file: Path) -> Instance | None:
    """The header of a file; ``None`` where it is not a DICOM file, or is a DICOMDIR.

    Raises:
        OSError: the system does not give the file.
    """
    state = file.stat()
    return _read(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16384)
def _read(file: Path, size: int, changed_ns: int) -> Instance | None:
    """Headers are remembered as long as the file stays as it is."""
    if not is_dicom(file):
        return None
    try:
        header, has_more = _header(file)
        found = _instance(file, header)
        if found.is_slide_image and not has_more:
            raise EOFError("it ends before its pixels")
    except HEADER_ERRORS as error:
        return Instance(file=file, broken=str(error) or type(error).__name__)
    return None if found.sop_class == _DIRECTORY else found


def _header(file: Path) -> tuple[pydicom.FileDataset, bool]:
    """All elements up to those of single frames or pixels, and whether such follow."""
    stopped = False

    def stop(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal stopped
        stopped = stopped or tag >= _STOP
        return stopped

    with file.open("rb") as opened, pydicom.config.disable_value_validation():
        meta = read_file_meta_info(file)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            # Inflating it could take any amount of memory; it is refused by its syntax.
            return pydicom.FileDataset(file, {}, file_meta=meta), True
        return read_partial(opened, stop_when=stop), stopped


def _instance(file: Path, header: pydicom.Dataset) -> Instance:
    kind = [str(word) for word in header.get("ImageType", None) or ()]
    paths = list(header.get("OpticalPathSequence", None) or ())
    meta = header.file_meta
    with pydicom.config.disable_value_validation():
        return Instance(
            file=file,
            sop_class=str(header.get("SOPClassUID", meta.get("MediaStorageSOPClassUID", ""))),
            sop_uid=_text(header, "SOPInstanceUID"),
            series=_text(header, "SeriesInstanceUID"),
            study=_text(header, "StudyInstanceUID"),
            pyramid=_text(header, "PyramidUID"),
            container=_text(header, "ContainerIdentifier"),
            flavour=kind[2] if len(kind) > 2 else "",
            resampled=len(kind) > 3 and kind[3] == "RESAMPLED",
            transfer_syntax=str(meta.get("TransferSyntaxUID", "")),
            columns=_number(header, "TotalPixelMatrixColumns"),
            rows=_number(header, "TotalPixelMatrixRows"),
            tile_columns=_number(header, "Columns"),
            tile_rows=_number(header, "Rows"),
            frames=_number(header, "NumberOfFrames"),
            samples=_number(header, "SamplesPerPixel"),
            bits=_number(header, "BitsAllocated"),
            photometric=_text(header, "PhotometricInterpretation"),
            focal_planes=_number(header, "TotalPixelMatrixFocalPlanes", 1),
            optical_paths=_number(header, "NumberOfOpticalPaths", len(paths)),
            path_names=tuple(_text(path, "OpticalPathIdentifier") for path in paths),
            illumination=tuple(_codes(paths)),
            depth=_depth(header),
            concatenation=_text(header, "ConcatenationUID"),
            part=_number(header, "InConcatenationNumber"),
            parts=_number(header, "InConcatenationTotalNumber"),
            is_full=_text(header, "DimensionOrganizationType") == "TILED_FULL",
            label_in_image=_text(header, "SpecimenLabelInImage") == "YES",
            missing=tuple(word for word in _NEEDED if header.get(word) in (None, "")),
        )


def _codes(paths: Iterable[pydicom.Dataset]) -> Iterable[str]:
    for path in paths:
        for code in path.get("IlluminationTypeCodeSequence", None) or ():
            yield _text(code, "CodeValue")


def _depth(header: pydicom.Dataset) -> str:
    shared = header.get("SharedFunctionalGroupsSequence", None) or ()
    for group in shared:
        for plane in group.get("PlanePositionSlideSequence", None) or ():
            return _text(plane, "ZOffsetInSlideCoordinateSystem")
    for origin in header.get("TotalPixelMatrixOriginSequence", None) or ():
        return _text(origin, "ZOffsetInSlideCoordinateSystem")
    return ""


def _text(header: pydicom.Dataset, keyword: str) -> str:
    value: Any = header.get(keyword)
    return "" if value is None else str(value).strip()


def _number(header: pydicom.Dataset, keyword: str, default: int = 0) -> int:
    value: Any = header.get(keyword)
    return default if value is None or value == "" else int(value)
