"""From polygons to labels of patches and cells."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi.annotations.annotation import Annotations
from wsi.errors import ConfigError
from wsi.geometry import Size

NO_LABEL = -1
"""The label of what no polygon covers enough."""


def overlaps(
    annotations: Annotations,
    origins_n2: NDArray[np.floating | np.integer],
    width: float,
    height: float,
    classes: Sequence[str],
) -> NDArray[np.float64]:
    """Share of each patch that each class covers, exact.

    Args:
        annotations: points and lines in them have no area and cover nothing.
        origins_n2: (N, 2) top left corners, level-0 px.
        width, height: of the patches, level-0 px.
        classes: C names.

    Returns:
        (N, C) float64 in 0..1; classes may overlap.
    """
    x, y = np.asarray(origins_n2, np.float64).T
    boxes = shapely.box(x, y, x + width, y + height)
    tree = shapely.STRtree(boxes)
    shares = np.zeros((len(boxes), len(classes)))
    for c, name in enumerate(classes):
        area = annotations.area(name)
        if area.is_empty:
            continue
        shapely.prepare(area)
        # Most patches lie wholly inside or outside: only those on an outline are cut.
        touched = tree.query(area, predicate="intersects")
        within = shapely.covers(area, boxes[touched])
        shares[touched[within], c] = 1.0
        edge = touched[~within]
        shares[edge, c] = shapely.area(shapely.intersection(boxes[edge], area)) / (width * height)
    return shares


def label_patches(
    annotations: Annotations,
    origins_n2: NDArray[np.floating | np.integer],
    width: float,
    height: float,
    classes: Sequence[str],
    *,
    min_overlap: float = 0.5,
    unlabelled: str | None = None,
) -> NDArray[np.int64]:
    """The class of each patch.

    Args:
        annotations: of the slide.
        origins_n2: (N, 2) top left corners, level-0 px.
        width, height: of the patches, level-0 px.
        classes: names in order of their labels. Where several cover a patch enough, the last one
            wins: put what is drawn inside other areas (cancer in tissue) behind them.
        min_overlap: share of a patch that a class must cover.
        unlabelled: class of patches that no polygon covers enough; ``None`` leaves them out.

    Returns:
        (N,) int64 index in ``classes``, or ``NO_LABEL``.

    Raises:
        ConfigError: ``unlabelled`` is no class, or ``min_overlap`` not in 0..1.
    """
    if not 0 < min_overlap <= 1:
        raise ConfigError(f"min_overlap must be over 0 and at most 1, got {min_overlap}")
    labels = np.full(len(origins_n2), _rest(classes, unlabelled), np.int64)
    shares = overlaps(annotations, origins_n2, width, height, classes)
    for c in range(len(classes)):
        labels[shares[:, c] >= min_overlap - 1e-9] = c
    return labels


def rasterize(
    annotations: Annotations,
    slide_size: Size,
    shape: tuple[int, int],
    classes: Sequence[str],
    *,
    unlabelled: str | None = None,
) -> NDArray[np.int16]:
    """The class under the centre of each cell of a grid that covers the slide.

    Args:
        annotations: of the slide.
        slide_size: level-0 size.
        shape: (rows, cols) of the grid.
        classes, unlabelled: as in ``label_patches``.

    Returns:
        ``shape`` int16: index in ``classes``, or ``NO_LABEL``.
    """
    rows, cols = shape
    cell_x, cell_y = slide_size.width / cols, slide_size.height / rows
    grid = np.full(shape, _rest(classes, unlabelled), np.int16)
    for c, name in enumerate(classes):
        for part in shapely.get_parts(annotations.area(name)):
            left, top, right, bottom = part.bounds
            c0, c1 = max(0, int(left / cell_x)), min(cols, int(right / cell_x) + 1)
            r0, r1 = max(0, int(top / cell_y)), min(rows, int(bottom / cell_y) + 1)
            if c1 <= c0 or r1 <= r0:
                continue
            x, y = np.meshgrid(
                (np.arange(c0, c1) + 0.5) * cell_x, (np.arange(r0, r1) + 0.5) * cell_y
            )
            shapely.prepare(part)
            grid[r0:r1, c0:c1][shapely.contains_xy(part, x, y)] = c
    return grid


def _rest(classes: Sequence[str], unlabelled: str | None) -> int:
    if unlabelled is None:
        return NO_LABEL
    if unlabelled not in classes:
        raise ConfigError(
            f"unlabelled is {unlabelled!r}, no class; there are: {', '.join(classes)}"
        )
    return list(classes).index(unlabelled)
