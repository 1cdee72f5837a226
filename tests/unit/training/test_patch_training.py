"""The patch trainer: it learns, and a stopped run ends where an unbroken one does."""

import copy
import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from wsi.errors import ConfigError, DatasetError, TrainingError
from wsi.models.bundle import load_bundle
from wsi.testing.slides import synthetic_patches
from wsi.training.loop import TrainingStopped
from wsi.training.tasks.patch import PatchTask
from wsi.training.tasks.patch_config import PatchTraining
from wsi.training.trainer import Trainer

CLASSES = ("background", "benign", "cancer")
CONFIG = PatchTraining(
    name="m",
    classes=CLASSES,
    mpp=2.0,
    input_px=32,
    architecture="resnet10",
    epochs=2,
    batch_size=32,
    average=0.9,
    precision="float32",
)


class Patches:
    """Synthetic patches as a PatchSource."""

    def __init__(self, count: int, seed: int) -> None:
        self.pixels, self.labels_n = synthetic_patches(count, 32, 2.0, seed)
        self.patients_n = np.array([f"{seed}-{i % 5}" for i in range(count)])
        self.slides = ()

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.pixels[indices]

    def describe(self, index: int) -> str:
        return f"patch {index}"


@pytest.fixture(scope="module")
def train() -> Patches:
    return Patches(96, 1)


@pytest.fixture(scope="module")
def validation() -> Patches:
    return Patches(30, 2)


def test_it_learns_to_tell_synthetic_tissue_apart(
    train: Patches, validation: Patches, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, epochs=6, learning_rate=2e-3)
    trainer = Trainer(PatchTask(config, train, validation), tmp_path / "m")
    card = trainer.run()
    assert card.metrics["validation_auc"] > 0.9
    assert trainer.history[-1]["loss"] < trainer.history[0]["loss"]
    assert load_bundle(tmp_path / "m")[0] == card
    assert card.training["patients"] == {"train": 5, "validation": 5}
    assert [path.name for path in tmp_path.iterdir()] == ["m"], "no checkpoint is left behind"


@pytest.mark.parametrize(
    ("options", "stop_after"),
    [
        ({"balance": "loss"}, 4),
        ({"balance": "loss"}, 3),  # the last update of an epoch
        ({"balance": "sampler"}, 5),
        ({"hard_negatives": 3.0}, 5),
    ],
)
def test_a_resumed_training_ends_bit_for_bit_like_an_unbroken_one(
    train: Patches,
    validation: Patches,
    tmp_path: Path,
    options: dict[str, object],
    stop_after: int,
) -> None:
    config = dataclasses.replace(CONFIG, **options)  # type: ignore[arg-type]
    Trainer(PatchTask(config, train, validation), tmp_path / "unbroken").run()
    steps = 0

    def stop(stage: str, share: float) -> None:
        nonlocal steps
        steps += 1
        if steps == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    broken = tmp_path / "broken"
    with pytest.raises(TrainingStopped):
        Trainer(PatchTask(config, train, validation), broken, progress=stop).run()
    assert not broken.exists()
    Trainer(PatchTask(config, train, validation), broken).run(resume=True)
    (card, one), (resumed, other) = (load_bundle(tmp_path / n) for n in ("unbroken", "broken"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert resumed.training["history"] == card.training["history"]


def test_false_positives_are_seen_more_often(train: Patches, validation: Patches) -> None:
    config = dataclasses.replace(CONFIG, hard_negatives=50.0)
    task = PatchTask(config, train, validation)
    normal = np.flatnonzero(train.labels_n < 2)
    task._false_positive_score_n[normal[:4]] = 1.0
    seen = np.concatenate([task._order(epoch) for epoch in range(20)])
    counts = np.bincount(seen, minlength=len(train.labels_n))
    assert counts[normal[:4]].min() > 5 * counts[normal[4:]].mean()


def test_only_normal_patches_can_be_false_positives(train: Patches, validation: Patches) -> None:
    task = PatchTask(CONFIG, train, validation)
    task._record_false_positives(torch.tensor([[0.0, 0, 9], [0, 0, 9]]), np.array([1, 2]))
    assert train.labels_n[1:3].tolist() == [1, 2]
    assert task._pending_n[1] > 0.99
    assert task._pending_n[2] == 0


def test_resuming_with_other_options_or_patches_is_refused(
    train: Patches, validation: Patches, tmp_path: Path
) -> None:
    def stop(stage: str, share: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStopped):
        Trainer(PatchTask(CONFIG, train, validation), tmp_path / "m", progress=stop).run()
    relabelled, repainted = copy.copy(train), copy.copy(train)
    relabelled.labels_n = train.labels_n[::-1]
    repainted.pixels = train.pixels[::-1].copy()
    changed = "the table or its patches have changed"
    for config, patches, message in (
        (dataclasses.replace(CONFIG, learning_rate=0.5), train, r"other options \(learning_rate\)"),
        (CONFIG, relabelled, changed),
        (CONFIG, repainted, changed),
    ):
        with pytest.raises(ConfigError, match=message):
            Trainer(PatchTask(config, patches, validation), tmp_path / "m").run(resume=True)


def test_a_patient_in_both_splits_is_refused(train: Patches) -> None:
    with pytest.raises(DatasetError, match="split by patient"):
        PatchTask(CONFIG, train, train)


def test_a_class_with_one_example_is_refused(validation: Patches) -> None:
    scarce = Patches(30, 3)
    scarce.labels_n = np.array([0, 1] * 14 + [2, 1])
    with pytest.raises(DatasetError, match="'cancer' has 1"):
        PatchTask(CONFIG, scarce, validation)


@pytest.mark.parametrize(
    "wrong", [{"classes": ("a",)}, {"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(CONFIG, **wrong)  # type: ignore[arg-type]


def test_a_validation_of_one_class_is_refused_before_the_first_step(
    train: Patches,
) -> None:
    one = Patches(30, 2)
    one.labels_n[:] = 1
    with pytest.raises(DatasetError, match="validation split holds 'benign' alone"):
        PatchTask(CONFIG, train, one)


def test_a_training_that_diverges_ends_with_a_sound_checkpoint(
    train: Patches, validation: Patches, tmp_path: Path
) -> None:
    trainer = Trainer(PatchTask(CONFIG, train, validation), tmp_path / "m")
    trainer._run_epoch(lambda: False)
    with torch.no_grad():
        next(trainer.task.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"not a number in epoch 2.*--resume"):
        trainer.run()
    again = Trainer(PatchTask(CONFIG, train, validation), tmp_path / "m")
    card = again.run(resume=True)
    assert np.isfinite([epoch["loss"] for epoch in again.history]).all()
    assert len(again.history) == CONFIG.epochs
    assert card.name == "m"
