"""From patches to a slide."""

import numpy as np
import pytest

from wsi.errors import ConfigError
from wsi.models.aggregators import TopK, slide_classes

CLASSES = ("background", "benign", "cancer")


def patches(*cancer: float) -> np.ndarray:
    return np.array([[0.0, 1 - p, p] for p in cancer], np.float32)


def test_a_slide_is_never_background() -> None:
    assert set(TopK(1).slide_probabilities(patches(0.2), CLASSES)) == {"benign", "cancer"}


def test_probabilities_of_a_slide_sum_to_one() -> None:
    classes = ("background", "normal", "low", "high")
    values = np.random.default_rng(0).dirichlet(np.ones(4), 50).astype(np.float32)
    assert sum(TopK(5).slide_probabilities(values, classes).values()) == pytest.approx(1)


def test_one_cancer_patch_among_thousands_decides_the_maximum_and_not_the_mean() -> None:
    values = patches(*[0.01] * 5000, 0.99)
    assert TopK(1).slide_probabilities(values, CLASSES)["cancer"] == pytest.approx(0.99)
    assert TopK(10**6).slide_probabilities(values, CLASSES)["cancer"] < 0.02


def test_the_order_of_patches_does_not_matter() -> None:
    values = patches(0.1, 0.9, 0.4, 0.8)
    aggregator = TopK(2)
    assert aggregator.slide_probabilities(values, CLASSES) == aggregator.slide_probabilities(
        values[::-1], CLASSES
    )


def test_fewer_patches_than_k_are_all_used() -> None:
    score = TopK(10).slide_probabilities(patches(0.2, 0.4), CLASSES)["cancer"]
    assert score == pytest.approx(0.3)


def test_one_class_besides_background_is_refused() -> None:
    with pytest.raises(ConfigError):
        slide_classes(("background", "cancer"))
    with pytest.raises(ConfigError):
        TopK(0)
