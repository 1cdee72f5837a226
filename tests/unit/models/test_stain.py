"""Macenko normalization brings slides of different stain to one look."""

from pathlib import Path

import numpy as np
import pytest

from wsi.errors import SlideError
from wsi.geometry import Region, Size
from wsi.models.stain import change_density, macenko_matrix
from wsi.slides import open_slide
from wsi.testing.fakes import ArraySlide
from wsi.tissue import find_tissue


@pytest.fixture(scope="module")
def pixels(real_data: Path) -> np.ndarray:
    with open_slide(real_data / "wsi" / "CMU-1-Small-Region.svs") as slide:
        return slide.read_region(Region.whole(slide.size), Size(1110, 1483))


def normalized(pixels: np.ndarray) -> np.ndarray:
    slide = ArraySlide(pixels, 1.0)
    return change_density(pixels, macenko_matrix(slide, find_tissue(slide)))


@pytest.mark.parametrize("strength", [0.7, 1.4])
def test_a_paler_or_darker_scan_of_the_same_tissue_looks_the_same_afterwards(
    pixels: np.ndarray, strength: float
) -> None:
    share = np.minimum((pixels.astype(float) + 1) / 240, 1)
    other = (240 * share**strength - 1).clip(0, 255).astype(np.uint8)
    stained = pixels.min(2) < 200
    before = np.abs(pixels.astype(int) - other)[stained].mean()
    after = np.abs(normalized(pixels).astype(int) - normalized(other))[stained].mean()
    assert before > 20
    assert after < before / 10


def test_glass_stays_bright(pixels: np.ndarray) -> None:
    glass = pixels.min(2) > 240
    assert normalized(pixels)[glass].min() > 200


def test_too_little_tissue_is_refused_by_name() -> None:
    slide = ArraySlide(np.full((400, 400, 3), 245, np.uint8), 1.0)
    with pytest.raises(SlideError, match=r"array\.tif: too little tissue"):
        macenko_matrix(slide, find_tissue(slide))


def test_pixels_keep_their_shape_and_the_identity_changes_almost_nothing() -> None:
    values = np.arange(240, dtype=np.uint8).repeat(3).reshape(1, 240, 3)
    same = change_density(values, np.eye(3, dtype=np.float32))
    assert same.shape == values.shape
    assert same.dtype == np.uint8
    assert np.abs(same.astype(int) - values).max() <= 1


def test_real_slides_of_two_scanners_come_closer(real_data: Path) -> None:
    colours, raw = [], []
    for name in ("CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs"):
        with open_slide(real_data / "wsi" / name, mpp=0.5) as slide:
            whole = slide.read_region(Region.whole(slide.size), slide.size)[::4, ::4]
            tissue = find_tissue(slide)
            stained = whole.min(2) < 200
            raw.append(whole[stained].mean(0))
            colours.append(change_density(whole, macenko_matrix(slide, tissue))[stained].mean(0))
    assert np.abs(colours[0] - colours[1]).sum() < np.abs(raw[0] - raw[1]).sum()
