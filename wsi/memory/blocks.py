"""A boundary in the host's memory, block by block, in memory that the process keeps.

From the C heap it would leave holes between the tiles' tensors. Memory that goes back to the
system is fetched again by the next update: on a virtual machine that returns free pages to its
host, that costs two seconds a gigabyte. So blocks are cut from slabs that are used again.
"""

import math
import mmap
from collections.abc import Iterator

import torch
from torch import Tensor

from wsi.memory.source import Rect

BLOCK_BYTES = 2**20
"""Of a whole block, about."""

SLAB_BYTES = 2**25


class Slabs:
    """Memory that boundaries take and give back; what is free stays with the process."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    @property
    def free_bytes(self) -> int:
        """What is kept and not in use."""
        return len(self._free) * SLAB_BYTES

    def take(self) -> Tensor:
        """SLAB_BYTES bytes of any content."""
        try:
            return self._free.pop()
        except IndexError:
            return anonymous_zeros(SLAB_BYTES, torch.uint8)

    def give(self, slabs: list[Tensor]) -> None:
        """Take slabs back; nobody may use them any more."""
        self._free.extend(slabs)

    def release(self) -> None:
        """Return what is free to the system."""
        self._free.clear()


SLABS = Slabs()
"""Of this process, as its heap is."""


class BlockBoundary:
    """A ``Boundary`` of square blocks; a block that nobody wrote is zero and takes no memory."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
        self.shape = shape
        self.dtype = dtype
        n, c, _, _ = shape
        self._side = max(1, math.isqrt(BLOCK_BYTES // (n * c * dtype.itemsize)))
        self._blocks: dict[Rect, Tensor] = {}  # (N, height, width, C)
        self._slabs: list[Tensor] = []
        self._left = 0  # bytes of the last slab

    def read(self, rect: Rect) -> Tensor:
        """See ``Boundary``."""
        n, c, _, _ = self.shape
        out = torch.empty((n, rect.height, rect.width, c), dtype=self.dtype)
        for place, common in self._under(rect):
            block, into = self._blocks.get(place), out[_slices(common, rect)]
            if block is None:
                into.zero_()
            else:
                into.copy_(block[_slices(common, place)])
        return out.permute(0, 3, 1, 2)

    def write(self, rect: Rect, cells: Tensor) -> None:
        """See ``Boundary``."""
        nhwc = cells.permute(0, 2, 3, 1)
        for place, common in self._under(rect):
            self._block(place)[_slices(common, place)].copy_(nhwc[_slices(common, rect)])

    def add(self, rect: Rect, cells: Tensor) -> None:
        """See ``Boundary``."""
        nhwc = cells.permute(0, 2, 3, 1).to("cpu")
        for place, common in self._under(rect):
            self._block(place)[_slices(common, place)].add_(nhwc[_slices(common, rect)])

    def whole(self) -> Tensor:
        """See ``Boundary``."""
        n, c, h, w = self.shape
        with torch.inference_mode(False):  # results of ``infer`` are handed on without a copy
            out = torch.zeros((n, h, w, c), dtype=self.dtype)
        for place, block in self._blocks.items():
            out[_slices(place, Rect(0, 0, h, w))].copy_(block)
        self.close()
        return out.permute(0, 3, 1, 2)

    def like(self) -> "BlockBoundary":
        """See ``Boundary``."""
        return BlockBoundary(self.shape, self.dtype)

    def close(self) -> None:
        """See ``Boundary``."""
        self._blocks.clear()
        SLABS.give(self._slabs)
        self._slabs, self._left = [], 0

    def _under(self, rect: Rect) -> Iterator[tuple[Rect, Rect]]:
        """The blocks under a rectangle, each with the part of it that the rectangle covers."""
        side, (_, _, h, w) = self._side, self.shape
        for y in range(rect.y0 // side * side, rect.y1, side):
            for x in range(rect.x0 // side * side, rect.x1, side):
                place = Rect(y, x, min(y + side, h), min(x + side, w))
                top, left = max(y, rect.y0), max(x, rect.x0)
                yield place, Rect(top, left, min(place.y1, rect.y1), min(place.x1, rect.x1))

    def _block(self, place: Rect) -> Tensor:
        if place not in self._blocks:
            n, c, _, _ = self.shape
            memory = self._cut(n * c * place.area * self.dtype.itemsize).view(self.dtype)
            self._blocks[place] = memory.view(n, place.height, place.width, c).zero_()
        return self._blocks[place]

    def _cut(self, nbytes: int) -> Tensor:
        """A piece of a slab; of its own memory where it is larger than one."""
        aligned = -(-nbytes // 64) * 64
        if aligned > SLAB_BYTES:
            return torch.empty(nbytes, dtype=torch.uint8)
        if aligned > self._left:
            with torch.inference_mode(False):  # a slab is not this call's alone
                self._slabs.append(SLABS.take())
            self._left = SLAB_BYTES
        start = SLAB_BYTES - self._left
        self._left -= aligned
        return self._slabs[-1][start : start + nbytes]


def _slices(part: Rect, of: Rect) -> tuple[slice, slice, slice]:
    """A part's samples, rows and columns in (N, H, W, C) of a rectangle."""
    return slice(None), *part.relative_to(of.y0, of.x0)


def anonymous_zeros(elements: int, dtype: torch.dtype) -> Tensor:
    """Zeros in pages of their own, which go back to the system as soon as the tensor dies.

    From the C heap they would stay resident under the allocator settings that make torch fast on
    a CPU (no trimming).
    """
    length = max(1, elements * dtype.itemsize)
    private = getattr(mmap, "MAP_PRIVATE", None)
    if private is None:  # no anonymous private maps on this system (Windows)
        return torch.zeros(elements, dtype=dtype)
    pages = mmap.mmap(-1, length, flags=private | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype, count=elements)
