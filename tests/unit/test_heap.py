"""What the C library is told about large blocks."""

import os
import subprocess
import sys

import pytest

from wsi.heap import ENVIRONMENT, set_environment

_TUNE = """
from wsi.heap import trim_heap, tune_heap
assert tune_heap() is (sys.platform == "linux")
held = [bytearray(2**20) for _ in range(200)]
full = resident_host_bytes()
held.clear()
kept = resident_host_bytes()
trim_heap()
print(full, kept, resident_host_bytes())
"""


def test_what_the_operator_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    set_environment()
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=1"
    assert os.environ["MALLOC_MMAP_MAX_"] == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_a_tuned_heap_keeps_freed_blocks_until_it_is_trimmed() -> None:
    imports = "import sys\nfrom wsi.streaming.meter import resident_host_bytes\n"
    ran = subprocess.run(
        [sys.executable, "-c", imports + _TUNE], capture_output=True, text=True, check=True
    )
    full, kept, trimmed = (int(word) for word in ran.stdout.split())
    freed = 150 * 2**20
    assert full - kept < freed / 10
    assert kept - trimmed > freed
