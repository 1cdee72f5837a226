"""What the C library does with large freed blocks, where it is glibc.

By default glibc maps and unmaps every large block afresh; a network's activations are tens of
megabytes each, and the page faults cost a third of a forward pass on a CPU.
"""

import ctypes
import functools
import os
import sys

_KERNELS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"

ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    _KERNELS: "8192",
}
"""Environment of a process that shall compute on a CPU: it keeps large blocks, in huge pages where
the system has them, and the kernels that oneDNN makes for each shape. A slide's tiles have more
shapes than the 1,024 kernels that oneDNN keeps by itself. Read when the process starts."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def set_environment() -> None:
    """Give ``ENVIRONMENT`` to processes to come; what the operator has set stays."""
    os.environ.update(ENVIRONMENT | os.environ)


def tune_heap() -> bool:
    """Let this process keep large freed blocks from now on (huge pages need ``ENVIRONMENT``).

    And oneDNN's kernels, where none has run yet. Affects the whole process, so it is called where
    one begins to compute, never at import.

    Returns:
        Whether it took effect; other C libraries do not need or know it.
    """
    os.environ.setdefault(_KERNELS, ENVIRONMENT[_KERNELS])
    try:
        mallopt = _c_library().mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def trim_heap() -> None:
    """Give free heap pages back to the system, where the C library is glibc; else nothing.

    With trimming tuned off, which a CPU needs to be fast, holes between tiles of unlike sizes add
    up: at 20,000 px the resident set grew from 3 to 10 GB in one group. What is given back has to
    be fetched again, so this is for when memory runs short.
    """
    if sys.platform == "linux" and hasattr(_c_library(), "malloc_trim"):
        _c_library().malloc_trim(ctypes.c_size_t(0))


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
