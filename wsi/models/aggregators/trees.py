"""Random forests and gradient boosting as plain arrays, evaluated by numpy.

scikit-learn stores its models by pickling, which runs code on loading. Its trees are a few arrays;
they are stored as such and walked here. Torch-free.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ModelError
from wsi.models.aggregators.base import SlideFeatures, SlidePrediction
from wsi.models.aggregators.heatmap_features import class_features

KINDS = ("random-forest", "gradient-boosting")
_MPP_SLACK = 0.05
_ARRAYS = {
    "feature": np.dtype(np.int64),
    "threshold": np.dtype(np.float64),
    "left": np.dtype(np.int64),
    "right": np.dtype(np.int64),
    "value": np.dtype(np.float64),
    "roots": np.dtype(np.int64),
    "outputs": np.dtype(np.int64),
    "start": np.dtype(np.float64),
}


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Decision trees, all in one row of nodes.

    Attributes:
        feature: (nodes,) which feature a node asks for; -1 at a leaf.
        threshold: (nodes,) float64; a case goes left where its feature is at most this.
        left, right: (nodes,) index of the next node.
        value: (nodes, V) what a leaf says: class shares in a forest (V = K), a step of the
            logit in boosting (V = 1), already times the learning rate.
        roots: (trees,) first node of each tree.
        outputs: (trees,) which logit a tree of boosting adds to; 0 in a forest.
        start: boosting's first logits: (1,) with two classes, (K,) with more; (0,) in a forest.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    roots: NDArray[np.int64]
    outputs: NDArray[np.int64]
    start: NDArray[np.float64]

    def probabilities_nk(self, features_nf: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, K) class probabilities of (N, F) features, as scikit-learn's ``predict_proba``."""
        # scikit-learn compares in float32: a case on a threshold must fall the same way here.
        features = features_nf.astype(np.float32)
        if not len(self.start):
            total = sum(self._leaf_values(features, root) for root in self.roots)
            return np.asarray(total / len(self.roots))
        logits = np.tile(self.start, (len(features), 1))
        for root, output in zip(self.roots, self.outputs, strict=True):
            logits[:, output] += self._leaf_values(features, root)[:, 0]
        if logits.shape[1] == 1:
            positive = 1 / (1 + np.exp(-logits))
            return np.concatenate([1 - positive, positive], axis=1)
        raised = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(raised / raised.sum(1, keepdims=True))

    def _leaf_values(self, features: NDArray[np.float32], root: int) -> NDArray[np.float64]:
        node = np.full(len(features), root)
        rows = np.arange(len(features))
        while (inner := self.feature[node] >= 0).any():
            at = node[inner]
            goes_left = features[rows[inner], self.feature[at]] <= self.threshold[at]
            node[inner] = np.where(goes_left, self.left[at], self.right[at])
        return np.asarray(self.value[node])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, by name, to be stored."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], features: int) -> "Trees":
        """The inverse of ``arrays``; checked, so that damaged arrays cannot lead astray.

        Args:
            arrays: by name.
            features: how many features a case has.

        Raises:
            ModelError: something is missing or points nowhere.
        """
        if missing := _ARRAYS.keys() - arrays.keys():
            raise ModelError(f"a tree model lacks {', '.join(sorted(missing))}")
        if wrong := [name for name, dtype in _ARRAYS.items() if arrays[name].dtype != dtype]:
            raise ModelError(f"a tree model has arrays of another type: {', '.join(wrong)}")
        trees = cls(**{name: arrays[name] for name in _ARRAYS})
        nodes, number = len(trees.feature), np.arange(len(trees.feature))
        inner = trees.feature >= 0
        shapes = {len(a) for a in (trees.threshold, trees.left, trees.right, trees.value)}
        sound = (
            shapes == {nodes}
            and trees.value.ndim == 2
            and len(trees.roots) == len(trees.outputs) > 0
            and trees.feature.max(initial=-1) < features
            and ((trees.roots >= 0) & (trees.roots < nodes)).all()
            and (trees.outputs >= 0).all()
            and trees.outputs.max() < max(1, len(trees.start))
            # A child always comes after its parent: no walk is endless.
            and (trees.left[inner] > number[inner]).all()
            and (trees.right[inner] > number[inner]).all()
            and max(trees.left[inner].max(initial=0), trees.right[inner].max(initial=0)) < nodes
        )
        if not sound:
            raise ModelError("a tree model's arrays do not make trees")
        return trees


class TreeModel(Protocol):
    """What trees of any arrangement can do."""

    def probabilities_nk(self, features_nf: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, K) class probabilities of (N, F) features."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, by name, to be stored."""
        ...


class HeatmapTrees:
    """Scores a slide by features of its maps of disease probability.

    Args:
        trees: trained on these features.
        features: their names, in order.
        classes: slide classes in the order of the trees' outputs.
        heatmap_mpp: micrometres per cell of the maps that it was trained on; areas and lengths
            are counted in cells. ``None`` where that is not known.
    """

    needs_embeddings = False

    def __init__(
        self,
        trees: TreeModel,
        features: tuple[str, ...],
        classes: tuple[str, ...],
        heatmap_mpp: float | None = None,
    ) -> None:
        self.trees, self.features, self.classes = trees, features, classes
        self.heatmap_mpp = heatmap_mpp

    def aggregate(self, evidence: SlideFeatures) -> SlidePrediction:
        if evidence.probability_chw is None:
            raise ModelError("this aggregator reads the probability map, and none was given")
        asked, given = self.heatmap_mpp, evidence.heatmap_mpp
        if asked and given and abs(given - asked) > _MPP_SLACK * asked:
            raise ModelError(
                f"this aggregator was trained on maps of {asked:g} um per cell, not {given:g}: "
                "areas counted in cells would mean something else"
            )
        found = class_features(evidence.probability_chw, evidence.classes)
        if unknown := [name for name in self.features if name not in found]:
            raise ModelError(f"no features of a probability map: {', '.join(unknown)}")
        return SlidePrediction(probabilities=self.score([found])[0])

    def score(self, rows: list[dict[str, float]]) -> list[dict[str, float]]:
        """Class probabilities of cases that are given by their features."""
        features = np.array([[row[name] for name in self.features] for row in rows], np.float64)
        return [
            dict(zip(self.classes, (float(p) for p in line), strict=True))
            for line in self.trees.probabilities_nk(features)
        ]
