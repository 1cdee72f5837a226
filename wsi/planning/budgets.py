"""How much of this machine's memory a plan may use."""

import shutil
import tempfile

import torch

from wsi.streaming.storage.blocks import BLOCKS
from wsi.system import free_memory

_SHARE = 0.8
"""What of the memory that is to be had a plan may use: the rest is for what it does not count."""


def memory_budgets(device: torch.device) -> tuple[int | None, int]:
    """Bytes to plan with on the device (``None`` for a CPU) and on the host.

    Memory that this process keeps from slide to slide is there for the next one.

    Raises:
        ConfigError: the system does not say how much memory is free.
    """
    host = int((free_memory() + BLOCKS.free_bytes) * _SHARE)
    if device.type != "cuda":
        return None, host
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * _SHARE), host


def scratch_budget() -> int:
    """Bytes of the temporary folder's disk that a plan may use where memory does not suffice."""
    return int(shutil.disk_usage(tempfile.gettempdir()).free * _SHARE)
