"""How much memory this machine has to offer."""

import shutil
import tempfile
from pathlib import Path

import torch

from wsi.errors import ConfigError
from wsi.streaming.storage.blocks import BLOCKS

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # version 2: one folder, the container's own
_CGROUP_1 = _CGROUP / "memory"
_CPU_PERIOD_US = 100_000
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS_2 = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SHARE = 0.8
"""What of the memory that is to be had a plan may use: the rest is for what it does not count."""


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


def free_memory() -> int:
    """Bytes that this process may still take: what is free, within the container's limit.

    Raises:
        ConfigError: the system does not say.
    """
    limit = cgroup_memory()
    if limit is None:
        return _free_host()
    # What the container's page cache holds can be had again, so it is not counted as taken.
    taken = _number(_CGROUP / "memory.current") or _number(_CGROUP_1 / "memory.usage_in_bytes") or 0
    cached = _statistic("inactive_file") or _statistic("total_inactive_file") or 0
    return min(_free_host(), max(0, limit - max(0, taken - cached)))


def cgroup_memory() -> int | None:
    """Bytes that the container may take; ``None`` without a limit."""
    limit = _number(_CGROUP / "memory.max") or _number(_CGROUP_1 / "memory.limit_in_bytes")
    # Version 1 writes "no limit" as the largest number of pages.
    return None if limit is None or limit >= 2**60 else limit


def cgroup_cores() -> int | None:
    """Cores' worth of time that the container may take, 1 at least; ``None`` without a limit."""
    quota, period = _first(_CGROUP / "cpu.max"), _CPU_PERIOD_US
    if quota is None:
        share = _number(_CGROUP / "cpu" / "cpu.cfs_quota_us")
    else:
        words = quota.split()
        share = int(words[0]) if words[0].isdigit() else None
        period = int(words[1]) if len(words) > 1 else period
    return None if share is None or share <= 0 else max(1, share // period)


def _number(file: Path) -> int | None:
    text = _first(file)
    return int(text) if text is not None and text.isdigit() else None


def _first(file: Path) -> str | None:
    """The first line of a file that not every system has."""
    try:
        return (file.read_text().splitlines() or [""])[0]
    except OSError:
        return None


def _statistic(name: str) -> int | None:
    """A line of the container's memory statistics."""
    for folder in (_CGROUP, _CGROUP_1):
        try:
            lines = (folder / "memory.stat").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return None


def _free_host() -> int:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError as error:
        raise ConfigError(f"{_MEMINFO} cannot be read ({error}); give --host-memory") from error
    raise ConfigError(f"{_MEMINFO} does not say what is free; give --host-memory")
