"""What the trainer asks of a task."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from wsi.models.card import ModelCard
from wsi.training.distributed import World


class TrainingOptions(Protocol):
    """Options that every task has."""

    @property
    def epochs(self) -> int:
        """Passes over the training examples, at most."""
        ...

    @property
    def learning_rate(self) -> float:
        """At the end of the warm-up."""
        ...

    @property
    def patience(self) -> int:
        """Epochs without a better validation score before stopping; 0 never stops early."""
        ...


@dataclass(frozen=True)
class Update:
    """One update of the weights.

    Attributes:
        epoch: from zero.
        step: within the epoch, from zero.
        batch: indices of the training examples, those of all processes.
        report: told which share of this update is done, in (0, 1].
    """

    epoch: int
    step: int
    batch: NDArray[np.int64]
    report: Callable[[float], None]


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        score: the higher, the better the weights; the best epoch is chosen by it.
        figures: name to value, with ``validation_`` in the name.
    """

    score: float
    figures: dict[str, float]


class Task(ABC):
    """Model, update, validation and card of one kind of training; see ``wsi.training.trainer``.

    Attributes:
        examples: what it learns from, in the plural, for messages.
        options: everything that decides the result besides the data.
        network, optimizer, device, world: what is trained, by what, and where.
        checkpoint_updates: a checkpoint every so many updates besides the one per epoch; 0 none.
    """

    examples: str
    options: TrainingOptions
    network: nn.Module
    optimizer: torch.optim.Optimizer
    device: torch.device
    world: World
    checkpoint_updates: int = 0
    _device_bytes: int = 0

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """The options that decide the weights, as JSON types."""

    @abstractmethod
    def data_digest(self) -> str:
        """Names the training and validation data: labels, splits, patients and contents."""

    def prepare(self) -> None:  # noqa: B027 - a hook
        """Check what takes longer than a constructor should, before the first update."""

    @abstractmethod
    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The examples of each update of an epoch, in order; a function of the epoch alone."""

    @abstractmethod
    def warmup(self, steps: int) -> int:
        """Updates until the full learning rate, where an epoch has ``steps``."""

    def load(self, epoch: int, batches: Sequence[NDArray[np.int64]]) -> Iterator[Any]:
        """What ``step`` gets with each of these batches, read ahead where that helps.

        Args:
            epoch: that they belong to.
            batches: the remaining ones of the epoch.
        """
        return iter([None] * len(batches))

    @abstractmethod
    def step(self, update: Update, data: Any) -> list[float]:
        """Forward and backward of this process's share; gradients are added to ``.grad``.

        Returns:
            The losses to average into the epoch's.
        """

    def after_update(self) -> None:  # noqa: B027 - a hook
        """The optimizer has changed the weights."""

    def finish_epoch(self) -> None:  # noqa: B027 - a hook
        """All updates of an epoch are done; validation comes next."""

    @abstractmethod
    def validate(self, report: Callable[[float], None]) -> Validation:
        """Judge ``weights()`` on the validation examples; ``report`` is told the share done."""

    def weights(self) -> Mapping[str, torch.Tensor]:
        """The state that is validated and, if it is the best, saved."""
        return self.network.state_dict()

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint must hold besides network, optimizer and best weights.

        Called by every process.
        """
        return {}

    def load_state_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:  # noqa: B027 - a hook
        """The inverse of ``state_tensors``."""

    @property
    def device_bytes(self) -> int:
        """A peak of memory on the GPU that the task has measured itself."""
        return self._device_bytes

    @abstractmethod
    def card(self) -> ModelCard:
        """The model card, but for what the trainer knows: figures, options, history, cost."""

    def bundle_tensors(self, best: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What the bundle's weights file holds, given the best weights."""
        return dict(best)
