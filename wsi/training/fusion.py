"""Fitting the fusion of pipelines on slides that none of them has learned from."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from wsi.data.tables import Row
from wsi.errors import ConfigError, DatasetError, ModelError
from wsi.evaluation.metrics import classification_metrics
from wsi.malignancy import check_malignant, malignant_classes
from wsi.models.aggregators import slide_classes
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard
from wsi.models.stacking import Stacking, stacking_features
from wsi.training.provenance import (
    describe_subjects,
    similar_subjects_digest,
    subject_digests,
    training_subjects,
)

PIPELINE = "fusion"
_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class FusionTraining:
    """What is asked.

    Attributes:
        classes: of slides, in the order of the labels.
        malignant: those that are, most severe first; see ``common_malignant``.
        strength: inverse of the L2 penalty on the weights (scikit-learn's ``C``).
        folds: of the cross-validation, by patient, that the figures come from.
        seed: of the folds.
    """

    classes: tuple[str, ...]
    malignant: tuple[str, ...] | None = None
    strength: float = 1.0
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.strength > 0 or self.folds < 2:
            raise ConfigError("strength must be positive, folds at least two")
        check_malignant(self.classes, self.malignant)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What the members say of slides that they did not learn from.

    Attributes:
        names, patients_n: (N,) of the slides.
        labels_n: (N,) index into the classes.
        members_mnk: (M, N, K) each member's class probabilities.
    """

    names: tuple[str, ...]
    patients_n: NDArray[np.str_]
    labels_n: NDArray[np.int64]
    members_mnk: NDArray[np.float64]


def common_classes(cards: Sequence[ModelCard]) -> tuple[str, ...]:
    """The slide classes that all members know.

    Raises:
        ConfigError: they are of one pipeline, or do not know the same classes.
    """
    if len({card.pipeline for card in cards}) < len(cards):
        raise ConfigError("a fusion combines models of different pipelines")
    known = [slide_classes(card.classes) for card in cards]
    for card, classes in zip(cards[1:], known[1:], strict=True):
        if set(classes) != set(known[0]):
            raise ConfigError(
                f"{cards[0].name} knows the slide classes {', '.join(known[0])}, {card.name} "
                f"{', '.join(classes)}; a fusion needs the same ones"
            )
    return known[0]


def common_malignant(cards: Sequence[ModelCard]) -> tuple[str, ...]:
    """The malignant classes on which all members agree, most severe first as the first has them.

    Raises:
        ConfigError: they do not agree.
    """
    first, *others = cards
    for card in others:
        if set(card.malignant_classes) != set(first.malignant_classes):
            told = "; ".join(
                f"{one.name}: {', '.join(one.malignant_classes) or 'none'}" for one in (first, card)
            )
            raise ConfigError(f"the models disagree on what is malignant ({told}): --malignant")
    return first.malignant_classes


def check_unseen(rows: Sequence[Row], cards: Sequence[ModelCard], *, trust: bool = False) -> None:
    """Refuse slides of patients that a member was trained on.

    Args:
        rows: to fit on.
        trust: take a member that does not say what it learned from as one that has seen none.

    Raises:
        DatasetError: names the member and some of the patients.
        ModelError: a member does not say what it learned from.
    """
    for card in cards:
        learned = training_subjects(card.training)
        if learned is None:
            if trust:
                continue
            raise ModelError(
                f"{card.name}: its card does not say which patients it learned from, so none can "
                "be known to be held out; train it again, or give --trust-unseen if you know it"
            )
        known = {
            r.patient
            for r in rows
            if (subject_digests(r.patient) | subject_digests(r.path)) & learned
        }
        if known:
            raise DatasetError(
                f"{card.name} was trained on {len(known)} of these patients ({_few(known)}): its "
                "scores of them say nothing; fit on slides that were held out, such as --split val"
            )
        alike = {
            r.patient
            for r in rows
            if r.patient != r.path and similar_subjects_digest(r.patient) in learned
        }
        if alike:
            raise DatasetError(
                f"{card.name} was trained on patients whose identifiers look like {_few(alike)}, "
                "but for case, zeros and separators; write each patient in one way in all tables"
            )


def _few(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")


def fit_stacking(
    members_mnk: NDArray[np.float64], labels_n: NDArray[np.int64], config: FusionTraining
) -> Stacking:
    """The logistic regression of labels on the members' log-odds.

    Classes are not reweighted: the combination is calibrated for the shares of classes it saw.
    """
    features = stacking_features(list(members_mnk))
    mean, deviation = features.mean(0), features.std(0)
    deviation[deviation < 1e-9] = 1.0
    fitted = LogisticRegression(C=config.strength, max_iter=1000).fit(
        (features - mean) / deviation, labels_n
    )
    weights, bias = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # two classes: scikit-learn keeps the second one's logit alone
        weights, bias = np.vstack([0 * weights, weights]), np.array([0.0, bias[0]])
    weights = weights / deviation
    return Stacking(weights, bias - weights @ mean)


def cross_validated(held_out: HeldOut, config: FusionTraining) -> NDArray[np.float64]:
    """(N, K) of each slide, by a combination that was fitted without its patient.

    Raises:
        DatasetError: a class has fewer than two patients.
    """
    labels, patients = held_out.labels_n, held_out.patients_n
    per_class = [len(np.unique(patients[labels == k])) for k in range(len(config.classes))]
    if min(per_class) < 2:
        scarce = config.classes[int(np.argmin(per_class))]
        raise DatasetError(
            f"class {scarce!r} has {min(per_class)} held-out patient(s); a fusion needs two a class"
        )
    values = np.zeros((len(labels), len(config.classes)))
    splitter = StratifiedGroupKFold(
        min(config.folds, *per_class), shuffle=True, random_state=config.seed
    )
    for seen, left_out in splitter.split(labels, labels, patients):
        if len(np.unique(labels[seen])) < len(config.classes):
            raise DatasetError(
                "too few patients a class for a cross-validation: a fold lacks a class"
            )
        stacking = fit_stacking(held_out.members_mnk[:, seen], labels[seen], config)
        values[left_out] = stacking.probabilities_nk(list(held_out.members_mnk[:, left_out]))
    return values


def name_members(members: Sequence[ModelCard]) -> dict[str, Any]:
    """The settings in a fusion's card that say which models it combines."""
    return {
        "members": [
            {"pipeline": m.pipeline, "model": m.name, "digest": m.weights_sha256} for m in members
        ]
    }


@dataclass(frozen=True)
class FusionOutcome:
    """A trained fusion's card, and (N, K) cross-validated probabilities of the held-out slides."""

    card: ModelCard
    probabilities_nk: NDArray[np.float64]


def train_fusion(
    held_out: HeldOut,
    members: Sequence[ModelCard],
    config: FusionTraining,
    out: Path,
    *,
    about_data: dict[str, Any] | None = None,
) -> FusionOutcome:
    """Cross-validate, fit on everything and write the model bundle.

    Args:
        held_out: what the members say of slides that they did not learn from.
        members: their cards, in the order of ``held_out.members_mnk``; the first gives the grid.
        about_data: what the card should say of the table.

    Raises:
        DatasetError: too few slides of a class.
        ModelError: the bundle cannot be written.
    """
    probabilities = cross_validated(held_out, config)
    stacking = fit_stacking(held_out.members_mnk, held_out.labels_n, config)
    metrics = _metrics(probabilities, held_out.labels_n, config.classes, "cross_validated")
    for card, values_nk in zip(members, held_out.members_mnk, strict=True):
        metrics |= _metrics(
            values_nk, held_out.labels_n, config.classes, f"{card.pipeline.replace('-', '_')}_alone"
        )
    counts = np.bincount(held_out.labels_n, minlength=len(config.classes))
    card = ModelCard(
        name=out.name,
        pipeline=PIPELINE,
        architecture="stacked-logistic-regression",
        classes=config.classes,
        malignant=malignant_classes(config.classes, config.malignant),
        mpp=0.0,
        input_px=0,
        settings=name_members(members),
        training={
            "options": {**asdict(config), "classes": list(config.classes)},
            "data_digest": _digest(held_out),
            "slides": dict(zip(config.classes, counts.tolist(), strict=True)),
            "patients": len(np.unique(held_out.patients_n)),
            **describe_subjects((*held_out.patients_n, *held_out.names)),
            **(about_data or {}),
        },
        metrics=metrics,
    )
    digests = [list(bytes.fromhex(member.weights_sha256)) for member in members]
    state = {
        "weights": torch.from_numpy(stacking.weights_kf),
        "bias": torch.from_numpy(stacking.bias_k),
        # Among the weights, so that the fusion's own digest names its members too.
        "members": torch.tensor(digests, dtype=torch.uint8),
    }
    return FusionOutcome(save_bundle(out, card, state), probabilities)


def _metrics(
    values_nk: NDArray[np.float64],
    labels_n: NDArray[np.int64],
    classes: tuple[str, ...],
    prefix: str,
) -> dict[str, float]:
    found = classification_metrics(labels_n, values_nk.astype(np.float32), classes, prefix=prefix)
    given = np.clip(values_nk[np.arange(len(labels_n)), labels_n], 1e-7, 1)
    return {**found, f"{prefix}_log_loss": float(-np.log(given).mean())}


def _digest(held_out: HeldOut) -> str:
    digest = hashlib.sha256()
    for name, label in zip(held_out.names, held_out.labels_n, strict=True):
        digest.update(f"{name}\t{label}\n".encode())
    digest.update(held_out.members_mnk.tobytes())
    return digest.hexdigest()
