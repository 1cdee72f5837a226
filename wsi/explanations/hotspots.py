"""Hotspots: connected areas of high score, most suspicious first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from wsi.geometry import Point
from wsi.models.aggregators import slide_classes
from wsi.storage import HeatmapGrid, Hotspot
from wsi.tissue import TissueMask

THRESHOLD = 0.5
"""Score from which a cell belongs to a hotspot, where the model card names none."""

LISTED = 50
"""Hotspots that a result lists; the others are counted."""

_EIGHT = np.ones((3, 3), dtype=bool)
_TOUCHES = 1e-3  # Share of tissue below which a cell has none: it only touches it.
_SHOWN = 100  # Scores that show the same two digits rank by area: 0.998 is no more than 0.996.

_Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Hotspots:
    """What was found on a slide.

    Attributes:
        listed: the most suspicious ones, first first.
        total: how many there are in all.
        area_um2: tissue in all of them, square micrometres.
        threshold: score from which a cell belongs to one.
    """

    listed: tuple[Hotspot, ...]
    total: int
    area_um2: float
    threshold: float

    def of_result(self) -> dict[str, Any]:
        """These as arguments of ``SlideResult``."""
        return {
            "hotspots": self.listed,
            "hotspot_total": self.total,
            "hotspot_area_um2": self.area_um2,
            "hotspot_threshold": self.threshold,
        }


def find_hotspots(
    probability_chw: NDArray[np.float32],
    grid: HeatmapGrid,
    classes: tuple[str, ...],
    malignant: Sequence[str],
    tissue: TissueMask,
    *,
    threshold: float | None = None,
    limit: int = LISTED,
) -> Hotspots:
    """Areas of tissue whose score reaches the threshold, eight-connected.

    The score of a cell is that of all malignant classes together: half in situ and half invasive
    is no less malignant than either. Each area belongs to one class, and no cell to two areas.
    Where no class is known to be malignant, areas of each class but the first, the normal one,
    are found one class after the other.

    They are ranked by highest score as it is shown (two digits), then by area.

    Args:
        probability_chw: (classes, rows, columns) in [0, 1], NaN where nothing was looked at.
        grid: where the cells lie.
        classes: names along the first axis.
        malignant: those that are malignant, most severe first; empty where none is known to be.
        tissue: of the slide; cells without any do not belong to a hotspot.
        threshold: lowest score of a cell; ``THRESHOLD`` where it is ``None``.
        limit: how many hotspots are listed at most.
    """
    least = THRESHOLD if threshold is None else threshold
    area_hw = _tissue_um2(tissue, grid)
    looked_at = np.where(area_hw > 0, probability_chw, np.nan)
    if malignant:
        together = looked_at[[classes.index(name) for name in malignant]]
        scores_hw = np.clip(together.sum(axis=0), 0, 1)
        leading_hw = _leading(together, scores_hw, least)
        maps = {
            name: np.where(leading_hw == index, scores_hw, np.nan)
            for index, name in enumerate(malignant)
        }
    else:
        maps = {name: looked_at[classes.index(name)] for name in slide_classes(classes)[1:]}
    found = [area for name, own in maps.items() for area in _areas(own, area_hw, name, least)]
    found.sort(key=_rank, reverse=True)
    return Hotspots(
        listed=tuple(_hotspot(area, grid, tissue) for area in found[:limit]),
        total=len(found),
        area_um2=float(sum(area.um2_hw.sum() for area in found)),
        threshold=least,
    )


@dataclass(frozen=True, kw_only=True)
class _Area:
    """An area in cells, before it is drawn.

    Attributes:
        row, column: top left of its bounding box.
        inside: (rows, columns) of the box, which cells belong to it.
        um2_hw: tissue in each of those, 0 elsewhere.
    """

    class_name: str
    row: int
    column: int
    inside: NDArray[np.bool_]
    um2_hw: NDArray[np.float64]
    score: float
    mean_score: float


def _rank(area: _Area) -> tuple[int, float, float]:
    shown = min(_SHOWN - 1, int(area.score * _SHOWN + 0.5))
    return shown, float(area.um2_hw.sum()), area.mean_score


def _tissue_um2(tissue: TissueMask, grid: HeatmapGrid) -> NDArray[np.float64]:
    """(rows, columns): tissue in each cell, square micrometres; outside the slide there is none."""
    width, height = grid.cell_level0
    rows, columns = np.indices(grid.shape)
    origins_n2 = np.stack(
        [
            grid.origin_level0.x + columns.ravel() * width,
            grid.origin_level0.y + rows.ravel() * height,
        ],
        axis=1,
    )
    um_per_level0 = grid.mpp / width
    share_hw = tissue.shares(origins_n2, width, height).reshape(grid.shape)
    share_hw[share_hw < _TOUCHES] = 0.0
    return np.asarray(share_hw * (width * height * um_per_level0**2), np.float64)


def _leading(
    together_mhw: NDArray[np.floating], scores_hw: NDArray[np.floating], threshold: float
) -> NDArray[np.int64]:
    """(rows, columns): which malignant class a cell counts for; -1 below the threshold.

    A cell in which one class alone reaches the threshold counts for it. One that reaches it only
    by several goes with the nearest such cell of its area; an area without any is its leading
    class's as a whole. So a doubtful area does not fall apart into specks of either class.
    """
    with np.errstate(invalid="ignore"):
        areas_hw, _count = ndimage.label(scores_hw >= threshold, structure=_EIGHT)
        known = np.nan_to_num(together_mhw, nan=0.0)
        best_hw = known.argmax(axis=0)
        alone_hw = (known.max(axis=0) >= threshold) & (areas_hw > 0)
    leading_hw = np.where(alone_hw, best_hw, -1)
    for index, place in enumerate(ndimage.find_objects(areas_hw), start=1):
        inside = areas_hw[place] == index
        decided = alone_hw[place] & inside
        open_cells = inside & ~decided
        if not open_cells.any():
            continue
        part = leading_hw[place]
        if decided.any():
            nearest = ndimage.distance_transform_edt(
                ~decided, return_distances=False, return_indices=True
            )
            part[open_cells] = part[tuple(nearest)][open_cells]
        else:
            part[open_cells] = known[:, *place][:, inside].mean(axis=1).argmax()
    return leading_hw


def _areas(
    scores_hw: NDArray[np.floating], area_hw: NDArray[np.float64], name: str, threshold: float
) -> list[_Area]:
    with np.errstate(invalid="ignore"):
        labels, _count = ndimage.label(scores_hw >= threshold, structure=_EIGHT)
    areas = []
    for index, (ys, xs) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[ys, xs] == index
        values = scores_hw[ys, xs][inside]
        areas.append(
            _Area(
                class_name=name,
                row=ys.start,
                column=xs.start,
                inside=inside,
                um2_hw=np.where(inside, area_hw[ys, xs], 0.0),
                score=float(values.max()),
                mean_score=float(values.mean()),
            )
        )
    return areas


def _hotspot(area: _Area, grid: HeatmapGrid, tissue: TissueMask) -> Hotspot:
    outer, holes = _outline(area.inside, area.row, area.column, grid, tissue)
    return Hotspot(
        polygon_level0=outer,
        holes_level0=holes,
        centre_level0=_middle(area.um2_hw, area.row, area.column, grid, tissue),
        class_name=area.class_name,
        score=area.score,
        mean_score=area.mean_score,
        area_um2=float(area.um2_hw.sum()),
    )


def _middle(
    areas_hw: NDArray[np.float64], row0: int, column0: int, grid: HeatmapGrid, tissue: TissueMask
) -> Point:
    """The centre of the area's tissue; where that lies outside of it, the nearest cell's middle.

    Args:
        areas_hw: tissue in each cell of the area's bounding box, 0 outside the area.
    """
    weights = areas_hw / areas_hw.sum()
    row = float((weights.sum(axis=1) * (np.arange(areas_hw.shape[0]) + 0.5)).sum())
    column = float((weights.sum(axis=0) * (np.arange(areas_hw.shape[1]) + 0.5)).sum())
    # Cells that are mostly glass are no place to look at.
    full = areas_hw >= areas_hw.max() / 2
    if not full[int(row), int(column)]:
        rows, columns = np.nonzero(full)
        nearest = int(np.hypot(rows + 0.5 - row, columns + 0.5 - column).argmin())
        row, column = rows[nearest] + 0.5, columns[nearest] + 0.5
    ((x, y),) = _level0(np.array([[column0 + column, row0 + row]]), grid, tissue)
    return Point(x, y)


def _outline(
    inside: NDArray[np.bool_], row0: int, column0: int, grid: HeatmapGrid, tissue: TissueMask
) -> tuple[_Ring, tuple[_Ring, ...]]:
    """Outer ring and holes of the cells, as level-0 coordinates, clipped to the slide."""
    boxes = []
    for row, line in enumerate(inside):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.view(np.int8), [0]])))
        boxes += [
            shapely.box(start, row, stop, row + 1)
            for start, stop in zip(edges[::2], edges[1::2], strict=True)
        ]
    area = shapely.union_all(boxes)
    # Cells that touch at a corner only are joined by a hair's breadth.
    if area.geom_type != "Polygon":
        area = shapely.union_all([area.buffer(1e-3, join_style="mitre")])

    rings = shapely.simplify(shapely.polygons(shapely.get_rings(area)), 0)
    start = np.array([column0, row0])
    outer, *holes = (_level0(shapely.get_coordinates(one) + start, grid, tissue) for one in rings)
    return outer, tuple(holes)


def _level0(cells_n2: NDArray[np.float64], grid: HeatmapGrid, tissue: TissueMask) -> _Ring:
    """Places (column, row) as level-0 pixels inside the slide, to a hundredth of a pixel."""
    origin = (grid.origin_level0.x, grid.origin_level0.y)
    inside = (cells_n2 * grid.cell_level0 + origin).clip(0, (tissue.size.width, tissue.size.height))
    return tuple((float(x), float(y)) for x, y in inside.round(2))
