"""A heatmap as a table: one line a cell that was looked at."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wsi.errors import ConfigError
from wsi.storage.results import SlideResult


def cell_columns(result: SlideResult, kind: str) -> dict[str, Sequence[Any]]:
    """Columns of equal length: ``row``, ``column``, ``x``, ``y``, ``width``, ``height`` (level-0
    pixels of the cell's rectangle), then one named ``kind class`` for each class.

    Raises:
        ConfigError: the result has no such layer.
    """
    layer, grid = result.layer(kind), result.grid
    if layer is None or grid is None:
        raise ConfigError(f"{result.slide}: the result has no heatmap {kind!r}")
    rows, columns = np.nonzero(~np.isnan(layer.values_chw).all(axis=0))
    width, height = grid.cell_level0
    return {
        "row": rows.astype(np.int32),
        "column": columns.astype(np.int32),
        "x": grid.origin_level0.x + columns * width,
        "y": grid.origin_level0.y + rows * height,
        "width": np.full(len(rows), width),
        "height": np.full(len(rows), height),
        **{
            f"{kind} {name}": values[rows, columns]
            for name, values in zip(result.classes, layer.values_chw, strict=True)
        },
    }
