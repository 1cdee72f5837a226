"""A feature map in page-locked host memory, for a CUDA device.

Every copy is queued on the compute stream, row by row of a rectangle: the host never waits for
one, and the stream's order guarantees that reads see earlier writes.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from wsi.streaming.image_source import Rect

BAND_BYTES = 2**27
"""Size of the bands of rows that a feature map is stored in. Torch rounds page-locked memory up to
a power of two and keeps it for the next feature map, because allocating it is slow."""


class PinnedFeatureMap:
    """A ``FeatureMap`` in page-locked memory, zero at first; ordinary memory on a CPU."""

    def __init__(
        self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._device = device
        n, c, h, w = shape
        self._rows = min(h, max(1, BAND_BYTES // (n * c * w * dtype.itemsize)))
        pin = device.type == "cuda"
        zeros = torch.zeros((self._rows, n, w, c), dtype=dtype, device=device)
        self._bands = [
            torch.empty((min(self._rows, h - y), n, w, c), dtype=dtype, pin_memory=pin)
            for y in range(0, h, self._rows)
        ]
        for band in self._bands:
            band.copy_(zeros[: len(band)], non_blocking=True)

    def _runs(self, rect: Rect) -> Iterator[tuple[int, int, Tensor]]:
        """Row of the rectangle, sample, and that run of values (width, C) in host memory."""
        for y in range(rect.height):
            band, row = divmod(rect.y0 + y, self._rows)
            for sample in range(self.shape[0]):
                yield y, sample, self._bands[band][row, sample, rect.x0 : rect.x1]

    def read(self, rect: Rect) -> Tensor:
        """Copy a rectangle: (N, C, height, width), on the CUDA device."""
        n, c, _, _ = self.shape
        size = (n, rect.height, rect.width, c)
        nhwc = torch.empty(size, dtype=self.dtype, device=self._device)
        for y, sample, values in self._runs(rect):
            nhwc[sample, y].copy_(values, non_blocking=True)
        return nhwc.permute(0, 3, 1, 2)

    def write(self, rect: Rect, values: Tensor) -> None:
        """Replace a rectangle."""
        nhwc = values.detach().to(self._device, self.dtype).permute(0, 2, 3, 1).contiguous()
        for y, sample, place in self._runs(rect):
            place.copy_(nhwc[sample, y], non_blocking=True)

    def add(self, rect: Rect, values: Tensor) -> None:
        """Add to a rectangle."""
        self.write(rect, self.read(rect).add_(values.to(self._device)))

    def last_reads(self, rects: Iterable[Rect]) -> None:
        """Announce the remaining reads; this store frees memory only when it is closed."""

    def whole(self) -> Tensor:
        """All positions as one tensor (N, C, H, W); closes the store, on the host."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        values = torch.cat(self._bands).permute(1, 3, 0, 2)
        self.close()
        return values.contiguous(memory_format=torch.channels_last)

    def like(self) -> "PinnedFeatureMap":
        """An empty store of the same shape, dtype and place."""
        return PinnedFeatureMap(self.shape, self.dtype, self._device)

    def close(self) -> None:
        """Free the storage; torch reuses it once no copy is in progress."""
        self._bands = []
