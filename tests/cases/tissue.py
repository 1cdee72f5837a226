"""Slides whose glass, stain or emptiness is unusual."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.cases import Case
from wsi.testing.fakes import ArraySlide
from wsi.tissue import find_tissue

_WARM = (240.0, 232.0, 212.0)
Pixels = NDArray[np.float64]


def _glass(colour: tuple[float, float, float] = _WARM) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 0.5, (300, 300, 3))
    return np.asarray(np.array(colour) + noise)


def _tissue(pixels: Pixels, colour: tuple[float, float, float]) -> Pixels:
    noise = np.random.default_rng(1).normal(0, 12, (300, 300, 1))
    inside = cv2.circle(np.zeros((300, 300), np.uint8), (150, 150), 80, 1, -1)[..., None] > 0
    return np.asarray(np.where(inside, pixels / 244 * np.array(colour) + noise, pixels))


def _on_white(pixels: Pixels) -> Pixels:
    framed = np.full_like(pixels, 255)
    framed[30:-30, 30:-30] = pixels[30:-30, 30:-30]
    return framed


def _stroke() -> Pixels:
    return np.asarray(cv2.line(_glass(), (20, 60), (280, 110), (30, 140, 80), 20))


def _violet() -> Pixels:
    return np.asarray(cv2.line(_glass(), (20, 60), (280, 110), (120, 40, 160), 20))


def _specks() -> Pixels:
    pixels = _glass()
    for place in ((50, 50), (50, 150), (150, 50)):
        cv2.circle(pixels, place, 3, (200, 120, 170), -1)
    return pixels


def _dark() -> Pixels:
    return np.asarray(cv2.circle(np.full((300, 300, 3), 4.0), (150, 150), 60, (0, 90, 200), -1))


def _said(draw: Callable[[], Pixels]) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        pixels = np.clip(np.rint(draw()), 0, 255).astype(np.uint8)
        tissue = find_tissue(ArraySlide(pixels, mpp=8.0))
        blank = "no tissue, blank glass"
        empty = "tissue unclear" if tissue.unclear else blank
        share = empty if tissue.is_empty else f"{tissue.mask.mean():.0%} of the slide is tissue"
        return "; ".join([share, *tissue.warnings])

    return run


CASES = (
    Case(
        input="glass tinted to RGB 240, 232, 212 with pink tissue on 22 % of it",
        run=_said(lambda: _tissue(_glass(), (220, 150, 195))),
    ),
    Case(
        input="the same with a margin of white that was never scanned",
        run=_said(lambda: _on_white(_tissue(_glass(), (220, 150, 195)))),
    ),
    Case(
        input="blue connective tissue (trichrome) on 22 % of the slide",
        run=_said(lambda: _tissue(_glass(), (110, 140, 205))),
    ),
    Case(input="blank glass with a tint", run=_said(_glass)),
    Case(input="a pen mark and nothing else", run=_said(_stroke)),
    Case(input="a stroke of violet ink, the colour of haematoxylin", run=_said(_violet)),
    Case(input="three specks of 2,000 um2 and nothing else", run=_said(_specks)),
    Case(input="a fluorescence picture stored as RGB", run=_said(_dark)),
    Case(input="one even colour, green, all over", run=_said(lambda: _glass((90, 180, 120)))),
)
