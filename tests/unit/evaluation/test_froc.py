"""FROC on slides drawn by hand."""

import numpy as np
import pytest

from wsi.errors import DatasetError
from wsi.evaluation.bootstrap import Bootstrap
from wsi.evaluation.froc import Detections, Lesions, find_lesions, froc, froc_interval
from wsi.evaluation.plots import draw, froc_plot

CELL_UM, CELL = 10.0, (4.0, 4.0)


def slide_with(*boxes: tuple[int, int, int, int]) -> Lesions:
    """Lesions of tumour drawn as (top, left, bottom, right) cells."""
    tumour = np.zeros((200, 200), bool)
    for top, left, bottom, right in boxes:
        tumour[top:bottom, left:right] = True
    return find_lesions(tumour, CELL_UM, CELL)


def at(*places: tuple[float, float, float]) -> Detections:
    """Detections from (column, row, confidence) in cells."""
    values = np.array(places, float).reshape(-1, 3)
    return Detections(xy_n2=values[:, :2] * 4 + 2, confidence_n=values[:, 2])


def test_areas_closer_than_the_widening_are_one_lesion() -> None:
    # Widened by 37.5 um, so by three cells on each side: a gap of six cells closes, of eight not.
    assert slide_with((20, 20, 60, 60), (20, 66, 60, 100)).count == 1
    assert slide_with((20, 20, 60, 60), (20, 68, 60, 100)).count == 2


def test_a_hole_belongs_to_its_lesion() -> None:
    tumour = np.zeros((200, 200), bool)
    tumour[20:120, 20:120] = True
    tumour[60:80, 60:80] = False
    assert find_lesions(tumour, CELL_UM, CELL).labels_hw[70, 70] == 1


def test_small_lesions_are_isolated_tumour_cells() -> None:
    lesions = slide_with((20, 20, 60, 60), (100, 100, 105, 105))
    assert lesions.count == 1
    assert len(lesions.isolated) == 1


def test_curve_by_hand() -> None:
    tumour = slide_with((20, 20, 60, 60), (100, 100, 160, 160))
    hits = at((30, 30, 0.9), (40, 40, 0.5), (120, 120, 0.4), (5, 180, 0.7))
    found = froc([(tumour, hits), (slide_with(), at((10, 10, 0.6)))])
    np.testing.assert_allclose(found.thresholds_t, [0.9, 0.7, 0.6, 0.4])
    np.testing.assert_allclose(found.sensitivity_t, [0.5, 0.5, 0.5, 1.0])
    np.testing.assert_allclose(found.false_positives_t, [0, 0.5, 1, 1])
    assert found.at_rates == (0.5, 0.5, 1.0, 1.0, 1.0, 1.0)
    assert found.score == pytest.approx(5 / 6)


def test_a_hit_on_isolated_tumour_cells_changes_nothing() -> None:
    lesions = slide_with((20, 20, 60, 60), (100, 100, 105, 105))
    without = froc([(lesions, at((30, 30, 0.9), (180, 180, 0.2)))])
    with_it = froc([(lesions, at((30, 30, 0.9), (180, 180, 0.2), (102, 102, 0.95)))])
    assert with_it.at_rates == without.at_rates


def test_a_detection_off_the_mask_is_a_false_positive() -> None:
    found = froc([(slide_with((20, 20, 60, 60)), at((500, 500, 0.8), (-3, 2, 0.7)))])
    assert found.false_positives_t[-1] == 2
    assert found.score == 0


def test_a_model_that_finds_nothing_scores_zero() -> None:
    assert froc([(slide_with((20, 20, 60, 60)), at())]).score == 0


def test_slides_without_lesions_have_no_score_and_say_so() -> None:
    found = froc([(slide_with(), at((10, 10, 0.6)))])
    assert found.score is None
    assert "no slide has a lesion" in found.note
    assert draw(froc_plot({"model": found})).startswith("<?xml")
    with pytest.raises(DatasetError):
        froc([])


def test_the_interval_resamples_patients_and_is_a_point_where_all_are_alike() -> None:
    tumour = slide_with((20, 20, 60, 60), (100, 100, 160, 160))
    one = (tumour, at((30, 30, 0.9), (5, 180, 0.7), (120, 120, 0.4)))
    spec = Bootstrap(replicates=30)
    alike = froc_interval([one] * 4, np.array(["a", "b", "c", "d"]), spec)
    assert alike.value == alike.low == alike.high == froc([one]).score
    missed = (tumour, at())
    found = froc_interval([one, missed, one, missed], np.array(["a", "b", "c", "d"]), spec)
    assert found.low is not None
    assert found.high is not None
    assert found.low < (found.value or 0) < found.high
    nothing = froc_interval([(slide_with(), at())], np.array(["a"]), spec)
    assert nothing.value is None
