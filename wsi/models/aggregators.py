"""From patch probabilities to a slide's probabilities, without anything trained."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ConfigError

BACKGROUND = "background"


class SlideAggregator(Protocol):
    """Turns the patches of a slide into the slide's class probabilities."""

    def slide_probabilities(
        self, probabilities_nc: NDArray[np.float32], classes: tuple[str, ...]
    ) -> dict[str, float]:
        """Probability of each slide class, summing to 1.

        Args:
            probabilities_nc: (N patches, C classes) in [0, 1]; N is at least 1.
            classes: the C class names.
        """
        ...


class TopK:
    """Mean of the ``k`` highest patch scores of each disease class (Campanella 2019 uses k = 1).

    ``k = 1`` is max pooling, a large ``k`` mean pooling. The first class that is not background
    is the normal one: it gets what the disease classes leave.
    """

    def __init__(self, k: int = 10) -> None:
        if k < 1:
            raise ConfigError(f"top-k needs k of at least 1, got {k}")
        self.k = k

    def slide_probabilities(
        self, probabilities_nc: NDArray[np.float32], classes: tuple[str, ...]
    ) -> dict[str, float]:
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


def slide_classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes that a slide can have: a slide is never "background".

    Raises:
        ConfigError: fewer than two remain.
    """
    names = tuple(name for name in classes if name != BACKGROUND)
    if len(names) < 2:
        raise ConfigError(f"a slide needs at least two classes besides background, got {classes}")
    return names
