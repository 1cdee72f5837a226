"""CUDA managed memory for torch's allocator, by RMM or a small shim over the driver."""

# Coverage is below 80 % where there is no GPU: the rest runs on a CUDA device, by tests/gpu.

import ctypes
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsi.errors import MemoryPlanError
from wsi.streaming.storage.offload_tiers import Fence, PendingLoad

CONCURRENT_MANAGED_ACCESS = 89  # CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS
CPU_DEVICE = -1  # CU_DEVICE_CPU

SHIM = r"""
#include <dlfcn.h>
#include <stddef.h>
#include <sys/types.h>
typedef int (*alloc_t)(unsigned long long*, size_t, unsigned int);
typedef int (*free_t)(unsigned long long);
static void* driver(const char* name) {
  static void* lib = NULL;
  if (!lib) lib = dlopen("libcuda.so.1", RTLD_NOW);
  return lib ? dlsym(lib, name) : NULL;
}
static size_t used = 0, limit = 0;
void wsi_managed_limit(size_t bytes) { limit = bytes; }
/* NULL makes torch raise its out-of-memory error. */
void* wsi_managed_alloc(ssize_t size, int device, void* stream) {
  alloc_t call = (alloc_t)driver("cuMemAllocManaged");
  unsigned long long pointer = 0;
  if (!call || __atomic_add_fetch(&used, size, __ATOMIC_SEQ_CST) > limit ||
      call(&pointer, size, 1) != 0) {
    __atomic_sub_fetch(&used, size, __ATOMIC_SEQ_CST);
    return NULL;
  }
  return (void*)pointer;
}
void wsi_managed_free(void* pointer, ssize_t size, int device, void* stream) {
  free_t call = (free_t)driver("cuMemFree_v2");
  if (call) call((unsigned long long)pointer);
  __atomic_sub_fetch(&used, size, __ATOMIC_SEQ_CST);
}
"""


def why_unavailable(device: torch.device) -> str | None:
    """Why managed memory is not available on this device; ``None`` if it is."""
    if device.type != "cuda":
        return f"it is CUDA's managed memory and the device is {device.type}"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device on this machine"
    if os.name != "posix":
        return "only Linux pages managed memory on demand"
    driver = ctypes.CDLL("libcuda.so.1")
    value = ctypes.c_int(0)
    index = device.index or 0
    code = driver.cuDeviceGetAttribute(ctypes.byref(value), CONCURRENT_MANAGED_ACCESS, index)
    if code != 0 or not value.value:
        return "this device or driver has no concurrent managed access"
    if importlib.util.find_spec("rmm") is None and _compiler() is None:
        return "neither RMM (pip install rmm-cu12) nor a C compiler is installed"
    return None


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def managed_pool(limit_bytes: int) -> Any:
    """A ``torch.cuda.MemPool`` whose memory is managed, at most ``limit_bytes`` of it.

    Raises:
        MemoryPlanError: the shim does not compile.
    """
    if importlib.util.find_spec("rmm") is not None:
        rmm = importlib.import_module("rmm")
        torch_side = importlib.import_module("rmm.allocators.torch")
        managed = rmm.mr.ManagedMemoryResource()
        # Prefetching at allocation spares the first touch its page faults.
        resource = rmm.mr.LimitingResourceAdaptor(
            rmm.mr.PrefetchResourceAdaptor(managed), allocation_limit=limit_bytes
        )
        rmm.mr.set_current_device_resource(resource)
        return torch.cuda.MemPool(torch_side.rmm_torch_allocator.allocator())
    # A library that is loaded no longer needs its file.
    with tempfile.TemporaryDirectory(prefix="wsi-managed-") as folder:
        library = build_shim(Path(folder))
        loaded = ctypes.CDLL(str(library))
        loaded.wsi_managed_limit.argtypes = [ctypes.c_size_t]
        loaded.wsi_managed_limit(limit_bytes)
        allocator = torch.cuda.memory.CUDAPluggableAllocator(
            str(library), "wsi_managed_alloc", "wsi_managed_free"
        )
    return torch.cuda.MemPool(allocator.allocator())  # type: ignore[no-untyped-call]


def build_shim(folder: Path) -> Path:
    """Compile the allocator into ``folder``; returns the library.

    Raises:
        MemoryPlanError: no compiler, or it fails.
    """
    compiler = _compiler()
    if compiler is None:
        raise MemoryPlanError("unified: neither RMM nor a C compiler is installed")
    source, library = folder / "shim.c", folder / "libwsi_managed.so"
    source.write_text(SHIM)
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MemoryPlanError(f"unified: the allocator shim does not compile: {done.stderr}")
    return library


class ManagedTier:
    """Managed memory as an offload tier: nothing is copied, the driver migrates pages.

    ``store`` asks for a storage's pages to move to the host, ``load`` for them to come back; both
    on side streams, so they overlap the computation.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._driver = ctypes.CDLL("libcuda.so.1")
        self._driver.cuMemPrefetchAsync.argtypes = [
            ctypes.c_uint64,
            ctypes.c_size_t,
            ctypes.c_int,
            ctypes.c_void_p,
        ]
        self._out = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._back = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._waiting: dict[int, Tensor] = {}

    def _move(self, data: Tensor, to: int, stream: Any) -> None:
        stream.wait_stream(torch.cuda.current_stream(self._device))
        code = self._driver.cuMemPrefetchAsync(
            data.data_ptr(), data.numel(), to, stream.cuda_stream
        )
        if code != 0:
            raise MemoryPlanError(f"unified: cuMemPrefetchAsync failed with CUDA error {code}")

    def reserve(self, nbytes: int) -> None:
        """Do nothing: pages are allocated on first access."""

    def store(self, offset: int, data: Tensor) -> None:
        """Start to copy ``data`` out; the storage stays referenced until it is loaded."""
        self._waiting[offset] = data
        self._move(data, CPU_DEVICE, self._out)

    def fence(self) -> Fence:
        """A fence that needs no wait: pages keep their address."""
        return _NoFence()

    def load(self, offset: int, nbytes: int) -> PendingLoad:
        """Start to copy bytes back."""
        data = self._waiting.pop(offset)
        self._back.wait_stream(self._out)
        self._move(data, self._device.index or 0, self._back)
        # No wait: accessing a page that is still migrating is correct, only slower.
        return _Loaded(data)

    def synchronize(self) -> None:
        """Wait for all copies."""
        self._out.synchronize()
        self._back.synchronize()
        self._waiting.clear()

    def close(self) -> None:
        """Free the storage."""
        self._waiting.clear()


class _NoFence:
    def wait(self) -> None:
        return None


class _Loaded:
    def __init__(self, data: Tensor) -> None:
        self._data = data

    def result(self) -> Tensor:
        return self._data
