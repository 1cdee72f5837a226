"""Training gated attention and CLAM on bags of patch embeddings."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from wsi.data.bags import Bag, bags_digest
from wsi.data.patient_bags import PatientBag
from wsi.errors import ConfigError, DatasetError
from wsi.evaluation.grades import median_grade
from wsi.evaluation.metrics import classification_metrics
from wsi.models.aggregators.attention import (
    AttentionKind,
    AttentionNetwork,
    AttentionSpec,
    pad_bags,
)
from wsi.models.aggregators.stored import PIPELINE, pack_attention
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard
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
from wsi.training.distributed import World
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
from wsi.training.provenance import describe_seen


@dataclass(frozen=True, kw_only=True)
class AttentionTraining:
    """Everything that decides the result of a training, besides the data.

    Attributes:
        name: of the model.
        kind: ``gated-attention`` (Ilse 2018) or ``clam`` (Lu 2021).
        classes: of slides, in the order of the labels; the first is the normal one.
        batch_size: bags in one update.
        hidden, attention, dropout, ordinal: see ``AttentionSpec``.
        bag_weight: with CLAM, share of the bag's loss; the rest is the patches'.
        instances: with CLAM, patches on either end of the attention that are pulled apart.
        max_patches: of a bag in one update, drawn anew each time; 0 takes all.
        patience: epochs without a lower validation loss before stopping; 0 never stops early.
    """

    name: str
    kind: AttentionKind
    classes: tuple[str, ...]
    epochs: int = 20
    batch_size: int = 1
    learning_rate: float = 2e-4
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0
    hidden: int = 256
    attention: int = 128
    dropout: float = 0.25
    ordinal: bool = False
    bag_weight: float = 0.7
    instances: int = 8
    max_patches: int = 0
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ConfigError("epochs, batch size and learning rate must be positive")
        if not 0 <= self.bag_weight <= 1 or self.instances < 1 or self.max_patches < 0:
            raise ConfigError("the bag's weight lies in 0 to 1, patches are counted from one")


@dataclass
class _State:
    """Where a training stands; what a checkpoint's JSON holds."""

    epoch: int = 0
    step: int = 0
    best: float = float("inf")
    best_epoch: int = -1
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)


class AttentionTrainer:
    """Trains an attention aggregator; resumable to the same weights, bit for bit on a CPU.

    Args:
        config: what is asked.
        bags: of slides or patients, of the splits train and val; others are passed over.
        out: folder of the model bundle; the checkpoint lies beside it, in ``.NAME.checkpoint``.
        progress: told about steps.
        on_epoch: given each epoch's figures.
        about_labels: what the model card should say of where the labels come from.

    Raises:
        DatasetError: a split is empty, a patient is in both, a class is not in training, or bags
            differ in width.
    """

    def __init__(
        self,
        config: AttentionTraining,
        bags: Sequence[Bag],
        out: Path,
        *,
        progress: Progress = no_progress,
        on_epoch: Callable[[dict[str, float]], None] = lambda figures: None,
        about_labels: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config
        self._train = [bag for bag in bags if bag.split == "train"]
        self._validation = [bag for bag in bags if bag.split == "val"]
        if not self._train or not self._validation:
            raise DatasetError("attention needs bags of the splits train and val")
        if {b.patient for b in self._train} & {b.patient for b in self._validation}:
            raise DatasetError("a patient is in training and validation; split by patient")
        missing = set(range(len(config.classes))) - {bag.label for bag in self._train}
        if missing:
            raise DatasetError(f"no training bag is of the class {config.classes[min(missing)]!r}")
        require_two_classes((bag.label for bag in self._validation), config.classes)
        self._out = out
        self._checkpoint = out.with_name(f".{out.name}.checkpoint")
        self._tell, self._on_epoch, self._about_labels = progress, on_epoch, about_labels
        self._mean, self._deviation = _scale_of(self._train)
        self._spec = AttentionSpec(
            kind=config.kind,
            features=len(self._mean),
            classes=len(config.classes),
            hidden=config.hidden,
            attention=config.attention,
            dropout=config.dropout,
            ordinal=config.ordinal,
        )
        torch.manual_seed(mix_seed(config.seed))
        self.network = AttentionNetwork(self._spec)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        share = np.stack([bag.target_k for bag in self._train]).mean(0)
        # Soft labels may leave a class almost empty: its weight stays finite.
        weights = 1 / np.maximum(share, 1e-3)
        self._class_weights = torch.from_numpy(weights / (weights * share).sum()).float()
        self._state = _State()
        self._best: dict[str, torch.Tensor] = {}

    def run(self, *, resume: bool = False) -> ModelCard:
        """Train to the end and write the bundle.

        Raises:
            TrainingStopped: a signal asked to stop; the checkpoint is written.
        """
        if resume:
            self._load()
        with stop_on_signal() as asked:
            while self._state.epoch < self.config.epochs and not self._has_stalled():
                self._run_epoch(asked)
        card = self._save_bundle()
        shutil.rmtree(self._checkpoint, ignore_errors=True)
        return card

    def _has_stalled(self) -> bool:
        return has_stalled(self._state.epoch, self._state.best_epoch, self.config.patience)

    def _bag(self, bag: Bag) -> torch.Tensor:
        values = bag.read()
        if values.shape[1] != len(self._mean):
            raise DatasetError(
                f"{bag.path}: embeddings of {values.shape[1]} features, others have "
                f"{len(self._mean)}: all must come from one encoder"
            )
        return (torch.from_numpy(values) - self._mean) / self._deviation

    def _run_epoch(self, asked: Callable[[], bool]) -> None:
        config, state = self.config, self._state
        order = np.random.default_rng(mix_seed(config.seed, state.epoch)).permutation(
            len(self._train)
        )
        steps = max(1, -(-len(order) // config.batch_size))
        batches = [[self._train[i] for i in part] for part in np.array_split(order, steps)]
        remaining = batches[state.step :]
        self.network.train()
        read = read_ahead(remaining, lambda batch: [self._bag(bag) for bag in batch])
        for batch, bags in zip(remaining, read, strict=True):
            done = state.epoch * steps + state.step
            rate = warmup_cosine(done, config.epochs * steps, min(steps, 10))
            set_learning_rate(self._optimizer, config.learning_rate * rate)
            state.losses.append(self._step(batch, bags))
            state.step += 1
            self._tell("training", (state.epoch + state.step / steps) / config.epochs)
            if asked():
                self._save()
                raise TrainingStopped(f"stopped; --resume continues in epoch {state.epoch + 1}")
        self._finish_epoch()

    def _step(self, batch: Sequence[Bag], bags: list[torch.Tensor]) -> float:
        config = self.config
        generator = seeded(config.seed, self._state.epoch, self._state.step, 1)
        if config.max_patches:
            bags = [
                bag[torch.randperm(len(bag), generator=generator)[: config.max_patches]]
                for bag in bags
            ]
        targets = torch.from_numpy(np.stack([bag.target_k for bag in batch]))
        padded, mask = pad_bags(bags)
        logits, attention, hidden = self.network(padded, mask)
        loss = functional.cross_entropy(
            logits, targets, weight=self._class_weights, label_smoothing=config.label_smoothing
        )
        if config.kind == "clam":
            patches = self.network.instance_loss(
                attention, hidden, mask, targets.argmax(1), config.instances
            )
            loss = config.bag_weight * loss + (1 - config.bag_weight) * patches
        require_finite([float(loss.detach())], World(), self._state.epoch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach())

    def _finish_epoch(self) -> None:
        state, config = self._state, self.config
        logits = self._predict(self._validation)
        targets = torch.from_numpy(np.stack([bag.target_k for bag in self._validation]))
        loss = float(functional.cross_entropy(logits, targets))
        labels, probabilities = (
            np.array([b.label for b in self._validation]),
            _probabilities(logits),
        )
        figures = classification_metrics(labels, probabilities, config.classes, prefix="validation")
        if config.ordinal:
            off = np.abs(median_grade(probabilities) - labels)
            figures["validation_grade_error"] = float(off.mean())
        if not loss >= state.best:
            state.best, state.best_epoch = loss, state.epoch
            self._best = {k: v.clone() for k, v in self.network.state_dict().items()}
        state.history.append(
            {
                "epoch": state.epoch + 1,
                "loss": float(np.mean(state.losses)),
                "validation_loss": loss,
                **figures,
            }
        )
        state.epoch, state.step, state.losses = state.epoch + 1, 0, []
        self._save()
        self._on_epoch(state.history[-1])

    def _predict(self, bags: Sequence[Bag]) -> torch.Tensor:
        """(N, K) logits of whole bags, one by one."""
        self.network.eval()
        logits = []
        for bag in read_ahead(bags, self._bag):
            with torch.inference_mode():
                logits.append(self.network(*pad_bags([bag]))[0][0].clone())
        return torch.stack(logits)

    def _save(self) -> None:
        tensors = {
            **prefixed("network", self.network.state_dict()),
            **prefixed("best", self._best),
            **pack_optimizer(self._optimizer),
        }
        save_checkpoint(
            self._checkpoint, tensors, {"progress": asdict(self._state), **self._identity()}
        )

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that continues it."""
        return {
            "config": {**asdict(self.config), "classes": list(self.config.classes)},
            "data_digest": bags_digest([*self._train, *self._validation]),
        }

    def _load(self) -> None:
        found = load_matching(self._checkpoint, self._identity(), what="settings or bags")
        if found is None:
            return
        tensors, state = found
        self.network.load_state_dict(without_prefix("network", tensors))
        self._best = without_prefix("best", tensors)
        unpack_optimizer(self._optimizer, tensors)
        self._state = _State(**state["progress"])

    def _save_bundle(self) -> ModelCard:
        config, best = self.config, self._state.history[self._state.best_epoch]
        identity = self._identity()
        card = ModelCard(
            name=self._out.name,
            pipeline=PIPELINE,
            architecture=config.kind,
            classes=config.classes,
            mpp=0.0,
            input_px=0,
            settings={
                "aggregator": {
                    "kind": config.kind,
                    "classes": list(config.classes),
                    "spec": asdict(self._spec),
                }
            },
            metrics={key: value for key, value in best.items() if key.startswith("validation")},
            training={
                "options": identity["config"],
                "data_digest": identity["data_digest"],
                "bags": {"train": len(self._train), "validation": len(self._validation)},
                **describe_seen(
                    (bag.patient for bag in self._train),
                    (bag.patient for bag in self._validation),
                ),
                "slides": sum(len(b.members) for b in (*self._train, *self._validation)),
                "bag_is": "patient" if isinstance(self._train[0], PatientBag) else "slide",
                "labels": dict(self._about_labels or {}),
                "best_epoch": self._state.best_epoch + 1,
                "history": self._state.history,
            },
        )
        state = pack_attention(self._best, self._mean, self._deviation)
        return save_bundle(self._out, card, state)


def _probabilities(logits: torch.Tensor) -> NDArray[np.float32]:
    return logits.softmax(1).numpy()


def _scale_of(bags: Sequence[Bag]) -> tuple[torch.Tensor, torch.Tensor]:
    """(D,) mean and deviation of all patches, each bag counting alike."""
    first: list[NDArray[np.float64]] = []
    second: list[NDArray[np.float64]] = []
    for values in read_ahead(bags, Bag.read):
        if first and values.shape[1] != len(first[0]):
            raise DatasetError("bags differ in width: all must come from one encoder")
        first.append(values.mean(0, dtype=np.float64))
        second.append((values.astype(np.float64) ** 2).mean(0))
    mean = np.mean(first, axis=0)
    deviation = np.sqrt(np.maximum(np.mean(second, axis=0) - mean**2, 0))
    # A feature that never varies says nothing: leave it as it is.
    deviation[deviation < 1e-6] = 1.0
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()
