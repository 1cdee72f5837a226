"""Feature maps in blocks: what is written is read, and memory is reused."""

import gc

import pytest
import torch

from wsi.streaming.image_source import Rect
from wsi.streaming.storage import blocks
from wsi.streaming.storage.blocks import BLOCK_BYTES, BlockFeatureMap, Blocks, PackedQueue


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Blocks:
    """Blocks of this test alone."""
    alone = Blocks()
    monkeypatch.setattr(blocks, "BLOCKS", alone)
    return alone


def test_reused_memory_is_zero(memory: Blocks) -> None:
    first = BlockFeatureMap((1, 64, 100, 100), torch.float32)
    first.write(Rect(0, 0, 100, 100), torch.ones(1, 64, 100, 100))
    addresses = {block.data_ptr() for block in first._memory.values()}
    first.close()
    second = first.like()
    second.add(Rect(20, 20, 30, 30), torch.ones(1, 64, 10, 10))
    assert {block.data_ptr() for block in second._memory.values()} <= addresses
    assert second.read(Rect(0, 0, 100, 100)).sum() == 64 * 100
    memory.trim(2**30)
    gc.collect()
    assert second.read(Rect(0, 0, 100, 100)).sum() == 64 * 100


def test_two_feature_maps_never_share_memory(memory: Blocks) -> None:
    shape = (1, 64, 100, 100)
    one, other = BlockFeatureMap(shape, torch.float32), BlockFeatureMap(shape, torch.float32)
    whole = Rect(0, 0, 100, 100)
    one.write(whole, torch.ones(shape))
    other.write(whole, torch.full(shape, 2.0))
    one.close()
    one.close()
    third, fourth = one.like(), one.like()
    third.write(whole, torch.full(shape, 3.0))
    fourth.write(whole, torch.full(shape, 4.0))
    assert [b.read(whole).unique().tolist() for b in (other, third, fourth)] == [[2], [3], [4]]


def test_a_position_larger_than_a_block_has_separate_memory(memory: Blocks) -> None:
    channels = BLOCK_BYTES // 8 + 1
    boundary = BlockFeatureMap((1, channels, 1, 2), torch.float64)
    boundary.write(Rect(0, 1, 1, 2), torch.ones(1, channels, 1, 1, dtype=torch.float64))
    assert boundary.read(Rect(0, 0, 1, 2)).sum() == channels
    boundary.close()
    assert memory.free_bytes == 0


def test_what_is_read_for_the_last_time_is_given_back(memory: Blocks) -> None:
    cells = torch.randn(1, 512, 100, 70)
    boundary, whole = BlockFeatureMap((1, 512, 100, 70), torch.float32), Rect(0, 0, 100, 70)
    boundary.write(whole, cells)
    held = len(boundary._memory)
    before = memory.free_bytes
    rects = [Rect(0, 0, 40, 70), Rect(30, 0, 60, 70), Rect(31, 5, 60, 9)]
    boundary.last_reads(rects)
    left = [len(boundary._memory)]
    for rect in rects:
        rows, columns = rect.relative_to(0, 0)
        assert torch.equal(boundary.read(rect), cells[:, :, rows, columns])
        left.append(len(boundary._memory))
    assert held > left[0] > left[1] > left[2] > left[3] == 0
    assert memory.free_bytes == before + held * BLOCK_BYTES


def test_memory_that_is_wholly_free_goes_back_to_the_system_as_much_as_is_asked_for(
    memory: Blocks,
) -> None:
    slab = blocks._SLAB_BYTES
    taken = [memory.take() for _ in range(3 * blocks._BLOCKS_AT_ONCE)]
    memory.release(taken[1:])
    assert memory.trim(1) == slab
    assert memory.free_bytes == 2 * slab - BLOCK_BYTES
    assert memory.trim(10 * slab) == slab
    assert memory.free_bytes == slab - BLOCK_BYTES
    memory.release(taken[:1])
    assert memory.trim(0) == 0
    assert memory.trim(1) == slab
    assert memory.free_bytes == 0


def test_a_feature_map_left_by_an_error_frees_its_memory(memory: Blocks) -> None:
    boundary = BlockFeatureMap((1, 64, 100, 100), torch.float32)
    boundary.write(Rect(0, 0, 100, 100), torch.ones(1, 64, 100, 100))
    packed = PackedQueue()
    packed.put(torch.ones(3 * BLOCK_BYTES))
    before = memory.free_bytes
    del boundary, packed
    assert memory.free_bytes >= before + 14 * BLOCK_BYTES


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_packed_tensors_come_out_as_they_went_in(dtype: torch.dtype, memory: Blocks) -> None:
    shapes = [(1, 64, 211, 130), (2, 3, 1, 1), (1, 300, 37, 90), (1, 8, 0, 4), (1, 64, 64, 128)]
    tensors = [torch.randn(shape).to(dtype) for shape in shapes]
    tensors[::2] = [t.contiguous(memory_format=torch.channels_last) for t in tensors[::2]]
    packed = PackedQueue()
    for tensor in tensors:
        packed.put(tensor)
    assert packed.nbytes == sum(tensor.nbytes for tensor in tensors)
    taken = len(packed._blocks)
    assert taken == -(-packed.nbytes // BLOCK_BYTES)
    for tensor in tensors:
        got = packed.take()
        assert torch.equal(got, tensor)
        assert got.stride() == tensor.stride()
    assert packed.nbytes == len(packed._blocks) == 0
    assert memory.free_bytes % (blocks._BLOCKS_AT_ONCE * BLOCK_BYTES) == 0
