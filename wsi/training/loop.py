"""What trainers share: learning rates, stopping on a signal."""

import math
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray

from wsi.errors import DatasetError, TrainingError
from wsi.training.distributed import World


class TrainingStopped(Exception):  # noqa: N818 - not an error: the run was asked to stop
    """The run was asked to stop (SIGTERM, SIGINT) and has written its checkpoint."""


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Share of the full learning rate: linear warm-up, then a cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def has_stalled(epoch: int, best_epoch: int, patience: int) -> bool:
    """Whether ``patience`` epochs in a row were no better; a patience of 0 never is."""
    return bool(patience) and epoch - 1 - best_epoch >= patience


def require_finite(losses: Iterable[float], world: World, epoch: int) -> None:
    """End a training that has diverged, on every process at once and before its weights change.

    Raises:
        TrainingError: a loss is NaN or infinite.
    """
    if world.any(not all(math.isfinite(loss) for loss in losses)):
        raise TrainingError(
            f"the loss is not a number in epoch {epoch + 1}: the training has diverged; give a "
            "smaller --learning-rate, or --precision float32; the last checkpoint is sound, and "
            "--resume continues from it"
        )


def require_finite_predictions(values: NDArray[np.float32]) -> None:
    """End a training whose network predicts nothing any more.

    Raises:
        TrainingError: a prediction for the validation examples is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise TrainingError(
            "the predictions for the validation examples are not numbers: the training has "
            "diverged; give a smaller --learning-rate, or --precision float32; the last "
            "checkpoint is sound, and --resume continues from it"
        )


def require_two_classes(labels: Iterable[int], classes: Sequence[str]) -> None:
    """Refuse a validation split of one class: no epoch could be told from another by it.

    Raises:
        DatasetError: names the class.
    """
    found = sorted(set(labels))
    if len(found) < 2:
        only = f"holds {classes[found[0]]!r} alone" if found else "is empty"
        raise DatasetError(
            f"the validation split {only}; it needs examples of at least two classes: "
            "wsi dataset split makes such splits by patient"
        )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The same rate for every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT request a stop instead of killing; yields "was a stop requested?"."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)

    try:
        before = {s: signal.signal(s, receive) for s in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:
        # Not the main thread: signals go elsewhere, and so does the request to stop.
        yield lambda: False
        return
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
