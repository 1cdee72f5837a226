"""Hotspots: which there are, where they lie, how large they are."""

import dataclasses

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi.explanations import Hotspots, find_hotspots
from wsi.geometry import Point, Size
from wsi.storage import HeatmapGrid, Hotspot
from wsi.tissue import TissueMask

GRID = HeatmapGrid(origin_level0=Point(0, 0), cell_level0=(100.0, 100.0), shape=(6, 8), mpp=50.0)
SLIDE = Size(800, 600)
ALL_TISSUE = TissueMask(mask=np.ones((60, 80), bool), size=SLIDE)
CLASSES = ("normal", "in situ", "invasive")
SEVERE = ("invasive", "in situ")


def of_cancer(
    scores: NDArray[np.float32],
    tissue: TissueMask = ALL_TISSUE,
    grid: HeatmapGrid = GRID,
    threshold: float | None = None,
    limit: int = 50,
) -> Hotspots:
    """Hotspots of a model that knows benign and cancer."""
    values = np.stack([1 - scores, scores])
    return find_hotspots(
        values, grid, ("benign", "cancer"), ("cancer",), tissue, threshold=threshold, limit=limit
    )


def zeros() -> NDArray[np.float32]:
    return np.zeros(GRID.shape, np.float32)


def drawn(spot: Hotspot) -> shapely.Polygon:
    return shapely.Polygon(spot.polygon_level0, spot.holes_level0)


def test_they_are_connected_areas_ranked_by_score() -> None:
    scores = np.full(GRID.shape, 0.1, np.float32)
    scores[0:2, 0:3] = 0.7
    scores[4, 6] = 0.95
    scores[5, 7] = 0.6  # touches it at a corner: the same hotspot
    scores[3, 0] = np.nan
    found = of_cancer(scores)
    assert [round(spot.score, 2) for spot in found.listed] == [0.95, 0.7]
    first, second = found.listed
    assert first.area_um2 == pytest.approx(2 * 50 * 50)
    assert second.area_um2 == pytest.approx(6 * 50 * 50)
    assert second.centre_level0 == Point(150, 100)
    assert drawn(second).equals(shapely.box(0, 0, 300, 200))
    assert second.class_name == "cancer"
    assert (found.total, found.area_um2) == (2, pytest.approx(8 * 50 * 50))


def test_a_hole_is_in_the_outline_as_in_the_area_and_the_centre_is_no_hole() -> None:
    scores = zeros()
    scores[1:4, 1:4] = 0.9
    scores[2, 2] = 0.0
    (spot,) = of_cancer(scores).listed
    assert drawn(spot).equals(shapely.box(100, 100, 400, 400) - shapely.box(200, 200, 300, 300))
    assert spot.area_um2 == pytest.approx(8 * 50 * 50)
    assert drawn(spot).area * 0.5**2 == pytest.approx(spot.area_um2)
    assert drawn(spot).contains(shapely.Point(spot.centre_level0.x, spot.centre_level0.y))


def test_the_centre_is_the_middle_of_a_saturated_area_and_not_its_first_cell() -> None:
    scores = zeros()
    scores[0:5, 1:8] = 1.0
    (spot,) = of_cancer(scores).listed
    assert spot.centre_level0 == Point(450, 250)


def test_glass_and_what_lies_beyond_the_slide_are_no_area() -> None:
    # A slide of 750 x 550 px, whose left half is tissue; cells reach 50 px beyond it both ways.
    mask = np.zeros((55, 75), bool)
    mask[:, :35] = True
    tissue = TissueMask(mask=mask, size=Size(750, 550))
    (spot,) = of_cancer(np.ones(GRID.shape, np.float32), tissue).listed
    assert spot.area_um2 == pytest.approx(350 * 550 * 0.5**2)
    # Cells without any tissue are not within the outline; one that has some is.
    assert drawn(spot).equals(shapely.box(0, 0, 400, 550))


def test_the_tissue_at_an_edge_is_not_counted_beyond_it() -> None:
    tissue = TissueMask(mask=np.ones((55, 75), bool), size=Size(750, 550))
    (spot,) = of_cancer(np.ones(GRID.shape, np.float32), tissue).listed
    assert spot.area_um2 == pytest.approx(tissue.area_px * 0.5**2)
    assert drawn(spot).equals(shapely.box(0, 0, 750, 550))


def test_a_grid_that_starts_outside_the_slide_is_clipped_too() -> None:
    grid = dataclasses.replace(GRID, origin_level0=Point(-50, -25))
    (spot,) = of_cancer(np.ones(GRID.shape, np.float32), grid=grid).listed
    assert drawn(spot).bounds == (0, 0, 750, 575)
    assert spot.area_um2 == pytest.approx(750 * 575 * 0.5**2)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0.02, 1),
    threshold=st.floats(0.05, 0.95),
    cell=st.floats(30, 300),
    shift=st.floats(-60, 60),
)
def test_hotspots_never_hold_more_than_the_tissue(
    seed: int, share: float, threshold: float, cell: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    size = Size(int(rng.integers(200, 900)), int(rng.integers(200, 900)))
    tissue = TissueMask(mask=rng.random((23, 31)) < share, size=size)
    shape = (int(900 / cell) + 2, int(900 / cell) + 2)
    grid = HeatmapGrid(
        origin_level0=Point(shift, -shift), cell_level0=(cell, cell), shape=shape, mpp=cell * 0.5
    )
    values = rng.dirichlet((1, 1, 1), shape).transpose(2, 0, 1).astype(np.float32)
    found = find_hotspots(values, grid, CLASSES, SEVERE, tissue, threshold=threshold)
    all_tissue = tissue.area_px * 0.5**2
    assert found.area_um2 <= all_tissue * (1 + 1e-9)
    for spot in found.listed:
        assert 0 < spot.area_um2 <= all_tissue * (1 + 1e-9)
        area = drawn(spot).buffer(0)
        assert area.difference(shapely.box(0, 0, size.width, size.height)).area == 0
        centre = shapely.Point(spot.centre_level0.x, spot.centre_level0.y)
        assert area.distance(centre) < 0.02


def test_malignant_classes_count_together_and_an_area_has_the_leading_one() -> None:
    values = np.zeros((3, *GRID.shape), np.float32)
    values[0] = 1
    values[:, 1:3, 1:3] = np.array([0.1, 0.5, 0.4])[:, None, None]  # none of them alone is sure
    values[:, 1:3, 5:7] = np.array([0.2, 0.35, 0.45])[:, None, None]
    found = find_hotspots(values, GRID, CLASSES, SEVERE, ALL_TISSUE, threshold=0.6)
    assert [spot.class_name for spot in found.listed] == ["in situ", "invasive"]
    assert [spot.score for spot in found.listed] == pytest.approx([0.9, 0.8])


def test_an_area_is_cut_where_its_class_changes_and_not_into_specks() -> None:
    values = np.zeros((3, *GRID.shape), np.float32)
    values[0] = 1
    values[:, 2, 0:3] = np.array([0.1, 0.9, 0.0])[:, None]  # in situ
    values[:, 2, 3] = (0.1, 0.4, 0.5 - 1e-3)  # doubtful: goes with its neighbours
    values[:, 2, 4] = (0.1, 0.5 - 1e-3, 0.4)
    values[:, 2, 5:8] = np.array([0.1, 0.0, 0.9])[:, None]  # invasive
    found = find_hotspots(values, GRID, CLASSES, SEVERE, ALL_TISSUE)
    by_class = {spot.class_name: spot for spot in found.listed}
    assert drawn(by_class["in situ"]).equals(shapely.box(0, 200, 400, 300))
    assert drawn(by_class["invasive"]).equals(shapely.box(400, 200, 800, 300))


def test_without_a_known_malignant_class_each_but_the_first_is_looked_for() -> None:
    values = np.zeros((3, *GRID.shape), np.float32)
    values[1, 0, 0] = 0.8
    values[2, 5, 5] = 0.9
    found = find_hotspots(values, GRID, ("a", "b", "c"), (), ALL_TISSUE)
    assert [spot.class_name for spot in found.listed] == ["c", "b"]


def test_areas_of_one_shown_score_are_ranked_by_their_size() -> None:
    scores = zeros()
    scores[0, 0] = 1.0
    scores[3:6, 3:8] = 0.996
    first, second = of_cancer(scores).listed
    assert first.area_um2 > second.area_um2


def test_those_beyond_the_limit_are_counted() -> None:
    scores = zeros()
    scores[::2, ::2] = np.linspace(0.3, 0.9, 12).reshape(3, 4)
    found = of_cancer(scores, limit=3)
    assert (len(found.listed), found.total) == (3, 8)
    assert found.area_um2 == pytest.approx(8 * 50 * 50)
    assert found.threshold == 0.5
    nothing = of_cancer(scores, threshold=0.91)
    assert (nothing.listed, nothing.total, nothing.area_um2) == ((), 0, 0)
    assert nothing.of_result()["hotspot_threshold"] == 0.91
