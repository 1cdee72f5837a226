"""Activations and gradients at group boundaries: too large for the device, kept where they fit.

All stores keep cells in (N, H, W, C) order, so a tile is a few long runs of bytes and reads
back as a channels_last tensor without a transpose.
"""

import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wsi.errors import MemoryPlanError
from wsi.streaming.image_source import Rect
from wsi.streaming.storage.blocks import BlockBoundary
from wsi.streaming.storage.pinned import PinnedBoundary

Place = Literal["device", "host", "disk"]

BAND_BYTES = 2**26
"""What goes to or comes from a disk at once where a copy is needed."""


class Boundary(Protocol):
    """A grid of activations (N, C, H, W) that is read and written by rectangles."""

    shape: tuple[int, int, int, int]
    dtype: torch.dtype

    def read(self, rect: Rect) -> Tensor:
        """A copy: (N, C, height, width) in channels_last, on the store's own device."""
        ...

    def write(self, rect: Rect, cells: Tensor) -> None:
        """Replace the rectangle by ``cells`` (N, C, height, width), from any device."""
        ...

    def add(self, rect: Rect, cells: Tensor) -> None:
        """Add ``cells`` to the rectangle."""
        ...

    def last_reads(self, rects: Iterable[Rect]) -> None:
        """These are all that is still to be read, each once: the rest may be given back."""
        ...

    def whole(self) -> Tensor:
        """All of it: (N, C, H, W). May share the store's memory: the store is closed by this."""
        ...

    def like(self) -> "Boundary":
        """An empty one, for the gradient here."""
        ...

    def close(self) -> None:
        """Give the memory or disk space back."""
        ...


class MemoryBoundary:
    """A boundary in one tensor on any device; new cells are zero."""

    def __init__(
        self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._device = device
        n, c, h, w = shape
        self._nhwc = torch.zeros((n, h, w, c), dtype=dtype, device=device)

    @classmethod
    def holding(cls, cells: Tensor) -> "MemoryBoundary":
        """A boundary over an existing tensor (N, C, H, W), not copied where channels_last."""
        self = cls.__new__(cls)
        n, c, h, w = cells.shape
        self.shape = (n, c, h, w)
        self.dtype = cells.dtype
        self._device = cells.device
        self._nhwc = cells.permute(0, 2, 3, 1).contiguous()
        return self

    def whole(self) -> Tensor:
        """See ``Boundary``."""
        cells = self._nhwc.permute(0, 3, 1, 2)
        self.close()
        return cells

    def read(self, rect: Rect) -> Tensor:
        """See ``Boundary``."""
        return self._nhwc[:, rect.y0 : rect.y1, rect.x0 : rect.x1].clone().permute(0, 3, 1, 2)

    def write(self, rect: Rect, cells: Tensor) -> None:
        """See ``Boundary``."""
        self._nhwc[:, rect.y0 : rect.y1, rect.x0 : rect.x1].copy_(cells.permute(0, 2, 3, 1))

    def add(self, rect: Rect, cells: Tensor) -> None:
        """See ``Boundary``."""
        cells = cells.permute(0, 2, 3, 1).to(self._device)
        self._nhwc[:, rect.y0 : rect.y1, rect.x0 : rect.x1].add_(cells)

    def last_reads(self, rects: Iterable[Rect]) -> None:
        """See ``Boundary``: kept until it is closed."""

    def like(self) -> "MemoryBoundary":
        """See ``Boundary``."""
        return MemoryBoundary(self.shape, self.dtype, self._device)

    def close(self) -> None:
        """See ``Boundary``."""
        self._nhwc = torch.empty(0)


class DiskBoundary:
    """A boundary in an unlinked temporary file, read and written by explicit calls.

    Not a memory map: mapped pages count as the process's resident memory, and this store exists
    to keep that small. The operating system still caches the file in memory that is free.
    """

    def __init__(
        self, shape: tuple[int, int, int, int], dtype: torch.dtype, folder: Path | None
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        n, c, h, w = shape
        self._folder = folder
        self._cell_bytes = c * dtype.itemsize
        try:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 - lives as long as the store
                dir=folder, buffering=0, prefix="wsi-boundary-"
            )
            weakref.finalize(self, self._file.close)  # also when a step ends by an error
            self._file.truncate(n * h * w * self._cell_bytes)
        except OSError as error:
            raise MemoryPlanError(
                f"cannot keep {n * h * w * self._cell_bytes / 1e9:.2f} GB of boundary "
                f"activations in {folder or tempfile.gettempdir()}: {error}"
            ) from error
        self._lock = threading.Lock()  # seek and read are two calls; prefetch is another thread

    def _row_offsets(self, rect: Rect) -> list[int]:
        n, _, h, w = self.shape
        return [
            ((sample * h + y) * w + rect.x0) * self._cell_bytes
            for sample in range(n)
            for y in range(rect.y0, rect.y1)
        ]

    def _bands(self, rect: Rect) -> Iterator[Rect]:
        """A rectangle by bands of rows, so that no copy of all of it is made."""
        rows = max(1, BAND_BYTES // (self.shape[0] * rect.width * self._cell_bytes))
        for y0 in range(rect.y0, rect.y1, rows):
            yield Rect(y0, rect.x0, min(y0 + rows, rect.y1), rect.x1)

    def read(self, rect: Rect) -> Tensor:
        """See ``Boundary``."""
        n, c, _, _ = self.shape
        nhwc = torch.empty((n, rect.height, rect.width, c), dtype=self.dtype)
        run = rect.width * self._cell_bytes
        view = bytes_of(nhwc)
        with self._lock:
            for row, offset in enumerate(self._row_offsets(rect)):
                self._file.seek(offset)
                got = self._file.readinto(view[row * run : (row + 1) * run])
                if got != run:
                    raise MemoryPlanError(f"the boundary file ended after {offset + (got or 0)} B")
        return nhwc.permute(0, 3, 1, 2)

    def write(self, rect: Rect, cells: Tensor) -> None:
        """See ``Boundary``."""
        for band in self._bands(rect):
            rows = slice(band.y0 - rect.y0, band.y1 - rect.y0)
            self._write_band(band, cells[:, :, rows])

    def _write_band(self, rect: Rect, cells: Tensor) -> None:
        nhwc = cells.detach().to("cpu", self.dtype).permute(0, 2, 3, 1).contiguous()
        run = rect.width * self._cell_bytes
        view = bytes_of(nhwc)
        with self._lock:
            for row, offset in enumerate(self._row_offsets(rect)):
                self._file.seek(offset)
                try:
                    wrote = self._file.write(view[row * run : (row + 1) * run])
                except OSError as error:
                    raise MemoryPlanError(f"no room for boundary activations: {error}") from error
                if wrote != run:
                    raise MemoryPlanError("no room on disk for boundary activations")

    def add(self, rect: Rect, cells: Tensor) -> None:
        """See ``Boundary``."""
        for band in self._bands(rect):
            rows = slice(band.y0 - rect.y0, band.y1 - rect.y0)
            self._write_band(band, self.read(band) + cells[:, :, rows].to("cpu", self.dtype))

    def whole(self) -> Tensor:
        """See ``Boundary``."""
        cells = self.read(Rect(0, 0, self.shape[2], self.shape[3]))
        self.close()
        return cells

    def last_reads(self, rects: Iterable[Rect]) -> None:
        """See ``Boundary``: kept until it is closed."""

    def like(self) -> "DiskBoundary":
        """See ``Boundary``."""
        return DiskBoundary(self.shape, self.dtype, self._folder)

    def close(self) -> None:
        """See ``Boundary``."""
        self._file.close()


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor; bfloat16 has no numpy dtype, so it goes as bytes."""
    array: npt.NDArray[np.uint8] = tensor.view(torch.uint8).numpy().reshape(-1)
    return memoryview(array)  # type: ignore[arg-type]


def on_device(place: Place, *, on_cuda: bool) -> bool:
    """Whether boundaries at this place take memory of the device that computes."""
    return place == "device" or (place == "host" and not on_cuda)


def make_boundary(
    place: Place,
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    device: torch.device,
    scratch: Path | None,
) -> Boundary:
    """An empty (all zero) boundary of this shape (N, C, H, W) at this place."""
    if place == "disk":
        return DiskBoundary(shape, dtype, scratch)
    if device.type == "cpu":
        return BlockBoundary(shape, dtype)
    kind = PinnedBoundary if place == "host" else MemoryBoundary
    return kind(shape, dtype, device)
