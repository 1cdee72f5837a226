"""Drawn slides through the reader and the tissue finder: their truth, or a refusal."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from wsi.errors import SlideError
from wsi.geometry import Region, Size
from wsi.slides import SlideReader, check_slide, open_slide, require_mpp
from wsi.testing.drawn_slides import DOT_UM, DrawnSlide
from wsi.tissue import TissueSpec, find_tissue

IOU = 0.95
MPP_OFF = 0.01


@dataclass
class Meanings:
    """What became of the slides.

    Attributes:
        counts: by (what is odd, accepted or the kind of refusal).
        wrong: accepted with another meaning than the truth, or refused without a reason.
        lowest_iou, most_mpp_off, most_dot_off: the worst of what was accepted; dots in cells.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lowest_iou: float = 1.0
    most_mpp_off: float = 0.0
    most_dot_off: float = 0.0


def read_all(slides: Iterable[DrawnSlide]) -> Meanings:
    """Read each slide as intake and worker do, and compare with its truth."""
    found = Meanings()
    for slide in slides:
        odd = ", ".join(slide.odd) or "nothing"
        told = f"{slide.path.name} ({odd}; {'; '.join(slide.drawn)})"
        try:
            check_slide(slide.path)
            with open_slide(slide.path) as reader:
                outcome = _compare(reader, slide, found, told)
        except SlideError as error:
            outcome = error.kind
            if not slide.odd:
                found.wrong.append(f"{told}: refused: {error}")
        slide.path.unlink()
        found.counts[odd, outcome] += 1
    return found


def _compare(reader: SlideReader, truth: DrawnSlide, found: Meanings, told: str) -> str:
    mpp = require_mpp(reader)
    if truth.mpp is None:
        found.wrong.append(f"{told}: {mpp} believed")
        return "accepted"
    off = max(abs(mpp.x / truth.mpp - 1), abs(mpp.y / truth.mpp - 1))
    mask = find_tissue(reader, TissueSpec())
    if mask.unclear:
        return "flagged for a person"
    wanted = _truth_on(truth, mask.mask.shape)
    iou = float((mask.mask & wanted).sum() / max(1, (mask.mask | wanted).sum()))
    cell = max(mask.cell_width_px, mask.cell_height_px)
    dots = [_dot_off(reader, truth, dot) / cell for dot in truth.dots]
    if (reader.size.width, reader.size.height) != truth.size:
        found.wrong.append(f"{told}: size {reader.size}, not {truth.size}")
    if iou < IOU or off > MPP_OFF or max(dots) > 1:
        found.wrong.append(f"{told}: IoU {iou:.3f}, mpp off by {off:.1%}, dots by {max(dots):.2f}")
    found.lowest_iou = min(found.lowest_iou, iou)
    found.most_mpp_off = max(found.most_mpp_off, off)
    found.most_dot_off = max(found.most_dot_off, *dots)
    return "accepted"


def _truth_on(truth: DrawnSlide, shape: tuple[int, ...]) -> np.ndarray:
    """The true tissue on the mask's cells: at least half of a cell."""
    whole = np.zeros((truth.size[1], truth.size[0]), np.float32)
    x, y = truth.origin
    height, width = truth.tissue_hw.shape
    whole[y : y + height, x : x + width] = truth.tissue_hw
    shares = cv2.resize(whole, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(shares >= 0.5)


def _dot_off(reader: SlideReader, truth: DrawnSlide, dot: tuple[float, float]) -> float:
    """How far, in level-0 px, the darkest place around a dot lies from it, seen at low power."""
    assert truth.mpp is not None
    side = 4 * DOT_UM / truth.mpp
    region = Region(dot[0] - side / 2, dot[1] - side / 2, side, side)
    pixels = reader.read_region(region, Size(80, 80)).mean(2).astype(np.float32)
    # As wide as the dot, so that nuclei are not taken for it.
    dark = 255 - cv2.GaussianBlur(pixels, (0, 0), 4)
    weight = np.clip(dark - (np.median(dark) + dark.max()) / 2, 0, None)
    ys, xs = np.mgrid[0:80, 0:80] + 0.5
    centre = np.array([(weight * xs).sum(), (weight * ys).sum()]) / weight.sum()
    return float(np.hypot(*(centre - 40)) * side / 80)
