"""Quality layers against faults painted where we know them, and silence on clean slides."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.tissue.conftest import Drawn, iou, on_grid
from wsi.errors import ConfigError
from wsi.geometry import Region
from wsi.slides import RGB, SlideReader, open_slide
from wsi.testing.artefacts import (
    INKS,
    Ink,
    add_blur,
    add_bubble,
    add_dust,
    add_fold,
    add_pen,
)
from wsi.testing.slides import corrupt_tiles, synthetic_slide, write_slide
from wsi.tissue import LAYER_RGB, LAYERS, QualitySpec, find_quality, find_tissue, tissue_picture

Open = Callable[[RGB], SlideReader]


def test_clean_slide_is_not_flagged(stained: Drawn) -> None:
    with open_slide(stained.slide.path) as slide:
        report = find_quality(slide, find_tissue(slide))
    assert not report.flagged
    assert report.usable_share > 0.97
    assert tuple(report.layers) == LAYERS


def test_share_out_of_focus_is_that_painted(stained: Drawn, opened: Open) -> None:
    pixels, blurred = add_blur(stained.pixels, (750, 0, 1400, 2048), 4)
    with opened(pixels) as slide:
        tissue = find_tissue(slide)
        report = find_quality(slide, tissue)
    known = on_grid(blurred, tissue.mask) & tissue.mask
    # The pale rim that the mask now holds is too narrow for a window of its own.
    assert iou(report.layers["blur"], known) > 0.7
    assert report.shares["blur"] == pytest.approx(known.sum() / tissue.mask.sum(), abs=0.08)


def test_slide_mostly_out_of_focus_is_flagged_with_its_share(he: Drawn, opened: Open) -> None:
    pixels, _ = add_blur(he.pixels, (0, 0, 2048, 2048), 5)
    with opened(pixels) as slide:
        report = find_quality(slide, find_tissue(slide))
    assert report.flagged
    assert "out of focus" in report.reasons[0]
    assert report.usable_share < 0.1


@pytest.mark.parametrize("ink", INKS)
def test_ink_of_each_colour_is_found(he: Drawn, opened: Open, ink: Ink) -> None:
    pixels, inked = add_pen(he.pixels, ink, [(100, 300), (1100, 800), (1950, 650)], 150)
    with opened(pixels) as slide:
        tissue = find_tissue(slide)
        report = find_quality(slide, tissue)
    assert report.layers["pen"][on_grid(inked, tissue.mask)].mean() > 0.9
    assert report.shares["pen"] > 0.05


@pytest.mark.parametrize("stain", ["he", "faint"])
def test_fold_is_found(stain: str, opened: Open, tmp_path: Path) -> None:
    made = synthetic_slide(
        tmp_path / "a.tif", 2048, 1.0, stain=stain, seed=7 if stain == "he" else 4
    )
    with open_slide(made.path) as slide:
        pixels = slide.read_region(Region.whole(slide.size), slide.size)
    folded, fold = add_fold(pixels, (300, 400), (1500, 1250), 100)
    with opened(folded) as slide:
        tissue = find_tissue(slide)
        report = find_quality(slide, tissue)
    assert iou(report.layers["fold"], on_grid(fold, tissue.mask) & tissue.mask) > 0.6


def test_dust_and_bubble_are_found_on_glass_and_pale_tissue(opened: Open) -> None:
    pixels = np.full((1500, 1500, 3), 244, np.uint8)
    pixels[250:1250, 250:1250] = (236, 214, 230)
    pixels, bubble = add_bubble(pixels, (650, 650), 225)
    pixels, dust = add_dust(pixels, [(100, 100), (1100, 1100)], 35)
    with opened(pixels) as slide:
        tissue = find_tissue(slide)
        report = find_quality(slide, tissue)
    assert iou(report.layers["bubble"], on_grid(bubble, tissue.mask)) > 0.8
    assert iou(report.layers["dust"], on_grid(dust, tissue.mask)) > 0.6


def test_tiles_that_do_not_decode_are_a_layer_and_red_in_the_picture(
    he: Drawn, tmp_path: Path
) -> None:
    path = write_slide(tmp_path / "a.tif", he.pixels, 1.0, levels=1)
    lost = [24, 25, 26, 32, 33, 34]
    corrupt_tiles(path, lost)
    with open_slide(path) as slide:
        tissue = find_tissue(slide)
        report = find_quality(slide, tissue)
        picture = tissue_picture(slide, tissue, report, max_px=512)
    known = np.zeros((8, 8), bool)
    known.flat[lost] = True
    known = known.repeat(32, axis=0).repeat(32, axis=1)
    assert iou(report.layers["unreadable"], known) > 0.9
    assert report.shares["unreadable"] > 0.1
    assert any("unreadable" in reason for reason in report.reasons)
    red = np.array(LAYER_RGB["unreadable"])
    inside = picture[200:310, 10:180].astype(int)
    assert np.median(np.abs(inside - (0.45 * 255 + 0.55 * red))) < 2


def test_slide_without_tissue_is_flagged_as_such(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 1024, tissue_share=0)
    with open_slide(made.path) as slide:
        report = find_quality(slide, find_tissue(slide))
    assert report.reasons == ("no tissue was found",)
    assert report.usable_share == 0


def test_limits_decide_what_is_flagged(he: Drawn, opened: Open) -> None:
    pixels, _ = add_blur(he.pixels, (750, 0, 1250, 2048), 4)
    with opened(pixels) as slide:
        tissue = find_tissue(slide)
        assert not find_quality(slide, tissue).flagged
        assert find_quality(slide, tissue, QualitySpec(max_blur_share=0.1)).flagged


def test_limits_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_blur_share"):
        QualitySpec(max_blur_share=-0.1)
    with pytest.raises(ConfigError, match="focus_mpp"):
        QualitySpec(focus_mpp=0)


def test_picture_shows_the_outline_each_fault_and_the_reason(he: Drawn, opened: Open) -> None:
    pixels, _ = add_blur(he.pixels, (0, 0, 2048, 2048), 5)
    with opened(pixels) as slide:
        tissue = find_tissue(slide)
        report = find_quality(slide, tissue)
        picture = tissue_picture(slide, tissue, report, max_px=800)
        bare = tissue_picture(slide, tissue, max_px=800)
    assert picture.shape[1] == 800
    assert picture.shape[0] > bare.shape[0] > 800  # each fault and reason adds a line
    outline = np.array(LAYER_RGB["tissue"])
    assert (picture[:800] == outline).all(axis=2).sum() > 500
    inside = picture[300:400, 200:300].reshape(-1, 3).mean(0)
    clean = bare[300:400, 200:300].reshape(-1, 3).mean(0)
    blur = np.array(LAYER_RGB["blur"])
    assert np.abs(inside - blur).sum() < np.abs(clean - blur).sum()


def test_real_sections_are_not_flagged(real_data: Path) -> None:
    for name, mpp in (("CMU-1-Small-Region.svs", None), ("TCGA-CR-7395-01A-01-TS1.svs", 0.5)):
        with open_slide(real_data / "wsi" / name, mpp=mpp) as slide:
            report = find_quality(slide, find_tissue(slide))
        assert not report.flagged
        assert report.usable_share > 0.95
