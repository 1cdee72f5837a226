"""One small synthetic slide a stain, as pixels to paint faults on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wsi.geometry import Region
from wsi.slides import RGB, SlideReader, open_slide
from wsi.testing.slides import SyntheticSlide, synthetic_slide, write_slide

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Drawn:
    """A synthetic slide and all its level-0 pixels."""

    slide: SyntheticSlide
    pixels: RGB


@pytest.fixture(scope="session", params=["he", "faint", "ihc"])
def stained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return _draw(tmp_path_factory.mktemp("stained"), str(request.param))


@pytest.fixture(scope="session")
def he(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return _draw(tmp_path_factory.mktemp("he"), "he")


def _draw(folder: Path, stain: str) -> Drawn:
    seed = {"he": 7, "faint": 4, "ihc": 2}[stain]
    made = synthetic_slide(folder / "slide.tif", 2048, 1.0, stain=stain, seed=seed, mask_px=8)
    with open_slide(made.path) as slide:
        pixels = slide.read_region(Region.whole(slide.size), slide.size)
    return Drawn(made, pixels)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[RGB], SlideReader]:
    """Write pixels as a slide of 1 mpp and open it."""
    count = 0

    def write(pixels: RGB) -> SlideReader:
        nonlocal count
        count += 1
        return open_slide(write_slide(tmp_path / f"{count}.tif", pixels, 1.0))

    return write


def iou(found: Bool, known: Bool) -> float:
    """Intersection over union of two masks."""
    return float((found & known).sum() / max(1, (found | known).sum()))


def on_grid(mask: Bool, like: Bool) -> Bool:
    """A level-0 mask on the grid of another: cells that it covers at least by half."""
    small = cv2.resize(mask.astype(np.float32), like.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small >= 0.5, np.bool_)
