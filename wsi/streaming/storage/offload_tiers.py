"""Offload tiers: storage for saved activations until backward. Copies overlap the computation."""

# Coverage is below 80 % where there is no GPU: the rest runs on a CUDA device, by tests/gpu.

import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from wsi.errors import MemoryPlanError
from wsi.streaming.storage.blocks import anonymous_zeros
from wsi.streaming.storage.feature_map import bytes_of


class PendingLoad(Protocol):
    """A copy back to the device that is in progress."""

    def result(self) -> Tensor:
        """The bytes, 1-D uint8 on the device, safe to use from the current stream."""
        ...


class Fence(Protocol):
    """A point in the order of stores, as a CUDA event is in a stream."""

    def wait(self) -> None:
        """Wait until the sources of all stores before the fence may be overwritten."""
        ...


class Tier(Protocol):
    """Storage outside the device, addressed by byte offset."""

    def reserve(self, nbytes: int) -> None:
        """Reserve about ``nbytes``, estimated before the step; ``store`` may exceed it."""
        ...

    def store(self, offset: int, data: Tensor) -> None:
        """Start to copy ``data`` (1-D uint8 on the device) out.

        Its memory must not change until a later fence has been waited for.
        """
        ...

    def fence(self) -> Fence:
        """A fence after all stores so far."""
        ...

    def load(self, offset: int, nbytes: int) -> PendingLoad:
        """Start to copy bytes back, after all stores so far."""
        ...

    def synchronize(self) -> None:
        """Wait for all copies; raises the error of one that failed."""
        ...

    def close(self) -> None:
        """Free the storage."""
        ...


class DiskTier:
    """One temporary file, written and read by a background thread."""

    def __init__(self, scratch: Path | None) -> None:
        self._folder = Path(scratch or tempfile.gettempdir())
        self._file = tempfile.TemporaryFile(  # noqa: SIM115 - lives as long as the tier
            dir=self._folder, buffering=0, prefix="wsi-offload-"
        )
        # One thread: a load that follows a store in the queue follows it in time too.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="offload")
        self._stores: list[Future[None]] = []

    def reserve(self, nbytes: int) -> None:
        """Reserve about ``nbytes``."""
        free = shutil.disk_usage(self._folder).free
        if nbytes > free:
            raise MemoryPlanError(
                f"offload: a step keeps about {nbytes / 1e9:.2f} GB for backward and "
                f"{self._folder} has {free / 1e9:.2f} GB free. Use another scratch folder, a "
                "smaller image, or mode tiled."
            )

    def _write(self, offset: int, data: Tensor) -> None:
        view = bytes_of(data)
        try:
            self._file.seek(offset)
            while len(view):  # one call writes 2 GiB at most
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            raise MemoryPlanError(f"offload: cannot write to {self._folder}: {error}") from error

    def _read(self, offset: int, nbytes: int) -> Tensor:
        data = torch.empty(nbytes, dtype=torch.uint8)
        view = bytes_of(data)
        self._file.seek(offset)
        while len(view):
            got = self._file.readinto(view)
            if not got:
                raise MemoryPlanError(f"offload: the file in {self._folder} ended early")
            view = view[got:]
        return data

    def store(self, offset: int, data: Tensor) -> None:
        """Start to copy ``data`` out."""
        self._stores.append(self._thread.submit(self._write, offset, data))

    def fence(self) -> Fence:
        """A fence after all stores so far."""
        return _FutureFence(self._stores[-1] if self._stores else None)

    def load(self, offset: int, nbytes: int) -> PendingLoad:
        """Start to copy bytes back."""
        return self._thread.submit(self._read, offset, nbytes)

    def synchronize(self) -> None:
        """Wait for all copies."""
        stores, self._stores = self._stores, []
        for store in stores:
            store.result()

    def close(self) -> None:
        """Free the storage."""
        self._thread.shutdown()
        self._file.close()


class _FutureFence:
    def __init__(self, last: "Future[None] | None") -> None:
        self._last = last

    def wait(self) -> None:
        if self._last is not None:
            self._last.result()


class PinnedTier:
    """Page-locked host memory and two side streams of a CUDA device.

    The slab is ordinary memory that is registered with the driver: torch's own pinned allocator
    rounds up to a power of two. It is kept between steps, since registering is slow.
    """

    EXTRA = 256 * 2**20

    def __init__(self, device: torch.device, limit_bytes: int | None = None) -> None:
        self._device = device
        self._limit = limit_bytes
        self._slabs: list[tuple[int, Tensor]] = []  # first offset, bytes
        self._out = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._back = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def _end(self) -> int:
        return self._slabs[-1][0] + len(self._slabs[-1][1]) if self._slabs else 0

    def reserve(self, nbytes: int) -> None:
        """Reserve about ``nbytes``."""
        if self._limit is not None and nbytes > self._limit:
            raise MemoryPlanError(
                f"offload: a step keeps about {nbytes / 1e9:.2f} GB for backward and "
                f"{self._limit / 1e9:.2f} GB of host memory are allowed. Raise the limit, use a "
                "smaller image, or mode tiled."
            )
        if nbytes > self._end():
            self._grow(nbytes - self._end())

    def _grow(self, nbytes: int) -> None:
        if self._limit is not None and self._end() + nbytes > self._limit:
            raise MemoryPlanError(
                f"offload: more than the allowed {self._limit / 1e9:.2f} GB of host memory"
            )
        slab = anonymous_zeros(nbytes, torch.uint8)
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        code = runtime.cudaHostRegister(slab.data_ptr(), nbytes, 0)
        if int(code) != 0:
            raise MemoryPlanError(
                f"offload: the driver cannot pin {nbytes / 1e9:.2f} GB of host memory (CUDA "
                f"error {int(code)}): too little is free, or the locked-memory limit is too low"
            )
        self._slabs.append((self._end(), slab))

    def _place(self, offset: int, nbytes: int) -> list[tuple[int, Tensor]]:
        """The parts of the slabs under [offset, offset + nbytes), with their offset in it."""
        if offset + nbytes > self._end():
            self._grow(max(offset + nbytes - self._end(), self.EXTRA))
        parts = []
        for first, slab in self._slabs:
            start, stop = max(offset, first), min(offset + nbytes, first + len(slab))
            if start < stop:
                parts.append((start - offset, slab[start - first : stop - first]))
        return parts

    def store(self, offset: int, data: Tensor) -> None:
        """Start to copy ``data`` out."""
        self._out.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._out):
            for at, part in self._place(offset, len(data)):
                part.copy_(data[at : at + len(part)], non_blocking=True)

    def fence(self) -> Fence:
        """A fence after all stores so far."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._out)
        return _EventFence(event, self._device)

    def load(self, offset: int, nbytes: int) -> PendingLoad:
        """Start to copy bytes back."""
        # Allocated on the compute stream, which frees it too: the caching allocator then orders
        # its reuse by that stream alone, and needs no record_stream.
        data = torch.empty(nbytes, dtype=torch.uint8, device=self._device)
        self._back.wait_stream(torch.cuda.current_stream(self._device))
        self._back.wait_stream(self._out)
        with torch.cuda.stream(self._back):
            for at, part in self._place(offset, nbytes):
                data[at : at + len(part)].copy_(part, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._back)
        return _EventLoad(event, data, self._device)

    def synchronize(self) -> None:
        """Wait for all copies."""
        # The next step overwrites the slab: no copy of this one may be in progress.
        self._out.synchronize()
        self._back.synchronize()

    def close(self) -> None:
        """Free the storage."""
        self.synchronize()
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        for _, slab in self._slabs:
            runtime.cudaHostUnregister(slab.data_ptr())
        self._slabs.clear()


class _EventFence:
    def __init__(self, event: torch.cuda.Event, device: torch.device) -> None:
        self._event, self._device = event, device

    def wait(self) -> None:
        # The host goes on; only work queued on the compute stream from here on waits.
        torch.cuda.current_stream(self._device).wait_event(self._event)


class _EventLoad:
    def __init__(self, event: torch.cuda.Event, data: Tensor, device: torch.device) -> None:
        self._event, self._data, self._device = event, data, device

    def result(self) -> Tensor:
        torch.cuda.current_stream(self._device).wait_event(self._event)
        return self._data
