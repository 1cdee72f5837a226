"""The trainer itself, on a task of one weight."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from wsi.errors import ConfigError, TrainingError
from wsi.models.bundle import load_bundle
from wsi.models.card import ModelCard, read_card
from wsi.training.distributed import World
from wsi.training.loop import TrainingStopped
from wsi.training.tasks.base import Task, Update, Validation
from wsi.training.trainer import Trainer

STEPS = 3


class OneWeight(Task):
    """Fits a weight to numbers; the validation's scores are given."""

    examples = "numbers"
    device, world = torch.device("cpu"), World()

    def __init__(self, scores: tuple[float, ...] = (0.1, 0.3, 0.2), patience: int = 0) -> None:
        torch.manual_seed(0)
        self.network = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.AdamW(self.network.parameters())
        self.options = SimpleNamespace(epochs=len(scores), learning_rate=0.1, patience=patience)
        self.scores, self.numbers = list(scores), np.arange(2.0 * STEPS, dtype=np.float32)
        self.epoch = 0

    def identity(self) -> dict[str, Any]:
        return {"patience": self.options.patience, "classes": ["a", "b"]}

    def data_digest(self) -> str:
        return self.numbers.tobytes().hex()

    def batches(self, epoch: int) -> list[np.ndarray]:
        self.epoch = epoch
        return np.array_split(np.random.default_rng(epoch).permutation(2 * STEPS), STEPS)

    def warmup(self, steps: int) -> int:
        return 1

    def step(self, update: Update, data: Any) -> list[float]:
        values = torch.from_numpy(self.numbers[update.batch])[:, None]
        loss = (self.network(values) - 2 * values).square().mean()
        loss.backward()
        update.report(1.0)
        return [float(loss.detach())]

    def validate(self, report: Callable[[float], None]) -> Validation:
        score = self.scores[self.epoch]
        return Validation(score, {"validation_auc": score, "validation_auc_rare": float("nan")})

    def card(self) -> ModelCard:
        return ModelCard(
            name="m", pipeline="patch", architecture="one", classes=("a", "b"), mpp=1, input_px=1
        )


def stop_after(updates: int) -> Callable[[str, float], None]:
    """Sends SIGTERM in this update."""
    seen = 0

    def progress(stage: str, share: float) -> None:
        nonlocal seen
        seen += 1
        if seen == updates:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


@pytest.mark.parametrize("updates", [1, STEPS, STEPS + 2, 3 * STEPS])
def test_weights_and_history_of_a_resumed_training_are_those_of_an_unbroken_one(
    tmp_path: Path, updates: int
) -> None:
    whole = Trainer(OneWeight(), tmp_path / "whole").run()
    with pytest.raises(TrainingStopped):
        Trainer(OneWeight(), tmp_path / "m", progress=stop_after(updates)).run()
    state = json.loads((tmp_path / ".m.checkpoint" / "state.json").read_text())
    assert len(state["progress"]["losses"]) == (updates - 1) % STEPS + 1
    card = Trainer(OneWeight(), tmp_path / "m").run(resume=True)
    assert json.dumps(card.training["history"]) == json.dumps(whole.training["history"])
    one, other = (load_bundle(tmp_path / name)[1] for name in ("whole", "m"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_best_epoch_is_saved_and_an_early_stop_counts_from_it(tmp_path: Path) -> None:
    card = Trainer(OneWeight((0.1, 0.3, 0.3, 0.2, 0.9), patience=2), tmp_path / "m").run()
    assert card.training["best_epoch"] == 2
    assert len(card.training["history"]) == 4
    assert card.metrics["validation_auc"] == 0.3


def test_a_figure_that_is_not_known_is_null_in_the_json_files(tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    with pytest.raises(TrainingStopped):
        Trainer(OneWeight(), tmp_path / "m", progress=stop_after(4)).run()
    state = (tmp_path / ".m.checkpoint" / "state.json").read_text()
    history = json.loads(state, parse_constant=refuse)["progress"]["history"]
    assert history[0]["validation_auc_rare"] is None
    Trainer(OneWeight(), tmp_path / "m").run(resume=True)
    text = (tmp_path / "m" / "model.json").read_text()
    assert json.loads(text, parse_constant=refuse)["metrics"]["validation_auc_rare"] is None
    assert read_card(tmp_path / "m").metrics["validation_auc_rare"] is None


def test_a_model_card_with_nan_of_an_earlier_version_opens(tmp_path: Path) -> None:
    Trainer(OneWeight(), tmp_path / "m").run()
    path = tmp_path / "m" / "model.json"
    path.write_text(path.read_text().replace("null", "NaN"))
    assert read_card(tmp_path / "m").metrics["validation_auc_rare"] is None


def test_a_validation_score_that_is_not_a_number_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="score of epoch 2 is not a number"):
        Trainer(OneWeight((0.1, float("nan"))), tmp_path / "m").run()


def test_a_loss_that_is_not_a_number_leaves_the_weights_alone(tmp_path: Path) -> None:
    task = OneWeight()
    task.numbers[:] = np.inf
    before = task.network.weight.detach().clone()
    with pytest.raises(TrainingError, match="the loss is not a number in epoch 1"):
        Trainer(task, tmp_path / "m").run()
    assert torch.equal(task.network.weight, before)


def test_other_options_changed_data_and_an_older_checkpoint_are_each_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(TrainingStopped):
        Trainer(OneWeight(), tmp_path / "m", progress=stop_after(1)).run()
    with pytest.raises(ConfigError, match=r"made with other options \(patience\)"):
        Trainer(OneWeight(patience=3), tmp_path / "m").run(resume=True)
    edited = OneWeight()
    edited.numbers = edited.numbers[1:]
    with pytest.raises(ConfigError, match="the table or its numbers have changed"):
        Trainer(edited, tmp_path / "m").run(resume=True)
    # What version 0.1 wrote: no format, the options as "config".
    path = tmp_path / ".m.checkpoint" / "state.json"
    path.write_text('{"progress": {"best": Infinity}, "config": {}, "data_digest": ""}')
    with pytest.raises(ConfigError, match="made by another version of wholeslide"):
        Trainer(OneWeight(), tmp_path / "m").run(resume=True)
