"""Ordinal grades by trees: a two-class model for each step between grades (Frank & Hall 2001)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ModelError
from wsi.models.aggregators.trees import Trees


@dataclass(frozen=True)
class OrdinalTrees:
    """K - 1 models that each say how likely the grade is above the k-th.

    Each is fitted by itself, so they may contradict each other: "above grade 2" more likely than
    "above grade 1". A step then counts no more than the one below it, which keeps every grade's
    probability at nought or above.

    Attributes:
        steps: lowest first; each knows the classes "not above" and "above".
    """

    steps: tuple[Trees, ...]

    def probabilities_nk(self, features_nf: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, K) probabilities of the grades of (N, F) features."""
        above = np.stack([step.probabilities_nk(features_nf)[:, 1] for step in self.steps], axis=1)
        above = np.minimum.accumulate(above, axis=1)
        ends = np.ones((len(above), 1)), np.zeros((len(above), 1))
        return np.asarray(-np.diff(np.concatenate([ends[0], above, ends[1]], axis=1), axis=1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, by name, to be stored."""
        return {
            f"step{number}.{name}": array
            for number, step in enumerate(self.steps)
            for name, array in step.arrays().items()
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], features: int, classes: int
    ) -> "OrdinalTrees":
        """The inverse of ``arrays``, checked.

        Raises:
            ModelError: a step is missing or damaged, or there is one too many.
        """
        names = {name.partition(".")[0] for name in arrays}
        if names != {f"step{number}" for number in range(classes - 1)}:
            raise ModelError(f"{classes} grades need {classes - 1} steps, here are {len(names)}")
        return cls(
            tuple(
                Trees.from_arrays(
                    {
                        name.partition(".")[2]: array
                        for name, array in arrays.items()
                        if name.startswith(f"step{number}.")
                    },
                    features,
                )
                for number in range(classes - 1)
            )
        )
