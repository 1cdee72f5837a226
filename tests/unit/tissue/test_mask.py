"""The mask as geometry: shares and outlines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi.geometry import Region, Size
from wsi.tissue import TissueMask


def _mask() -> TissueMask:
    cells = np.random.default_rng(0).random((9, 13)) > 0.5
    return TissueMask(mask=cells, size=Size(1300, 1000))


@given(
    x=st.floats(-300, 1400),
    y=st.floats(-300, 1100),
    width=st.floats(0.5, 900),
    height=st.floats(0.5, 900),
)
def test_share_is_the_exact_area_of_tissue(x: float, y: float, width: float, height: float) -> None:
    mask = _mask()
    wanted = 0.0
    for row, column in np.argwhere(mask.mask):
        cell = Region(
            column * mask.cell_width_px,
            row * mask.cell_height_px,
            mask.cell_width_px,
            mask.cell_height_px,
        )
        common = cell.intersection(Region(x, y, width, height))
        wanted += common.width * common.height if common else 0
    assert mask.share(Region(x, y, width, height)) == pytest.approx(
        wanted / (width * height), abs=1e-6
    )


def test_many_shares_equal_single_ones() -> None:
    mask = _mask()
    origins = np.random.default_rng(1).uniform(-200, 1200, (50, 2))
    many = mask.shares(origins, 130, 90)
    assert many == pytest.approx([mask.share(Region(x, y, 130, 90)) for x, y in origins])


def test_polygons_cover_the_mask_with_its_holes() -> None:
    cells = np.zeros((40, 60), bool)
    cells[5:35, 5:30] = True
    cells[15:25, 12:20] = False
    cells[10:20, 40:60] = True
    mask = TissueMask(mask=cells, size=Size(6000, 4000))
    large, small = mask.polygons(simplify_px=0)
    assert len(large.interiors) == 1
    assert not small.interiors
    assert large.area == pytest.approx((30 * 25 - 80) * 100**2, rel=0.01)
    assert small.bounds == pytest.approx((4000, 1000, 6000, 2000), abs=1)


def test_empty_mask_has_no_polygons_and_no_area() -> None:
    mask = TissueMask(mask=np.zeros((4, 4), bool), size=Size(100, 100))
    assert mask.polygons() == ()
    assert mask.is_empty
    assert mask.area_px == 0


def test_area_counts_level0_pixels() -> None:
    assert TissueMask(mask=np.ones((4, 5), bool), size=Size(103, 77)).area_px == 103 * 77
