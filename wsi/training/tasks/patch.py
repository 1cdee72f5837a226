"""Training the patch classifier."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from wsi.data.augment import augment
from wsi.data.loader import load_batches
from wsi.data.patches import PatchSource
from wsi.errors import DatasetError
from wsi.evaluation.metrics import classification_metrics
from wsi.malignancy import malignant_classes
from wsi.models.aggregators import BACKGROUND
from wsi.models.backbones import build_backbone
from wsi.models.card import ModelCard
from wsi.models.runtime import autocast, resolve_device, resolve_dtype, to_input
from wsi.models.split import split_classifier
from wsi.seeding import mix_seed, seeded
from wsi.training.checkpoints import prefixed, without_prefix
from wsi.training.distributed import join_world
from wsi.training.loop import require_finite_predictions, require_two_classes
from wsi.training.provenance import describe_subjects
from wsi.training.tasks.base import Task, Update, Validation
from wsi.training.tasks.patch_config import PatchTraining
from wsi.training.tasks.patch_predict import data_digest, normalize, predict


class PatchTask(Task):
    """A patch classifier, learned from labelled patches.

    Args:
        options: what is asked.
        train: patches to learn from.
        validation: patches of other patients, to choose the best epoch by.
        workers: processes that read patches; with 0 a thread of this one does. The result does
            not depend on it.

    Raises:
        DatasetError: a patient is in both, validation has one class alone, or a class has fewer
            than two training patches.
        ConfigError, ModelError: the network cannot be built.
    """

    examples = "patches"

    def __init__(
        self,
        options: PatchTraining,
        train: PatchSource,
        validation: PatchSource,
        *,
        workers: int = 0,
    ) -> None:
        if set(train.patients_n) & set(validation.patients_n):
            raise DatasetError("a patient is in training and validation; split by patient")
        require_two_classes(validation.labels_n.tolist(), options.classes)
        counts = np.bincount(train.labels_n, minlength=len(options.classes))
        if (counts < 2).any():
            scarce = options.classes[int(counts.argmin())]
            raise DatasetError(f"class {scarce!r} has {counts.min()} training patches; give more")
        self.options: PatchTraining = options
        self._train, self._validation, self._workers = train, validation, workers
        self._data_digest = data_digest(train, validation)
        self.device = resolve_device(options.device)
        self.world = join_world(self.device)
        self._dtype = resolve_dtype(options.precision, self.device)
        torch.manual_seed(mix_seed(options.seed))
        network = build_backbone(
            options.architecture, len(options.classes), weights=options.weights
        )
        # Refused before the first step, not when the bundle is loaded after hours.
        split_classifier(network, options.input_px)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._averaged = _averaged(self.network, options.average) if options.average else None
        if options.compile:
            # In place: the names of the parameters stay.
            self.network.compile()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self._class_weights = counts.sum() / (len(counts) * counts)
        self._normal = normal_classes(options.classes)
        #: probability of disease given to each normal patch, in [0, 1], when last seen before
        #: this epoch, and with this epoch's updates
        self._false_positive_score_n = np.zeros(len(train.labels_n), np.float32)
        self._pending_n = self._false_positive_score_n.copy()

    def identity(self) -> dict[str, Any]:
        options = {**asdict(self.options), "classes": list(self.options.classes)}
        del options["malignant"]  # It decides nothing of the weights.
        return options

    def data_digest(self) -> str:
        return self._data_digest

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        order, size = self._order(epoch), self.options.batch_size
        # A last batch of one would break BatchNorm; the remainder comes round in other epochs.
        steps = max(1, len(order) // size)
        return np.array_split(order[: steps * size], steps)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Which patches this epoch sees, in which order."""
        options, labels = self.options, self._train.labels_n
        rng = np.random.default_rng(mix_seed(options.seed, epoch))
        if options.balance != "sampler" and not options.hard_negatives:
            return rng.permutation(len(labels))
        weights = 1 + options.hard_negatives * self._false_positive_score_n.astype(np.float64)
        if options.balance == "sampler":
            weights = weights * self._class_weights[labels]
        return rng.choice(len(labels), len(labels), p=weights / weights.sum())

    def warmup(self, steps: int) -> int:
        return steps

    def load(self, epoch: int, batches: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.uint8]]:
        mine = [self.world.share(batch) for batch in batches]
        return load_batches(self._train, mine, self._workers)

    def step(self, update: Update, data: NDArray[np.uint8]) -> list[float]:
        options, labels, batch = self.options, self._train.labels_n, update.batch
        indices = self.world.share(batch)
        # Each process draws for itself; one alone draws as if there were no others.
        rank = (self.world.rank,) if self.world.size > 1 else ()
        generator = seeded(options.seed, update.epoch, update.step, 1, *rank)
        images = to_input(data, (0.0,) * 3, (1.0,) * 3, self.device)
        images = normalize(augment(images, options.augmentation, generator))
        with autocast(self.device, self._dtype):
            logits = self.network(images.contiguous(memory_format=torch.channels_last)).float()
        each = functional.cross_entropy(
            logits,
            torch.from_numpy(labels[indices]).to(self.device),
            reduction="none",
            label_smoothing=options.label_smoothing,
        )
        weights = (
            self._class_weights if options.balance == "loss" else np.ones(len(options.classes))
        )
        # The weights of the whole batch divide, so that the processes' parts add up to its mean.
        part = torch.from_numpy(weights[labels[indices]] / weights[labels[batch]].sum())
        loss = (each * part.to(each)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        self._record_false_positives(logits.detach(), indices)
        update.report(1.0)
        return [float(loss.detach())]

    def _record_false_positives(self, logits: torch.Tensor, indices: NDArray[np.int64]) -> None:
        """How much disease was seen in normal patches."""
        disease = 1 - logits.softmax(1)[:, list(self._normal)].sum(1).cpu().numpy()
        normal = np.isin(self._train.labels_n[indices], self._normal)
        self._pending_n[indices] = np.where(normal, disease, 0).clip(0, 1)

    def after_update(self) -> None:
        if self._averaged:
            self._averaged.update_parameters(self.network)

    def finish_epoch(self) -> None:
        self.world.average_buffers(self.network)
        if self._averaged:
            self.world.average_buffers(self._averaged.module)
        self._false_positive_score_n = self._merged_scores()
        self._pending_n = self._false_positive_score_n.copy()

    def _merged_scores(self) -> NDArray[np.float32]:
        """The false-positive scores with this epoch's updates of all processes."""
        update = self.world.merge_rows(self._pending_n - self._false_positive_score_n)
        return np.asarray((self._false_positive_score_n + update).clip(0, 1), np.float32)

    def weights(self) -> Mapping[str, torch.Tensor]:
        return (self._averaged.module if self._averaged else self.network).state_dict()

    def validate(self, report: Callable[[float], None]) -> Validation:
        probabilities = self.predict(self.weights())
        require_finite_predictions(probabilities)
        labels, classes = self._validation.labels_n, self.options.classes
        figures = classification_metrics(labels, probabilities, classes, prefix="validation")
        return Validation(figures["validation_auc"], figures)

    def predict(self, weights: Mapping[str, torch.Tensor]) -> NDArray[np.float32]:
        """(N, classes) float32 probabilities of the validation patches."""
        classes = len(self.options.classes)
        network = build_backbone(self.options.architecture, classes).to(self.device)
        network.load_state_dict(weights)
        return predict(
            network,
            self._validation,
            classes,
            self.device,
            self._dtype,
            self.world,
            self._workers,
        )

    def state_tensors(self) -> dict[str, torch.Tensor]:
        tensors = {
            "false_positive_score": torch.from_numpy(self._false_positive_score_n),
            "pending": torch.from_numpy(
                self._pending_n if self.world.size == 1 else self._merged_scores()
            ),
        }
        if self._averaged:
            tensors |= prefixed("averaged", self._averaged.state_dict())
        return tensors

    def load_state_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._false_positive_score_n = tensors["false_positive_score"].numpy().copy()
        # The pending scores are those of all processes: one of them brings them in again.
        pending = tensors["pending" if self.world.is_main else "false_positive_score"]
        self._pending_n = pending.numpy().copy()
        if self._averaged:
            self._averaged.load_state_dict(without_prefix("averaged", tensors))

    def card(self) -> ModelCard:
        config = self.options
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
            training={
                "patches": {
                    "train": len(self._train.labels_n),
                    "validation": len(self._validation.labels_n),
                },
                "patients": {
                    "train": len(set(self._train.patients_n)),
                    "validation": len(set(self._validation.patients_n)),
                },
                **describe_subjects(
                    (*self._train.patients_n, *self._train.slides),
                    (*self._validation.patients_n, *self._validation.slides),
                ),
            },
        )


def normal_classes(classes: tuple[str, ...]) -> tuple[int, ...]:
    """Indices of the classes that are no disease: background, and the first of the others."""
    others = [index for index, name in enumerate(classes) if name != BACKGROUND]
    return tuple(index for index in range(len(classes)) if index not in others[1:])


def _averaged(network: torch.nn.Module, average: float) -> AveragedModel:
    """A Polyak average of the network's weights and running statistics."""

    def mix(averaged: Any, current: Any, count: torch.Tensor | int) -> None:
        # The average must forget its random start: keep less at first.
        done = int(count) - 1
        keep = min(average, (1 + done) / (10 + done))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)

    averaged = AveragedModel(network, multi_avg_fn=mix, use_buffers=True)
    averaged.n_averaged.fill_(1)  # it holds the first weights already
    return averaged
