"""Tinted glass, stains that look like ink, and what is told of slides without tissue."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tests.unit.tissue.conftest import iou
from wsi.geometry import Region, Size
from wsi.slides import RGB, open_slide
from wsi.testing.slides import synthetic_slide
from wsi.tissue import TissueMask, TissueSpec, find_tissue
from wsi.tissue.find import tissue_of_overview
from wsi.tissue.overview import read_overview

Bool = NDArray[np.bool_]
Drawn = Callable[[str], tuple[RGB, Bool]]

STAINS = ("he", "faint", "strong", "eosin", "ihc", "trichrome", "alcian", "pas", "blood", "silver")
TINTS = ((1, 1, 0.86), (0.9, 1, 1), (1, 0.88, 1), (0.94, 0.92, 0.83), (0.85, 0.85, 0.85))
WARM = (0.985, 0.95, 0.87)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """A stain's overview at 8 um/px and its known tissue; each is drawn once."""
    folder = tmp_path_factory.mktemp("stains")
    kept: dict[str, tuple[RGB, Bool]] = {}

    def of(stain: str) -> tuple[RGB, Bool]:
        if stain not in kept:
            seed = 20 + STAINS.index(stain)
            path = folder / f"{stain}.tif"
            made = synthetic_slide(path, 3072, 1.0, stain=stain, seed=seed, mask_px=8)
            with open_slide(made.path) as slide:
                kept[stain] = read_overview(slide, 8.0).pixels, made.tissue_mask
        return kept[stain]

    return of


def look(pixels: NDArray[np.floating | np.uint8], mpp: float = 8.0) -> TissueMask:
    overview = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    size = Size(round(overview.shape[1] * mpp), round(overview.shape[0] * mpp))
    return tissue_of_overview(overview, size, mpp, TissueSpec())


def glass(colour: Sequence[float] = (240, 232, 212), noise: float = 0.5) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    return np.asarray(np.array(colour) + rng.normal(0, noise, (300, 300, 3)))


@pytest.mark.parametrize("stain", STAINS)
def test_every_stain_is_found_on_glass_of_any_tint(drawn: Drawn, stain: str) -> None:
    overview, known = drawn(stain)
    for tint in ((1, 1, 1), *TINTS):
        found = look(overview * np.array(tint))
        assert iou(found.mask, known) > 0.97, tint
        assert not found.unclear


@pytest.mark.parametrize("channels", [(0,), (1,), (2,), (0, 1, 2)])
def test_tissue_share_changes_smoothly_with_the_tint_of_a_real_slide(
    real_data: Path, channels: tuple[int, ...]
) -> None:
    for name, mpp in (("CMU-1-Small-Region.svs", None), ("TCGA-CR-7395-01A-01-TS1.svs", 0.5)):
        with open_slide(real_data / "wsi" / name, mpp=mpp) as slide:
            overview = read_overview(slide, 8.0).pixels
        untinted = look(overview).mask
        before = untinted
        for strength in np.linspace(0.99, 0.85, 8):
            factors = np.ones(3)
            factors[list(channels)] = strength
            mask = look(overview * factors).mask
            assert abs(mask.mean() - before.mean()) < 0.005
            assert iou(mask, untinted) > 0.99
            before = mask


@pytest.mark.parametrize("name", ["idc_14082", "idc_8865"])
def test_what_is_missing_in_white_is_not_taken_for_the_glass(real_data: Path, name: str) -> None:
    with open_slide(real_data / "idc_slides" / f"{name}.tif") as slide:
        overview = read_overview(slide, 8.0).pixels
    untinted = look(overview).mask
    for tint in TINTS[:2]:
        assert iou(look(overview * np.array(tint)).mask, untinted) > 0.97


@pytest.mark.parametrize("stain", ["he", "faint", "trichrome", "silver"])
def test_uneven_light_margins_and_debris_change_little(drawn: Drawn, stain: str) -> None:
    overview, known = drawn(stain)
    rows, cols = known.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : cols * 1j]
    assert iou(look(overview * (1 - 0.1 * (x**2 + y**2))[..., None]).mask, known) > 0.97
    gradient = np.stack([np.ones_like(x), np.ones_like(x), 1 - 0.05 * (x + 1)], -1)
    assert iou(look(overview * gradient).mask, known) > 0.97
    tinted = overview * np.array(WARM)
    for grey in (255, 200, 0):
        framed, inside = np.full_like(tinted, grey), np.zeros_like(known)
        framed[40:-25, 30:] = tinted[40:-25, 30:]
        inside[40:-25, 30:] = known[40:-25, 30:]
        assert iou(look(framed).mask, inside) > 0.965, grey
    littered = tinted.copy()
    cv2.circle(littered, (40, 350), 20, (90, 90, 92), 3)
    cv2.line(littered, (0, 375), (383, 380), (120, 120, 122), 3)
    assert iou(look(littered).mask, known) > 0.97


@pytest.mark.parametrize("stain", ["he", "trichrome", "alcian"])
@pytest.mark.parametrize("through", [(0.12, 0.62, 0.38), (0.15, 0.35, 0.8), (0.1, 0.1, 0.11)])
def test_strokes_of_ink_are_left_out_of_stains_that_have_its_colour(
    drawn: Drawn, stain: str, through: tuple[float, float, float]
) -> None:
    overview, known = drawn(stain)
    stroke = np.zeros(known.shape, np.uint8)
    points = np.array([(20, 60), (200, 30), (370, 110)], np.int32)
    cv2.polylines(stroke, [points], False, 1, 20)
    cv2.circle(stroke, (300, 300), 60, 1, 14)
    inked = overview * np.array(WARM) * np.where(stroke[..., None] > 0, np.array(through), 1)
    found = look(inked)
    assert iou(found.mask, known & (stroke == 0)) > 0.965
    assert found.mask[stroke > 0].mean() < 0.05


@pytest.mark.parametrize("stain", ["he", "faint", "ihc", "blood", "silver"])
def test_slide_that_is_tissue_all_over_keeps_it(drawn: Drawn, stain: str) -> None:
    overview, known = drawn(stain)
    row, column = (int(np.median(places)) for places in np.nonzero(known))
    crop = (slice(row - 50, row + 50), slice(column - 50, column + 50))
    assert iou(look(overview[crop] * np.array(WARM)).mask, known[crop]) > 0.94


@pytest.mark.parametrize("colour", [(240, 232, 212), (255, 255, 255), (240, 240, 240)])
def test_blank_glass_is_blank_and_not_unclear(colour: tuple[int, int, int]) -> None:
    found = look(glass(colour, noise=0 if colour[2] == 255 else 0.5))
    assert found.is_empty
    assert not found.unclear
    assert found.warnings == ()


def _stroke() -> NDArray[np.float64]:
    pixels = glass()
    return np.asarray(cv2.line(pixels, (20, 60), (280, 110), (30, 140, 80), 20))


def _cells() -> NDArray[np.float64]:
    pixels = glass()
    pixels[tuple(np.random.default_rng(1).integers(0, 300, (2, 200)))] = (190, 120, 170)
    return pixels


def _square(by: tuple[float, float, float]) -> NDArray[np.float64]:
    pixels = glass()
    pixels[100:200, 80:220] -= np.array(by)
    return pixels


def _fluorescence() -> NDArray[np.float64]:
    pixels = np.full((300, 300, 3), 4.0)
    pixels[100:150, 100:180] = (0, 90, 200)
    return pixels


UNCLEAR = {
    "only ink": (_stroke, "was taken for pen marks"),
    "single cells": (_cells, "differs from the glass but was not recognized"),
    "grey without texture": (lambda: _square((110, 102, 82)), "differs from the glass"),
    "pale, above noise": (lambda: _square((3, 7, 3)), "differs from the glass"),
    "fluorescence": (_fluorescence, "is dark, as in fluorescence"),
    "even pink": (lambda: glass((214, 150, 190), 1), "does not look like glass"),
    "even green": (lambda: glass((90, 180, 120), 1), "one even colour (RGB 90, 180, 120)"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_visible_but_not_recognized_asks_for_a_person(name: str) -> None:
    draw, told = UNCLEAR[name]
    found = look(draw())
    assert found.is_empty
    assert found.unclear
    assert told in " ".join(found.warnings)
    assert "a person must look" in found.warnings[0]


def test_small_pieces_that_were_left_out_are_counted() -> None:
    pixels = glass()
    for place in ((50, 50), (50, 150), (150, 50)):
        cv2.circle(pixels, place, 3, (200, 120, 170), -1)
    assert "3 specks" in " ".join(look(pixels).warnings)
    cv2.circle(pixels, (200, 200), 12, (200, 120, 170), -1)
    found = look(pixels)
    assert not found.is_empty
    assert "3 specks" in found.warnings[0]
    assert "smaller than 4000 um2" in found.warnings[0]


def test_large_piece_in_the_colour_of_ink_is_kept_and_said() -> None:
    pixels = glass()
    cv2.circle(pixels, (150, 150), 60, (90, 150, 200), -1)
    found = look(pixels)
    assert found.mask[150, 150]
    assert "has a colour that ink can have, and was kept" in found.warnings[0]


def test_even_stroke_in_a_colour_that_stains_have_is_said(drawn: Drawn) -> None:
    overview, _ = drawn("he")
    assert look(overview).warnings == ()
    beside = np.concatenate([overview, np.full((80, overview.shape[1], 3), overview[0, 0])])
    for pixels in (glass(), beside):
        stroked = pixels.astype(float)
        bottom = len(stroked) - 40
        cv2.line(stroked, (30, bottom), (280, bottom), (120, 40, 160), 24)
        assert "has one even colour" in look(stroked).warnings[0]


def test_noisy_glass_is_glass() -> None:
    assert look(glass((240, 236, 224), noise=4)).is_empty


def test_version_of_the_method_is_part_of_the_spec() -> None:
    from dataclasses import asdict

    assert asdict(TissueSpec())["version"] == 2


def test_mask_of_a_tinted_file_is_as_of_a_clear_one(tmp_path: Path) -> None:
    made = synthetic_slide(tmp_path / "a.tif", 1024, 1.0, seed=3, mask_px=8)
    with open_slide(made.path) as slide:
        assert iou(find_tissue(slide).mask, made.tissue_mask) > 0.95


@pytest.mark.parametrize("fill", [0, 128, 255])
def test_padded_levels_do_not_move_the_mask(tmp_path: Path, fill: int) -> None:
    made = synthetic_slide(tmp_path / "whole.tif", 1480, 1.0, seed=3, mask_px=8)
    with open_slide(made.path) as slide:
        whole = slide.read_region(Region.whole(slide.size), slide.size)
    plain = {"tile": (256, 256), "photometric": "rgb", "metadata": None, "compression": "jpeg"}
    with tifffile.TiffWriter(tmp_path / "padded.tif") as tiff:
        tiff.write(whole, resolution=(10000, 10000), resolutionunit="CENTIMETER", **plain)
        for side in (740, 370, 185):
            padded = np.full((-(-side // 256) * 256,) * 2 + (3,), fill, np.uint8)
            padded[:side, :side] = cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA)
            tiff.write(padded, subfiletype=1, **plain)
    with open_slide(tmp_path / "padded.tif") as slide:
        assert len(slide.levels) == 4
        assert iou(find_tissue(slide).mask, made.tissue_mask) > 0.97
