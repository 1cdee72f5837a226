"""Finding tissue on a slide."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters.rank import entropy

from wsi.errors import DamagedSlideError
from wsi.geometry import Region, Size
from wsi.slides.reader import RGB, SlideReader, require_mpp
from wsi.tissue.mask import TissueMask, TissueSpec
from wsi.tissue.optics import (
    Bool,
    Float,
    OpticalDensity,
    border_mask,
    drop_small,
    fill_small,
    glass_colour,
    pen_mask,
)

_MAX_READ_PX = 24_000_000
"""Most pixels of a level read at once: a slide without a pyramid is read in bands."""

_SATURATION_CAP = 0.10
_SATURATION_FLOOR = 0.02
_SATURATION_CEILING = 0.06
_MIN_SATURATION_CONTRAST = 0.025
_PALE_SHARE = 0.03
_ENTROPY_STEP = 6.0
_ENTROPY_RADIUS = 2
_ENTROPY_FLOOR = 0.6
_ENTROPY_CEILING = 1.2
_MIN_ENTROPY_CONTRAST = 0.6


def find_tissue(slide: SlideReader, spec: TissueSpec | None = None) -> TissueMask:
    """The tissue of a slide.

    ``otsu`` thresholds (Otsu, 1979) the saturation of the optical density against the slide's own
    glass. Saturation above a cap counts as the cap, so that dark nuclei do not pull the threshold
    over pale stroma or fat, and the threshold stays within bounds: a slide all of tissue keeps
    all of it. ``entropy`` thresholds the local entropy of the grey values, which also finds
    tissue without colour. Both ask for a least contrast: blank glass gives an empty mask.

    Raises:
        MppError: the slide states no usable resolution.
        DamagedSlideError: the overview cannot be read at all.
    """
    spec = spec or TissueSpec()
    overview = read_overview(slide, spec.mpp)
    return tissue_of_overview(overview, slide.size, overview_mpp(slide, spec.mpp), spec)


def tissue_of_overview(overview: RGB, size: Size, mpp: float, spec: TissueSpec) -> TissueMask:
    """As ``find_tissue``, from the overview of a slide of this level-0 size.

    Args:
        overview: (rows, cols, 3) uint8 of the whole slide.
        size: level-0 size of the slide.
        mpp: resolution of the overview.
        spec: what is asked.
    """
    density = OpticalDensity.of(overview, glass_colour(overview))
    excluded = border_mask(density)
    if spec.exclude_pen:
        excluded |= pen_mask(density, mpp, excluded)
    if spec.method == "otsu":
        found, threshold = _by_saturation(density, excluded)
    else:
        found, threshold = _by_entropy(density, excluded)
    mask = _clean(found, excluded, mpp, spec)
    return TissueMask(mask=mask, size=size, spec=spec, threshold=threshold)


def overview_mpp(slide: SlideReader, mpp: float) -> float:
    """The resolution to work at: as asked, or the slide's own where that is coarser."""
    return max(mpp, require_mpp(slide).mean)


def read_overview(slide: SlideReader, mpp: float) -> RGB:
    """The whole slide at ``mpp`` (or as fine as it is), (rows, cols, 3) uint8.

    What does not decode is white, which is glass, unless nothing decodes.

    Raises:
        MppError: the slide states no usable resolution.
        DamagedSlideError: nothing of it decodes.
    """
    base = require_mpp(slide)
    size = Region.whole(slide.size).size_at(max(mpp, base.mean), base)
    scale = min(slide.size.width / size.width, slide.size.height / size.height)
    level = max(
        (level for level in slide.levels if level.downsample <= scale * 1.01),
        key=lambda level: level.downsample,
        default=slide.levels[0],
    )
    shrink = max(1.0, level.size.height / size.height)
    rows = max(1, math.floor(_MAX_READ_PX / max(1, level.size.width) / shrink))
    overview = np.full((size.height, size.width, 3), 255, np.uint8)
    failed: DamagedSlideError | None = None
    read = 0
    for top in range(0, size.height, rows):
        box = (0, top, size.width, min(size.height, top + rows))
        got, error = _read_cells(slide, overview, box)
        read += got
        failed = failed or error
    if failed is not None and read == 0:
        raise failed
    return overview


def _read_cells(
    slide: SlideReader, overview: RGB, box: tuple[int, int, int, int]
) -> tuple[int, DamagedSlideError | None]:
    """Read a box of the overview; where that fails, in quarters, so that little is lost.

    Returns:
        Pixels read, and an error met on the way.
    """
    left, top, right, bottom = box
    x_px, y_px = slide.size.width / overview.shape[1], slide.size.height / overview.shape[0]
    region = Region(left * x_px, top * y_px, (right - left) * x_px, (bottom - top) * y_px)
    try:
        overview[top:bottom, left:right] = slide.read_region(
            region, Size(right - left, bottom - top)
        )
    except DamagedSlideError as error:
        if max(right - left, bottom - top) <= 16:
            return 0, error
        middle_x, middle_y = (left + right + 1) // 2, (top + bottom + 1) // 2
        read = 0
        for x0, x1 in ((left, middle_x), (middle_x, right)):
            for y0, y1 in ((top, middle_y), (middle_y, bottom)):
                if x1 > x0 and y1 > y0:
                    read += _read_cells(slide, overview, (x0, y0, x1, y1))[0]
        return read, error
    return (right - left) * (bottom - top), None


def _by_saturation(density: OpticalDensity, excluded: Bool) -> tuple[Bool, float]:
    saturation = np.asarray(cv2.GaussianBlur(density.saturation, (0, 0), 0.8), np.float32)
    return _above(
        saturation,
        excluded,
        cap=_SATURATION_CAP,
        bounds=(_SATURATION_FLOOR, _SATURATION_CEILING),
        contrast=_MIN_SATURATION_CONTRAST,
    )


def _by_entropy(density: OpticalDensity, excluded: Bool) -> tuple[Bool, float]:
    # Steps of a few grey levels, centred on the glass, so that its noise is one step: no entropy.
    grey = density.mean * 255.0
    steps = np.clip(np.rint(grey / _ENTROPY_STEP), 0, 255).astype(np.uint8)
    disk = cv2.getStructuringElement(
        cv2.MORPH_ELLIPSE, (2 * _ENTROPY_RADIUS + 1, 2 * _ENTROPY_RADIUS + 1)
    )
    bits = np.asarray(entropy(steps, disk), np.float32)  # type: ignore[no-untyped-call]
    grown = cv2.dilate(excluded.astype(np.uint8), disk).astype(bool)
    found, threshold = _above(
        bits,
        np.asarray(grown, np.bool_),
        cap=3.0,
        bounds=(_ENTROPY_FLOOR, _ENTROPY_CEILING),
        contrast=_MIN_ENTROPY_CONTRAST,
    )
    # The window sees tissue before its centre is in it: take that rim off, where it is glass.
    inner = cv2.erode(found.astype(np.uint8), disk).astype(bool)
    return np.asarray(inner | (found & (steps > 0)), np.bool_), threshold


def _above(
    feature: Float,
    excluded: Bool,
    *,
    cap: float,
    bounds: tuple[float, float],
    contrast: float,
) -> tuple[Bool, float]:
    """Cells over the Otsu threshold of the capped feature, none where the contrast is too low."""
    values = np.minimum(feature[~excluded], cap)
    nothing = np.zeros(feature.shape, np.bool_)
    if values.size == 0:
        return nothing, math.nan
    first = _otsu(values, cap)
    # Pale tissue beside dark tissue or residues of ink: the part below may be two groups itself.
    lower = values[values <= first]
    second = _otsu(lower, first)
    rest = lower > second
    if rest.sum() > _PALE_SHARE * values.size and (
        float(lower[rest].mean()) - float(lower[~rest].mean()) > contrast
    ):
        first = second
    threshold = min(max(first, bounds[0]), bounds[1])
    over = values > threshold
    if not over.any():
        return nothing, math.nan
    glass = float(values[~over].mean()) if not over.all() else 0.0
    if float(values[over].mean()) - glass < contrast:
        return nothing, math.nan
    return np.asarray((feature > threshold) & ~excluded, np.bool_), threshold


def _otsu(values: NDArray[np.float32], top: float) -> float:
    """The threshold that splits a histogram over 0..top best (Otsu, 1979)."""
    counts, edges = np.histogram(values, bins=256, range=(0.0, top))
    weights = counts.astype(np.float64)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(weights)[:-1]
    above = weights.sum() - below
    sums = np.cumsum(weights * middles)
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2
    return float(edges[1:-1][int(np.argmax(between))])


def _clean(found: Bool, excluded: Bool, mpp: float, spec: TissueSpec) -> Bool:
    """Close gaps, drop specks, fill holes; what is excluded stays out."""
    mask = found.astype(np.uint8)
    radius = round(spec.smooth_um / mpp / 2)
    if radius >= 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        around = np.pad(mask, radius, mode="edge")
        closed = cv2.morphologyEx(around, cv2.MORPH_CLOSE, kernel)
        small = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (radius | 1, radius | 1))
        opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, small)
        mask = np.asarray(opened[radius:-radius, radius:-radius])
    clean = fill_small(mask.astype(bool), spec.max_hole_um2 / mpp**2) & ~excluded
    return drop_small(np.asarray(clean, np.bool_), spec.min_tissue_um2 / mpp**2)
