"""Training random forests and gradient boosting on features of probability maps."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold

from wsi.data.heatmap_features import FeatureTable
from wsi.errors import ConfigError, DatasetError
from wsi.evaluation.bootstrap import Bootstrap, Estimate
from wsi.evaluation.grades import grade_agreement
from wsi.evaluation.repeats import repeated_auc
from wsi.models.aggregators.ordinal_trees import OrdinalTrees
from wsi.models.aggregators.stored import PIPELINE, pack_trees
from wsi.models.aggregators.trees import KINDS, HeatmapTrees, TreeModel, Trees
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard
from wsi.training.provenance import describe_subjects

Kind = Literal["random-forest", "gradient-boosting"]


@dataclass(frozen=True, kw_only=True)
class TreeTraining:
    """Everything that decides the result of a training, besides the data.

    Attributes:
        name: of the model.
        kind: ``random-forest`` (Breiman 2001) or ``gradient-boosting`` (Friedman 2001).
        classes: of slides, in the order of the labels; the first is the normal one.
        ordinal: classes are grades, lowest first: a model for each step between them.
        trees: how many; with boosting, steps.
        max_depth: of a tree; ``None`` grows a forest's trees to the end, boosting's to 3.
        min_samples_leaf: fewest slides in a leaf.
        learning_rate, subsample: of boosting.
        heatmap_mpp: micrometres per cell of the maps, where known; scoring checks it.
        folds, repeats: of the cross-validation whose figures go into the model card; no repeats
            leave it out.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    ordinal: bool = False
    trees: int = 300
    max_depth: int | None = None
    min_samples_leaf: int = 3
    learning_rate: float = 0.05
    subsample: float = 0.7
    heatmap_mpp: float | None = None
    folds: int = 5
    repeats: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no trees {self.kind!r}; choose from: {', '.join(KINDS)}")
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"at least two different classes are needed, got {self.classes}")
        if self.trees < 1 or self.min_samples_leaf < 1 or self.folds < 2 or self.repeats < 0:
            raise ConfigError("trees and leaves must be positive, folds at least two")
        if not self.learning_rate > 0 or not 0 < self.subsample <= 1:
            raise ConfigError("the learning rate must be positive, the subsample in (0, 1]")


def fit_classifier(
    values_nf: NDArray[np.float64],
    labels_n: NDArray[np.int64],
    config: TreeTraining,
    seed: int,
    weights_n: NDArray[np.float64] | None = None,
) -> Any:
    """A fitted scikit-learn classifier; classes weigh alike whatever their number.

    Args:
        weights_n: of the cases, instead.
    """
    if weights_n is None:
        weights_n = _balanced(labels_n)
    if config.kind == "random-forest":
        forest = RandomForestClassifier(
            config.trees,
            max_depth=config.max_depth,
            min_samples_leaf=config.min_samples_leaf,
            random_state=seed,
        )
        return forest.fit(values_nf, labels_n, sample_weight=weights_n)
    boosting = GradientBoostingClassifier(
        n_estimators=config.trees,
        max_depth=config.max_depth or 3,
        min_samples_leaf=config.min_samples_leaf,
        learning_rate=config.learning_rate,
        subsample=config.subsample,
        random_state=seed,
    )
    return boosting.fit(values_nf, labels_n, sample_weight=weights_n)


def fit_trees(
    values_nf: NDArray[np.float64], labels_n: NDArray[np.int64], config: TreeTraining, seed: int
) -> TreeModel:
    """Fitted trees; with ``config.ordinal`` those of each step between grades.

    All steps see the cases with the same weights, those that make the grades weigh alike. Were the
    two sides of each step balanced instead, the steps would speak of different populations and
    their differences would be no probabilities.
    """
    if not config.ordinal:
        return export_trees(fit_classifier(values_nf, labels_n, config, seed))
    weights = _balanced(labels_n)
    return OrdinalTrees(
        tuple(
            export_trees(
                fit_classifier(values_nf, (labels_n > k).astype(np.int64), config, seed, weights)
            )
            for k in range(len(config.classes) - 1)
        )
    )


def _balanced(labels_n: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) weights that make classes weigh alike and are 1 on average."""
    counts = np.bincount(labels_n)
    present = np.count_nonzero(counts)
    return np.asarray((len(labels_n) / (present * np.maximum(counts, 1)))[labels_n], np.float64)


def export_trees(classifier: Any) -> Trees:
    """A fitted scikit-learn forest or boosting as arrays."""
    boosting = isinstance(classifier, GradientBoostingClassifier)
    estimators = np.asarray(classifier.estimators_, dtype=object)
    columns = estimators.shape[1] if boosting else 1
    scale = classifier.learning_rate if boosting else 1.0
    parts: dict[str, list[NDArray[Any]]] = {
        key: [] for key in ("feature", "threshold", "left", "right", "value")
    }
    roots, size = [], 0
    for estimator in estimators.reshape(-1):
        tree = estimator.tree_
        leaf = tree.children_left < 0
        values = tree.value[:, 0, :]
        parts["feature"].append(np.where(leaf, -1, tree.feature))
        parts["threshold"].append(np.where(leaf, 0.0, tree.threshold))
        parts["left"].append(np.where(leaf, 0, tree.children_left + size))
        parts["right"].append(np.where(leaf, 0, tree.children_right + size))
        parts["value"].append(values * scale if boosting else values / values.sum(1, keepdims=True))
        roots.append(size)
        size += tree.node_count
    prior = classifier.init_.class_prior_ if boosting else np.empty(0)
    if boosting and columns == 1:
        prior = np.array([np.log(prior[1] / prior[0])])
    elif boosting:
        prior = np.log(prior)
    joined = {key: np.concatenate(value) for key, value in parts.items()}
    return Trees(
        feature=joined["feature"].astype(np.int64),
        threshold=joined["threshold"].astype(np.float64),
        left=joined["left"].astype(np.int64),
        right=joined["right"].astype(np.int64),
        value=joined["value"].astype(np.float64),
        roots=np.array(roots, np.int64),
        outputs=np.arange(len(roots), dtype=np.int64) % columns,
        start=np.asarray(prior, np.float64),
    )


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """What a kind of model reaches on slides that it did not see.

    Attributes:
        probabilities_rnk: (repeats, N, K) of each slide, by the model that did not see its patient.
        auc_r: (repeats,) AUC over all slides of each repeat.
        auc: their mean; the interval resamples patients and holds the trained models fixed.
        grades: of ordinal grades, ``mean_absolute_error`` and ``quadratic_kappa`` of the repeats'
            mean probabilities; else empty.
    """

    probabilities_rnk: NDArray[np.float64]
    auc_r: NDArray[np.float64]
    auc: Estimate
    grades: dict[str, Estimate]


def cross_validate(
    table: FeatureTable,
    config: TreeTraining,
    *,
    bootstrap: Bootstrap | None = None,
    on_repeat: Callable[[int], None] = lambda repeat: None,
) -> CrossValidation:
    """Repeated stratified cross-validation; a patient's slides stay together.

    Two classes: the AUC is that of the second. More: the mean of one class against the rest.

    Raises:
        DatasetError: a class has fewer patients than there are folds.
    """
    labels = _labels(table, config)
    for index, name in enumerate(config.classes):
        patients = len(np.unique(table.patients_n[labels == index]))
        if patients < config.folds:
            raise DatasetError(
                f"{table.source}: class {name!r} has {patients} patient(s), fewer than the "
                f"{config.folds} folds"
            )
    shape = (max(1, config.repeats), len(labels), len(config.classes))
    probabilities = np.zeros(shape)
    for repeat in range(shape[0]):
        splitter = StratifiedGroupKFold(
            config.folds, shuffle=True, random_state=config.seed + repeat
        )
        for seen, held_out in splitter.split(table.values_nf, labels, table.patients_n):
            model = fit_trees(table.values_nf[seen], labels[seen], config, config.seed + repeat)
            probabilities[repeat, held_out] = model.probabilities_nk(table.values_nf[held_out])
        on_repeat(repeat)
    spec = bootstrap or Bootstrap()
    auc_r, auc = repeated_auc(labels, probabilities, table.patients_n, spec)
    return CrossValidation(
        probabilities_rnk=probabilities,
        auc_r=auc_r,
        auc=auc,
        grades=grade_agreement(labels, probabilities.mean(0), table.patients_n, spec)
        if config.ordinal
        else {},
    )


def train_trees(table: FeatureTable, config: TreeTraining, out: Path) -> ModelCard:
    """Cross-validate, train on everything and write the model bundle.

    Raises:
        DatasetError: the table has no labels, or a class too few slides.
    """
    labels = _labels(table, config)
    counts = np.bincount(labels, minlength=len(config.classes))
    if counts.min() < 2:
        scarce = config.classes[int(counts.argmin())]
        raise DatasetError(
            f"{table.source}: class {scarce!r} has {counts.min()} slide(s); give more"
        )
    metrics: dict[str, float] = {}
    if config.repeats:
        found = cross_validate(table, config)
        for name, one in {"auc": found.auc, **found.grades}.items():
            named = {"": one.value, "_low": one.low, "_high": one.high}
            metrics |= {f"cross_validated_{name}{k}": v for k, v in named.items() if v is not None}
    trees = fit_trees(table.values_nf, labels, config, config.seed)
    model = HeatmapTrees(trees, table.features, config.classes, config.heatmap_mpp)
    card = ModelCard(
        name=out.name,
        pipeline=PIPELINE,
        architecture=config.kind,
        classes=config.classes,
        mpp=0.0,
        input_px=0,
        settings={
            "aggregator": {
                "kind": config.kind,
                "classes": list(config.classes),
                "features": list(table.features),
                "heatmap_mpp": config.heatmap_mpp,
                "ordinal": config.ordinal,
            }
        },
        training={
            "options": {**asdict(config), "classes": list(config.classes)},
            "data_digest": table.digest(),
            "tables": table.source,
            "slides": {n: int(c) for n, c in zip(config.classes, counts, strict=True)},
            "bag_is": "patient" if table.pooled else "slide",
            "pooling": table.pooled,
            **describe_subjects(table.patients_n),
            "patients": len(np.unique(table.patients_n)) if table.by_patient else None,
        },
        metrics=metrics,
    )
    return save_bundle(out, card, pack_trees(model))


def _labels(table: FeatureTable, config: TreeTraining) -> NDArray[np.int64]:
    if table.labels_n is None:
        raise DatasetError(f"{table.source}: the table has no labels to learn from")
    if table.labels_n.max() >= len(config.classes):
        raise DatasetError(f"{table.source}: labels beyond the {len(config.classes)} classes")
    return table.labels_n
