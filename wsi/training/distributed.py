"""Several processes, one training: started by ``torchrun``, joined by gloo (CPU) or NCCL (GPU).

The work of one update is dealt out to the processes and their gradients are summed, so an update
is the same whatever their number (except for train-mode BatchNorm, whose statistics are each
process's own).
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn


@dataclass(frozen=True)
class World:
    """The processes of this training, and which of them this is.

    Attributes:
        rank: 0 writes checkpoints and models.
        size: how many processes there are; 1 without torchrun.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def share(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's part of some work."""
        return items[self.rank :: self.size]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up every process's gradients, in place."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                # Not touched by this process's share; another's may have been.
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)

    def average_buffers(self, network: nn.Module) -> None:
        """Give all processes the mean of their running statistics."""
        if self.size == 1:
            return
        for buffer in network.buffers():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer /= self.size

    def merge_rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows that each process filled for its share (zero elsewhere), complete everywhere."""
        if self.size == 1:
            return rows
        tensor = torch.from_numpy(rows).to(self._device())
        distributed.all_reduce(tensor)
        return np.asarray(tensor.cpu().numpy())

    def any(self, flag: bool) -> bool:
        """Whether any process says yes."""
        if self.size == 1:
            return flag
        votes = torch.tensor([float(flag)], device=self._device())
        distributed.all_reduce(votes)
        return bool(votes.item())

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()

    @staticmethod
    def _device() -> torch.device:
        return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


def join_world(device: torch.device) -> World:
    """The world that torchrun describes in the environment; alone without it."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return World()
    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(distributed.get_rank(), distributed.get_world_size())


def leave_world() -> None:
    """Close what ``join_world`` opened."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
