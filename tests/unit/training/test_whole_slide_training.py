"""The whole-slide trainer: it learns from slide labels, and resumes to the same weights."""

import dataclasses
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from wsi.data.tables import Row
from wsi.errors import ConfigError, DatasetError, TrainingError
from wsi.models.bundle import load_bundle
from wsi.pipelines.whole_slide import WholeSlidePipeline
from wsi.testing.models import untrained_patch_bundle
from wsi.testing.slides import synthetic_slide
from wsi.training.loop import TrainingStopped
from wsi.training.tasks.whole_slide import WholeSlideTask
from wsi.training.tasks.whole_slide_config import WholeSlideTraining
from wsi.training.trainer import Trainer

CONFIG = WholeSlideTraining(
    name="m",
    classes=("benign", "cancer"),
    mpp=4.0,
    architecture="resnet10",
    norm="cell",
    epochs=2,
    accumulate=2,
    warmup=1,
    learning_rate=1e-3,
    checkpoint_updates=1,
    precision="float32",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for index in range(6):
        synthetic_slide(folder / f"{index}.tif", 1024, 1.0, seed=index, cancer=index % 2 == 0)
    return folder


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [
        Row(
            path=f"{index}.tif",
            label=int(index % 2 == 0),
            patient=f"p{index}",
            split="train" if index < 4 else "val",
        )
        for index in range(6)
    ]


def test_a_trained_network_becomes_a_bundle_that_the_pipeline_loads(
    root: Path, rows: list[Row], tmp_path: Path
) -> None:
    trainer = Trainer(WholeSlideTask(CONFIG, rows, root), tmp_path / "m")
    card = trainer.run()
    assert len(trainer.history) == 2
    assert 0 <= card.metrics["validation_auc"] <= 1
    assert card.settings == {"norm": "cell", "pooling": "lse"}
    loaded = WholeSlidePipeline.load(tmp_path / "m", "cpu")
    assert loaded.card == card
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_what_the_first_step_measured_is_told_beside_the_plan(
    root: Path, rows: list[Row], tmp_path: Path
) -> None:
    told: list[str] = []
    config = dataclasses.replace(CONFIG, epochs=1)
    Trainer(WholeSlideTask(config, rows, root, on_plan=told.append), tmp_path / "m").run()
    # Every slide has the same size: one plan.
    assert len(told) == 1
    assert "predicted    measured" in told[0]


def test_training_lowers_the_loss(root: Path, rows: list[Row], tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=6)
    trainer = Trainer(WholeSlideTask(config, rows, root), tmp_path / "m")
    trainer.run()
    assert trainer.history[-1]["loss"] < trainer.history[0]["loss"]


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_a_training_stopped_within_an_epoch_resumes_to_the_same_weights(
    root: Path, rows: list[Row], tmp_path: Path, stop_after: int
) -> None:
    Trainer(WholeSlideTask(CONFIG, rows, root), tmp_path / "unbroken").run()
    slides = 0

    def stop(stage: str, share: float) -> None:
        nonlocal slides
        slides += stage == "training"
        if stage == "training" and slides == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    broken = tmp_path / "broken"
    with pytest.raises(TrainingStopped):
        Trainer(WholeSlideTask(CONFIG, rows, root), broken, progress=stop).run()
    edited = [dataclasses.replace(rows[0], patient="p9"), *rows[1:]]
    with pytest.raises(ConfigError, match="the table or its slides have changed"):
        Trainer(WholeSlideTask(CONFIG, edited, root), broken).run(resume=True)
    Trainer(WholeSlideTask(CONFIG, rows, root), broken).run(resume=True)
    (card, one), (resumed, other) = (load_bundle(tmp_path / n) for n in ("unbroken", "broken"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert resumed.training["history"] == card.training["history"]


def test_resuming_over_a_replaced_slide_is_refused(
    rows: list[Row], root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path / "slides")

    def stop(stage: str, share: float) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    place = tmp_path / "slides"
    with pytest.raises(TrainingStopped):
        Trainer(WholeSlideTask(CONFIG, rows, place), tmp_path / "m", progress=stop).run()
    shutil.copy(place / "1.tif", place / "0.tif")
    with pytest.raises(ConfigError, match="the table or its slides have changed"):
        Trainer(WholeSlideTask(CONFIG, rows, place), tmp_path / "m").run(resume=True)


def test_it_starts_from_a_patch_classifier(root: Path, rows: list[Row], tmp_path: Path) -> None:
    untrained_patch_bundle(tmp_path / "patch")
    config = dataclasses.replace(CONFIG, norm="frozen", start=str(tmp_path / "patch"))
    task = WholeSlideTask(config, rows, root)
    _, state = load_bundle(tmp_path / "patch")
    weights = dict(task.network.named_parameters())
    stem = next(value for key, value in weights.items() if key.startswith("stages.0"))
    assert torch.equal(stem, state["conv1.weight"])
    wrong = dataclasses.replace(config, architecture="resnet18")
    with pytest.raises(ConfigError, match="is a resnet10"):
        WholeSlideTask(wrong, rows, root)


def test_missing_slides_and_a_missing_split_are_refused_before_training(
    root: Path, rows: list[Row]
) -> None:
    gone = [*rows, dataclasses.replace(rows[0], path="gone.tif")]
    with pytest.raises(DatasetError, match=r"1 slide\(s\).*gone\.tif"):
        WholeSlideTask(CONFIG, gone, root)
    with pytest.raises(DatasetError, match="no slide of split val"):
        WholeSlideTask(CONFIG, rows[:4], root)


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": ("a",)},
        {"epochs": 0},
        {"mpp": 0.0, "input_px": 8},
        {"weights": "DEFAULT", "start": "bundle"},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(CONFIG, **wrong)  # type: ignore[arg-type]


def test_a_validation_of_one_class_is_refused(root: Path, rows: list[Row]) -> None:
    one = [dataclasses.replace(r, label=0) if r.split == "val" else r for r in rows]
    with pytest.raises(DatasetError, match="validation split holds 'benign' alone"):
        WholeSlideTask(CONFIG, one, root)


def test_a_training_that_diverges_ends_with_a_reason(
    root: Path, rows: list[Row], tmp_path: Path
) -> None:
    trainer = Trainer(WholeSlideTask(CONFIG, rows, root), tmp_path / "m")
    with torch.no_grad():
        trainer.task.network.head.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not a number in epoch 1"):
        trainer.run()
