"""Training the patch classifier."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from wsi.errors import ConfigError, DatasetError
from wsi.evaluation.metrics import classification_metrics
from wsi.models.backbones import build_backbone
from wsi.models.bundle import save_bundle
from wsi.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from wsi.models.runtime import autocast, fast_dtype, resolve_device, to_input, tune_allocator
from wsi.progress import Progress, no_progress
from wsi.training.augment import AugmentSpec, augment
from wsi.training.checkpoints import (
    load_checkpoint,
    pack_optimizer,
    prefixed,
    save_checkpoint,
    unpack_optimizer,
    without_prefix,
)
from wsi.training.loop import (
    TrainingStopped,
    mix_seed,
    read_ahead,
    seeded,
    set_learning_rate,
    stop_on_signal,
    warmup_cosine,
)
from wsi.training.sources import PatchSource

Balance = Literal["none", "loss", "sampler"]


@dataclass(frozen=True, kw_only=True)
class PatchTraining:
    """Everything that decides the result of a training, besides the data.

    Attributes:
        name: of the model.
        classes: in the order of the labels.
        mpp: micrometres per pixel of the patches.
        input_px: side of a patch.
        architecture, weights: see ``wsi.models.backbones.build_backbone``.
        balance: against class imbalance: weights in the loss, a weighted sampler, or nothing.
        average: share of the old weights kept at each step in the running average that is
            validated and saved (Polyak averaging); 0 switches it off.
        patience: epochs without a better validation figure before stopping; 0 never stops early.
        precision: ``auto`` takes bfloat16 where the hardware has it.
    """

    name: str
    classes: tuple[str, ...]
    mpp: float
    input_px: int
    architecture: str = "resnet18"
    weights: str | None = None
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.0
    balance: Balance = "loss"
    average: float = 0.0
    patience: int = 0
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    augmentation: AugmentSpec = field(default_factory=AugmentSpec)

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ConfigError(f"a classifier needs at least two classes, got {self.classes}")
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ConfigError("epochs, batch size and learning rate must be positive")


@dataclass
class _Progress:
    """Where a training stands; what a checkpoint's JSON holds."""

    epoch: int = 0
    step: int = 0
    best: float = -1.0
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)


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
        self.config = config
        self._train, self._validation = train, validation
        self._out = out
        self._checkpoint = out.with_name(f".{out.name}.checkpoint")
        self._tell, self._on_epoch = progress, on_epoch
        tune_allocator()
        self._device = resolve_device(config.device)
        self._dtype = (
            fast_dtype(self._device)
            if config.precision == "auto"
            else getattr(torch, config.precision)
        )
        torch.manual_seed(mix_seed(config.seed))
        self.network = build_backbone(
            config.architecture, len(config.classes), weights=config.weights
        ).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        card = self._save_bundle()
        self._remove_checkpoint()
        return card

    def _has_stalled(self) -> bool:
        waited = self._state.epoch - 1 - self._state.best_epoch
        return bool(self.config.patience) and waited >= self.config.patience

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Which patches this epoch sees, in which order."""
        rng = np.random.default_rng(mix_seed(self.config.seed, epoch))
        labels = self._train.labels_n
        if self.config.balance == "sampler":
            weights = self._class_weights[labels]
            return rng.choice(len(labels), len(labels), p=weights / weights.sum())
        return rng.permutation(len(labels))

    def _run_epoch(self, asked: Callable[[], bool]) -> None:
        config, state = self.config, self._state
        order = self._order(state.epoch)
        # A last batch of one would break BatchNorm; the remainder comes round in other epochs.
        steps = max(1, len(order) // config.batch_size)
        batches = np.array_split(order[: steps * config.batch_size], steps)
        losses = []
        self.network.train()
        remaining = batches[state.step :]
        for indices, pixels in zip(remaining, read_ahead(remaining, self._train.read), strict=True):
            rate = warmup_cosine(state.epoch * steps + state.step, config.epochs * steps, steps)
            set_learning_rate(self._optimizer, config.learning_rate * rate)
            losses.append(self._step(pixels, self._train.labels_n[indices]))
            state.step += 1
            self._tell("training", (state.epoch + state.step / steps) / config.epochs)
            if asked():
                self._save()
                raise TrainingStopped(f"stopped; --resume continues in epoch {state.epoch + 1}")
        self._finish_epoch(float(np.mean(losses)) if losses else float("nan"))

    def _step(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        config = self.config
        generator = seeded(config.seed, self._state.epoch, self._state.step, 1)
        images = to_input(pixels, (0.0,) * 3, (1.0,) * 3, self._device)
        images = normalize(augment(images, config.augmentation, generator))
        weight = (
            torch.tensor(self._class_weights, dtype=torch.float32, device=self._device)
            if config.balance == "loss"
            else None
        )
        with autocast(self._device, self._dtype):
            logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(
            logits.float(),
            torch.from_numpy(labels).to(self._device),
            weight=weight,
            label_smoothing=config.label_smoothing,
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._average()
        return float(loss.detach())

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
        judged = build_backbone(config.architecture, len(config.classes)).to(self._device)
        judged.load_state_dict(self._averaged)
        probabilities = predict(judged, self._validation, config, self._device, self._dtype)
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
        self._on_epoch(state.history[-1])

    def _save(self) -> None:
        tensors = {
            **prefixed("network", self.network.state_dict()),
            **prefixed("averaged", self._averaged),
            **prefixed("best", self._best),
            **pack_optimizer(self._optimizer),
        }
        state = {"progress": asdict(self._state), "config": _identity(self.config)}
        save_checkpoint(self._checkpoint, tensors, state)

    def _load(self) -> None:
        found = load_checkpoint(self._checkpoint)
        if found is None:
            return
        tensors, state = found
        if state["config"] != _identity(self.config):
            raise ConfigError(
                f"{self._checkpoint}: made with other settings; "
                "resume with the same ones, or train without --resume"
            )
        self.network.load_state_dict(without_prefix("network", tensors))
        self._averaged = without_prefix("averaged", tensors)
        self._best = without_prefix("best", tensors)
        unpack_optimizer(self._optimizer, tensors)
        self._state = _Progress(**state["progress"])

    def _remove_checkpoint(self) -> None:
        shutil.rmtree(self._checkpoint, ignore_errors=True)

    def _save_bundle(self) -> ModelCard:
        best = self._state.history[self._state.best_epoch]
        config = self.config
        card = ModelCard(
            name=config.name,
            pipeline="patch",
            architecture=config.architecture,
            classes=config.classes,
            mpp=config.mpp,
            input_px=config.input_px,
            metrics={key: value for key, value in best.items() if key.startswith("validation")},
            training={
                "options": _identity(config),
                "data_digest": data_digest(self._train, self._validation),
                "patches": {
                    "train": len(self._train.labels_n),
                    "validation": len(self._validation.labels_n),
                },
                "patients": {
                    "train": len(set(self._train.patients_n)),
                    "validation": len(set(self._validation.patients_n)),
                },
                "best_epoch": self._state.best_epoch + 1,
                "history": self._state.history,
            },
        )
        return save_bundle(self._out, card, self._best)


def normalize(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) in [0, 1] with ImageNet's mean and deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std


def predict(
    network: nn.Module,
    source: PatchSource,
    config: PatchTraining,
    device: torch.device,
    dtype: torch.dtype,
) -> NDArray[np.float32]:
    """(N, classes) float32 probabilities of all patches of a source."""
    network.eval()
    count = len(source.labels_n)
    batches = np.array_split(np.arange(count), max(1, -(-count // 128)))
    parts = []
    for pixels in read_ahead(batches, source.read):
        with torch.inference_mode(), autocast(device, dtype):
            logits = network(to_input(pixels, IMAGENET_MEAN, IMAGENET_STD, device))
        parts.append(logits.float().softmax(1).cpu().numpy())
    return np.concatenate(parts)


def data_digest(*sources: PatchSource) -> str:
    """Names the training data: the patches' descriptions and labels, in order."""
    digest = hashlib.sha256()
    for source in sources:
        for index, label in enumerate(source.labels_n):
            digest.update(f"{source.describe(index)}\t{label}\n".encode())
    return digest.hexdigest()


def _identity(config: PatchTraining) -> dict[str, Any]:
    """The options as JSON types."""
    return {**asdict(config), "classes": list(config.classes)}
