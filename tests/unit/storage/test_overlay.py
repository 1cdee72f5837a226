"""A heatmap over a thumbnail lies where its cells lie, in the colours of the map."""

import matplotlib as mpl
import numpy as np
import pytest

from wsi.errors import ConfigError
from wsi.geometry import Point, Size
from wsi.storage import HeatmapGrid
from wsi.storage.overlay import colorize, render_overlay

WHITE = np.full((100, 200, 3), 255, np.uint8)
SLIDE = Size(2000, 1000)


def grid(shape: tuple[int, int], origin: Point, cell: float) -> HeatmapGrid:
    return HeatmapGrid(origin_level0=origin, cell_level0=(cell, cell), shape=shape, mpp=cell / 2)


def test_colours_are_those_of_inferno() -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32)
    expected = mpl.colormaps["inferno"](values)[:, :3] * 255
    assert np.abs(colorize(values) - expected).max() <= 3


def test_colour_lies_on_the_pixels_under_its_cell_and_nowhere_else() -> None:
    values = np.zeros((2, 3), np.float32)
    values[1, 2] = 1.0
    drawn = render_overlay(WHITE, SLIDE, grid((2, 3), Point(500, 200), 100), values, 1.0)
    changed = (drawn != 255).any(axis=2)
    # Cell (1, 2): level-0 x 700 to 800, y 300 to 400; the thumbnail is a tenth of the slide.
    assert changed[30:40, 70:80].all()
    assert changed.sum() == 100


def test_what_was_not_looked_at_and_what_scored_nothing_stay_as_they_are() -> None:
    values = np.array([[np.nan, 0.0]], np.float32)
    drawn = render_overlay(WHITE, SLIDE, grid((1, 2), Point(0, 0), 1000), values, 1.0)
    assert np.array_equal(drawn, WHITE)


def test_opacity_mixes_with_the_tissue() -> None:
    values = np.ones((1, 2), np.float32)
    where = grid((1, 2), Point(0, 0), 1000)
    full, half, none = (render_overlay(WHITE, SLIDE, where, values, a) for a in (1.0, 0.5, 0.0))
    assert np.array_equal(none, WHITE)
    assert np.abs(half.astype(float) - (full.astype(float) + 255) / 2).max() <= 1


def test_values_of_another_shape_or_opacity_are_refused() -> None:
    where = grid((1, 2), Point(0, 0), 1000)
    with pytest.raises(ConfigError, match="grid"):
        render_overlay(WHITE, SLIDE, where, np.ones((2, 2), np.float32))
    with pytest.raises(ConfigError, match="alpha"):
        render_overlay(WHITE, SLIDE, where, np.ones((1, 2), np.float32), 1.5)
