"""A thread beside the computing one starts no OpenMP threads and leaves others theirs."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from wsi.streaming.threads import lone_thread


@pytest.fixture
def threads() -> Iterator[int]:
    """Number of threads of this one's operations, more than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_only_the_lone_thread_computes_alone(threads: int) -> None:
    with lone_thread("lone") as pool, ThreadPoolExecutor(1) as other:
        assert pool.submit(torch.get_num_threads).result() == 1
        assert other.submit(torch.get_num_threads).result() == threads
        assert torch.get_num_threads() == threads


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
@pytest.mark.usefixtures("threads")
def test_a_lone_thread_starts_no_others() -> None:
    large = torch.ones(2**22)
    (large + 1).sum()  # this thread's own helpers exist from here on
    before = len(list(Path("/proc/self/task").iterdir()))
    with lone_thread("lone") as pool:
        total = pool.submit(lambda: float((large + 1).sum())).result()
        during = len(list(Path("/proc/self/task").iterdir()))
    assert total == 2**23
    assert during <= before + 1  # threads that other tests left may end
