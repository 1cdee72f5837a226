"""Stores for activations and gradients at group boundaries, which may not fit on the device.

All stores use (N, H, W, C) order, so a tile is a few long runs of bytes and reads back as a
channels_last tensor without a transpose.
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
from wsi.streaming.storage.blocks import BlockFeatureMap
from wsi.streaming.storage.pinned import PinnedFeatureMap

Place = Literal["device", "host", "disk"]

BAND_BYTES = 2**26
"""Largest copy that is made to read from or write to a disk."""


class FeatureMap(Protocol):
    """Activations (N, C, H, W) of the whole image, read and written in rectangles."""

    shape: tuple[int, int, int, int]
    dtype: torch.dtype

    def read(self, rect: Rect) -> Tensor:
        """A copy: (N, C, height, width) in channels_last, on the store's own device."""
        ...

    def write(self, rect: Rect, values: Tensor) -> None:
        """Replace the rectangle by ``values`` (N, C, height, width), from any device."""
        ...

    def add(self, rect: Rect, values: Tensor) -> None:
        """Add ``values`` to the rectangle."""
        ...

    def last_reads(self, rects: Iterable[Rect]) -> None:
        """Announce all remaining reads, each once: what they do not cover may be freed."""
        ...

    def whole(self) -> Tensor:
        """All positions: (N, C, H, W). May share the store's memory and closes the store."""
        ...

    def like(self) -> "FeatureMap":
        """An empty store of the same shape, for the gradient."""
        ...

    def close(self) -> None:
        """Free the memory or disk space."""
        ...


class TensorFeatureMap:
    """A feature map in one tensor on any device; zero at first."""

    def __init__(
        self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._device = device
        n, c, h, w = shape
        self._nhwc = torch.zeros((n, h, w, c), dtype=dtype, device=device)

    @classmethod
    def holding(cls, values: Tensor) -> "TensorFeatureMap":
        """A store over an existing tensor (N, C, H, W), not copied where channels_last."""
        self = cls.__new__(cls)
        n, c, h, w = values.shape
        self.shape = (n, c, h, w)
        self.dtype = values.dtype
        self._device = values.device
        self._nhwc = values.permute(0, 2, 3, 1).contiguous()
        return self

    def whole(self) -> Tensor:
        """All positions as one tensor (N, C, H, W); closes the store."""
        values = self._nhwc.permute(0, 3, 1, 2)
        self.close()
        return values

    def read(self, rect: Rect) -> Tensor:
        """Copy a rectangle: (N, C, height, width)."""
        return self._nhwc[:, rect.y0 : rect.y1, rect.x0 : rect.x1].clone().permute(0, 3, 1, 2)

    def write(self, rect: Rect, values: Tensor) -> None:
        """Replace a rectangle."""
        self._nhwc[:, rect.y0 : rect.y1, rect.x0 : rect.x1].copy_(values.permute(0, 2, 3, 1))

    def add(self, rect: Rect, values: Tensor) -> None:
        """Add to a rectangle."""
        values = values.permute(0, 2, 3, 1).to(self._device)
        self._nhwc[:, rect.y0 : rect.y1, rect.x0 : rect.x1].add_(values)

    def last_reads(self, rects: Iterable[Rect]) -> None:
        """Announce the remaining reads; this store frees memory only when it is closed."""

    def like(self) -> "TensorFeatureMap":
        """An empty store of the same shape, dtype and place."""
        return TensorFeatureMap(self.shape, self.dtype, self._device)

    def close(self) -> None:
        """Free the storage."""
        self._nhwc = torch.empty(0)


class DiskFeatureMap:
    """A feature map in an unlinked temporary file, read and written by explicit calls.

    Not a memory map: mapped pages count as resident memory of the process, which this store exists
    to keep small. The operating system still caches the file in free memory.
    """

    def __init__(
        self, shape: tuple[int, int, int, int], dtype: torch.dtype, folder: Path | None
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        n, c, h, w = shape
        self._folder = folder
        self._position_bytes = c * dtype.itemsize
        try:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 - lives as long as the store
                dir=folder, buffering=0, prefix="wsi-feature-map-"
            )
            weakref.finalize(self, self._file.close)  # also when a step fails
            self._file.truncate(n * h * w * self._position_bytes)
        except OSError as error:
            raise MemoryPlanError(
                f"cannot store {n * h * w * self._position_bytes / 1e9:.2f} GB of boundary "
                f"activations in {folder or tempfile.gettempdir()}: {error}"
            ) from error
        self._lock = threading.Lock()  # seek and read are two calls; prefetch is another thread

    def _row_offsets(self, rect: Rect) -> list[int]:
        n, _, h, w = self.shape
        return [
            ((sample * h + y) * w + rect.x0) * self._position_bytes
            for sample in range(n)
            for y in range(rect.y0, rect.y1)
        ]

    def _bands(self, rect: Rect) -> Iterator[Rect]:
        """Bands of rows of a rectangle, so that no copy of all of it is made."""
        rows = max(1, BAND_BYTES // (self.shape[0] * rect.width * self._position_bytes))
        for y0 in range(rect.y0, rect.y1, rows):
            yield Rect(y0, rect.x0, min(y0 + rows, rect.y1), rect.x1)

    def read(self, rect: Rect) -> Tensor:
        """Copy a rectangle: (N, C, height, width)."""
        n, c, _, _ = self.shape
        nhwc = torch.empty((n, rect.height, rect.width, c), dtype=self.dtype)
        run = rect.width * self._position_bytes
        view = bytes_of(nhwc)
        with self._lock:
            for row, offset in enumerate(self._row_offsets(rect)):
                self._file.seek(offset)
                got = self._file.readinto(view[row * run : (row + 1) * run])
                if got != run:
                    raise MemoryPlanError(
                        f"the temporary file of activations ended after {offset + (got or 0)} B"
                    )
        return nhwc.permute(0, 3, 1, 2)

    def write(self, rect: Rect, values: Tensor) -> None:
        """Replace a rectangle."""
        for band in self._bands(rect):
            rows = slice(band.y0 - rect.y0, band.y1 - rect.y0)
            self._write_band(band, values[:, :, rows])

    def _write_band(self, rect: Rect, values: Tensor) -> None:
        nhwc = values.detach().to("cpu", self.dtype).permute(0, 2, 3, 1).contiguous()
        run = rect.width * self._position_bytes
        view = bytes_of(nhwc)
        with self._lock:
            for row, offset in enumerate(self._row_offsets(rect)):
                self._file.seek(offset)
                try:
                    wrote = self._file.write(view[row * run : (row + 1) * run])
                except OSError as error:
                    raise MemoryPlanError(
                        f"cannot write boundary activations to disk: {error}"
                    ) from error
                if wrote != run:
                    raise MemoryPlanError("the disk is full: cannot write boundary activations")

    def add(self, rect: Rect, values: Tensor) -> None:
        """Add to a rectangle."""
        for band in self._bands(rect):
            rows = slice(band.y0 - rect.y0, band.y1 - rect.y0)
            self._write_band(band, self.read(band) + values[:, :, rows].to("cpu", self.dtype))

    def whole(self) -> Tensor:
        """All positions as one tensor (N, C, H, W); closes the store."""
        values = self.read(Rect(0, 0, self.shape[2], self.shape[3]))
        self.close()
        return values

    def last_reads(self, rects: Iterable[Rect]) -> None:
        """Announce the remaining reads; this store frees memory only when it is closed."""

    def like(self) -> "DiskFeatureMap":
        """An empty store of the same shape, dtype and place."""
        return DiskFeatureMap(self.shape, self.dtype, self._folder)

    def close(self) -> None:
        """Free the storage."""
        self._file.close()


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor; bfloat16 has no numpy dtype, so it goes as bytes."""
    array: npt.NDArray[np.uint8] = tensor.view(torch.uint8).numpy().reshape(-1)
    return memoryview(array)  # type: ignore[arg-type]


def on_device(place: Place, *, on_cuda: bool) -> bool:
    """Whether feature maps at this place use memory of the device that computes."""
    return place == "device" or (place == "host" and not on_cuda)


def make_feature_map(
    place: Place,
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    device: torch.device,
    scratch: Path | None,
) -> FeatureMap:
    """A feature map of zeros of this shape (N, C, H, W) at this place.

    Raises:
        MemoryPlanError: no temporary file of this size can be made.
    """
    if place == "disk":
        return DiskFeatureMap(shape, dtype, scratch)
    if device.type == "cpu":
        return BlockFeatureMap(shape, dtype)
    kind = PinnedFeatureMap if place == "host" else TensorFeatureMap
    return kind(shape, dtype, device)
