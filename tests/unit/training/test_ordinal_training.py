"""Grades: attention that knows their order, trained on bags made so that one patch decides."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file

from wsi.cli.main import main
from wsi.data.bags import Bag, read_bags
from wsi.evaluation.grades import median_grade
from wsi.models.aggregators.attention import KINDS, AttentionAggregator
from wsi.models.aggregators.stored import load_aggregator
from wsi.models.bundle import load_bundle
from wsi.training.loop import TrainingStopped
from wsi.training.tasks.attention import AttentionTask, AttentionTraining
from wsi.training.trainer import Trainer

GRADES = ("benign", "low", "middle", "high")
D = 5
SMALL = ["--epochs", "2", "--hidden", "8", "--attention", "4"]


def make_bags(folder: Path, slides: int = 48) -> Path:
    """Bags of noise in which one patch stands out the further, the higher the grade."""
    rng = np.random.default_rng(0)
    lines = ["path,label,patient,split"]
    for i in range(slides):
        values = rng.normal(0, 0.5, (int(rng.integers(6, 14)), D)).astype(np.float32)
        values[int(rng.integers(len(values))), 0] += 4 * (i % len(GRADES))
        save_file({"embeddings": values}, folder / f"s{i}.safetensors")
        split = "val" if i >= slides * 2 // 3 else "train"
        lines.append(f"s{i}.safetensors,{GRADES[i % len(GRADES)]},p{i},{split}")
    table = folder / "bags.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bags(tmp_path_factory.mktemp("bags"))


@pytest.fixture(scope="module")
def bags(table: Path) -> list[Bag]:
    return read_bags(table, table.parent, GRADES)


def training(kind: str, **more: object) -> AttentionTraining:
    given = {"epochs": 3, "hidden": 16, "attention": 8, "learning_rate": 5e-3, **more}
    return AttentionTraining(name="m", kind=kind, classes=GRADES, ordinal=True, **given)  # type: ignore[arg-type]


def load(bundle: Path) -> AttentionAggregator:
    _, loaded = load_aggregator(bundle)
    assert isinstance(loaded, AttentionAggregator)
    return loaded


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_grades_of_slides_it_has_not_seen(
    kind: str, bags: list[Bag], tmp_path: Path
) -> None:
    card = Trainer(
        AttentionTask(training(kind, epochs=30, patience=10), bags), tmp_path / "m"
    ).run()
    loaded = load(tmp_path / "m")
    assert loaded.network.spec.ordinal
    unseen = [bag for bag in bags if bag.split == "val"]
    labels = np.array([bag.label for bag in unseen])
    calls = [loaded.score_bag(bag.read()) for bag in unseen]
    values = np.array([[call.probabilities[name] for name in GRADES] for call in calls])
    np.testing.assert_allclose(values.sum(1), 1, rtol=1e-6)
    error = float(np.abs(median_grade(values) - labels).mean())
    by_chance = min(float(np.abs(grade - labels).mean()) for grade in range(len(GRADES)))
    assert error < by_chance / 2
    assert card.metrics["validation_grade_error"] == pytest.approx(error)
    # P(grade > k) rises with the true grade, for every k.
    above = 1 - values.cumsum(1)[:, :-1]
    means = np.stack([above[labels == grade].mean(0) for grade in range(len(GRADES))])
    assert (np.diff(means, axis=0) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_continues_to_the_same_weights(
    kind: str, bags: list[Bag], tmp_path: Path
) -> None:
    config = training(kind, batch_size=2, max_patches=6, epochs=2)
    Trainer(AttentionTask(config, bags), tmp_path / "straight").run()

    def stop(stage: str, share: float) -> None:
        if share >= 0.7:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingStopped):
        Trainer(AttentionTask(config, bags), tmp_path / "broken", progress=stop).run()
    card = Trainer(AttentionTask(config, bags), tmp_path / "broken").run(resume=True)
    expected, straight = load_bundle(tmp_path / "straight")
    _, broken = load_bundle(tmp_path / "broken")
    assert all(torch.equal(broken[key], straight[key]) for key in straight)
    assert card.training["history"] == expected.training["history"]


def test_commands_train_and_judge_grades(table: Path, tmp_path: Path) -> None:
    model, out, classes = str(tmp_path / "m"), tmp_path / "out", ",".join(GRADES)
    asked = ["--kind", "clam", "--ordinal", "--classes", classes, "--table", str(table)]
    done = CliRunner().invoke(main, ["train", "aggregator", *asked, *SMALL, "--out", model])
    assert done.exit_code == 0, done.output
    assert "validation_grade_error" in done.output
    asked = ["--table", str(table), "--split", "val", "--model", model, "--replicates", "50"]
    done = CliRunner().invoke(main, ["evaluate", "bags", *asked, "--out", str(out)])
    assert done.exit_code == 0, done.output
    grades = json.loads((out / "evaluation.json").read_text())["grades"]
    lines = (out / "predictions.csv").read_text().splitlines()
    values = np.array([[float(cell) for cell in line.split(",")[2:]] for line in lines[1:]])
    labels = np.array([GRADES.index(line.split(",")[1]) for line in lines[1:]])
    error = float(np.abs(median_grade(values) - labels).mean())
    assert grades["mean_absolute_error"]["value"] == pytest.approx(error)
    assert "quadratic_kappa" in grades


def test_classes_have_no_order_unless_asked(table: Path, tmp_path: Path) -> None:
    asked = ["--kind", "clam", "--classes", ",".join(GRADES), "--table", str(table), *SMALL]
    done = CliRunner().invoke(main, ["train", "aggregator", *asked, "--out", str(tmp_path / "m")])
    assert done.exit_code == 0, done.output
    assert "grade_error" not in done.output
    loaded = load(tmp_path / "m")
    assert not loaded.network.spec.ordinal
    assert loaded.network.classify.out_features == len(GRADES)
    call = loaded.score_bag(np.zeros((3, D), np.float32))
    assert tuple(call.probabilities) == GRADES
    assert sum(call.probabilities.values()) == pytest.approx(1)
