"""Boundaries of blocks: what is written is read, and memory is used again."""

import gc

import numpy as np
import pytest
import torch

from wsi.memory import blocks
from wsi.memory.blocks import SLAB_BYTES, BlockBoundary, Slabs
from wsi.memory.source import Rect


@pytest.fixture
def slabs(monkeypatch: pytest.MonkeyPatch) -> Slabs:
    """Slabs of this test alone."""
    alone = Slabs()
    monkeypatch.setattr(blocks, "SLABS", alone)
    return alone


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 64, 211, 130), (2, 300, 37, 90), (1, 3, 5, 7)])
def test_rectangles_are_read_as_a_plain_tensor_would_hold_them(
    shape: tuple[int, int, int, int], dtype: torch.dtype, slabs: Slabs
) -> None:
    rng = np.random.default_rng(0)
    boundary, plain = BlockBoundary(shape, dtype), torch.zeros(shape, dtype=dtype)
    n, c, h, w = shape

    def rectangle() -> Rect:
        y, x = rng.integers(h), rng.integers(w)
        return Rect(int(y), int(x), int(rng.integers(y, h)) + 1, int(rng.integers(x, w)) + 1)

    for turn in range(40):
        rect = rectangle()
        rows, columns = rect.relative_to(0, 0)
        cells = torch.randn(n, c, rect.height, rect.width, dtype=torch.float64).to(dtype)
        if turn % 3:
            boundary.add(rect, cells)
            plain[:, :, rows, columns] += cells
        else:
            boundary.write(rect, cells)
            plain[:, :, rows, columns] = cells
        rect = rectangle()
        got = boundary.read(rect)
        assert got.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(got, plain[(slice(None), slice(None), *rect.relative_to(0, 0))])
    assert torch.equal(boundary.whole(), plain)


def test_memory_that_one_boundary_gave_back_is_zero_for_the_next(slabs: Slabs) -> None:
    first = BlockBoundary((1, 64, 100, 100), torch.float32)
    first.write(Rect(0, 0, 100, 100), torch.ones(1, 64, 100, 100))
    addresses = {slab.data_ptr() for slab in first._slabs}
    first.close()
    second = first.like()
    second.add(Rect(20, 20, 30, 30), torch.ones(1, 64, 10, 10))
    assert {slab.data_ptr() for slab in second._slabs} <= addresses
    assert second.read(Rect(0, 0, 100, 100)).sum() == 64 * 100
    slabs.release()
    gc.collect()
    assert second.read(Rect(0, 0, 100, 100)).sum() == 64 * 100


def test_two_boundaries_never_share_memory(slabs: Slabs) -> None:
    shape = (1, 64, 100, 100)
    one, other = BlockBoundary(shape, torch.float32), BlockBoundary(shape, torch.float32)
    whole = Rect(0, 0, 100, 100)
    one.write(whole, torch.ones(shape))
    other.write(whole, torch.full(shape, 2.0))
    one.close()
    one.close()
    third, fourth = one.like(), one.like()
    third.write(whole, torch.full(shape, 3.0))
    fourth.write(whole, torch.full(shape, 4.0))
    assert [b.read(whole).unique().tolist() for b in (other, third, fourth)] == [[2], [3], [4]]


def test_a_cell_larger_than_a_slab_has_memory_of_its_own(slabs: Slabs) -> None:
    channels = SLAB_BYTES // 8 + 1
    boundary = BlockBoundary((1, channels, 1, 2), torch.float64)
    boundary.write(Rect(0, 1, 1, 2), torch.ones(1, channels, 1, 1, dtype=torch.float64))
    assert boundary.read(Rect(0, 0, 1, 2)).sum() == channels
    assert not boundary._slabs
