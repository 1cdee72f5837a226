"""A slide as an image in rectangles: the same pixels however it is cut, turned or masked."""

import numpy as np
import pytest
import torch

from wsi.data.slide_image import SlideSource, SlideVariant, fitted_mpp
from wsi.errors import ConfigError, MppError
from wsi.geometry import Size
from wsi.testing.fakes import ArraySlide
from wsi.tissue import TissueMask

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1300, 900, 3), np.uint8)


@pytest.fixture(scope="module")
def tissue() -> TissueMask:
    mask = np.zeros((13, 9), bool)
    mask[2:6, 3:8] = True
    return TissueMask(mask=mask, size=Size(900, 1300))


def whole(source: SlideSource) -> torch.Tensor:
    return source.read(0, 0, *source.size)


@pytest.mark.parametrize("mpp", [0.5, 0.8, 1.7])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_every_rectangle_is_a_part_of_the_same_image(
    pixels: np.ndarray, tissue: TissueMask, mpp: float, flip: bool, turns: int
) -> None:
    variant = SlideVariant(flip=flip, turns=turns)
    source = SlideSource(ArraySlide(pixels), mpp, tissue=tissue, **PLAIN, variant=variant)
    image = whole(source)
    height, width = source.size
    assert image.shape == (1, 3, height, width)
    rng = np.random.default_rng(1)
    for _ in range(8):
        h, w = int(rng.integers(1, height)), int(rng.integers(1, width))
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        assert torch.equal(source.read(y, x, h, w), image[:, :, y : y + h, x : x + w])
        if source.background(y, x, h, w):
            assert (image[:, :, y : y + h, x : x + w] == 1).all()


def test_a_variant_is_the_turned_image(pixels: np.ndarray) -> None:
    plain = whole(SlideSource(ArraySlide(pixels), 0.5, tissue=None, **PLAIN))
    variant = SlideVariant(flip=True, turns=1)
    turned = whole(SlideSource(ArraySlide(pixels), 0.5, tissue=None, **PLAIN, variant=variant))
    assert torch.equal(turned, plain.flip(3).rot90(1, (2, 3)))


@pytest.mark.parametrize("turns", range(4))
def test_one_pixel_of_a_flipped_slide_is_read(pixels: np.ndarray, turns: int) -> None:
    variant = SlideVariant(flip=True, turns=turns)
    source = SlideSource(ArraySlide(pixels), 0.5, tissue=None, **PLAIN, variant=variant)
    assert torch.equal(source.read(3, 5, 1, 1), source.read(3, 5, 2, 2)[:, :, :1, :1])


def test_at_its_own_resolution_tissue_is_as_scanned_and_the_rest_white(
    pixels: np.ndarray, tissue: TissueMask
) -> None:
    image = whole(SlideSource(ArraySlide(pixels), 0.5, tissue=tissue, **PLAIN))[0]
    scanned = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    assert torch.equal(image[:, 200:600, 300:800], scanned[:, 200:600, 300:800])
    inside = torch.zeros(1300, 900, dtype=torch.bool)
    inside[200:600, 300:800] = True
    assert (image[:, ~inside] == 1).all()


def test_a_colour_change_is_the_same_in_every_rectangle(pixels: np.ndarray) -> None:
    matrix = np.diag([1.1, 0.9, 1.0]).astype(np.float32)
    source = SlideSource(
        ArraySlide(pixels), 0.5, tissue=None, **PLAIN, variant=SlideVariant(colour_33=matrix)
    )
    image = whole(source)
    torch.testing.assert_close(source.read(10, 20, 30, 40), image[:, :, 10:40, 20:60])
    plain = whole(SlideSource(ArraySlide(pixels), 0.5, tissue=None, **PLAIN))
    assert image[:, 0].mean() < plain[:, 0].mean()
    assert image[:, 1].mean() > plain[:, 1].mean()


def test_what_holds_no_tissue_is_background_and_needs_no_reading(
    pixels: np.ndarray, tissue: TissueMask
) -> None:
    slide = ArraySlide(pixels)
    source = SlideSource(slide, 0.5, tissue=tissue, **PLAIN)
    assert source.background(0, 0, 200, 900)
    assert source.background(600, 0, 700, 900)
    assert not source.background(0, 0, 201, 900)
    assert not source.background(199, 299, 2, 2)
    source.read(1030, 0, 200, 500)
    assert slide.reads == 0
    assert not SlideSource(slide, 0.5, tissue=None, **PLAIN).background(0, 0, 10, 10)


def test_a_slide_is_fitted_to_its_longer_side_and_never_enlarged() -> None:
    slide = ArraySlide(np.zeros((1000, 2000, 3), np.uint8), mpp=0.5)
    assert fitted_mpp(slide, 1000) == 1.0
    assert fitted_mpp(slide, 50_000) == 0.5
    with pytest.raises(ConfigError):
        fitted_mpp(slide, 0)
    with pytest.raises(MppError):
        fitted_mpp(ArraySlide(np.zeros((5, 5, 3), np.uint8), None), 100)
