"""Training the patch classifier."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from wsi.data.augment import augment
from wsi.data.patches import PatchSource
from wsi.errors import DatasetError
from wsi.evaluation.metrics import classification_metrics
from wsi.heap import tune_heap
from wsi.malignancy import malignant_classes
from wsi.models.aggregators import BACKGROUND
from wsi.models.backbones import build_backbone
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard
from wsi.models.runtime import autocast, resolve_device, resolve_dtype, to_input
from wsi.models.split import split_classifier
from wsi.progress import Progress, no_progress
from wsi.seeding import mix_seed, seeded
from wsi.training.checkpoints import (
    load_matching,
    pack_optimizer,
    prefixed,
    save_checkpoint,
    unpack_optimizer,
    without_prefix,
)
from wsi.training.cost import CostMeter
from wsi.training.distributed import join_world
from wsi.training.loop import (
    TrainingStopped,
    has_stalled,
    read_ahead,
    require_finite,
    require_two_classes,
    set_learning_rate,
    stop_on_signal,
    warmup_cosine,
)
from wsi.training.patch_config import PatchTraining
from wsi.training.patch_predict import data_digest, normalize, predict
from wsi.training.provenance import describe_seen


@dataclass
class _Progress:
    """Where a training stands; what a checkpoint's JSON holds."""

    epoch: int = 0
    step: int = 0
    best: float = -1.0
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)


class PatchTrainer:
    """Trains a patch classifier; resumable to the same weights, bit for bit on a CPU.

    Args:
        config: what is asked.
        train: patches to learn from.
        validation: patches of other patients, to choose the best epoch by.
        out: folder of the model bundle; the checkpoint lies beside it, in ``.NAME.checkpoint``.
        progress: told about epochs and steps.
        on_epoch: given each epoch's figures.
    """

    def __init__(
        self,
        config: PatchTraining,
        train: PatchSource,
        validation: PatchSource,
        out: Path,
        *,
        progress: Progress = no_progress,
        on_epoch: Callable[[dict[str, float]], None] = lambda figures: None,
    ) -> None:
        if set(train.patients_n) & set(validation.patients_n):
            raise DatasetError("a patient is in training and validation; split by patient")
        require_two_classes(validation.labels_n.tolist(), config.classes)
        self.config = config
        self._train, self._validation = train, validation
        self._data_digest = data_digest(train, validation)
        self._out = out
        self._checkpoint = out.with_name(f".{out.name}.checkpoint")
        self._tell, self._on_epoch = progress, on_epoch
        tune_heap()
        self._device = resolve_device(config.device)
        self._cost = CostMeter(self._device)
        self._world = join_world(self._device)
        self._dtype = resolve_dtype(config.precision, self._device)
        torch.manual_seed(mix_seed(config.seed))
        network = build_backbone(config.architecture, len(config.classes), weights=config.weights)
        # Refused before the first step, not when the bundle is loaded after hours.
        split_classifier(network, config.input_px)
        self.network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.compile:
            # In place: the names of the parameters stay.
            self.network.compile()
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self._state = _Progress()
        self._best: dict[str, torch.Tensor] = {}
        self._averaged = {k: v.clone() for k, v in self.network.state_dict().items()}
        counts = np.bincount(train.labels_n, minlength=len(config.classes))
        if (counts < 2).any():
            scarce = config.classes[int(counts.argmin())]
            raise DatasetError(f"class {scarce!r} has {counts.min()} training patches; give more")
        self._class_weights = counts.sum() / (len(counts) * counts)
        self._normal = normal_classes(config.classes)
        #: how much of a false alarm each training patch was, in [0, 1], before this epoch and now
        self._alarm_n = np.zeros(len(train.labels_n), np.float32)
        self._noted_n = self._alarm_n.copy()

    @property
    def history(self) -> list[dict[str, float]]:
        """Figures of each finished epoch."""
        return self._state.history

    def run(self, *, resume: bool = False) -> ModelCard:
        """Train to the end and write the bundle.

        Args:
            resume: continue from the checkpoint, where there is one.

        Raises:
            TrainingStopped: a signal asked to stop; the checkpoint is written.
        """
        if resume:
            self._load()
        with stop_on_signal() as asked:
            while self._state.epoch < self.config.epochs and not self._has_stalled():
                self._run_epoch(asked)
        card = self._card()
        if self._world.is_main:
            card = save_bundle(self._out, card, self._best)
            shutil.rmtree(self._checkpoint, ignore_errors=True)
        self._world.wait()
        return card

    def predict_validation(self) -> NDArray[np.float32]:
        """(N, classes) float32 probabilities of the validation patches by the best weights."""
        return self._predict(self._best)

    def _predict(self, weights: dict[str, torch.Tensor]) -> NDArray[np.float32]:
        config = self.config
        network = build_backbone(config.architecture, len(config.classes)).to(self._device)
        network.load_state_dict(weights)
        return predict(
            network, self._validation, len(config.classes), self._device, self._dtype, self._world
        )

    def _has_stalled(self) -> bool:
        return has_stalled(self._state.epoch, self._state.best_epoch, self.config.patience)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Which patches this epoch sees, in which order."""
        rng = np.random.default_rng(mix_seed(self.config.seed, epoch))
        labels = self._train.labels_n
        if self.config.balance != "sampler" and not self.config.hard_negatives:
            return rng.permutation(len(labels))
        weights = 1 + self.config.hard_negatives * self._alarm_n.astype(np.float64)
        if self.config.balance == "sampler":
            weights = weights * self._class_weights[labels]
        return rng.choice(len(labels), len(labels), p=weights / weights.sum())

    def _run_epoch(self, asked: Callable[[], bool]) -> None:
        config, state = self.config, self._state
        order = self._order(state.epoch)
        # A last batch of one would break BatchNorm; the remainder comes round in other epochs.
        steps = max(1, len(order) // config.batch_size)
        batches = np.array_split(order[: steps * config.batch_size], steps)
        losses = []
        self.network.train()
        remaining = batches[state.step :]
        shares = [self._world.share(batch) for batch in remaining]
        for batch, indices, pixels in zip(
            remaining, shares, read_ahead(shares, self._train.read), strict=True
        ):
            rate = warmup_cosine(state.epoch * steps + state.step, config.epochs * steps, steps)
            set_learning_rate(self._optimizer, config.learning_rate * rate)
            losses.append(self._step(pixels, indices, batch))
            state.step += 1
            self._tell("training", (state.epoch + state.step / steps) / config.epochs)
            if self._world.any(asked()):
                self._save()
                raise TrainingStopped(f"stopped; --resume continues in epoch {state.epoch + 1}")
        self._finish_epoch(float(np.mean(losses)) if losses else float("nan"))

    def _step(
        self, pixels: NDArray[np.uint8], indices: NDArray[np.int64], batch: NDArray[np.int64]
    ) -> float:
        """One update from this process's share of a batch; its part of the loss."""
        config, labels = self.config, self._train.labels_n
        generator = seeded(config.seed, self._state.epoch, self._state.step, 1, *self._world_seed())
        images = to_input(pixels, (0.0,) * 3, (1.0,) * 3, self._device)
        images = normalize(augment(images, config.augmentation, generator))
        with autocast(self._device, self._dtype):
            logits = self.network(images.contiguous(memory_format=torch.channels_last)).float()
        each = functional.cross_entropy(
            logits,
            torch.from_numpy(labels[indices]).to(self._device),
            reduction="none",
            label_smoothing=config.label_smoothing,
        )
        weights = self._class_weights if config.balance == "loss" else np.ones(len(config.classes))
        # The weights of the whole batch divide, so that the processes' parts add up to its mean.
        part = torch.from_numpy(weights[labels[indices]] / weights[labels[batch]].sum())
        loss = (each * part.to(each)).sum()
        self._optimizer.zero_grad(set_to_none=True)
        require_finite([float(loss.detach())], self._world, self._state.epoch)
        loss.backward()  # type: ignore[no-untyped-call]
        self._world.sum_gradients(self.network.parameters())
        self._optimizer.step()
        self._average()
        self._note_alarms(logits.detach(), indices)
        return float(loss.detach())

    def _world_seed(self) -> tuple[int, ...]:
        """Each process draws for itself; one alone draws as if there were no others."""
        return (self._world.rank,) if self._world.size > 1 else ()

    def _note_alarms(self, logits: torch.Tensor, indices: NDArray[np.int64]) -> None:
        """How much disease was seen in normal patches."""
        disease = 1 - logits.softmax(1)[:, list(self._normal)].sum(1).cpu().numpy()
        normal = np.isin(self._train.labels_n[indices], self._normal)
        self._noted_n[indices] = np.where(normal, disease, 0).clip(0, 1)

    def _average(self) -> None:
        keep = self.config.average
        # The average must forget its random start: keep less at first.
        done = self._state.epoch * max(1, len(self._train.labels_n) // self.config.batch_size)
        keep = min(keep, (1 + done + self._state.step) / (10 + done + self._state.step))
        keep = keep if self.config.average else 0.0
        for key, value in self.network.state_dict().items():
            if value.is_floating_point():
                self._averaged[key].lerp_(value, 1 - keep)
            else:
                self._averaged[key].copy_(value)

    def _finish_epoch(self, loss: float) -> None:
        state, config = self._state, self.config
        self._world.average_buffers(self.network)
        news = self._world.merge_rows(self._noted_n - self._alarm_n)
        self._alarm_n = (self._alarm_n + news).clip(0, 1)
        self._noted_n = self._alarm_n.copy()
        probabilities = self._predict(self._averaged)
        figures = classification_metrics(
            self._validation.labels_n, probabilities, config.classes, prefix="validation"
        )
        score = figures["validation_auc"]
        if not score <= state.best:
            state.best, state.best_epoch = score, state.epoch
            self._best = {k: v.clone() for k, v in self._averaged.items()}
        state.history.append({"epoch": state.epoch + 1, "loss": loss, **figures})
        state.epoch, state.step = state.epoch + 1, 0
        self._save()
        if self._world.is_main:
            self._on_epoch(state.history[-1])

    def _save(self) -> None:
        if not self._world.is_main:
            return
        self._cost.add_to(self._state.cost)
        tensors = {
            "alarm": torch.from_numpy(self._alarm_n),
            "noted": torch.from_numpy(self._noted_n),
            **prefixed("network", self.network.state_dict()),
            **prefixed("averaged", self._averaged),
            **prefixed("best", self._best),
            **pack_optimizer(self._optimizer),
        }
        state = {"progress": asdict(self._state), **self._sameness()}
        save_checkpoint(self._checkpoint, tensors, state)

    def _sameness(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that continues it."""
        return {"config": _identity(self.config), "data_digest": self._data_digest}

    def _load(self) -> None:
        found = load_matching(self._checkpoint, self._sameness(), what="settings or patches")
        if found is None:
            return
        tensors, state = found
        self.network.load_state_dict(without_prefix("network", tensors))
        self._averaged = without_prefix("averaged", tensors)
        self._best = without_prefix("best", tensors)
        unpack_optimizer(self._optimizer, tensors)
        self._alarm_n, self._noted_n = tensors["alarm"].numpy(), tensors["noted"].numpy()
        self._state = _Progress(**state["progress"])

    def _card(self) -> ModelCard:
        best = self._state.history[self._state.best_epoch]
        config = self.config
        return ModelCard(
            name=config.name,
            pipeline="patch",
            architecture=config.architecture,
            classes=config.classes,
            malignant=malignant_classes(config.classes, config.malignant),
            mpp=config.mpp,
            input_px=config.input_px,
            settings={
                "stain_normalization": config.stain_normalization,
                "overlap_px": config.overlap_px,
            },
            metrics={key: value for key, value in best.items() if key.startswith("validation")},
            training={
                "options": _identity(config),
                "data_digest": self._data_digest,
                "patches": {
                    "train": len(self._train.labels_n),
                    "validation": len(self._validation.labels_n),
                },
                "patients": {
                    "train": len(set(self._train.patients_n)),
                    "validation": len(set(self._validation.patients_n)),
                },
                **describe_seen(
                    (*self._train.patients_n, *self._train.slides),
                    (*self._validation.patients_n, *self._validation.slides),
                ),
                "cost": dict(self._state.cost),
                "best_epoch": self._state.best_epoch + 1,
                "history": self._state.history,
            },
        )


def normal_classes(classes: tuple[str, ...]) -> tuple[int, ...]:
    """Indices of the classes that are no disease: background, and the first of the others."""
    others = [index for index, name in enumerate(classes) if name != BACKGROUND]
    return tuple(index for index in range(len(classes)) if index not in others[1:])


def _identity(config: PatchTraining) -> dict[str, Any]:
    """The options that decide the weights, as JSON types."""
    options = {**asdict(config), "classes": list(config.classes)}
    del options["malignant"]
    return options
