"""Hotspots of a result set against annotated lesions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsi.annotations import (
    AnnotationSpec,
    describe_overlaps,
    label_areas,
    rasterize,
    read_annotations,
)
from wsi.errors import DatasetError
from wsi.evaluation.bootstrap import Bootstrap, Estimate
from wsi.evaluation.froc import Detections, Froc, Lesions, find_lesions, froc, froc_interval
from wsi.evaluation.result_set import ResultSet, StoredResult
from wsi.geometry import Region, Size

_CELL_UM = 7.8  # about the challenge's: level 5 at 0.243 um
_ENDINGS = (".geojson", ".xml", ".json")


@dataclass(frozen=True, kw_only=True)
class Localization:
    """How well hotspots find lesions.

    Attributes:
        curve: FROC.
        score: its score with an interval by slide.
        slides: how many were judged.
        lesions: how many had to be found.
        unannotated: slides without an annotation file, taken as free of lesions.
        left_out: slides without heatmap, such as those without tissue.
        notes: what was cut, ignored or decided when the annotations were read.
    """

    curve: Froc
    score: Estimate
    slides: int
    lesions: int
    unannotated: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


def localize(
    results: ResultSet,
    annotations: Path,
    *,
    positive: str,
    lesions: Sequence[str],
    holes: Sequence[str] = (),
    bootstrap: Bootstrap | None = None,
) -> Localization:
    """FROC of the hotspots of one class.

    Args:
        results: of the slides.
        annotations: folder of ``SLIDE.geojson``, ``.xml`` or ``.json`` files; a slide that has
            none is taken as free of lesions.
        positive: class of the hotspots.
        lesions: annotation classes that are lesions.
        holes: annotation classes that are cut out of them, beside those that a format itself cuts
            out, such as Camelyon16's ``_2``.
        bootstrap: how the interval is made.

    Raises:
        DatasetError: no slide has a heatmap, or there is no such folder.
        AnnotationError: an annotation cannot be read.
    """
    if not annotations.is_dir():
        raise DatasetError(f"{annotations}: there is no such folder of annotations")
    judged, names, unannotated, left_out = [], [], [], []
    notes: list[str] = []
    for name, result in results.results.items():
        if not result.data.get("grid"):
            left_out.append(name)
            continue
        path = next((p for e in _ENDINGS if (p := annotations / f"{name}{e}").is_file()), None)
        if path is None:
            unannotated.append(name)
        found, told = _lesions(result, path, lesions, holes)
        notes += [f"{name}: {line}" for line in told]
        judged.append((found, _detections(result, positive)))
        names.append(name)
    if not judged:
        raise DatasetError(f"{results.title}: no slide has a heatmap")
    return Localization(
        curve=froc(judged),
        score=froc_interval(judged, np.array(names, np.str_), bootstrap),
        slides=len(judged),
        lesions=sum(found.count for found, _ in judged),
        unannotated=tuple(unannotated),
        left_out=tuple(left_out),
        notes=tuple(notes),
    )


def _lesions(
    result: StoredResult, path: Path | None, wanted: Sequence[str], holes: Sequence[str]
) -> tuple[Lesions, list[str]]:
    """The lesions on a grid over all that the heatmap covers, and what to tell of them."""
    grid = result.data["grid"]
    cell_x, cell_y = grid["cell_level0"]
    rows, columns = grid["shape"]
    size = Size(round(columns * cell_x), round(rows * cell_y))
    level0_per_cell = _CELL_UM * cell_x / grid["mpp"]
    shape = (
        max(1, round(size.height / level0_per_cell)),
        max(1, round(size.width / level0_per_cell)),
    )
    cell = (size.width / shape[1], size.height / shape[0])
    tumour = np.zeros(shape, bool)
    notes: list[str] = []
    if path is not None:
        # The heatmap may end a little before or behind the slide: nothing is checked against it.
        bounds = result.data.get("scanned_bounds_level0")
        spec = AnnotationSpec(exclusions=tuple(holes))
        drawn = read_annotations(path, None, spec, bounds=Region(*bounds) if bounds else None)
        drawn.require(*wanted)
        areas = label_areas(drawn)
        tumour = rasterize(areas, size, shape, wanted) >= 0
        notes = [*drawn.warnings, *describe_overlaps(areas.overlaps)]
    return find_lesions(tumour, _CELL_UM, cell), notes


def _detections(result: StoredResult, positive: str) -> Detections:
    spots = [spot for spot in result.data["hotspots"] if spot["class_name"] == positive]
    centres = [[spot["centre_level0"]["x"], spot["centre_level0"]["y"]] for spot in spots]
    return Detections(
        xy_n2=np.array(centres, np.float64).reshape(-1, 2),
        confidence_n=np.array([spot["score"] for spot in spots], np.float64),
    )
