"""Hotspots: connected areas of high score, most suspicious first."""

from collections.abc import Iterable

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from wsi.geometry import Point
from wsi.storage import HeatmapGrid, Hotspot

_EIGHT = np.ones((3, 3), dtype=bool)


def find_hotspots(
    probability_chw: NDArray[np.float32],
    grid: HeatmapGrid,
    classes: tuple[str, ...],
    wanted: Iterable[str],
    *,
    threshold: float = 0.5,
    limit: int = 50,
) -> tuple[Hotspot, ...]:
    """Areas whose score reaches ``threshold``, eight-connected, ranked by highest score.

    Args:
        probability_chw: (classes, rows, columns) in [0, 1], NaN where nothing was looked at.
        grid: where the cells lie.
        classes: names along the first axis.
        wanted: the classes whose hotspots are of interest.
        threshold: lowest score of a cell.
        limit: how many hotspots at most.
    """
    spots = [
        spot
        for name in wanted
        for spot in _of_class(probability_chw[classes.index(name)], grid, name, threshold)
    ]
    spots.sort(key=lambda spot: (spot.score, spot.mean_score, spot.area_um2), reverse=True)
    return tuple(spots[:limit])


def _of_class(
    scores_hw: NDArray[np.float32], grid: HeatmapGrid, name: str, threshold: float
) -> list[Hotspot]:
    with np.errstate(invalid="ignore"):
        labels, _count = ndimage.label(scores_hw >= threshold, structure=_EIGHT)
    width, height = grid.cell_level0
    um_per_level0 = grid.mpp / width
    spots = []
    for index, (ys, xs) in enumerate(ndimage.find_objects(labels), start=1):
        inside = labels[ys, xs] == index
        values = np.where(inside, scores_hw[ys, xs], -1)
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        centre = grid.cell(ys.start + int(row), xs.start + int(column))
        spots.append(
            Hotspot(
                polygon_level0=_outline(inside, ys.start, xs.start, grid),
                centre_level0=Point(centre.x + width / 2, centre.y + height / 2),
                class_name=name,
                score=float(values.max()),
                mean_score=float(values[inside].mean()),
                area_um2=float(inside.sum() * width * height * um_per_level0**2),
            )
        )
    return spots


def _outline(
    inside: NDArray[np.bool_], row0: int, column0: int, grid: HeatmapGrid
) -> tuple[tuple[float, float], ...]:
    """The outer ring of the cells, as level-0 coordinates. Holes are filled."""
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
    ring = shapely.simplify(shapely.Polygon(area.exterior), 0).exterior.coords
    width, height = grid.cell_level0
    return tuple(
        (
            round(grid.origin_level0.x + (column0 + x) * width, 2),
            round(grid.origin_level0.y + (row0 + y) * height, 2),
        )
        for x, y in ring
    )
