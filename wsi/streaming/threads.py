"""Threads that work beside the computing one without slowing it down."""

from concurrent.futures import ThreadPoolExecutor

import torch


def lone_thread(name: str) -> ThreadPoolExecutor:
    """One thread whose torch operations run on it alone, to be shut down as any executor.

    Else the first operation on it starts OpenMP threads of its own. With more of them than
    processors libgomp lets none spin while it waits, and each parallel part of the computing
    thread, a thousand a second, begins by waking a sleeper: a twentieth of an update is lost on two
    processors.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    pool.submit(_compute_alone).result()
    torch.set_num_threads(threads)  # the number is a thread's own, but new ones take the last set
    return pool


def _compute_alone() -> None:
    torch.get_num_threads()  # a thread's first use of torch sets its number, so let that be past
    torch.set_num_threads(1)
