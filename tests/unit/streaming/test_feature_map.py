"""Every feature-map store: rectangles are written, added and read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from wsi.streaming.image_source import Rect
from wsi.streaming.storage import blocks, feature_map, pinned
from wsi.streaming.storage.blocks import BlockFeatureMap, Blocks
from wsi.streaming.storage.feature_map import DiskFeatureMap, FeatureMap, TensorFeatureMap
from wsi.streaming.storage.pinned import PinnedFeatureMap

Make = Callable[[tuple[int, int, int, int], torch.dtype], FeatureMap]
CPU = torch.device("cpu")


@pytest.fixture(params=["memory", "blocks", "disk", "pinned"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    # Rectangles reach over several bands.
    monkeypatch.setattr(pinned, "BAND_BYTES", 40_000)
    monkeypatch.setattr(feature_map, "BAND_BYTES", 40_000)
    monkeypatch.setattr(blocks, "BLOCKS", Blocks())
    made: dict[str, Make] = {
        "memory": lambda shape, dtype: TensorFeatureMap(shape, dtype, CPU),
        "blocks": BlockFeatureMap,
        "disk": lambda shape, dtype: DiskFeatureMap(shape, dtype, tmp_path),
        "pinned": lambda shape, dtype: PinnedFeatureMap(shape, dtype, CPU),
    }
    return made[request.param]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "shape", [(1, 64, 211, 130), (2, 300, 37, 90), (1, 3, 5, 7), (1, 24, 61, 47), (2, 24, 61, 47)]
)
def test_rectangles_are_read_as_a_plain_tensor_would_hold_them(
    make: Make, shape: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    rng = np.random.default_rng(0)
    store, plain = make(shape, dtype), torch.zeros(shape, dtype=dtype)
    n, c, h, w = shape

    def rectangle() -> Rect:
        y, x = rng.integers(h), rng.integers(w)
        return Rect(int(y), int(x), int(rng.integers(y, h)) + 1, int(rng.integers(x, w)) + 1)

    for turn in range(40):
        rect = rectangle()
        rows, columns = rect.relative_to(0, 0)
        values = torch.randn(n, c, rect.height, rect.width, dtype=torch.float64).to(dtype)
        if turn % 3:
            store.add(rect, values)
            plain[:, :, rows, columns] += values
        else:
            store.write(rect, values)
            plain[:, :, rows, columns] = values
        for asked in (rect, rectangle()):
            got = store.read(asked)
            assert got.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(got, plain[(slice(None), slice(None), *asked.relative_to(0, 0))])
    empty = store.like()
    assert not empty.read(Rect(0, 0, h, w)).any()
    empty.close()
    assert torch.equal(store.whole(), plain)


def test_a_gradient_is_stored_on_the_device_of_its_closed_feature_map() -> None:
    store = TensorFeatureMap((1, 8, 5, 7), torch.float32, torch.device("meta"))
    store.close()
    assert store.like().read(Rect(0, 0, 5, 7)).device.type == "meta"
