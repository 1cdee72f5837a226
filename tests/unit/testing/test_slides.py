"""Synthetic slides: what OpenSlide sees in them, and that the known truth is true."""

from itertools import product
from pathlib import Path

import numpy as np
import openslide
import pytest

from wsi.annotations import read_annotations
from wsi.errors import ConfigError
from wsi.geometry import Region, Size
from wsi.slides import open_slide
from wsi.testing.slides import (
    collage_slide,
    corrupt_tiles,
    synthetic_patches,
    synthetic_slide,
    write_slide,
)


def test_openslide_reads_back_the_stated_size_mpp_and_pyramid(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", Size(1100, 700), mpp=0.5)
    with openslide.OpenSlide(made.path) as slide:
        assert slide.level_dimensions == ((1100, 700), (275, 175), (68, 43))
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)


def test_svs_flavour_states_vendor_magnification_and_associated_images(tmp_path: Path) -> None:
    label = np.full((60, 90, 3), 200, np.uint8)
    pixels = np.full((512, 600, 3), 240, np.uint8)
    names = {"thumbnail": label, "label": label, "macro": label}
    path = write_slide(tmp_path / "a.svs", pixels, 0.5, format="svs", associated=names)
    with open_slide(path) as slide:
        assert slide.vendor == "aperio"
        assert slide.magnification == 20
        assert slide.mpp is not None
        assert slide.mpp.x == pytest.approx(0.5)
        assert set(slide.associated_images) == set(names)
        assert slide.associated_image("label").shape == (60, 90, 3)
        assert len(slide.levels) == 2


def test_no_mpp_is_stated_where_none_is_given(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.svs", np.full((300, 300, 3), 9, np.uint8), None, format="svs")
    with open_slide(path) as slide:
        assert slide.mpp is None


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_level_shows_the_same_picture(tmp_path: Path, level: int) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 250, (5, 7, 3), dtype=np.uint8)
    pixels = coarse.repeat(256, axis=0).repeat(256, axis=1)
    path = write_slide(tmp_path / "a.tif", pixels, 0.5, jpeg_quality=95)
    with openslide.OpenSlide(path) as slide:
        image = slide.read_region((0, 0), level, slide.level_dimensions[level])
        cell = 256 // 4**level
        means = np.asarray(image)[..., :3].reshape(5, cell, 7, cell, 3).mean((1, 3))
    assert np.abs(means - coarse).mean() < 3


def test_strips_and_a_whole_array_give_the_same_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (600, 500, 3), dtype=np.uint8)
    whole = write_slide(tmp_path / "a.tif", pixels, 0.5)
    strips = (pixels[y : y + 256] for y in range(0, 600, 256))
    streamed = write_slide(tmp_path / "b.tif", strips, 0.5, size=Size(500, 600))
    assert whole.read_bytes() == streamed.read_bytes()


def test_strips_without_a_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="size"):
        write_slide(tmp_path / "a.tif", iter([np.zeros((8, 8, 3), np.uint8)]), 0.5)


def test_equal_seeds_give_equal_bytes_and_others_differ(tmp_path: Path) -> None:
    first = synthetic_slide(tmp_path / "a.tif", 1024, seed=1).path.read_bytes()
    assert synthetic_slide(tmp_path / "b.tif", 1024, seed=1).path.read_bytes() == first
    assert synthetic_slide(tmp_path / "c.tif", 1024, seed=2).path.read_bytes() != first


def test_shares_are_those_asked(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 2048, cancer=0.25, tissue_share=0.4, seed=3)
    assert made.tissue_mask.mean() == pytest.approx(0.4, abs=0.02)
    cancer = made.cancer_mask.sum() / made.tissue_mask.sum()
    assert cancer == pytest.approx(0.25, abs=0.02)
    assert not (made.cancer_mask & ~made.tissue_mask).any()


def test_known_mask_separates_glass_from_stained_pixels(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 2048, seed=4, mask_px=16)
    with open_slide(made.path) as slide:
        size = Size(made.tissue_mask.shape[1], made.tissue_mask.shape[0])
        pixels = slide.read_region(Region.whole(slide.size), size)
    green = pixels[..., 1].astype(int)
    assert (green[~made.tissue_mask] > 225).mean() > 0.97
    assert (green[made.tissue_mask] < 225).mean() > 0.95


def test_cancer_is_written_beside_the_slide_as_geojson(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 1024, geojson=True)
    found = read_annotations(tmp_path / "a.geojson", made.size)
    assert found.classes == ("cancer",)
    known = sum(shape.area for shape in made.cancer_polygons)
    assert found.area("cancer").area == pytest.approx(known)


def test_blank_glass_and_all_cancer_are_possible(tmp_path: Path) -> None:
    blank = synthetic_slide(tmp_path / "a.tif", 512, tissue_share=0)
    assert blank.tissue_polygons == ()
    assert not blank.tissue_mask.any()
    full = synthetic_slide(tmp_path / "b.tif", 512, cancer=1.0)
    assert (full.cancer_mask == full.tissue_mask).all()


def test_cancer_patches_hold_more_nuclear_area_than_benign_ones() -> None:
    patches, labels = synthetic_patches(60, size_px=64, mpp=0.5, seed=0)
    assert patches.shape == (60, 64, 64, 3)
    dark = (patches[..., 0] < 170).mean((1, 2))
    means = [dark[labels == label].mean() for label in range(3)]
    assert means[0] == 0
    assert 0.01 < means[1] < means[2] / 2


def test_collage_shows_each_patch_once_where_the_grid_says(tmp_path: Path) -> None:
    shades = np.linspace(20, 200, 11).astype(np.uint8)
    patches = np.broadcast_to(shades[:, None, None, None], (11, 50, 50, 3))
    grid = collage_slide(tmp_path / "a.tif", patches, 4.0, seed=0)
    assert sorted(grid[grid >= 0]) == list(range(11))
    with open_slide(tmp_path / "a.tif") as slide:
        for row, column in product(*map(range, grid.shape)):
            spot = slide.read_region(
                Region((column + 1) * 50, (row + 1) * 50, 50, 50), Size(50, 50)
            )
            wanted = shades[grid[row, column]] if grid[row, column] >= 0 else 255
            assert abs(float(spot.mean()) - wanted) < 4


def test_corrupted_tile_makes_openslide_fail_there_and_only_there(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tif", np.full((512, 512, 3), 99, np.uint8), 0.5)
    corrupt_tiles(path, [3])
    with openslide.OpenSlide(path) as slide:
        assert slide.read_region((0, 0), 0, (256, 256)).getpixel((9, 9)) == (99, 99, 99, 255)
        with pytest.raises(openslide.OpenSlideError):
            slide.read_region((256, 256), 0, (256, 256))
