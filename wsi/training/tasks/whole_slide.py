"""Training the whole-slide network from slide labels alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from wsi.data.resolutions import check_resolutions
from wsi.data.slide_image import SlideSource, SlideVariant, fitted_mpp
from wsi.data.tables import Row, require_files, rows_digest
from wsi.errors import ConfigError, DatasetError
from wsi.evaluation.metrics import classification_metrics
from wsi.malignancy import malignant_classes
from wsi.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from wsi.models.detail import DRAWN_MPP
from wsi.models.runtime import resolve_device, resolve_dtype
from wsi.networks import StagedNetwork
from wsi.planning import OPTIMIZER_STATE, MemoryPlan, plan
from wsi.planning.budgets import memory_budgets, scratch_budget
from wsi.seeding import mix_seed, seeded
from wsi.slides import SlideReader, open_slide
from wsi.streaming import MemoryMode, RunOptions, make_mode
from wsi.tissue import TissueMask, TissueSpec, find_tissue
from wsi.training.distributed import join_world
from wsi.training.loop import require_finite_predictions, require_two_classes
from wsi.training.provenance import describe_subjects
from wsi.training.tasks.base import Task, Update, Validation
from wsi.training.tasks.whole_slide_config import WholeSlideTraining
from wsi.training.tasks.whole_slide_start import draw_variant, start_network

_Kind = tuple[tuple[int, int], int]
"""Of slides that share a plan: height and width, tenths of tissue rounded up."""


class WholeSlideTask(Task):
    """A whole-slide network, learned from slide labels alone.

    Args:
        options: what is asked.
        rows: labelled slides with their splits.
        root: folder that the rows' paths are relative to.
        on_plan: given the table of the first memory plan, and of each that needs more than those
            before, after its first step: the measured beside the predicted.
        on_warning: given each sentence for people about a slide.

    Raises:
        DatasetError: slides are missing, or validation is empty or has one class alone.
        ConfigError: the options do not go together.
    """

    examples = "slides"

    def __init__(
        self,
        options: WholeSlideTraining,
        rows: Sequence[Row],
        root: Path,
        *,
        on_plan: Callable[[str], None] = lambda table: None,
        on_warning: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.options: WholeSlideTraining = options
        self.checkpoint_updates = options.checkpoint_updates
        self._train = [row for row in rows if row.split == "train"]
        self._validation = [row for row in rows if row.split == "val"]
        self._root, self._on_plan, self._on_warning = root, on_plan, on_warning
        self._coarsest_mpp = options.mpp
        require_files((*self._train, *self._validation), root)
        if not self._validation:
            raise DatasetError("the table has no slide of split val to choose the best epoch by")
        require_two_classes((row.label or 0 for row in self._validation), options.classes)
        self.device = resolve_device(options.device)
        self.world = join_world(self.device)
        if options.accumulate < self.world.size:
            raise ConfigError(
                f"an update of {options.accumulate} slide(s) cannot be shared by "
                f"{self.world.size} processes; raise accumulate"
            )
        network, self._inherited = start_network(options)
        self.network: StagedNetwork = network.to(self.device)
        self._modes: dict[_Kind, MemoryMode] = {}
        self._unreported_plans: dict[_Kind, MemoryPlan] = {}
        self._most_planned = 0
        kind = torch.optim.AdamW if options.optimizer == "adamw" else _sgd
        self.optimizer = kind(
            self.network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        counts = np.bincount([r.label or 0 for r in self._train], minlength=len(options.classes))
        weights = (
            counts.sum() / (len(counts) * counts) if options.class_weights else counts * 0 + 1.0
        )
        self._class_weights = torch.tensor(weights, dtype=torch.float32, device=self.device)
        self._tissue: dict[str, TissueMask] = {}

    def identity(self) -> dict[str, Any]:
        options = {**asdict(self.options), "classes": list(self.options.classes)}
        del options["malignant"]  # It decides nothing of the weights.
        return options

    def data_digest(self) -> str:
        return rows_digest((*self._train, *self._validation), self._root)

    def prepare(self) -> None:
        found = check_resolutions(
            (*self._train, *self._validation),
            self._root,
            mpp=self.options.mpp,
            input_px=self.options.input_px,
        )
        self._coarsest_mpp = found.coarsest_mpp
        if self.world.is_main:
            for text in found.warnings:
                self._on_warning(text)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng(mix_seed(self.options.seed, epoch))
        order, size = rng.permutation(len(self._train)), self.options.accumulate
        return [order[start : start + size] for start in range(0, len(order), size)]

    def warmup(self, steps: int) -> int:
        return self.options.warmup

    def step(self, update: Update, data: Any) -> list[float]:
        losses = []
        mine = self.world.share(update.batch)
        for number, index in enumerate(mine, start=1):
            losses.append(self._learn(update.epoch, int(index), len(update.batch)))
            update.report(number / len(mine))
        return losses

    def _learn(self, epoch: int, index: int, shares: int) -> float:
        """Forward and backward of one slide; its gradient counts as one of ``shares``."""
        config, row = self.options, self._train[index]
        generator = seeded(config.seed, epoch, index)
        label = torch.tensor([row.label], device=self.device)

        def loss_fn(logits: torch.Tensor) -> torch.Tensor:
            loss = functional.cross_entropy(
                logits.float(),
                label.to(logits.device),
                reduction="none",
                label_smoothing=config.label_smoothing,
            )
            return (loss * self._class_weights.to(logits.device)[label]).mean() / shares

        with self._opened(row) as slide:
            source = self._source(slide, row, draw_variant(config.augmentation, generator))
            step = self._mode_for(source).step(self.network, source, loss_fn)
        self._device_bytes = max(self._device_bytes, step.measured.peak_device_bytes)
        planned = self._unreported_plans.pop(_kind(source), None)
        if planned and self.world.is_main:
            self._on_plan(planned.table(step.measured))
        return step.loss * shares

    def _file(self, row: Row) -> Path:
        return self._root / row.path

    def _opened(self, row: Row) -> SlideReader:
        return open_slide(self._file(row), mpp=row.mpp, force_mpp=row.force_mpp)

    def _mode_for(self, source: SlideSource) -> MemoryMode:
        """How an image runs: as asked, else planned once for each size and tenth of tissue."""
        kind = _kind(source)
        if kind in self._modes:
            return self._modes[kind]
        config = self.options
        dtype = resolve_dtype(config.precision, self.device)
        run = RunOptions(
            device=str(self.device), autocast=None if dtype == torch.float32 else dtype
        )
        if config.memory == "auto":
            device_bytes, host_bytes = memory_budgets(self.device)
            planned = plan(
                self.network,
                source.size,
                (config.device_memory or device_bytes) if device_bytes else None,
                config.host_memory or host_bytes,
                disk_budget=scratch_budget(),
                dtype=run.autocast,
                state_per_parameter=OPTIMIZER_STATE[config.optimizer],
                tissue=kind[1] / 10,
            )
            if planned.device_bytes > self._most_planned:
                self._most_planned = planned.device_bytes
                self._unreported_plans[kind] = planned
            self._modes[kind] = planned.make_mode(run)
        else:
            self._modes[kind] = make_mode(config.memory, run, **config.memory_options)
        return self._modes[kind]

    def _source(self, slide: Any, row: Row, variant: SlideVariant | None) -> SlideSource:
        if row.path not in self._tissue:
            self._tissue[row.path] = find_tissue(slide, TissueSpec())
        return SlideSource(
            slide,
            self.options.mpp or fitted_mpp(slide, self.options.input_px),
            tissue=self._tissue[row.path],
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            variant=variant,
        )

    def predict(
        self, rows: Sequence[Row], report: Callable[[float], None] = lambda share: None
    ) -> NDArray[np.float32]:
        """(N, classes) float32 probabilities of slides, dealt out to the processes."""
        values = np.zeros((len(rows), len(self.options.classes)), np.float32)
        mine = self.world.share(np.arange(len(rows)))
        for number, index in enumerate(mine):
            row = rows[int(index)]
            with self._opened(row) as slide:
                source = self._source(slide, row, None)
                mode = self._mode_for(source)
                inference = mode.infer(self.network, source, keep_embedding=False)
            values[index] = inference.logits_nc.float().softmax(1).cpu().numpy()[0]
            report((number + 1) / len(mine))
        return self.world.merge_rows(values)

    def validate(self, report: Callable[[float], None]) -> Validation:
        labels = np.array([row.label for row in self._validation], np.int64)
        probabilities = self.predict(self._validation, report)
        require_finite_predictions(probabilities)
        figures = classification_metrics(
            labels, probabilities, self.options.classes, prefix="validation"
        )
        chosen = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1)
        loss = figures["validation_loss"] = float(-np.log(chosen).mean())
        # With a handful of slides many epochs share one AUC: the loss decides between them.
        return Validation(figures["validation_auc"] - 1e-3 * min(loss, 10.0), figures)

    def card(self) -> ModelCard:
        config = self.options
        return ModelCard(
            name=config.name,
            pipeline="whole-slide",
            architecture=config.architecture,
            classes=config.classes,
            malignant=malignant_classes(config.classes, config.malignant),
            mpp=config.mpp,
            input_px=config.input_px,
            settings={"norm": config.norm, "pooling": config.pooling},
            training={
                DRAWN_MPP: self._coarsest_mpp,
                "slides": {"train": len(self._train), "validation": len(self._validation)},
                **describe_subjects(
                    (name for row in self._train for name in (row.patient, row.path)),
                    (name for row in self._validation for name in (row.patient, row.path)),
                    inherited=self._inherited,
                ),
            },
        )


def _kind(source: SlideSource) -> _Kind:
    return source.size, max(1, math.ceil(10 * source.tissue_share))


def _sgd(parameters: Any, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=weight_decay)
