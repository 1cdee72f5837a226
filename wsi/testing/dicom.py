"""DICOM slides made here, small and of every kind that a test needs."""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)

from wsi.slides.reader import RGB


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How an instance is stored, where not as a plain VOLUME of one plane.

    Attributes:
        flavour: third value of ImageType; the fourth is NONE, or RESAMPLED where ``resampled``.
        uid: numbers of the study, series and pyramid: equal numbers give equal UIDs.
        focal, paths: how many planes and optical paths; pixels repeat for each.
        sparse: TILED_SPARSE, without the tiles (row, column) of ``skip``.
        stored_frames: how many of the frames are stored.
        syntax: transfer syntax to state; uncompressed pixels where it is not JPEG.
        part: number, how many, first frame and end of a concatenation's part.
        jpeg: options of Pillow's JPEG writer; ``keep_rgb`` stores RGB.
        more: attributes to set, or to leave out where ``None``.
    """

    flavour: str = "VOLUME"
    resampled: bool = False
    uid: tuple[int, int, int] = (1, 1, 0)
    focal: int = 1
    paths: int = 1
    sparse: bool = False
    skip: Collection[tuple[int, int]] = ()
    stored_frames: int | None = None
    syntax: str = JPEGBaseline8Bit
    part: tuple[int, int, int, int] | None = None
    jpeg: dict[str, Any] = field(default_factory=lambda: {"subsampling": 0})
    more: dict[str, Any] = field(default_factory=dict)


def write_dicom(
    file: Path, pixels: RGB, *, mpp: float = 0.5, tile: int = 256, kind: Kind | None = None
) -> FileDataset:
    """Write one instance; returns what was written. Grey where ``pixels`` has two axes."""
    kind = kind or Kind()
    file.parent.mkdir(parents=True, exist_ok=True)
    frames, places = _frames(pixels, tile, kind)
    made = _header(file, pixels, mpp, tile, kind)
    if kind.sparse:
        made.PerFrameFunctionalGroupsSequence = [_position(*place) for place in places]
    if kind.part is not None:
        number, parts, start, end = kind.part
        frames = frames[start:end]
        made.ConcatenationUID = _uid("concatenation", *kind.uid)
        made.InConcatenationNumber, made.InConcatenationTotalNumber = number, parts
        made.ConcatenationFrameOffsetNumber = start
    frames = frames[: kind.stored_frames]
    made.NumberOfFrames = len(frames)
    if kind.syntax == ExplicitVRLittleEndian:
        made.PhotometricInterpretation = "RGB"
        made.add_new("PixelData", "OB", b"".join(frames))
    else:
        made.add_new("PixelData", "OB", encapsulate(list(frames), has_bot=True))
        made["PixelData"].is_undefined_length = True
    for keyword, value in kind.more.items():
        if value is not None:
            setattr(made, keyword, value)
        elif keyword in made:
            delattr(made, keyword)
    made.save_as(file, enforce_file_format=True)
    return made


def write_pyramid(
    folder: Path, pixels: RGB, *, levels: int = 2, mpp: float = 0.5, kind: Kind | None = None
) -> list[Path]:
    """Write levels, each half as large as the one before, as ``level-0.dcm`` and so on."""
    kind, files = kind or Kind(), []
    for level in range(levels):
        reduced = pixels[:: 2**level, :: 2**level]
        files.append(folder / f"level-{level}.dcm")
        write_dicom(files[-1], reduced, mpp=mpp * 2**level, kind=kind)
    return files


def write_other(file: Path, sop_class: str, *, uid: tuple[int, int, int] = (1, 1, 0)) -> None:
    """A DICOM object that is no slide, such as a report or a segmentation, without content."""
    file.parent.mkdir(parents=True, exist_ok=True)
    made = _empty(file, sop_class, "1.2.840.10008.1.2.1")
    made.StudyInstanceUID = _uid("study", uid[0])
    made.SeriesInstanceUID = _uid("series", *uid[:2])
    made.PatientID, made.Modality = "P1", "OT"
    made.save_as(file, enforce_file_format=True)


def tissue_picture(width: int = 768, height: int = 512, *, x: int = 100, seed: int = 0) -> RGB:
    """A pink rectangle on glass that begins at ``x``; noise, so that no two pictures are alike."""
    made = np.full((height, width, 3), (243, 241, 244), np.float32)
    made[height // 4 : height * 3 // 4, x : x + width // 3] = (214, 150, 190)
    noise = np.random.default_rng(seed).normal(0, 5, made.shape)
    return np.clip(made + noise, 0, 255).astype(np.uint8)


def _uid(*what: object) -> str:
    return str(generate_uid(entropy_srcs=[str(word) for word in what]))


def _empty(file: Path, sop_class: str, syntax: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made = FileDataset(file, {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID = sop_class
    made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    return made


def _header(file: Path, pixels: RGB, mpp: float, tile: int, kind: Kind) -> FileDataset:
    made = _empty(file, VLWholeSlideMicroscopyImageStorage, kind.syntax)
    study, series, pyramid = kind.uid
    made.StudyInstanceUID, made.SeriesInstanceUID = _uid("study", study), _uid(study, series)
    made.FrameOfReferenceUID = _uid("frame", study, series)
    if pyramid:
        made.PyramidUID = _uid("pyramid", *kind.uid)
    made.PatientID, made.PatientName, made.Modality = "P1", "DOE^JANE", "SM"
    made.PatientBirthDate = made.PatientSex = made.ReferringPhysicianName = ""
    made.StudyDate, made.StudyTime, made.StudyID = "20200101", "000000", "1"
    made.AccessionNumber, made.DeviceSerialNumber = "A1", "SN-4711"
    made.ContainerIdentifier = f"S{study}-{series}"
    made.ImageType = [
        *("ORIGINAL", "PRIMARY", kind.flavour),
        "RESAMPLED" if kind.resampled else "NONE",
    ]
    grey = pixels.ndim == 2
    made.SamplesPerPixel = 1 if grey else 3
    made.PhotometricInterpretation = "MONOCHROME2" if grey else "YBR_FULL_422"
    if not grey:
        made.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit, made.PixelRepresentation, made.Rows, made.Columns = bits - 1, 0, tile, tile
    made.TotalPixelMatrixRows, made.TotalPixelMatrixColumns = pixels.shape[:2]
    made.TotalPixelMatrixFocalPlanes = kind.focal
    made.ImagedVolumeWidth = pixels.shape[1] * mpp / 1000
    made.ImagedVolumeHeight, made.ImagedVolumeDepth = pixels.shape[0] * mpp / 1000, 1.0
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = 20.0
    origin.YOffsetInSlideCoordinateSystem = 40.0
    made.TotalPixelMatrixOriginSequence = [origin]
    made.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    made.DimensionOrganizationType = "TILED_SPARSE" if kind.sparse else "TILED_FULL"
    made.OpticalPathSequence = [_path(number) for number in range(kind.paths)]
    made.NumberOfOpticalPaths = kind.paths
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1000, mpp / 1000], 0.001
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    made.SharedFunctionalGroupsSequence = [shared]
    return made


def _path(number: int) -> Dataset:
    path = Dataset()
    path.OpticalPathIdentifier, path.ObjectiveLensPower = str(number + 1), 20
    return path


def _position(row: int, column: int) -> Dataset:
    plane = Dataset()
    plane.ColumnPositionInTotalImagePixelMatrix = column + 1
    plane.RowPositionInTotalImagePixelMatrix = row + 1
    frame = Dataset()
    frame.PlanePositionSlideSequence = [plane]
    return frame


def _frames(
    pixels: NDArray[Any], tile: int, kind: Kind
) -> tuple[Sequence[bytes], list[tuple[int, int]]]:
    """Frames and the place (row, column) of each one's first pixel."""
    frames, places = [], []
    for _ in range(kind.paths * kind.focal):
        for row in range(0, pixels.shape[0], tile):
            for column in range(0, pixels.shape[1], tile):
                if (row // tile, column // tile) in kind.skip:
                    continue
                part = pixels[row : row + tile, column : column + tile]
                room = ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0))
                part = np.pad(part, room[: part.ndim], mode="edge")
                frames.append(_stored(part, kind))
                places.append((row, column))
    return frames, places


def _stored(part: NDArray[Any], kind: Kind) -> bytes:
    syntax = kind.syntax
    if syntax == ExplicitVRLittleEndian or part.dtype != np.uint8:
        return part.tobytes()
    if syntax.startswith("1.2.840.10008.1.2.4.9"):
        sink = io.BytesIO()
        Image.fromarray(part).save(sink, "JPEG2000", no_jp2=True, irreversible=False, mct=1)
        return _even(sink.getvalue())
    sink = io.BytesIO()
    Image.fromarray(part).save(sink, "JPEG", quality=92, **kind.jpeg)
    return _even(sink.getvalue())


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)
