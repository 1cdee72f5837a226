"""Batches of patches, read as they are needed: by worker processes, or by a thread of this one."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from wsi.data.patches import PatchSource
from wsi.data.read_ahead import read_ahead
from wsi.errors import DatasetError, WsiError
from wsi.system import usable_cores

_MOST_WORKERS = 8
_AHEAD = 2
_FEW = 2000
_PRELOAD = ["torch.utils.data", "wsi.data.annotated_patches", "wsi.data.loader"]
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def default_workers(patches: int) -> int:
    """One process per core that the computing one leaves, at least one and eight at most.

    Processes that torchrun started on this machine share the cores. None for so few ``patches``
    per epoch that starting a process costs more than it gains.
    """
    if patches < _FEW:
        return 0
    cores = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(_MOST_WORKERS, cores - 1))


def load_batches(
    source: PatchSource, batches: Sequence[NDArray[np.int64]], workers: int = 0
) -> Iterator[NDArray[np.uint8]]:
    """(N, side, side, 3) uint8 of each batch of indices, in order, read a few ahead.

    What is read does not depend on the number of workers. No more decoded patches are held than
    two batches per worker.

    Args:
        source: of the patches; worker processes get a pickled copy and open its files themselves.
        batches: indices of the patches.
        workers: processes that read; with 0 a thread of this process does.

    Raises:
        WsiError: a patch cannot be read; names its file.
        DatasetError: a worker process has died.
    """
    if not workers or not len(batches):
        yield from read_ahead(batches, source.read)
        return
    _start_fork_server()
    loader: DataLoader[Any] = DataLoader(
        _Batches(source, batches),
        batch_size=None,
        num_workers=min(workers, len(batches)),
        prefetch_factor=_AHEAD,
        # A plain fork would share the position of open files and the locks of other threads.
        multiprocessing_context="forkserver",
        worker_init_fn=_ignore_signals,
        # Else each epoch takes a number from torch's own generator.
        generator=torch.Generator(),
    )
    found = iter(loader)
    for _ in batches:
        try:
            batch = next(found)
        except RuntimeError as error:
            raise DatasetError(
                f"a process that reads patches has ended: {error}; the memory may be too small: "
                "give fewer --workers, or --workers 0"
            ) from error
        if isinstance(batch, _Failure):
            raise batch.error()
        yield batch.numpy()


@dataclass(frozen=True)
class _Failure:
    """An error of a worker, in parts: most of ours take other arguments than they keep."""

    kind: type[WsiError]
    arguments: tuple[Any, ...]
    attributes: dict[str, Any]

    def error(self) -> WsiError:
        error = self.kind.__new__(self.kind)
        error.args = self.arguments
        error.__dict__.update(self.attributes)
        return error


class _Batches(Dataset[Any]):
    """One item per batch: its pixels, or why there are none."""

    def __init__(self, source: PatchSource, batches: Sequence[NDArray[np.int64]]) -> None:
        self._source, self._batches = source, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> "torch.Tensor | _Failure":
        try:
            return torch.from_numpy(np.array(self._source.read(self._batches[number])))
        except WsiError as error:
            return _Failure(type(error), error.args, dict(error.__dict__))


def _ignore_signals(worker: int) -> None:
    """The training process alone is asked to stop; it ends its workers when it has."""
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)


def _start_fork_server() -> None:
    """Workers come from one process that has imported everything and ignores requests to stop.

    Where a whole process group is sent SIGTERM it lives on until the training process ends.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    resource_tracker.ensure_running()  # it would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
