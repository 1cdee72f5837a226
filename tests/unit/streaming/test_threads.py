"""A background thread starts no OpenMP threads and does not change those of others."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from wsi.streaming.threads import single_threaded_executor


@pytest.fixture
def threads() -> Iterator[int]:
    """Number of threads of this one's operations, more than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_only_the_background_thread_is_single_threaded(threads: int) -> None:
    with single_threaded_executor("lone") as pool, ThreadPoolExecutor(1) as other:
        assert pool.submit(torch.get_num_threads).result() == 1
        assert other.submit(torch.get_num_threads).result() == threads
        assert torch.get_num_threads() == threads


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.usefixtures("threads")
def test_the_background_thread_starts_no_others() -> None:
    large = torch.ones(2**22)
    (large + 1).sum()  # this thread's own helpers exist from here on
    before = len(list(Path("/proc/self/task").iterdir()))
    with single_threaded_executor("lone") as pool:
        total = pool.submit(lambda: float((large + 1).sum())).result()
        during = len(list(Path("/proc/self/task").iterdir()))
    assert total == 2**23
    assert during <= before + 1  # threads that other tests left may end
