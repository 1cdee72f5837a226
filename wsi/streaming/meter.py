"""Wall time and peak memory of a call, as the operating system and torch count them."""

# Coverage is below 80 % where there is no GPU: the rest runs on a CUDA device, by tests/gpu.

import mmap
import sys
import time
from pathlib import Path

import torch

from wsi.streaming.api import Measured


def peak_host_bytes() -> int:
    """Peak resident memory of this process; 0 on Windows, which does not report it."""
    if sys.platform == "win32":
        return 0
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def resident_host_bytes() -> int:
    """Resident memory of this process; 0 on systems without /proc."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * mmap.PAGESIZE if status.exists() else 0


class Meter:
    """Measures time and peak memory from its creation to ``read``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
        self._start = time.perf_counter()

    def read(self, counters: dict[str, int] | None = None) -> Measured:
        """Time since creation and the peaks."""
        device_bytes = 0
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            device_bytes = torch.cuda.max_memory_allocated(self._device)
        seconds = time.perf_counter() - self._start
        return Measured(seconds, device_bytes, peak_host_bytes(), dict(counters or {}))
