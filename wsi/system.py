"""What the system lets this process use: memory and cores, within the container's limits.

Read from ``/proc`` and the control group (version 1 and 2), without torch: workers, the doctor and
the memory planner ask here.
"""

import os
from pathlib import Path

from wsi.errors import ConfigError

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # version 2: one folder, the container's own
_CGROUP_1 = _CGROUP / "memory"
_CPU_PERIOD_US = 100_000
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS_2 = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


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
        raise ConfigError(f"memory {text!r} is not a size; write it like 16GB") from None
    if not size > 0:
        raise ConfigError(f"memory {text!r} must be positive")
    return int(size)


def format_bytes(size: float | None, *, unknown: str = "unknown") -> str:
    """Bytes for people, in gigabytes: ``1.25 GB``; ``unknown`` where there is no number."""
    if size is None:
        return unknown
    return f"{size / 1e9:.1f} GB" if size >= 10e9 else f"{size / 1e9:.2f} GB"


def usable_cores() -> int:
    """Cores that this process may use: those it may run on, within the container's share."""
    allowed = len(os.sched_getaffinity(0))
    limit = cgroup_cores()
    return allowed if limit is None else min(allowed, limit)


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
