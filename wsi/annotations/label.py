"""From polygons to labels of patches and cells, by the one rule of ``wsi.annotations.rule``."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import Annotations
from wsi.annotations.rule import LabelAreas, label_areas
from wsi.errors import ConfigError
from wsi.geometry import Size

NO_LABEL = -1
"""The label of what no polygon covers enough."""


def overlaps(
    drawn: LabelAreas | Annotations,
    origins_n2: NDArray[np.floating | np.integer],
    width: float,
    height: float,
    classes: Sequence[str],
) -> NDArray[np.float64]:
    """Share of each patch that each class covers, exact.

    Args:
        drawn: areas, or annotations to take them from.
        origins_n2: (N, 2) top left corners, level-0 px.
        width, height: of the patches, level-0 px.
        classes: C names.

    Returns:
        (N, C) float64 in 0..1; a row sums to at most 1, as every place has one class.
    """
    areas = _areas(drawn)
    shares = [shares_of(areas.area(name), origins_n2, width, height) for name in classes]
    return np.stack(shares, axis=1) if shares else np.zeros((len(origins_n2), 0))


def shares_of(
    area: BaseGeometry,
    origins_n2: NDArray[np.floating | np.integer],
    width: float,
    height: float,
) -> NDArray[np.float64]:
    """Share of each patch that an area covers, (N,) float64 in 0..1."""
    x, y = np.asarray(origins_n2, np.float64).reshape(-1, 2).T
    boxes = shapely.box(x, y, x + width, y + height)
    shares = np.zeros(len(boxes))
    if area.is_empty:
        return shares
    shapely.prepare(area)
    # Most patches lie wholly inside or outside: only those on an outline are cut.
    touched = shapely.STRtree(boxes).query(area, predicate="intersects")
    within = shapely.covers(area, boxes[touched])
    shares[touched[within]] = 1.0
    edge = touched[~within]
    shares[edge] = shapely.area(shapely.intersection(boxes[edge], area)) / (width * height)
    return shares


def largest_share(shares_nc: NDArray[np.float64], min_share: float) -> NDArray[np.int64]:
    """The class that covers most of each patch, if that is enough.

    Args:
        shares_nc: (N, C) of ``overlaps``.
        min_share: least share.

    Returns:
        (N,) int64 index of the class, or ``NO_LABEL``. Of two classes with the same share it is
        the one named last: classes go from harmless to severe.
    """
    labels = np.full(len(shares_nc), NO_LABEL, np.int64)
    if shares_nc.shape[1]:
        # What areas of one slide cover is known to rounding only.
        level = np.round(shares_nc, 9)
        last = level.shape[1] - 1 - level[:, ::-1].argmax(1)
        enough = level.max(1) >= min_share - 1e-9
        labels[enough] = last[enough]
    return labels


def label_patches(
    drawn: LabelAreas | Annotations,
    origins_n2: NDArray[np.floating | np.integer],
    width: float,
    height: float,
    classes: Sequence[str],
    *,
    min_overlap: float = 0.5,
    unlabelled: str | None = None,
) -> NDArray[np.int64]:
    """The class of each patch: the one that covers most of it, see ``largest_share``.

    Args:
        drawn: areas, or annotations to take them from.
        origins_n2: (N, 2) top left corners, level-0 px.
        width, height: of the patches, level-0 px.
        classes: names in order of their labels.
        min_overlap: share of a patch that a class must cover.
        unlabelled: class of patches that no polygon covers enough; ``None`` leaves them out, and
            so are those that lie in areas that are left out.

    Returns:
        (N,) int64 index in ``classes``, or ``NO_LABEL``.

    Raises:
        ConfigError: ``unlabelled`` is no class, or ``min_overlap`` not in 0..1.
    """
    if not 0 < min_overlap <= 1:
        raise ConfigError(f"min_overlap must be over 0 and at most 1, got {min_overlap}")
    rest, areas = _rest(classes, unlabelled), _areas(drawn)
    labels = largest_share(overlaps(areas, origins_n2, width, height, classes), min_overlap)
    left_out_n = shares_of(areas.left_out, origins_n2, width, height) >= min_overlap - 1e-9
    return np.where((labels == NO_LABEL) & ~left_out_n, rest, labels)


def rasterize(
    drawn: LabelAreas | Annotations,
    slide_size: Size,
    shape: tuple[int, int],
    classes: Sequence[str],
    *,
    unlabelled: str | None = None,
) -> NDArray[np.int16]:
    """The class under the centre of each cell of a grid that covers the slide.

    Args:
        drawn: areas, or annotations to take them from.
        slide_size: level-0 size.
        shape: (rows, cols) of the grid.
        classes, unlabelled: as in ``label_patches``.

    Returns:
        ``shape`` int16: index in ``classes``, or ``NO_LABEL``.
    """
    areas = _areas(drawn)
    grid = np.full(shape, _rest(classes, unlabelled), np.int16)
    for c, name in enumerate(classes):
        _paint(grid, areas.area(name), slide_size, c)
    _paint(grid, areas.left_out, slide_size, NO_LABEL)
    return grid


def _paint(grid: NDArray[np.int16], area: BaseGeometry, slide_size: Size, value: int) -> None:
    rows, cols = grid.shape
    cell_x, cell_y = slide_size.width / cols, slide_size.height / rows
    for part in shapely.get_parts(area):
        left, top, right, bottom = part.bounds
        c0, c1 = max(0, int(left / cell_x)), min(cols, int(right / cell_x) + 1)
        r0, r1 = max(0, int(top / cell_y)), min(rows, int(bottom / cell_y) + 1)
        if c1 <= c0 or r1 <= r0:
            continue
        x, y = np.meshgrid((np.arange(c0, c1) + 0.5) * cell_x, (np.arange(r0, r1) + 0.5) * cell_y)
        shapely.prepare(part)
        grid[r0:r1, c0:c1][shapely.contains_xy(part, x, y)] = value


def _areas(drawn: LabelAreas | Annotations) -> LabelAreas:
    return label_areas(drawn) if isinstance(drawn, Annotations) else drawn


def _rest(classes: Sequence[str], unlabelled: str | None) -> int:
    if unlabelled is None:
        return NO_LABEL
    if unlabelled not in classes:
        raise ConfigError(
            f"unlabelled is {unlabelled!r}, which is not a class; choose from: {', '.join(classes)}"
        )
    return list(classes).index(unlabelled)
