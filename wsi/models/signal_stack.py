"""Undo what OpenVINO does to signals: it leaves the thread a signal stack that is gone.

Its CPU plugin gives the thread that compiles a model an alternate signal stack, and puts the one
before back when it dies. Two models that do not die in reverse order leave the thread with a stack
in memory that was given back. Python's handlers run there, so that the next SIGTERM or SIGINT,
which asks a worker to give its job back, ended the process by a segmentation fault. Without an
alternate stack handlers run on the thread's own.
"""

import ctypes
import sys
from typing import Any

_SS_DISABLE = 2
_ROOMY = 64 * 1024


class _Stack(ctypes.Structure):
    """``stack_t`` of signal.h on Linux."""

    _fields_ = (
        ("ss_sp", ctypes.c_void_p),
        ("ss_flags", ctypes.c_int),
        ("ss_size", ctypes.c_size_t),
    )


def drop_small_signal_stack() -> None:
    """Let this thread's signal handlers run on its own stack, if theirs is below 64 KiB."""
    if sys.platform == "linux":
        stack = _Stack()
        _sigaltstack(None, ctypes.byref(stack))
        if not stack.ss_flags & _SS_DISABLE and stack.ss_size < _ROOMY:
            _sigaltstack(ctypes.byref(_Stack(None, _SS_DISABLE, 0)), None)


def _sigaltstack(new: Any, old: Any) -> None:
    if ctypes.CDLL(None, use_errno=True).sigaltstack(new, old) != 0:
        raise OSError(ctypes.get_errno(), "sigaltstack")
