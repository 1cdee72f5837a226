"""Where patches lie."""

import numpy as np
import pytest

from wsi.errors import ConfigError, MppError
from wsi.geometry import Region, Size
from wsi.patches import PatchSpec, resolve_grid
from wsi.testing.fakes import ArraySlide
from wsi.tissue import TissueMask


def blank(width: int, height: int, mpp: float | None = 0.5) -> ArraySlide:
    return ArraySlide(np.full((height, width, 3), 255, np.uint8), mpp)


def test_patches_at_twice_the_mpp_cover_twice_the_pixels() -> None:
    grid = resolve_grid(blank(1000, 500), PatchSpec(mpp=1.0, size_px=100), None)
    assert grid.shape == (3, 5)
    assert len(grid) == 15
    assert grid.region(1, 2) == Region(400, 200, 200, 200)


def test_overlap_brings_patches_closer() -> None:
    grid = resolve_grid(blank(400, 100), PatchSpec(mpp=0.5, size_px=100, overlap_px=50), None)
    assert grid.stride_level0 == (50, 50)
    assert grid.shape == (1, 7)


def test_a_slide_smaller_than_a_patch_has_one_patch() -> None:
    grid = resolve_grid(blank(30, 20), PatchSpec(mpp=0.5, size_px=224), None)
    assert grid.shape == (1, 1)


def test_only_patches_with_enough_tissue_are_kept() -> None:
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = True  # a whole patch
    mask[2, 2] = True  # a quarter of one
    tissue = TissueMask(mask=mask, size=Size(400, 400))
    slide = blank(400, 400)
    quarter = resolve_grid(slide, PatchSpec(mpp=0.5, size_px=200, min_tissue=0.25), tissue)
    assert quarter.cells_n2.tolist() == [[0, 0], [1, 1]]
    more = resolve_grid(slide, PatchSpec(mpp=0.5, size_px=100, min_tissue=0.5), tissue)
    assert more.cells_n2.tolist() == [[0, 0], [2, 2]]


def test_a_patch_without_any_tissue_is_never_kept() -> None:
    tissue = TissueMask(mask=np.zeros((4, 4), bool), size=Size(400, 400))
    grid = resolve_grid(blank(400, 400), PatchSpec(mpp=0.5, size_px=100, min_tissue=0.0), tissue)
    assert len(grid) == 0


def test_a_slide_without_mpp_is_refused() -> None:
    with pytest.raises(MppError, match=r"array\.tif"):
        resolve_grid(blank(100, 100, None), PatchSpec(mpp=0.5, size_px=10), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mpp": 0.0, "size_px": 10},
        {"mpp": 1.0, "size_px": 0},
        {"mpp": 1.0, "size_px": 10, "overlap_px": 10},
        {"mpp": 1.0, "size_px": 10, "overlap_px": -1},
        {"mpp": 1.0, "size_px": 10, "min_tissue": 1.5},
    ],
)
def test_a_spec_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        PatchSpec(**wrong)  # type: ignore[arg-type]
