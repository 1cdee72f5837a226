"""The trainer: epochs, checkpoints, the best epoch, early stopping, stopping on a signal."""

import dataclasses
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wsi.errors import TrainingError
from wsi.heap import tune_heap
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard
from wsi.plain_json import finite_json
from wsi.progress import Progress, no_progress
from wsi.training.checkpoints import (
    load_matching,
    pack_optimizer,
    prefixed,
    save_checkpoint,
    unpack_optimizer,
    without_prefix,
)
from wsi.training.cost import CostMeter
from wsi.training.loop import (
    TrainingStopped,
    has_stalled,
    require_finite,
    set_learning_rate,
    stop_on_signal,
    warmup_cosine,
)
from wsi.training.tasks.base import Task, Update


@dataclass
class TrainingState:
    """Where a training stands; what a checkpoint's JSON holds.

    Attributes:
        epoch, step: finished epochs, and finished updates of the next one.
        losses: of the updates of the unfinished epoch.
        best_score, best_epoch: of the validations so far; ``None`` and -1 before the first.
        history: figures of each finished epoch; ``None`` where one is not known.
        cost: see ``wsi.training.cost``.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    best_score: float | None = None
    best_epoch: int = -1
    history: list[dict[str, float | None]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Trains any task; resumable within an epoch, to the same weights bit for bit on a CPU.

    Args:
        task: model, update, validation and card.
        out: folder of the model bundle; the checkpoint lies beside it, in ``.NAME.checkpoint``.
        progress: told about the training and each validation.
        on_epoch: given each epoch's figures, those that are known.

    Attributes:
        best_weights: state of the best epoch so far.
    """

    def __init__(
        self,
        task: Task,
        out: Path,
        *,
        progress: Progress = no_progress,
        on_epoch: Callable[[dict[str, float]], None] = lambda figures: None,
    ) -> None:
        self.task = task
        self.best_weights: dict[str, torch.Tensor] = {}
        self._out = out
        self._checkpoint = out.with_name(f".{out.name}.checkpoint")
        self._report_progress, self._on_epoch = progress, on_epoch
        self._state = TrainingState()
        tune_heap()
        self._cost = CostMeter(task.device)

    @property
    def history(self) -> list[dict[str, float | None]]:
        """Figures of each finished epoch."""
        return self._state.history

    def run(self, *, resume: bool = False) -> ModelCard:
        """Train to the end and write the bundle.

        Args:
            resume: continue from the checkpoint, where there is one.

        Raises:
            TrainingStopped: a signal asked to stop; the checkpoint is written.
            TrainingError: the training has diverged; the last checkpoint is sound.
            ConfigError: the checkpoint was made with other options, from data that have changed
                since, or by another version.
            WsiError: an example cannot be read; the checkpoint is from before it.
        """
        task, options = self.task, self.task.options
        task.prepare()
        if resume:
            self._load()
        with stop_on_signal() as stop_requested:
            while self._state.epoch < options.epochs and not self._has_stalled():
                self._run_epoch(stop_requested)
        card = self._card()
        if task.world.is_main:
            card = save_bundle(self._out, card, task.bundle_tensors(self.best_weights))
            shutil.rmtree(self._checkpoint, ignore_errors=True)
        task.world.wait()
        return card

    def _has_stalled(self) -> bool:
        return has_stalled(self._state.epoch, self._state.best_epoch, self.task.options.patience)

    def _run_epoch(self, stop_requested: Callable[[], bool]) -> None:
        task, state = self.task, self._state
        batches = task.batches(state.epoch)
        remaining = batches[state.step :]
        task.network.train()
        for batch, data in zip(remaining, task.load(state.epoch, remaining), strict=True):
            self._update(batch, data, len(batches))
            stopping = task.world.any(stop_requested())
            updates = state.epoch * len(batches) + state.step
            if stopping or (task.checkpoint_updates and updates % task.checkpoint_updates == 0):
                self._save()
            if stopping:
                raise TrainingStopped(f"stopped; --resume continues in epoch {state.epoch + 1}")
        self._finish_epoch()

    def _update(self, batch: Any, data: Any, steps: int) -> None:
        """One update of the weights; nothing of it remains where it raises."""
        task, state, options = self.task, self._state, self.task.options

        def report(share: float) -> None:
            done = state.epoch + (state.step + share) / steps
            self._report_progress("training", done / options.epochs)

        done = state.epoch * steps + state.step
        rate = warmup_cosine(done, options.epochs * steps, task.warmup(steps))
        set_learning_rate(task.optimizer, options.learning_rate * rate)
        task.optimizer.zero_grad(set_to_none=True)
        losses = task.step(Update(state.epoch, state.step, batch, report), data)
        require_finite(losses, task.world, state.epoch)
        task.world.sum_gradients(task.network.parameters())
        task.optimizer.step()
        task.after_update()
        state.losses.extend(losses)
        state.step += 1

    def _finish_epoch(self) -> None:
        task, state = self.task, self._state
        task.finish_epoch()
        found = task.validate(lambda share: self._report_progress("validation", share))
        if not math.isfinite(found.score):
            raise TrainingError(
                f"the validation score of epoch {state.epoch + 1} is not a number: the training "
                "has diverged; give a smaller --learning-rate"
            )
        if state.best_score is None or found.score > state.best_score:
            state.best_score, state.best_epoch = found.score, state.epoch
            self.best_weights = {key: value.clone() for key, value in task.weights().items()}
        loss = float(np.mean(state.losses))
        entry = {"epoch": state.epoch + 1, "loss": loss, **found.figures}
        state.history.append(finite_json(entry))
        state.epoch, state.step, state.losses = state.epoch + 1, 0, []
        self._save()
        if task.world.is_main:
            self._on_epoch({name: value for name, value in entry.items() if math.isfinite(value)})

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that continues it."""
        return {"options": self.task.identity(), "data_digest": self.task.data_digest()}

    def _save(self) -> None:
        task = self.task
        own = task.state_tensors()
        if not task.world.is_main:
            return
        self._cost.add_to(self._state.cost, device_bytes=task.device_bytes)
        tensors = {
            **prefixed("network", task.network.state_dict()),
            **prefixed("best", self.best_weights),
            **prefixed("task", own),
            **pack_optimizer(task.optimizer),
        }
        state = {"progress": asdict(self._state), **self._identity}
        save_checkpoint(self._checkpoint, tensors, state)

    def _load(self) -> None:
        found = load_matching(self._checkpoint, self._identity, examples=self.task.examples)
        if found is None:
            return
        tensors, state = found
        task = self.task
        task.network.load_state_dict(without_prefix("network", tensors))
        best = without_prefix("best", tensors)
        self.best_weights = {key: value.to(task.device) for key, value in best.items()}
        task.load_state_tensors(without_prefix("task", tensors))
        unpack_optimizer(task.optimizer, tensors)
        self._state = TrainingState(**state["progress"])

    def _card(self) -> ModelCard:
        state, card = self._state, self.task.card()
        best = state.history[state.best_epoch]
        training = {
            **self._identity,
            **card.training,
            "cost": dict(state.cost),
            "best_epoch": state.best_epoch + 1,
            "history": state.history,
        }
        metrics = {key: value for key, value in best.items() if key.startswith("validation")}
        return dataclasses.replace(card, name=self._out.name, metrics=metrics, training=training)
