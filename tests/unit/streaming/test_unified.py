import ctypes
import shutil
from pathlib import Path

import pytest
import torch

from tests.unit.streaming.networks import image, network
from wsi.errors import ConfigError, MemoryPlanError
from wsi.streaming import RunOptions, TensorSource, make_mode
from wsi.streaming.modes.unified import Unified
from wsi.streaming.storage.managed import build_shim, why_unavailable


def test_on_a_cpu_it_says_why_it_is_not_available_and_what_to_use() -> None:
    with pytest.raises(MemoryPlanError, match=r"the device is cpu\. Use tiled, or offload"):
        make_mode("unified", limit_bytes=10**9)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so() -> None:
    assert why_unavailable(torch.device("cuda")) == "torch finds no CUDA device on this machine"
    with pytest.raises(MemoryPlanError, match="no CUDA device"):
        make_mode("unified", RunOptions(device="cuda"), limit_bytes=10**9)


def test_a_limit_must_be_set() -> None:
    with pytest.raises(ConfigError, match="limit_bytes"):
        make_mode("unified")


def test_it_refuses_to_oversubscribe_past_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsi.streaming.modes.unified.why_unavailable", lambda device: None)
    mode = make_mode("unified", limit_bytes=700_000_000)
    assert isinstance(mode, Unified)
    net = network(18)
    mode.refuse_oversubscription(net, TensorSource(image(96, 96)))
    big = TensorSource(torch.zeros(1, 1, 1, 1).expand(1, 3, 4_000, 4_000))
    with pytest.raises(MemoryPlanError, match=r"needs about \d+\.\d\d GB .* limit is 0\.70 GB"):
        mode.step(net, big, lambda logits: logits.sum())
    with pytest.raises(MemoryPlanError, match="use mode tiled"):
        mode.infer(net, big)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_shim_compiles_and_gives_no_memory_without_a_driver(tmp_path: Path) -> None:
    library = ctypes.CDLL(str(build_shim(tmp_path)))
    library.wsi_managed_alloc.restype = ctypes.c_void_p
    library.wsi_managed_alloc.argtypes = [ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p]
    library.wsi_managed_limit(ctypes.c_size_t(10**9))
    assert library.wsi_managed_alloc(4096, 0, None) is None
