"""Level-0 geometry: what is asked at any resolution maps back to the same rectangle."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsi.geometry import Mpp, Point, Region, Size, region_at_mpp
from wsi.patches import PatchSpec, resolve_grid
from wsi.testing.fakes import ArraySlide

mpps = st.floats(0.1, 8.0)
pixels = st.integers(1, 5000)
coordinates = st.floats(-5000, 100_000)


@given(coordinates, coordinates, pixels, pixels, mpps, mpps)
def test_a_region_drawn_at_any_mpp_maps_back_to_the_same_level0_rectangle(
    x: float, y: float, width: int, height: int, mpp: float, base: float
) -> None:
    region = Region(x, y, width, height)
    drawn = region.size_at(mpp, Mpp.square(base))
    back = region_at_mpp(Point(x, y), drawn, mpp, Mpp.square(base))
    # Half a drawn pixel each way is rounding; a region smaller than one pixel is drawn as one.
    tolerance = max(1.0, mpp / base)
    assert abs(back.width - width) <= tolerance
    assert abs(back.height - height) <= tolerance
    assert (back.x, back.y) == (x, y)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(8, 200), st.floats(0.0, 0.9), mpps)
def test_a_grid_covers_every_pixel_of_the_slide(
    width: int, height: int, size_px: int, overlap: float, mpp: float
) -> None:
    # As fine as the patches or finer: a slide that is too coarse for them is refused.
    slide = ArraySlide(np.zeros((height, width, 3), np.uint8), mpp=min(1.0, mpp))
    spec = PatchSpec(mpp=mpp, size_px=size_px, overlap_px=int(overlap * size_px))
    grid = resolve_grid(slide, spec, None)
    last = grid.region(grid.shape[0] - 1, grid.shape[1] - 1)
    assert last.right >= width - 0.02
    assert last.bottom >= height - 0.02
    # And it wastes nothing: the last row and column each cover pixels that no other does.
    before = grid.region(max(0, grid.shape[0] - 2), max(0, grid.shape[1] - 2))
    assert grid.shape[1] == 1 or before.right < width
    assert grid.shape[0] == 1 or before.bottom < height


@given(pixels, pixels, coordinates, coordinates, pixels, pixels, coordinates, coordinates)
def test_an_intersection_lies_in_both_and_does_not_depend_on_order(
    w1: int, h1: int, x1: float, y1: float, w2: int, h2: int, x2: float, y2: float
) -> None:
    a, b = Region(x1, y1, w1, h1), Region(x2, y2, w2, h2)
    both = a.intersection(b)
    assert both == b.intersection(a)
    if both is not None:
        for outer in (a, b):
            assert both.x >= outer.x
            assert both.y >= outer.y
            assert both.right <= outer.right + 1e-6
            assert both.bottom <= outer.bottom + 1e-6


def test_the_whole_of_a_slide_is_its_size() -> None:
    assert Region.whole(Size(30, 20)) == Region(0, 0, 30, 20)
