"""Tissue masks against slides whose tissue is known, and on real ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.tissue.conftest import Drawn, iou, on_grid
from wsi.errors import ConfigError, DamagedSlideError, MppError
from wsi.geometry import Region, Size
from wsi.slides import RGB, SlideReader, open_slide
from wsi.testing.artefacts import INKS, Ink, add_border, add_pen
from wsi.testing.slides import corrupt_tiles, synthetic_slide, write_slide
from wsi.tissue import METHODS, TissueSpec, find_quality, find_tissue
from wsi.tissue.mask import Method

Open = Callable[[RGB], SlideReader]


@pytest.mark.parametrize("method", METHODS)
def test_tissue_of_every_stain_agrees_with_the_known_mask(stained: Drawn, method: Method) -> None:
    with open_slide(stained.slide.path) as slide:
        tissue = find_tissue(slide, TissueSpec(method=method))
    assert iou(tissue.mask, stained.slide.tissue_mask) > 0.96


def test_large_slide_agrees_to_98_per_cent(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 10_000, seed=0)
    with open_slide(made.path) as slide:
        tissue = find_tissue(slide)
    assert iou(tissue.mask, made.tissue_mask) > 0.985


@pytest.mark.parametrize("method", METHODS)
def test_blank_glass_has_no_tissue(tmp_path: Path, method: Method) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 2048, tissue_share=0)
    with open_slide(made.path) as slide:
        assert find_tissue(slide, TissueSpec(method=method)).is_empty


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [120, 230, 255])
def test_noisy_vignetted_glass_has_no_tissue(opened: Open, method: Method, level: int) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:1500j, -1:1:1500j]
    shade = level - 10 * (x**2 + y**2)
    pixels = np.clip(shade[..., None] + rng.normal(0, 3, (1500, 1500, 3)), 0, 255)
    with opened(pixels.astype(np.uint8)) as slide:
        assert find_tissue(slide, TissueSpec(method=method)).is_empty


@pytest.mark.parametrize("grey", [0, 12, 128, 200])
def test_border_is_not_tissue_and_does_not_hide_any(
    stained: Drawn, opened: Open, grey: int
) -> None:
    pixels, border = add_border(stained.pixels, grey, 150)
    known = stained.slide.tissue_mask & ~on_grid(border, stained.slide.tissue_mask)
    with opened(pixels) as slide:
        tissue = find_tissue(slide)
    assert iou(tissue.mask, known) > 0.95
    assert tissue.mask[on_grid(border, known)].mean() < 0.02


@pytest.mark.parametrize("ink", INKS)
def test_pen_marks_are_not_tissue(stained: Drawn, opened: Open, ink: Ink) -> None:
    pixels, inked = add_pen(stained.pixels, ink, [(100, 300), (1100, 800), (1950, 650)], 150)
    ink_cells = on_grid(inked, stained.slide.tissue_mask)
    with opened(pixels) as slide:
        tissue = find_tissue(slide)
        with_ink = find_tissue(slide, TissueSpec(exclude_pen=False))
    assert tissue.mask[ink_cells].mean() < 0.1
    assert iou(tissue.mask, stained.slide.tissue_mask & ~ink_cells) > 0.85
    if ink != "black":
        assert with_ink.mask[ink_cells].mean() > 0.9


def test_slide_covered_by_tissue_keeps_all_of_it(he: Drawn, opened: Open) -> None:
    inside = he.pixels[600:1200, 400:1000]
    with opened(inside) as slide:
        assert find_tissue(slide).mask.mean() > 0.97


def test_small_pieces_and_holes_follow_their_area_in_um2(opened: Open) -> None:
    pixels = np.full((1000, 1000, 3), 244, np.uint8)
    pixels[100:700, 100:700] = (220, 140, 190)
    pixels[200:300, 200:300] = 244  # a hole of 100 x 100 um
    pixels[350:550, 350:550] = 244  # a hole of 200 x 200 um
    pixels[800:900, 800:900] = (220, 140, 190)  # a piece of 100 x 100 um
    with opened(pixels) as slide:
        few = find_tissue(slide, TissueSpec(min_tissue_um2=15_000, max_hole_um2=15_000))
        all_ = find_tissue(slide, TissueSpec(min_tissue_um2=5_000, max_hole_um2=100_000))
    small_hole, big_hole = Region(225, 225, 50, 50), Region(400, 400, 100, 100)
    piece = Region(825, 825, 50, 50)
    assert [few.share(at) for at in (small_hole, big_hole, piece)] == [1, 0, 0]
    assert [all_.share(at) for at in (small_hole, big_hole, piece)] == [1, 1, 1]


def test_slide_without_mpp_is_refused(tmp_path: Path) -> None:
    pixels = np.full((300, 300, 3), 240, np.uint8)
    with (
        open_slide(write_slide(tmp_path / "a.svs", pixels, None, format="svs")) as slide,
        pytest.raises(MppError, match="--mpp"),
    ):
        find_tissue(slide)


def test_slide_smaller_than_a_cell_gives_one_cell(tmp_path: Path) -> None:
    pixels = np.full((9, 7, 3), 240, np.uint8)
    with open_slide(write_slide(tmp_path / "a.tif", pixels, 0.5)) as slide:
        tissue = find_tissue(slide)
    assert tissue.mask.shape == (1, 1)
    assert tissue.is_empty


def test_slide_without_a_pyramid_is_read_in_bands(
    he: Drawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_slide(tmp_path / "flat.tif", he.pixels, 1.0, levels=1)
    with open_slide(path) as slide:
        whole = find_tissue(slide)
        monkeypatch.setattr("wsi.tissue.overview._MAX_READ_PX", 2048 * 250)
        banded = find_tissue(slide)
    assert iou(whole.mask, banded.mask) > 0.995


def test_mask_of_a_large_slide_has_no_more_cells_than_allowed(he: Drawn, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", he.pixels, 1.0)
    with open_slide(path) as slide:
        tissue = find_tissue(slide, TissueSpec(max_cells=10_000))
        report = find_quality(slide, tissue)
    assert 9_000 < tissue.mask.size <= 10_200
    coarse = on_grid(he.slide.tissue_mask, tissue.mask)
    assert iou(tissue.mask, coarse) > 0.93
    assert report.layers["blur"].shape == tissue.mask.shape


def test_corrupt_tiles_cost_only_their_own_tissue(he: Drawn, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", he.pixels, 1.0, levels=1)
    corrupt_tiles(path, [3 * 8 + 3])
    lost = Region(3 * 256, 3 * 256, 256, 256)
    with open_slide(path) as slide:
        tissue = find_tissue(slide, TissueSpec(max_hole_um2=0))
    assert tissue.share(lost) < 0.4
    assert iou(tissue.mask, he.slide.tissue_mask) > 0.95


def test_tile_lost_at_low_power_is_seen_through_a_finer_level(he: Drawn, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", he.pixels, 1.0)
    corrupt_tiles(path, [0, 1, 2, 3], page=1)
    with open_slide(path) as slide:
        tissue = find_tissue(slide)
    assert iou(tissue.mask, he.slide.tissue_mask) > 0.97


def test_slide_of_which_nothing_decodes_is_an_error(he: Drawn, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", he.pixels[:512, :512], 0.5, levels=1)
    corrupt_tiles(path, range(4))
    with open_slide(path) as slide, pytest.raises(DamagedSlideError):
        find_tissue(slide)


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="entropy"):
        TissueSpec(method="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="mpp"):
        TissueSpec(mpp=0)
    with pytest.raises(ConfigError, match="max_cells"):
        TissueSpec(max_cells=0)
    with pytest.raises(ConfigError, match="max_hole_um2"):
        TissueSpec(max_hole_um2=-1)


@pytest.mark.parametrize("method", METHODS)
def test_real_section_is_found_and_its_glass_is_not(real_data: Path, method: Method) -> None:
    with open_slide(real_data / "wsi" / "CMU-1-Small-Region.svs") as slide:
        tissue = find_tissue(slide, TissueSpec(method=method))
        assert tissue.size == Size(2220, 2967)
    assert 0.38 < tissue.mask.mean() < 0.46
    assert tissue.share(Region(1000, 1500, 300, 300)) == pytest.approx(1)
    assert tissue.share(Region(0, 1500, 400, 1400)) == 0
    assert tissue.share(Region(2050, 100, 150, 2800)) < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_shading_of_stitched_tiles_on_glass_is_not_tissue(real_data: Path, method: Method) -> None:
    with open_slide(real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs", mpp=0.5) as slide:
        tissue = find_tissue(slide, TissueSpec(method=method))
    assert 0.62 < tissue.mask.mean() < 0.69
    assert tissue.share(Region(420, 560, 150, 120)) == 0
    assert tissue.share(Region(3900, 600, 150, 120)) == 0


def test_dicom_twin_has_the_same_tissue(real_data: Path) -> None:
    masks = []
    for name in ("CMU-1-Small-Region.svs", "dicom_cmu1_small_region"):
        with open_slide(real_data / "wsi" / name) as slide:
            masks.append(find_tissue(slide).mask)
    assert iou(*masks) > 0.97


@pytest.mark.parametrize("name", ["idc_14082", "idc_8865"])
def test_fatty_breast_slide_keeps_nearly_all_labelled_cells(real_data: Path, name: str) -> None:
    from PIL import Image

    cells = np.asarray(Image.open(real_data / "idc_slides" / f"{name}_grid.png")) > 0
    origins = np.argwhere(cells)[:, ::-1] * 50
    with open_slide(real_data / "idc_slides" / f"{name}.tif") as slide:
        tissue = find_tissue(slide)
    assert (tissue.shares(origins, 50, 50) > 0.1).mean() > 0.93
    white = np.argwhere(~cells)[:, ::-1] * 50
    assert (tissue.shares(white, 50, 50) > 0.5).mean() < 0.01
