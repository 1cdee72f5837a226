"""Features of probability maps drawn by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from wsi.models.aggregators import FEATURES, heatmap_features


def empty_map() -> np.ndarray:
    """20 x 30 cells of tissue on a map of 40 x 40."""
    values = np.full((40, 40), np.nan, np.float32)
    values[:20, :30] = 0.1
    return values


def test_names_are_those_of_the_published_tables(real_data: Path) -> None:
    path = real_data / "results" / "camelyon16_train_heatmap_features_tumor.csv"
    with path.open(newline="") as file:
        header = next(csv.reader(file))
    assert header == ["name", "tumor", *FEATURES]


def test_areas_are_shares_of_the_tissue_that_was_looked_at() -> None:
    values = empty_map()
    values[2:5, 4:14] = 0.75
    found = heatmap_features(values)
    assert found["ratio_cancer_tissue50"] == pytest.approx(30 / 600)
    assert found["ratio_cancer_tissue70"] == pytest.approx(30 / 600)
    assert found["ratio_cancer_tissue80"] == 0
    assert found["ratio_sum_tissue60"] == pytest.approx(30 * 0.15 / 600)


def test_the_two_largest_regions_by_size_not_by_score() -> None:
    values = empty_map()
    values[2:5, 4:14] = 0.75
    values[2, 4] = 0.7
    values[10:12, 2:4] = 0.99
    values[15, 20] = 1.0
    found = heatmap_features(values)
    assert found["largest_area"] == 30
    assert found["maxprob_largest"] == pytest.approx(0.75)
    assert found["minprob_largest"] == pytest.approx(0.7)
    assert found["aveprob_largest"] == pytest.approx((29 * 0.75 + 0.7) / 30)
    assert found["extend_largest"] == 1
    assert found["solidity_largest"] == pytest.approx(1)
    assert found["aspect_ratio_bbox_largest"] == pytest.approx(3 / 10)
    assert found["second_largest_area"] == 4
    assert found["maxprob_second_largest"] == pytest.approx(0.99)


def test_a_ragged_region_is_neither_full_nor_solid() -> None:
    values = empty_map()
    values[2:12, 2] = values[11, 2:12] = 0.9  # an L
    found = heatmap_features(values)
    assert found["largest_area"] == 19
    assert found["extend_largest"] == pytest.approx(0.19)
    assert 0.19 < found["solidity_largest"] < 0.5


def test_regions_at_the_edge_of_the_slide_count() -> None:
    values = empty_map()
    values[0:3, 0:3] = 0.9
    assert heatmap_features(values)["largest_area"] == 9


def test_cells_that_touch_at_a_corner_are_one_region() -> None:
    values = empty_map()
    values[3, 3] = values[4, 4] = values[5, 5] = 0.9
    found = heatmap_features(values)
    assert found["largest_area"] == 3
    assert found["second_largest_area"] == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_thin_regions_have_finite_features(shape: tuple[int, int]) -> None:
    values = empty_map()
    values[5 : 5 + shape[0], 5 : 5 + shape[1]] = 0.9
    assert np.isfinite(list(heatmap_features(values).values())).all()


def test_a_quiet_map_and_a_map_without_tissue_are_all_zero() -> None:
    assert set(heatmap_features(empty_map()).values()) == {0.0}
    assert set(heatmap_features(np.full((5, 5), np.nan, np.float32)).values()) == {0.0}


def test_turning_the_slide_changes_nothing_but_the_aspect_ratio() -> None:
    rng = np.random.default_rng(0)
    values = empty_map()
    values[:20, :30] = rng.random((20, 30)) ** 2
    before, after = heatmap_features(values), heatmap_features(np.rot90(values))
    for name in FEATURES:
        if "aspect" not in name:
            assert after[name] == pytest.approx(before[name]), name
