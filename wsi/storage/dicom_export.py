"""Heatmaps as DICOM parametric maps that lie on the slide they were made from.

For slides that are DICOM themselves: only those have a frame of reference, a study and a patient
that a map can belong to. Needs highdicom (extra ``dicom``).
"""

import io
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsi.errors import ConfigError, MissingExtraError, UnsupportedSlideError
from wsi.storage.results import HeatmapGrid, HeatmapLayer, SlideResult

if TYPE_CHECKING:
    from pydicom import Dataset

NOT_LOOKED_AT = -1.0
"""What a value is where a heatmap has NaN; ``FloatPixelPaddingValue`` says so as well."""


def parametric_map(result: SlideResult, kind: str, source: Path, *, result_id: str) -> bytes:
    """One layer of a result: an instance with one channel a class, values as float32.

    Equal calls give equal UIDs, so that an archive that gets a map twice keeps it once.

    Args:
        result: has a layer of this kind.
        kind: such as ``probability``.
        source: the DICOM slide: a folder of instances, or one.
        result_id: names the result.

    Raises:
        MissingExtraError: highdicom is not installed.
        ConfigError: there is no such layer.
        UnsupportedSlideError: ``source`` is not the slide of this result, or states no spacing.
    """
    layer = result.layer(kind)
    if layer is None or result.grid is None:
        raise ConfigError(f"{result.slide}: the result has no heatmap {kind!r}")
    try:
        import highdicom
        from pydicom.uid import generate_uid
    except ImportError as error:
        raise MissingExtraError("DICOM export", "dicom") from error
    volume = _volume(source, result.slide)
    spacing, position, orientation = _placed(result.grid, volume, result.slide)
    highest = highdicom.PlanePositionSequence("SLIDE", position, (1, 1))
    made = highdicom.pm.ParametricMap(
        [volume],
        _values(layer),
        series_instance_uid=generate_uid(entropy_srcs=[result_id, "series"]),
        series_number=100,
        sop_instance_uid=generate_uid(entropy_srcs=[result_id, kind]),
        instance_number=1 + [item.kind for item in result.layers].index(kind),
        manufacturer="wholeslide",
        manufacturer_model_name=result.model[:64],
        software_versions=version("wholeslide"),
        device_serial_number=result.model_digest[:64],
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[[_meaning(highdicom, kind, name)] for name in result.classes],
        voi_lut_transformations=[highdicom.VOILUTTransformation(window_center=0.5, window_width=1)],
        content_label=_code_string(kind),
        content_description=f"{kind} by {result.pipeline}; research use only"[:64],
        pixel_measures=highdicom.PixelMeasuresSequence(spacing, _thickness(volume)),
        plane_orientation=highdicom.PlaneOrientationSequence("SLIDE", orientation),
        plane_positions=[highest],
        tile_pixel_array=True,
        tile_size=layer.values_chw.shape[1:],
        series_description=f"{result.pipeline} heatmaps"[:64],
    )
    made.FloatPixelPaddingValue = NOT_LOOKED_AT
    made.FloatPixelPaddingRangeLimit = NOT_LOOKED_AT
    sink = io.BytesIO()
    made.save_as(sink)
    return sink.getvalue()


def _volume(source: Path, name: str) -> "Dataset":
    """The header of the finest VOLUME instance."""
    import pydicom

    files = sorted(source.iterdir()) if source.is_dir() else [source]
    found = []
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        if "VOLUME" in header.get("ImageType", ()):
            found.append(header)
    if not found:
        raise UnsupportedSlideError(name, "it is no DICOM slide: there is nothing to lay a map on")
    return max(found, key=lambda header: int(header.TotalPixelMatrixColumns))


def _placed(
    grid: HeatmapGrid, volume: "Dataset", name: str
) -> tuple[tuple[float, float], tuple[float, ...], tuple[float, ...]]:
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
        raise UnsupportedSlideError(name, f"it does not say where it lies ({error})") from error
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
        lut_explanation=f"{kind} of {name}, 0 to 1; -1 where not looked at"[:64],
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
    )


def _code_string(text: str) -> str:
    allowed = (char if char.isascii() and char.isalnum() else "_" for char in text.upper())
    return "".join(allowed)[:16]
