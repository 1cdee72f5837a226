"""What every slide-level aggregator is given and gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ConfigError

BACKGROUND = "background"


@dataclass(frozen=True, kw_only=True)
class SlideFeatures:
    """What the patch classifier says of one slide.

    Attributes:
        classes: the C class names of the patch classifier.
        probabilities_nc: (N patches, C) in [0, 1]; N is at least 1.
        embeddings_nd: (N, D) float32, what the classifier saw in each patch; ``None`` where the
            aggregator does not ask for it.
        probability_chw: (C, rows, columns) in [0, 1], NaN where nothing was looked at.
        heatmap_mpp: micrometres per cell of that map.
    """

    classes: tuple[str, ...]
    probabilities_nc: NDArray[np.float32]
    embeddings_nd: NDArray[np.float32] | None = None
    probability_chw: NDArray[np.float32] | None = None
    heatmap_mpp: float | None = None


@dataclass(frozen=True, kw_only=True)
class SlidePrediction:
    """An aggregator's answer.

    Attributes:
        probabilities: of each slide class, summing to 1.
        attention_nk: (N patches, K slide classes) in [0, 1], how much each patch counted for each
            class, relative to the one that counted most; ``None`` where the aggregator has none.
    """

    probabilities: Mapping[str, float]
    attention_nk: NDArray[np.float32] | None = None


class SlideAggregator(Protocol):
    """Turns the patches of a slide into the slide's class probabilities."""

    #: whether ``SlideFeatures.embeddings_nd`` must be there
    needs_embeddings: bool

    def aggregate(self, evidence: SlideFeatures) -> SlidePrediction:
        """The slide's class probabilities.

        Raises:
            ModelError: the evidence is not of the kind that the aggregator was trained on.
        """
        ...


def slide_classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes that a slide can have: a slide is never "background".

    The first one is the normal one.

    Raises:
        ConfigError: fewer than two remain.
    """
    names = tuple(name for name in classes if name != BACKGROUND)
    if len(names) < 2:
        raise ConfigError(f"a slide needs at least two classes besides background, got {classes}")
    return names
