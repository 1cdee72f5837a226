"""Agreement between raters."""

import numpy as np
import pytest

from wsi.errors import DatasetError
from wsi.evaluation.agreement import cohen_kappa, count_votes, fleiss_kappa
from wsi.evaluation.bootstrap import Bootstrap

FEW = Bootstrap(replicates=200)


def test_cohen_by_hand() -> None:
    # 20 both yes, 5 yes-no, 10 no-yes, 15 both no: the textbook's 0.4.
    first = np.array([1] * 25 + [0] * 25)
    second = np.array([1] * 20 + [0] * 5 + [1] * 10 + [0] * 15)
    found = cohen_kappa(first, second, 2, bootstrap=FEW)
    assert found.value == pytest.approx(0.4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.4 < found.high


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_the_interval_is_of_the_same_kappa_as_the_value(weights: str | None) -> None:
    # Every patient holds the whole table once: each replicate repeats the very same table.
    first, second = np.array([0, 1, 2, 2, 1, 0]), np.array([0, 1, 2, 0, 1, 1])
    found = cohen_kappa(
        np.tile(first, 3),
        np.tile(second, 3),
        3,
        weights=weights,
        patients_n=np.repeat(["a", "b", "c"], 6),
        bootstrap=FEW,
    )
    assert found.low == pytest.approx(found.value)
    assert found.high == pytest.approx(found.value)


def test_one_class_alone_has_no_kappa_and_says_so() -> None:
    found = cohen_kappa(np.zeros(5, int), np.zeros(5, int), 2)
    assert found.value is None
    assert "the same class" in found.note


def test_one_rater_who_never_varies_agrees_by_chance_alone() -> None:
    found = cohen_kappa(np.zeros(6, int), np.array([0, 1, 0, 1, 0, 1]), 2, bootstrap=FEW)
    assert found.value == 0


def test_an_unknown_weighting_is_refused() -> None:
    with pytest.raises(DatasetError, match="linear or quadratic"):
        cohen_kappa(np.array([0, 1]), np.array([0, 1]), 2, weights="cubic")


def test_fleiss_of_the_original_paper_like_table() -> None:
    # Ten cases, fourteen raters, five classes: the worked example that gives 0.210.
    counts = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
    )
    assert fleiss_kappa(counts).value == pytest.approx(0.210, abs=5e-4)


def test_fleiss_refuses_cases_with_different_numbers_of_raters() -> None:
    with pytest.raises(DatasetError, match="same number"):
        fleiss_kappa(np.array([[2, 1], [1, 1]]))


def test_votes_leave_out_who_did_not_rate() -> None:
    votes = count_votes(np.array([[0, 1, -1], [1, 1, 1]]), ("a", "b"))
    np.testing.assert_array_equal(votes, [[1, 1], [0, 3]])
