"""Training the whole-slide network from slide labels alone."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
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
from wsi.heap import tune_heap
from wsi.malignancy import malignant_classes
from wsi.models.bundle import save_bundle
from wsi.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from wsi.models.detail import DRAWN_MPP
from wsi.models.runtime import resolve_device, resolve_dtype
from wsi.planning import OPTIMIZER_STATE, MemoryPlan, plan
from wsi.planning.budgets import memory_budgets, scratch_budget
from wsi.progress import Progress, no_progress
from wsi.seeding import mix_seed, seeded
from wsi.slides import SlideReader, open_slide
from wsi.streaming import MemoryMode, RunOptions, make_mode
from wsi.tissue import TissueMask, TissueSpec, find_tissue
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
    require_finite,
    require_two_classes,
    set_learning_rate,
    stop_on_signal,
    warmup_cosine,
)
from wsi.training.provenance import describe_seen
from wsi.training.whole_slide_config import WholeSlideTraining
from wsi.training.whole_slide_start import draw_variant, start_network

_Kind = tuple[tuple[int, int], int]
"""Of slides that share a plan: height and width, tenths of tissue rounded up."""


@dataclass
class _Progress:
    """Where a training stands; what a checkpoint's JSON holds."""

    epoch: int = 0
    position: int = 0
    updates: int = 0
    losses: list[float] = field(default_factory=list)
    best: float = -1.0
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)


class WholeSlideTrainer:
    """Trains a whole-slide network; resumable within an epoch, to the same weights on a CPU.

    Args:
        config: what is asked.
        rows: labelled slides with their splits.
        root: folder that the rows' paths are relative to.
        out: folder of the model bundle; the checkpoint lies beside it, in ``.NAME.checkpoint``.
        progress: told about every slide.
        on_epoch: given each epoch's figures.
        on_plan: given the table of the first memory plan, and of each that needs more than those
            before, after its first step: the measured beside the predicted.
        on_warning: given each sentence for people about a slide.
    """

    def __init__(
        self,
        config: WholeSlideTraining,
        rows: Sequence[Row],
        root: Path,
        out: Path,
        *,
        progress: Progress = no_progress,
        on_epoch: Callable[[dict[str, float]], None] = lambda figures: None,
        on_plan: Callable[[str], None] = lambda table: None,
        on_warning: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.config = config
        self._train = [row for row in rows if row.split == "train"]
        self._validation = [row for row in rows if row.split == "val"]
        self._root, self._out = root, out
        self._checkpoint = out.with_name(f".{out.name}.checkpoint")
        self._tell, self._on_epoch, self._on_plan = progress, on_epoch, on_plan
        self._on_warning, self._coarsest_mpp = on_warning, config.mpp
        require_files((*self._train, *self._validation), root)
        if not self._validation:
            raise DatasetError("the table has no slide of split val to choose the best epoch by")
        require_two_classes((row.label or 0 for row in self._validation), config.classes)
        tune_heap()
        self._device = resolve_device(config.device)
        self._cost, self._device_bytes = CostMeter(self._device), 0
        self._world = join_world(self._device)
        if config.accumulate < self._world.size:
            raise ConfigError(
                f"an update of {config.accumulate} slide(s) cannot be shared by "
                f"{self._world.size} processes; raise accumulate"
            )
        network, self._inherited = start_network(config)
        self.network = network.to(self._device)
        self._modes: dict[_Kind, MemoryMode] = {}
        self._untold_plans: dict[_Kind, MemoryPlan] = {}
        self._most_planned = 0
        kind = torch.optim.AdamW if config.optimizer == "adamw" else _sgd
        self._optimizer = kind(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        counts = np.bincount([row.label or 0 for row in self._train], minlength=len(config.classes))
        weights = (
            counts.sum() / (len(counts) * counts) if config.class_weights else counts * 0 + 1.0
        )
        self._class_weights = torch.tensor(weights, dtype=torch.float32, device=self._device)
        self._tissue: dict[str, TissueMask] = {}
        self._best: dict[str, torch.Tensor] = {}
        self._state = _Progress()

    def _file(self, row: Row) -> Path:
        return self._root / row.path

    def _opened(self, row: Row) -> SlideReader:
        return open_slide(self._file(row), mpp=row.mpp, force_mpp=row.force_mpp)

    def _mode_for(self, source: SlideSource) -> MemoryMode:
        """How an image runs: as asked, else planned once for each size and tenth of tissue."""
        kind = _kind(source)
        if kind in self._modes:
            return self._modes[kind]
        config = self.config
        dtype = resolve_dtype(config.precision, self._device)
        run = RunOptions(
            device=str(self._device), autocast=None if dtype == torch.float32 else dtype
        )
        if config.memory == "auto":
            device_bytes, host_bytes = memory_budgets(self._device)
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
                self._untold_plans[kind] = planned
            self._modes[kind] = planned.make_mode(run)
        else:
            self._modes[kind] = make_mode(config.memory, run, **config.memory_options)
        return self._modes[kind]

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
            SlideError: a slide cannot be read; the checkpoint is from before it.
            MppError: a slide has no usable resolution, or is too coarse for the training.
        """
        self._check_resolutions()
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

    def _check_resolutions(self) -> None:
        found = check_resolutions(
            (*self._train, *self._validation),
            self._root,
            mpp=self.config.mpp,
            input_px=self.config.input_px,
        )
        self._coarsest_mpp = found.coarsest_mpp
        if self._world.is_main:
            for text in found.warnings:
                self._on_warning(text)

    def _has_stalled(self) -> bool:
        return has_stalled(self._state.epoch, self._state.best_epoch, self.config.patience)

    def _run_epoch(self, asked: Callable[[], bool]) -> None:
        config, state = self.config, self._state
        order = np.random.default_rng(mix_seed(config.seed, state.epoch)).permutation(
            len(self._train)
        )
        updates = -(-len(order) // config.accumulate)
        while state.position < len(order):
            chosen = order[state.position : state.position + config.accumulate]
            rate = warmup_cosine(state.updates, config.epochs * updates, config.warmup)
            set_learning_rate(self._optimizer, config.learning_rate * rate)
            self._optimizer.zero_grad(set_to_none=True)
            self.network.train()
            mine = self._world.share(chosen)
            for offset, index in enumerate(mine):
                state.losses.append(self._step(int(index), len(chosen)))
                done = (state.position + (offset + 1) * self._world.size) / len(order)
                self._tell("training", (state.epoch + min(done, 1.0)) / config.epochs)
            require_finite(state.losses[-len(mine) :], self._world, state.epoch)
            self._world.sum_gradients(self.network.parameters())
            self._optimizer.step()
            state.position += len(chosen)
            state.updates += 1
            stopping = self._world.any(asked())
            if stopping or state.updates % config.checkpoint_updates == 0:
                self._save()
            if stopping:
                raise TrainingStopped(f"stopped; --resume continues in epoch {state.epoch + 1}")
        self._finish_epoch()

    def _step(self, index: int, shares: int) -> float:
        """Forward and backward of one slide; its gradient counts as one of ``shares``."""
        config, row = self.config, self._train[index]
        generator = seeded(config.seed, self._state.epoch, index)
        label = torch.tensor([row.label], device=self._device)

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
        planned = self._untold_plans.pop(_kind(source), None)
        if planned and self._world.is_main:
            self._on_plan(planned.table(step.measured))
        return step.loss * shares

    def _source(self, slide: Any, row: Row, variant: SlideVariant | None) -> SlideSource:
        if row.path not in self._tissue:
            self._tissue[row.path] = find_tissue(slide, TissueSpec())
        return SlideSource(
            slide,
            self.config.mpp or fitted_mpp(slide, self.config.input_px),
            tissue=self._tissue[row.path],
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            variant=variant,
        )

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """(N, classes) float32 probabilities of slides, dealt out to the processes."""
        values = np.zeros((len(rows), len(self.config.classes)), np.float32)
        mine = self._world.share(np.arange(len(rows)))
        for number, index in enumerate(mine):
            row = rows[int(index)]
            with self._opened(row) as slide:
                source = self._source(slide, row, None)
                mode = self._mode_for(source)
                inference = mode.infer(self.network, source, keep_embedding=False)
            values[index] = inference.logits_nc.float().softmax(1).cpu().numpy()[0]
            self._tell("validation", (number + 1) / len(mine))
        return self._world.merge_rows(values)

    def _finish_epoch(self) -> None:
        state = self._state
        labels = np.array([row.label for row in self._validation], np.int64)
        probabilities = self.predict(self._validation)
        figures = classification_metrics(
            labels, probabilities, self.config.classes, prefix="validation"
        )
        chosen = np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1)
        figures["validation_loss"] = float(-np.log(chosen).mean())
        # With a handful of slides many epochs share one AUC: the loss decides between them.
        auc = figures["validation_auc"]
        score = (0.0 if np.isnan(auc) else auc) - 1e-3 * min(figures["validation_loss"], 10.0)
        if score > state.best:
            state.best, state.best_epoch = score, state.epoch
            self._best = {k: v.clone() for k, v in self.network.state_dict().items()}
        state.history.append(
            {"epoch": state.epoch + 1, "loss": float(np.mean(state.losses)), **figures}
        )
        state.epoch, state.position, state.losses = state.epoch + 1, 0, []
        self._save()
        if self._world.is_main:
            self._on_epoch(state.history[-1])

    def _save(self) -> None:
        if not self._world.is_main:
            return
        self._cost.add_to(self._state.cost, device_bytes=self._device_bytes)
        tensors = {
            **prefixed("network", self.network.state_dict()),
            **prefixed("best", self._best),
            **pack_optimizer(self._optimizer),
        }
        save_checkpoint(
            self._checkpoint,
            tensors,
            {"progress": asdict(self._state), **self._sameness()},
        )

    def _load(self) -> None:
        found = load_matching(self._checkpoint, self._sameness(), what="settings or slides")
        if found is None:
            return
        tensors, state = found
        self.network.load_state_dict(without_prefix("network", tensors))
        self._best = without_prefix("best", tensors)
        unpack_optimizer(self._optimizer, tensors)
        self._state = _Progress(**state["progress"])

    def _identity(self) -> dict[str, Any]:
        options = {**asdict(self.config), "classes": list(self.config.classes)}
        del options["malignant"]  # It decides nothing of the weights.
        return options

    def _sameness(self) -> dict[str, Any]:
        """What a checkpoint must share with the run that continues it."""
        return {"config": self._identity(), "data_digest": self._data_digest}

    @cached_property
    def _data_digest(self) -> str:
        return rows_digest((*self._train, *self._validation), self._root)

    def _card(self) -> ModelCard:
        config = self.config
        best = self._state.history[self._state.best_epoch]
        return ModelCard(
            name=config.name,
            pipeline="whole-slide",
            architecture=config.architecture,
            classes=config.classes,
            malignant=malignant_classes(config.classes, config.malignant),
            mpp=config.mpp,
            input_px=config.input_px,
            settings={"norm": config.norm, "pooling": config.pooling},
            metrics={key: value for key, value in best.items() if key.startswith("validation")},
            training={
                "options": self._identity(),
                "data_digest": self._data_digest,
                DRAWN_MPP: self._coarsest_mpp,
                "slides": {"train": len(self._train), "validation": len(self._validation)},
                **describe_seen(
                    (name for row in self._train for name in (row.patient, row.path)),
                    (name for row in self._validation for name in (row.patient, row.path)),
                    inherited=self._inherited,
                ),
                "cost": dict(self._state.cost),
                "best_epoch": self._state.best_epoch + 1,
                "history": self._state.history,
            },
        )


def _kind(source: SlideSource) -> _Kind:
    return source.size, max(1, math.ceil(10 * source.tissue_share))


def _sgd(parameters: Any, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=weight_decay)
