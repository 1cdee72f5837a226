"""Background threads that do not slow down the one that computes."""

from concurrent.futures import ThreadPoolExecutor

import torch


def single_threaded_executor(name: str) -> ThreadPoolExecutor:
    """An executor with one thread, on which torch starts no OpenMP workers.

    Otherwise the first torch operation on the thread starts a team of OpenMP workers. With more
    workers than processors libgomp stops spinning while it waits, and each parallel region of the
    computing thread, a thousand per second, begins by waking a sleeping worker: a twentieth of the
    time of an update on two processors.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    pool.submit(_compute_alone).result()
    torch.set_num_threads(threads)  # per thread, but new threads take the value set last
    return pool


def _compute_alone() -> None:
    torch.get_num_threads()  # the first use of torch on a thread sets its number of threads
    torch.set_num_threads(1)
