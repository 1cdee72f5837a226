"""Activation storage in host memory, in blocks of one size that the process keeps and reuses.

Boundary and bottleneck activations allocated from the C heap would fragment it between the tiles'
tensors. Memory that is returned to the system has to be fetched again by the next update, which
costs two seconds per gigabyte on a virtual machine that returns free pages to its host.
"""

import math
import mmap
from collections import Counter, deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from wsi.streaming.image_source import Rect

BLOCK_BYTES = 2**20

_BLOCKS_AT_ONCE = 32
_SLAB_BYTES = _BLOCKS_AT_ONCE * BLOCK_BYTES


class Blocks:
    """A pool of blocks of memory; free blocks stay in the process."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []

    @property
    def free_bytes(self) -> int:
        """Bytes of the blocks that are not in use."""
        return len(self._free) * BLOCK_BYTES

    def take(self) -> Tensor:
        """A block of ``BLOCK_BYTES`` bytes with undefined content."""
        if not self._free:
            with torch.inference_mode(False):  # blocks outlive the call that allocates them
                slab = anonymous_zeros(_SLAB_BYTES, torch.uint8)
                self._free.extend(reversed(slab.view(_BLOCKS_AT_ONCE, BLOCK_BYTES).unbind()))
        return self._free.pop()

    def release(self, blocks: Iterable[Tensor]) -> None:
        """Return blocks to the pool; the caller must not use them any more."""
        self._free.extend(blocks)

    def trim(self, nbytes: int) -> int:
        """Return free memory to the operating system, in slabs with no block in use.

        Args:
            nbytes: at least this much, if as much is free.

        Returns:
            Bytes that were returned.
        """
        free = Counter(_slab(block) for block in self._free)
        whole = [slab for slab, count in free.items() if count == _BLOCKS_AT_ONCE]
        given = set(whole[: -(-nbytes // _SLAB_BYTES)])
        self._free = [block for block in self._free if _slab(block) not in given]
        return len(given) * _SLAB_BYTES


def _slab(block: Tensor) -> int:
    return block.untyped_storage().data_ptr()


BLOCKS = Blocks()
"""The pool of this process."""


class BlockFeatureMap:
    """A ``Boundary`` of square blocks; a block that nobody wrote is zero and takes no memory."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
        self.shape = shape
        self.dtype = dtype
        n, c, _, _ = shape
        self._side = max(1, math.isqrt(BLOCK_BYTES // (n * c * dtype.itemsize)))
        self._memory: dict[Rect, Tensor] = {}  # bytes
        self._blocks: dict[Rect, Tensor] = {}  # the same as (N, height, width, C)
        self._reads_left: Counter[Rect] | None = None

    def read(self, rect: Rect) -> Tensor:
        """Copy a rectangle: (N, C, height, width)."""
        n, c, _, _ = self.shape
        out = torch.empty((n, rect.height, rect.width, c), dtype=self.dtype)
        for place, common in self._under(rect):
            block, target = self._blocks.get(place), out[_slices(common, rect)]
            if block is None:
                target.zero_()
            else:
                target.copy_(block[_slices(common, place)])
            if self._reads_left is not None:
                self._reads_left[place] -= 1
                if not self._reads_left[place]:
                    self._release_block(place)
        return out.permute(0, 3, 1, 2)

    def last_reads(self, rects: Iterable[Rect]) -> None:
        """Announce the remaining reads."""
        self._reads_left = Counter(place for rect in rects for place, _ in self._under(rect))
        for place in self._memory.keys() - self._reads_left.keys():
            self._release_block(place)

    def write(self, rect: Rect, values: Tensor) -> None:
        """Replace a rectangle."""
        nhwc = values.permute(0, 2, 3, 1)
        for place, common in self._under(rect):
            self._block(place)[_slices(common, place)].copy_(nhwc[_slices(common, rect)])

    def add(self, rect: Rect, values: Tensor) -> None:
        """Add to a rectangle."""
        nhwc = values.permute(0, 2, 3, 1).to("cpu")
        for place, common in self._under(rect):
            self._block(place)[_slices(common, place)].add_(nhwc[_slices(common, rect)])

    def whole(self) -> Tensor:
        """All positions as one tensor (N, C, H, W); closes the store."""
        n, c, h, w = self.shape
        with torch.inference_mode(False):  # results of ``infer`` are returned without a copy
            out = torch.zeros((n, h, w, c), dtype=self.dtype)
        for place, block in self._blocks.items():
            out[_slices(place, Rect(0, 0, h, w))].copy_(block)
        self.close()
        return out.permute(0, 3, 1, 2)

    def like(self) -> "BlockFeatureMap":
        """An empty store of the same shape, dtype and place."""
        return BlockFeatureMap(self.shape, self.dtype)

    def close(self) -> None:
        """Free the storage."""
        for place in list(self._memory):
            self._release_block(place)

    def __del__(self) -> None:
        self.close()

    def _under(self, rect: Rect) -> Iterator[tuple[Rect, Rect]]:
        """The blocks under a rectangle, each with its intersection with the rectangle."""
        side, (_, _, h, w) = self._side, self.shape
        for y in range(rect.y0 // side * side, rect.y1, side):
            for x in range(rect.x0 // side * side, rect.x1, side):
                place = Rect(y, x, min(y + side, h), min(x + side, w))
                top, left = max(y, rect.y0), max(x, rect.x0)
                yield place, Rect(top, left, min(place.y1, rect.y1), min(place.x1, rect.x1))

    def _block(self, place: Rect) -> Tensor:
        if place not in self._blocks:
            n, c, _, _ = self.shape
            nbytes = n * c * place.area * self.dtype.itemsize
            # A single position may be larger than a block: it gets separate memory.
            fits = nbytes <= BLOCK_BYTES
            memory = BLOCKS.take() if fits else torch.empty(nbytes, dtype=torch.uint8)
            self._memory[place] = memory
            values = memory[:nbytes].view(self.dtype)
            self._blocks[place] = values.view(n, place.height, place.width, c).zero_()
        return self._blocks[place]

    def _release_block(self, place: Rect) -> None:
        self._blocks.pop(place, None)
        memory = self._memory.pop(place, None)
        if memory is not None and memory.nbytes == BLOCK_BYTES:
            BLOCKS.release([memory])


class PackedQueue:
    """A first-in, first-out queue of tensors, packed into blocks."""

    def __init__(self) -> None:
        self._blocks: deque[Tensor] = deque()
        self._tensors: deque[Tensor] = deque()  # on torch's meta device: no data
        self._start = 0  # bytes of the first block that were read
        self._stop = BLOCK_BYTES  # bytes of the last block that are in use

    @property
    def nbytes(self) -> int:
        """Bytes in the queue."""
        return sum(tensor.nbytes for tensor in self._tensors)

    def put(self, tensor: Tensor) -> None:
        """Append a copy of a dense tensor, in any memory format."""
        self._tensors.append(torch.empty_like(tensor, device="meta"))
        left = _bytes(tensor)
        while len(left):
            if self._stop == BLOCK_BYTES:
                self._blocks.append(BLOCKS.take())
                self._stop = 0
            count = min(len(left), BLOCK_BYTES - self._stop)
            self._blocks[-1][self._stop : self._stop + count].copy_(left[:count])
            self._stop += count
            left = left[count:]

    def take(self) -> Tensor:
        """Remove and return the oldest tensor."""
        tensor = torch.empty_like(self._tensors.popleft(), device="cpu")
        left = _bytes(tensor)
        while len(left):
            count = min(len(left), BLOCK_BYTES - self._start)
            left[:count].copy_(self._blocks[0][self._start : self._start + count])
            self._start += count
            left = left[count:]
            if self._start == BLOCK_BYTES:
                BLOCKS.release([self._blocks.popleft()])
                self._start = 0
        if not self._tensors:
            self.close()
        return tensor

    def close(self) -> None:
        """Return the blocks to the pool."""
        if self._blocks:
            BLOCKS.release(self._blocks)
        self._blocks.clear()
        self._tensors.clear()
        self._start, self._stop = 0, BLOCK_BYTES

    def __del__(self) -> None:
        self.close()


def _bytes(tensor: Tensor) -> Tensor:
    """The bytes of a dense tensor in memory order."""
    return tensor.detach().as_strided((tensor.numel(),), (1,)).view(torch.uint8)


def _slices(part: Rect, of: Rect) -> tuple[slice, slice, slice]:
    """Index of a rectangle in the (N, H, W, C) array of an enclosing one."""
    return slice(None), *part.relative_to(of.y0, of.x0)


def anonymous_zeros(elements: int, dtype: torch.dtype) -> Tensor:
    """Zeros in anonymous pages, which the system gets back as soon as the tensor is freed.

    Memory of the C heap stays resident under the allocator settings that make torch fast on a CPU
    (no trimming).
    """
    length = max(1, elements * dtype.itemsize)
    private = getattr(mmap, "MAP_PRIVATE", None)
    if private is None:  # no anonymous private maps on this system (Windows)
        return torch.zeros(elements, dtype=dtype)
    pages = mmap.mmap(-1, length, flags=private | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype, count=elements)
