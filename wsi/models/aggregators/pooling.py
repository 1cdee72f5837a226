"""Aggregation without anything trained: mean, maximum, top-k."""

import sys

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ConfigError
from wsi.models.aggregators.base import SlideFeatures, SlidePrediction, slide_classes


class TopK:
    """Mean of the ``k`` highest patch scores of each disease class (Campanella 2019 uses k = 1).

    ``k = 1`` is max pooling, a large ``k`` mean pooling. The first class that is not background
    is the normal one: it gets what the disease classes leave.
    """

    needs_embeddings = False

    def __init__(self, k: int = 10) -> None:
        if k < 1:
            raise ConfigError(f"top-k needs k of at least 1, got {k}")
        self.k = k

    def aggregate(self, evidence: SlideFeatures) -> SlidePrediction:
        return SlidePrediction(
            probabilities=self.slide_probabilities(evidence.probabilities_nc, evidence.classes)
        )

    def slide_probabilities(
        self, probabilities_nc: NDArray[np.float32], classes: tuple[str, ...]
    ) -> dict[str, float]:
        """Probability of each slide class, summing to 1.

        Args:
            probabilities_nc: (N patches, C classes) in [0, 1]; N is at least 1.
            classes: the C class names.
        """
        normal, *diseases = slide_classes(classes)
        scores = {}
        for name in diseases:
            values = probabilities_nc[:, classes.index(name)].astype(np.float64)
            k = min(self.k, len(values))
            scores[name] = float(np.partition(values, -k)[-k:].mean())
        # Disease classes are judged one by one; the normal class is "none of them".
        none = float(np.prod([1 - score for score in scores.values()]))
        total = none + sum(scores.values())
        return {normal: none / total, **{name: p / total for name, p in scores.items()}}


def pooling(kind: str, k: int = 10) -> TopK:
    """Pooling by name: ``mean``, ``max`` or ``top-k``.

    Raises:
        ConfigError: there is no such pooling.
    """
    sizes = {"mean": sys.maxsize, "max": 1, "top-k": k}
    if kind not in sizes:
        raise ConfigError(f"no pooling {kind!r}; choose from: {', '.join(sizes)}")
    return TopK(sizes[kind])
