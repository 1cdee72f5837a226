"""Training gated attention and CLAM on bags of patch embeddings."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from wsi.data.bags import Bag, bags_digest
from wsi.data.patient_bags import PatientBag
from wsi.data.read_ahead import read_ahead
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
from wsi.models.card import ModelCard
from wsi.seeding import mix_seed, seeded
from wsi.training.distributed import World
from wsi.training.loop import require_finite_predictions, require_two_classes
from wsi.training.provenance import describe_subjects
from wsi.training.tasks.base import Task, Update, Validation


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
        max_patches: of a bag in one update, drawn again each time; 0 takes all.
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


class AttentionTask(Task):
    """An attention aggregator, learned from bags of patch embeddings; on the CPU, by one process.

    Args:
        options: what is asked.
        bags: of slides or patients, of the splits train and val; others are ignored.
        about_labels: what the model card should say of where the labels come from.

    Raises:
        DatasetError: a split is empty, a patient is in both, a class is not in training, or bags
            differ in width.
    """

    examples = "bags"
    device, world = torch.device("cpu"), World()

    def __init__(
        self,
        options: AttentionTraining,
        bags: Sequence[Bag],
        *,
        about_labels: Mapping[str, Any] | None = None,
    ) -> None:
        self.options: AttentionTraining = options
        self._train = [bag for bag in bags if bag.split == "train"]
        self._validation = [bag for bag in bags if bag.split == "val"]
        if not self._train or not self._validation:
            raise DatasetError("attention needs bags of the splits train and val")
        if {b.patient for b in self._train} & {b.patient for b in self._validation}:
            raise DatasetError("a patient is in training and validation; split by patient")
        missing = set(range(len(options.classes))) - {bag.label for bag in self._train}
        if missing:
            raise DatasetError(f"no training bag is of the class {options.classes[min(missing)]!r}")
        require_two_classes((bag.label for bag in self._validation), options.classes)
        self._about_labels = dict(about_labels or {})
        self._mean, self._deviation = _scale_of(self._train)
        self._spec = AttentionSpec(
            kind=options.kind,
            features=len(self._mean),
            classes=len(options.classes),
            hidden=options.hidden,
            attention=options.attention,
            dropout=options.dropout,
            ordinal=options.ordinal,
        )
        torch.manual_seed(mix_seed(options.seed))
        self.network: AttentionNetwork = AttentionNetwork(self._spec)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        share = np.stack([bag.target_k for bag in self._train]).mean(0)
        # Soft labels may leave a class almost empty: its weight stays finite.
        weights = 1 / np.maximum(share, 1e-3)
        self._class_weights = torch.from_numpy(weights / (weights * share).sum()).float()

    def identity(self) -> dict[str, Any]:
        return {**asdict(self.options), "classes": list(self.options.classes)}

    def data_digest(self) -> str:
        # The table's lines, and of the embeddings their mean and deviation: read already.
        digest = hashlib.sha256(bags_digest([*self._train, *self._validation]).encode())
        digest.update(torch.stack([self._mean, self._deviation]).numpy().tobytes())
        return digest.hexdigest()

    def _bag(self, bag: Bag) -> torch.Tensor:
        values = bag.read()
        if values.shape[1] != len(self._mean):
            raise DatasetError(
                f"{bag.path}: embeddings of {values.shape[1]} features, others have "
                f"{len(self._mean)}: all must come from one encoder"
            )
        return (torch.from_numpy(values) - self._mean) / self._deviation

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng(mix_seed(self.options.seed, epoch))
        order = rng.permutation(len(self._train))
        return np.array_split(order, max(1, -(-len(order) // self.options.batch_size)))

    def warmup(self, steps: int) -> int:
        return min(steps, 10)

    def load(
        self, epoch: int, batches: Sequence[NDArray[np.int64]]
    ) -> Iterator[list[torch.Tensor]]:
        return read_ahead(batches, lambda batch: [self._bag(self._train[i]) for i in batch])

    def step(self, update: Update, data: list[torch.Tensor]) -> list[float]:
        options, bags = self.options, data
        generator = seeded(options.seed, update.epoch, update.step, 1)
        if options.max_patches:
            bags = [
                bag[torch.randperm(len(bag), generator=generator)[: options.max_patches]]
                for bag in bags
            ]
        targets = torch.from_numpy(np.stack([self._train[i].target_k for i in update.batch]))
        padded, mask = pad_bags(bags)
        logits, attention, hidden = self.network(padded, mask)
        loss = functional.cross_entropy(
            logits, targets, weight=self._class_weights, label_smoothing=options.label_smoothing
        )
        if options.kind == "clam":
            patches = self.network.instance_loss(
                attention, hidden, mask, targets.argmax(1), options.instances
            )
            loss = options.bag_weight * loss + (1 - options.bag_weight) * patches
        loss.backward()  # type: ignore[no-untyped-call]
        update.report(1.0)
        return [float(loss.detach())]

    def validate(self, report: Callable[[float], None]) -> Validation:
        logits = self._predict(self._validation)
        probabilities = _probabilities(logits)
        require_finite_predictions(probabilities)
        targets = torch.from_numpy(np.stack([bag.target_k for bag in self._validation]))
        loss = float(functional.cross_entropy(logits, targets))
        labels = np.array([bag.label for bag in self._validation])
        figures = {
            "validation_loss": loss,
            **classification_metrics(
                labels, probabilities, self.options.classes, prefix="validation"
            ),
        }
        if self.options.ordinal:
            off = np.abs(median_grade(probabilities) - labels)
            figures["validation_grade_error"] = float(off.mean())
        return Validation(-loss, figures)

    def _predict(self, bags: Sequence[Bag]) -> torch.Tensor:
        """(N, K) logits of whole bags, one by one."""
        self.network.eval()
        logits = []
        for bag in read_ahead(bags, self._bag):
            with torch.inference_mode():
                logits.append(self.network(*pad_bags([bag]))[0][0].clone())
        return torch.stack(logits)

    def card(self) -> ModelCard:
        options = self.options
        return ModelCard(
            name=options.name,
            pipeline=PIPELINE,
            architecture=options.kind,
            classes=options.classes,
            mpp=0.0,
            input_px=0,
            settings={
                "aggregator": {
                    "kind": options.kind,
                    "classes": list(options.classes),
                    "spec": asdict(self._spec),
                }
            },
            training={
                "bags": {"train": len(self._train), "validation": len(self._validation)},
                **describe_subjects(
                    (bag.patient for bag in self._train),
                    (bag.patient for bag in self._validation),
                ),
                "slides": sum(len(b.members) for b in (*self._train, *self._validation)),
                "bag_is": "patient" if isinstance(self._train[0], PatientBag) else "slide",
                "labels": self._about_labels,
            },
        )

    def bundle_tensors(self, best: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return pack_attention(dict(best), self._mean, self._deviation)


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
