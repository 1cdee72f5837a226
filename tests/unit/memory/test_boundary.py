"""Every store of boundary activations: what was written, added and read, by rectangles."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from wsi.memory import boundary, pinned
from wsi.memory.blocks import BlockBoundary
from wsi.memory.boundary import Boundary, DiskBoundary, MemoryBoundary
from wsi.memory.pinned import PinnedBoundary
from wsi.memory.source import Rect

Make = Callable[[tuple[int, int, int, int], torch.dtype], Boundary]
CPU = torch.device("cpu")


@pytest.fixture(params=["memory", "blocks", "disk", "pinned"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    # Rectangles reach over several bands.
    monkeypatch.setattr(pinned, "BAND_BYTES", 40_000)
    monkeypatch.setattr(boundary, "BAND_BYTES", 40_000)
    made: dict[str, Make] = {
        "memory": lambda shape, dtype: MemoryBoundary(shape, dtype, CPU),
        "blocks": BlockBoundary,
        "disk": lambda shape, dtype: DiskBoundary(shape, dtype, tmp_path),
        "pinned": lambda shape, dtype: PinnedBoundary(shape, dtype, CPU),
    }
    return made[request.param]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 2])
def test_it_is_a_tensor_read_and_written_by_rectangles(
    make: Make, batch: int, dtype: torch.dtype
) -> None:
    shape = (batch, 24, 61, 47)
    store, plain = make(shape, dtype), torch.zeros(shape, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    for round_ in range(30):
        y0, x0 = (int(torch.randint(0, side, (), generator=generator)) for side in shape[2:])
        rect = Rect(y0, x0, min(61, y0 + 7 * round_ % 40 + 1), min(47, x0 + 5 * round_ % 30 + 1))
        rows, columns = rect.relative_to(0, 0)
        cells = torch.randn(*shape[:2], rect.height, rect.width, generator=generator).to(dtype)
        if round_ % 2:
            store.add(rect, cells)
            plain[:, :, rows, columns] += cells
        else:
            store.write(rect, cells)
            plain[:, :, rows, columns] = cells
        found = store.read(rect)
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(found, plain[:, :, rows, columns])
    empty = store.like()
    assert not empty.read(Rect(0, 0, 61, 47)).any()
    empty.close()
    assert torch.equal(store.whole(), plain)


def test_a_gradient_lies_where_its_closed_boundary_lay() -> None:
    store = MemoryBoundary((1, 8, 5, 7), torch.float32, torch.device("meta"))
    store.close()
    assert store.like().read(Rect(0, 0, 5, 7)).device.type == "meta"
