"""How much memory this machine has to offer."""

import shutil
import tempfile
from pathlib import Path

import torch

from wsi.errors import ConfigError

_MEMINFO = Path("/proc/meminfo")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS_2 = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SHARE = 0.8
"""What of the free memory a plan may use: the rest is for everything it does not count."""


def parse_bytes(text: str) -> int:
    """``16GB``, ``16 GiB``, ``500M`` or a plain number as bytes.

    Raises:
        ConfigError: it is none of these.
    """
    letters = text.strip().upper().removesuffix("B")
    number = letters.rstrip("KMGTI ")
    unit = letters[len(number) :].strip()
    try:
        size = float(number) * (_UNITS_2[unit] if unit in _UNITS_2 else _UNITS[unit])
    except (ValueError, KeyError):
        raise ConfigError(f"memory {text!r} is no size; write it like 16GB") from None
    if not size > 0:
        raise ConfigError(f"memory {text!r} must be positive")
    return int(size)


def memory_budgets(device: torch.device) -> tuple[int | None, int]:
    """Bytes to plan with on the device (``None`` for a CPU) and on the host.

    Raises:
        ConfigError: the system does not say how much memory is free.
    """
    host = int(_free_host() * _SHARE)
    if device.type != "cuda":
        return None, host
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * _SHARE), host


def scratch_budget() -> int:
    """Bytes of the temporary folder's disk that a plan may use where memory does not suffice."""
    return int(shutil.disk_usage(tempfile.gettempdir()).free * _SHARE)


def _free_host() -> int:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError as error:
        raise ConfigError(f"{_MEMINFO} cannot be read ({error}); give --host-memory") from error
    raise ConfigError(f"{_MEMINFO} does not say what is free; give --host-memory")
