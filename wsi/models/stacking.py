"""Stacking: several models' class probabilities combined by logistic regression (Wolpert 1992).

The features are log-odds against the first class, so that a model that is too sure of itself is
toned down by a weight below one, and one that adds nothing gets a weight near zero. Torch-free.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ModelError

_FLOOR = 1e-4
"""Below this, models' probabilities differ by how they were trained and not by what they saw."""


@dataclass(frozen=True)
class Stacking:
    """A fitted combination of M models over K classes.

    Attributes:
        weights_kf: (K, M * (K - 1)) of each feature; the models' features lie one after another.
        bias_k: (K,).
    """

    weights_kf: NDArray[np.float64]
    bias_k: NDArray[np.float64]

    def __post_init__(self) -> None:
        classes = len(self.bias_k)
        fits = self.weights_kf.ndim == 2 and len(self.weights_kf) == classes > 1
        if not fits or self.weights_kf.shape[1] % (classes - 1) or not self.weights_kf.size:
            raise ModelError(
                f"a combination of {classes} classes cannot have weights {self.weights_kf.shape}"
            )
        if not (np.isfinite(self.weights_kf).all() and np.isfinite(self.bias_k).all()):
            raise ModelError("a combination's weights are not finite")

    @property
    def models(self) -> int:
        """How many models it combines."""
        return int(self.weights_kf.shape[1]) // (len(self.bias_k) - 1)

    def probabilities_nk(self, members: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """(N, K) combined probabilities of M arrays (N, K)."""
        logits = stacking_features(members) @ self.weights_kf.T + self.bias_k
        raised = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(raised / raised.sum(1, keepdims=True))


def stacking_features(members: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(N, M * (K - 1)) log-odds of each class against the first, of M arrays (N, K)."""
    parts: list[NDArray[Any]] = []
    for values_nk in members:
        logs = np.log(np.clip(values_nk, _FLOOR, 1.0))
        parts.append(logs[:, 1:] - logs[:, :1])
    return np.concatenate(parts, axis=1)
