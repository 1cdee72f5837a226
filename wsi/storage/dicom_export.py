"""Heatmaps as DICOM parametric maps that lie on the slide they were made from.

For slides that are DICOM themselves: only those have a frame of reference, a study and a patient
that a map can belong to. Needs highdicom (extra ``dicom``).
"""

import hashlib
import io
import uuid
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pydicom
from pydicom.uid import UID

from wsi.errors import ConfigError, MissingExtraError, UnsupportedSlideError
from wsi.slides.dicom.pyramid import choose
from wsi.slides.entry import entry_of
from wsi.storage.results import HeatmapGrid, HeatmapLayer, SlideResult

if TYPE_CHECKING:
    from pydicom import Dataset

NOT_LOOKED_AT = -1.0
"""What a value is where a heatmap has NaN; ``FloatPixelPaddingValue`` says so as well."""

_Place: TypeAlias = tuple[tuple[float, float], tuple[float, ...], tuple[float, ...]]

# Of patient and study: DICOM demands these elements and lets them be empty; writers forget them.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"),
    *("StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ContainerIdentifier")


def parametric_map(
    result: SlideResult, kind: str, source: Path, *, result_id: str, made_at: datetime
) -> bytes:
    """One layer of a result: an instance with one channel a class, values as float32.

    Equal calls give equal bytes. The UID of the instance is made of its content: what an archive
    has under it is this map of this slide, also where the slide was redacted in between or another
    version of this software writes the map in another way.

    Args:
        result: has a layer of this kind.
        kind: such as ``probability``.
        source: the DICOM slide as it was scored: its folder, or one of its files.
        result_id: names the result.
        made_at: when it was made.

    Raises:
        MissingExtraError: highdicom is not installed.
        ConfigError: there is no such layer.
        UnsupportedSlideError: ``source`` is not the slide of this result, or lacks what a map needs
            to lie on it.
    """
    layer = result.layer(kind)
    if layer is None or result.grid is None:
        raise ConfigError(f"{result.slide}: the result has no heatmap {kind!r}")
    try:
        import highdicom
    except ImportError as error:
        raise MissingExtraError("DICOM export", "dicom") from error
    volume = _volume(source, result.slide)
    _require_fit(result.grid, volume, result.slide)
    place = _placed(result.grid, volume, result.slide)
    made = _made(highdicom, result, layer, volume, place, result_id)
    made.FloatPixelPaddingValue = NOT_LOOKED_AT
    made.FloatPixelPaddingRangeLimit = NOT_LOOKED_AT
    made.ContentDate = made.InstanceCreationDate = f"{made_at:%Y%m%d}"
    made.ContentTime = made.InstanceCreationTime = f"{made_at:%H%M%S}"
    # highdicom adds itself, now, as the last equipment that contributed.
    made.ContributingEquipmentSequence[-1].ContributionDateTime = f"{made_at:%Y%m%d%H%M%S}"
    _name_by_content(made)
    return _bytes(made)


def _made(
    highdicom: Any,
    result: SlideResult,
    layer: HeatmapLayer,
    volume: "Dataset",
    place: _Place,
    result_id: str,
) -> "Dataset":
    """The map as highdicom makes it. Raises ``UnsupportedSlideError``."""
    names = (str(volume.StudyInstanceUID), str(volume.SeriesInstanceUID), result_id)
    kind, (spacing, position, orientation) = layer.kind, place
    try:
        made: Dataset = highdicom.pm.ParametricMap(
            [volume],
            _values(layer),
            series_instance_uid=_uid("series", *names),
            series_number=100,
            sop_instance_uid=_uid("instance", *names, kind),
            instance_number=1 + [item.kind for item in result.layers].index(kind),
            manufacturer="wholeslide",
            manufacturer_model_name=result.model[:64],
            software_versions=version("wholeslide"),
            device_serial_number=result.model_digest[:64],
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[
                [_meaning(highdicom, kind, name)] for name in result.classes
            ],
            voi_lut_transformations=[
                highdicom.VOILUTTransformation(window_center=0.5, window_width=1)
            ],
            content_label=_code_string(kind),
            content_description=f"{kind} by {result.pipeline}; research use only"[:64],
            pixel_measures=highdicom.PixelMeasuresSequence(spacing, _thickness(volume)),
            plane_orientation=highdicom.PlaneOrientationSequence("SLIDE", orientation),
            plane_positions=[highdicom.PlanePositionSequence("SLIDE", position, (1, 1))],
            tile_pixel_array=True,
            tile_size=layer.values_chw.shape[1:],
            series_description=f"{result.pipeline} heatmaps"[:64],
        )
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UnsupportedSlideError(
            result.slide, f"its DICOM header does not allow a map to be laid on it: {error}"
        ) from error
    return made


def _name_by_content(made: "Dataset") -> None:
    """Replace the UIDs that highdicom draws anew each time, and name the instance by its bytes."""
    organization = _uid("dimensions", str(made.SOPInstanceUID))
    for element in made.iterall():
        if element.keyword == "DimensionOrganizationUID":
            element.value = organization
    name = UID(_uid("content", hashlib.sha256(_bytes(made)).hexdigest()))
    made.SOPInstanceUID = name
    made.file_meta.MediaStorageSOPInstanceUID = name


def _uid(*words: str) -> str:
    """A UID below 2.25 (a UUID of its own) that is the same for the same words."""
    digest = hashlib.sha256("\n".join(("wholeslide map", *words)).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _bytes(made: "Dataset") -> bytes:
    sink = io.BytesIO()
    made.save_as(sink)
    return sink.getvalue()


def _volume(source: Path, name: str) -> "Dataset":
    """The header of the finest image of the slide that this path opens."""
    entry = entry_of(source, name)
    if entry.picture is None:
        raise UnsupportedSlideError(name, "it is not a DICOM slide, so a map cannot refer to it")
    file = choose(entry.picture, name).base.file
    volume = pydicom.dcmread(file, stop_before_pixels=True)
    if not isinstance(volume.get("SpecificCharacterSet", ""), str):
        _as_utf8(volume)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in volume:
            setattr(volume, keyword, None)
    lacking = [keyword for keyword in _NEEDED if not volume.get(keyword)]
    if lacking:
        raise UnsupportedSlideError(
            name, f"its DICOM header lacks {', '.join(lacking)}, which a map of it must repeat"
        )
    return volume


def _as_utf8(header: "Dataset") -> None:
    """Text in one character set: highdicom refuses the several that ISO 2022 needs for Japanese."""
    header.decode()
    for element in header.iterall():
        if element.VR == "PN" and element.value:
            element.value = str(element.value)
    header.SpecificCharacterSet = "ISO_IR 192"


def _require_fit(grid: HeatmapGrid, volume: "Dataset", name: str) -> None:
    """Refuse a slide that ends before the result's last cell begins."""
    rows, columns = grid.shape
    last = grid.cell(rows - 1, columns - 1)
    wide, high = int(volume.TotalPixelMatrixColumns), int(volume.TotalPixelMatrixRows)
    if last.x >= wide or last.y >= high:
        raise UnsupportedSlideError(
            name, f"the slide has {wide} x {high} px now: this result was made on another one"
        )


def _placed(grid: HeatmapGrid, volume: "Dataset", name: str) -> _Place:
    """Spacing (row, column), place of the first cell's centre, and orientation; all in mm."""
    try:
        shared = volume.SharedFunctionalGroupsSequence[0]
        row_mm, column_mm = (float(mm) for mm in shared.PixelMeasuresSequence[0].PixelSpacing)
        origin = volume.TotalPixelMatrixOriginSequence[0]
        start = np.array(
            [
                float(origin.XOffsetInSlideCoordinateSystem),
                float(origin.YOffsetInSlideCoordinateSystem),
                float(origin.get("ZOffsetInSlideCoordinateSystem", 0) or 0),
            ]
        )
        orientation = tuple(float(cosine) for cosine in volume.ImageOrientationSlide)
    except (AttributeError, IndexError) as error:
        raise UnsupportedSlideError(name, f"it does not say where it is ({error})") from error
    width, height = grid.cell_level0
    # Positions are those of centres: of the first pixel, and of the first cell.
    x = grid.origin_level0.x + width / 2 - 0.5
    y = grid.origin_level0.y + height / 2 - 0.5
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    place = start + along_row * x * column_mm + along_column * y * row_mm
    # DICOM gives decimal numbers sixteen characters; a nanometre is more than enough.
    position = tuple(round(float(mm), 6) for mm in place)
    return (_decimal(row_mm * height), _decimal(column_mm * width)), position, orientation


def _decimal(value: float) -> float:
    return float(f"{value:.10g}")


def _thickness(volume: "Dataset") -> float:
    measures = volume.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    return float(measures.get("SliceThickness", 0.001) or 0.001)


def _values(layer: HeatmapLayer) -> Any:
    """(1, rows, columns, classes) float32 without NaN."""
    values = np.moveaxis(layer.values_chw, 0, -1)[None]
    return np.nan_to_num(values, nan=NOT_LOOKED_AT).astype(np.float32)


def _meaning(highdicom: Any, kind: str, name: str) -> Any:
    from pydicom.sr.codedict import codes

    return highdicom.pm.RealWorldValueMapping(
        lut_label=name[:16],
        lut_explanation=f"{kind} of {name}, 0 to 1; -1 where nothing was computed"[:64],
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
    )


def _code_string(text: str) -> str:
    allowed = (char if char.isascii() and char.isalnum() else "_" for char in text.upper())
    return "".join(allowed)[:16]
