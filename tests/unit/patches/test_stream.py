"""Pixels of patches, in order, ahead, and around damage."""

import numpy as np
import pytest

from wsi.geometry import Region
from wsi.patches import PatchSpec, PatchStream, resolve_grid
from wsi.testing.fakes import ArraySlide


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (320, 480, 3), np.uint8)


SPEC = PatchSpec(mpp=0.5, size_px=64)


def test_the_stream_gives_the_pixels_of_the_slide_in_grid_order(pixels: np.ndarray) -> None:
    slide = ArraySlide(pixels)
    grid = resolve_grid(slide, SPEC, None)
    stream = PatchStream(slide, grid, batch_size=7, threads=3)
    batches = list(stream)
    np.testing.assert_array_equal(np.concatenate([b.cells_n2 for b in batches]), grid.cells_n2)
    for batch in batches:
        for (row, column), patch in zip(batch.cells_n2, batch.pixels_nhwc, strict=True):
            there = pixels[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64]
            np.testing.assert_array_equal(patch[: len(there), : there.shape[1]], there)
    assert stream.damaged == []
    assert len(batches) == len(stream)


def test_damaged_patches_are_left_out_and_listed(pixels: np.ndarray) -> None:
    slide = ArraySlide(pixels, damaged=(Region(70, 70, 10, 10), Region(300, 10, 5, 5)))
    grid = resolve_grid(slide, SPEC, None)
    stream = PatchStream(slide, grid, batch_size=4)
    read = {tuple(cell) for batch in stream for cell in batch.cells_n2}
    lost = {(patch.row, patch.column) for patch in stream.damaged}
    assert lost == {(1, 1), (0, 4)}
    assert read | lost == {tuple(cell) for cell in grid.cells_n2}
    assert not read & lost
    assert all("does not decode" in patch.reason for patch in stream.damaged)


def test_reading_stays_a_bounded_way_ahead_and_stops_with_its_reader(pixels: np.ndarray) -> None:
    slide = ArraySlide(pixels)
    grid = resolve_grid(slide, PatchSpec(mpp=0.5, size_px=16), None)
    stream = PatchStream(slide, grid, batch_size=5, ahead=2)
    next(iterator := iter(stream))
    iterator.close()  # type: ignore[attr-defined]
    assert slide.reads <= 5 * 3
    assert len(grid) > 100


def test_an_unexpected_error_is_not_swallowed(pixels: np.ndarray) -> None:
    class Broken(ArraySlide):
        def read_region(self, region, size):  # type: ignore[no-untyped-def]
            raise MemoryError("no memory")

    slide = Broken(pixels)
    with pytest.raises(MemoryError):
        list(PatchStream(slide, resolve_grid(slide, SPEC, None)))
