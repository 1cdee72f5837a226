"""Labels of patches and cells from polygons."""

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsi.annotations import (
    NO_LABEL,
    Annotation,
    Annotations,
    label_patches,
    overlaps,
    rasterize,
    read_annotations,
)
from wsi.errors import ConfigError
from wsi.geometry import Size

CLASSES = ("background", "benign", "cancer")


def _nested() -> Annotations:
    """Benign tissue 0..1000 with a hole, and cancer in its middle."""
    tissue = shapely.box(0, 0, 1000, 1000).difference(shapely.box(0, 0, 100, 100))
    return Annotations(
        "x",
        (
            Annotation("benign", tissue),
            Annotation("cancer", shapely.box(400, 400, 600, 600)),
            Annotation("cancer", shapely.Point(50, 50)),
        ),
    )


def test_class_drawn_inside_another_wins() -> None:
    origins = np.array([[400, 400], [0, 0], [800, 800], [540, 400], [590, 400], [1200, 0]])
    labels = label_patches(_nested(), origins, 100, 100, CLASSES)
    assert labels.tolist() == [2, NO_LABEL, 1, 2, 1, NO_LABEL]


def test_unlabelled_patches_get_the_class_asked_for() -> None:
    origins = np.array([[0, 0], [1200, 0]])
    labels = label_patches(_nested(), origins, 100, 100, CLASSES, unlabelled="background")
    assert labels.tolist() == [0, 0]


def test_overlap_decides_at_the_share_asked() -> None:
    origins = np.array([[350, 400]])  # half in the cancer, and half in benign tissue alone
    for share, label in ((0.5, 2), (0.51, NO_LABEL)):
        found = label_patches(_nested(), origins, 100, 100, CLASSES, min_overlap=share)
        assert found.tolist() == [label]


@given(x=st.floats(-200, 1100), y=st.floats(-200, 1100), side=st.floats(1, 400))
def test_overlap_is_the_exact_area(x: float, y: float, side: float) -> None:
    shares = overlaps(_nested(), np.array([[x, y]]), side, side, CLASSES)[0]
    box = shapely.box(x, y, x + side, y + side)
    cancer = shapely.box(400, 400, 600, 600)
    benign = _nested().area("benign").difference(cancer)
    for c, area in enumerate((shapely.Polygon(), benign, cancer)):
        wanted = area.intersection(box).area / side**2
        assert shares[c] == pytest.approx(wanted, abs=1e-6)


def test_grid_shows_holes_nesting_and_the_rest() -> None:
    grid = rasterize(_nested(), Size(1500, 1000), (10, 15), CLASSES, unlabelled="background")
    assert grid.shape == (10, 15)
    assert grid[0, 0] == 0  # the hole
    assert (grid[4:6, 4:6] == 2).all()
    assert (grid == 2).sum() == 4
    assert (grid == 1).sum() == 95
    assert (grid[:, 10:] == 0).all()
    bare = rasterize(_nested(), Size(1500, 1000), (10, 15), CLASSES)
    assert (bare[:, 10:] == NO_LABEL).all()


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="stroma"):
        label_patches(_nested(), np.zeros((1, 2)), 1, 1, CLASSES, unlabelled="stroma")
    with pytest.raises(ConfigError, match="min_overlap"):
        label_patches(_nested(), np.zeros((1, 2)), 1, 1, CLASSES, min_overlap=0)


@pytest.mark.parametrize("name", ["idc_14082", "idc_8865"])
def test_real_tumour_polygons_give_the_label_grid_they_were_made_with(
    real_data: Path, name: str
) -> None:
    from PIL import Image

    cells = np.asarray(Image.open(real_data / "idc_slides" / f"{name}_grid.png"))
    found = read_annotations(real_data / "idc_slides" / f"{name}.geojson")
    size = Size(cells.shape[1] * 50, cells.shape[0] * 50)
    grid = rasterize(found, size, cells.shape, found.classes)
    assert np.array_equal(grid >= 0, cells == 2)
    origins = np.argwhere(np.ones_like(cells))[:, ::-1] * 50
    labels = label_patches(found, origins, 50, 50, found.classes).reshape(cells.shape)
    assert np.array_equal(labels, grid)
