"""The patches of a slide as batches of pixels, decoded ahead on threads."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi.errors import DamagedSlideError
from wsi.patches.grid import PatchGrid
from wsi.slides import RGB, SlideReader


@dataclass(frozen=True)
class PatchBatch:
    """Some patches of the grid, in its order.

    Attributes:
        cells_n2: (N, 2) int32, row and column of each patch.
        pixels_nhwc: (N, size_px, size_px, 3) uint8.
    """

    cells_n2: NDArray[np.int32]
    pixels_nhwc: NDArray[np.uint8]


@dataclass(frozen=True)
class DamagedPatch:
    """A patch that did not decode and was left out."""

    row: int
    column: int
    reason: str


class PatchStream:
    """Iterates over a grid's patches in batches; reads ``ahead`` batches while one is used.

    A patch whose pixels do not decode is left out of its batch and listed in ``damaged``: one bad
    tile never costs a slide.

    Args:
        slide: open reader; read from several threads.
        grid: which patches.
        batch_size: patches in a batch (the last one, and one with damage, may be smaller).
        threads: decoding threads.
        ahead: batches decoded in advance; bounds the memory.
        change: applied to each patch on the reading threads; keeps its shape and type.
    """

    def __init__(
        self,
        slide: SlideReader,
        grid: PatchGrid,
        *,
        batch_size: int = 64,
        threads: int = 2,
        ahead: int = 3,
        change: Callable[[RGB], RGB] | None = None,
    ) -> None:
        self._slide = slide
        self._grid = grid
        self._batch_size = batch_size
        self._threads = threads
        self._ahead = ahead
        self._change = change
        self.damaged: list[DamagedPatch] = []

    def __len__(self) -> int:
        """Number of batches, counting those that damage may empty."""
        return -(-len(self._grid) // self._batch_size)

    def __iter__(self) -> Iterator[PatchBatch]:
        self.damaged.clear()
        cells = self._grid.cells_n2
        with ThreadPoolExecutor(self._threads, thread_name_prefix="patches") as pool:
            waiting: deque[tuple[NDArray[np.int32], list[Future[RGB | DamagedPatch]]]] = deque()
            try:
                for start in range(0, len(cells), self._batch_size):
                    batch = cells[start : start + self._batch_size]
                    waiting.append((batch, [pool.submit(self._read, *cell) for cell in batch]))
                    if len(waiting) > self._ahead:
                        yield from self._collect(*waiting.popleft())
                while waiting:
                    yield from self._collect(*waiting.popleft())
            finally:
                # The reader of this stream may stop early: do not decode what nobody wants.
                pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, row: int, column: int) -> "RGB | DamagedPatch":
        try:
            pixels = self._slide.read_region(
                self._grid.region(int(row), int(column)), self._grid.size
            )
        except DamagedSlideError as error:
            return DamagedPatch(int(row), int(column), error.reason)
        return self._change(pixels) if self._change else pixels

    def _collect(
        self, cells: NDArray[np.int32], reads: "list[Future[RGB | DamagedPatch]]"
    ) -> Iterator[PatchBatch]:
        pixels: list[RGB] = []
        kept: list[int] = []
        for index, future in enumerate(reads):
            outcome = future.result()
            if isinstance(outcome, DamagedPatch):
                self.damaged.append(outcome)
            else:
                pixels.append(outcome)
                kept.append(index)
        if pixels:
            yield PatchBatch(cells[kept], np.stack(pixels))
