"""Finding tissue on a slide."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Size
from wsi.slides.reader import RGB, SlideReader
from wsi.tissue.glass import EVEN, Bool, Float
from wsi.tissue.looks import Looks, look_at
from wsi.tissue.mask import TissueMask, TissueSpec
from wsi.tissue.optics import drop_small, fill_small, resized
from wsi.tissue.overview import overview_mpp, read_overview
from wsi.tissue.visible import judge

_SATURATION_CAP = 0.10
_SATURATION_FLOOR = 0.02
_SATURATION_CEILING = 0.06
_MIN_SATURATION_CONTRAST = 0.025
_PALE_SHARE = 0.03

# Saturation over darkness: grey, and coloured. Haematoxylin has 0.75, eosin 1.9.
_NEUTRAL, _COLOURED, _GREY_FROM = 0.20, 0.30, 0.3

# Grey that counts as a stain: what is darker than a shadow, rough, wider than any rim, and large.
_GREY_WEIGHT, _SHADOW = 0.5, 0.05
_MIN_GREY_ROUGHNESS = 0.02
_MIN_GREY_WIDTH_UM = 120.0
_MIN_GREY_UM2 = 100_000.0

_ENTROPY_STEP = 6.0
_ENTROPY_STEPS = 32
_ENTROPY_WINDOW = 5
_ENTROPY_FLOOR = 0.6
_ENTROPY_CEILING = 1.2
_MIN_ENTROPY_CONTRAST = 0.6


def find_tissue(slide: SlideReader, spec: TissueSpec | None = None) -> TissueMask:
    """The tissue of a slide.

    ``otsu`` thresholds (Otsu, 1979) the saturation of the optical density against the slide's own
    glass. Saturation above a cap counts as the cap, so that dark nuclei do not pull the threshold
    over pale stroma or fat, and the threshold stays within bounds: a slide all of tissue keeps
    all of it. Grey counts where it is rough, wide and large, as silver stains are. ``entropy``
    thresholds the local entropy of the grey values, which also finds tissue without colour. Both
    ask for a least contrast: blank glass gives an empty mask. An empty mask says whether the slide
    is blank or shows something that was not recognized.

    Raises:
        MppError: the slide states no usable resolution.
        DamagedSlideError: the overview cannot be read at all.
    """
    spec = spec or TissueSpec()
    mpp = overview_mpp(slide, spec)
    return tissue_of_overview(read_overview(slide, mpp).pixels, slide.size, mpp, spec)


def tissue_of_overview(overview: RGB, size: Size, mpp: float, spec: TissueSpec) -> TissueMask:
    """As ``find_tissue``, from the overview of a slide of this level-0 size.

    Args:
        overview: (rows, cols, 3) uint8 of the whole slide.
        size: level-0 size of the slide.
        mpp: resolution of the overview.
        spec: what is asked.
    """
    looks = look_at(overview, mpp)
    excluded = looks.border | looks.ink.mask if spec.exclude_pen else looks.border
    if spec.method == "otsu":
        found, threshold = _by_saturation(looks, excluded)
    else:
        found, threshold = _by_entropy(looks, excluded)
    mask = _clean(found, excluded, mpp, spec)
    verdict = judge(looks, mask, found, spec.min_tissue_um2)
    return TissueMask(
        mask=np.zeros_like(mask) if verdict.nothing else mask,
        size=size,
        spec=spec,
        threshold=threshold,
        unclear=verdict.unclear,
        warnings=verdict.warnings,
    )


def _by_saturation(looks: Looks, excluded: Bool) -> tuple[Bool, float]:
    saturation = np.asarray(cv2.GaussianBlur(_stain(looks), (0, 0), 0.8), np.float32)
    grey = _grey_stain(looks, excluded)
    feature = saturation if grey is None else np.maximum(saturation, grey)
    return _above(
        feature,
        excluded,
        cap=_SATURATION_CAP,
        bounds=(_noise_floor(looks, saturation), _SATURATION_CEILING),
        contrast=_MIN_SATURATION_CONTRAST,
        look_for_pale=True,
    )


def _stain(looks: Looks) -> Float:
    """Saturation, less where it is slight for the darkness: grey dust is not a stain."""
    saturation, mean = looks.density.saturation, looks.density.mean
    greyish = (mean > _GREY_FROM) & (saturation < _COLOURED * mean)
    if not greyish.any():
        return saturation
    ratio = saturation[greyish] / mean[greyish]
    stain = saturation.copy()
    stain[greyish] *= np.clip((ratio - _NEUTRAL) / (_COLOURED - _NEUTRAL), 0, 1)
    return np.asarray(stain, np.float32)


def _noise_floor(looks: Looks, saturation: Float) -> float:
    """Saturation that the slide's own glass has by noise and uneven light."""
    rows, cols = looks.rough.shape
    reduced = saturation[::2, ::2][:rows, :cols]
    mean = looks.density.mean[::2, ::2][:rows, :cols]
    glass = (looks.rough < EVEN) & (mean < 0.03) & (reduced < _SATURATION_CEILING)
    if not looks.glass.found or glass.mean() < 0.01:
        return _SATURATION_FLOOR
    return max(_SATURATION_FLOOR, float(np.percentile(reduced[glass][::7], 99)) + 0.005)


def _grey_stain(looks: Looks, excluded: Bool) -> Float | None:
    """How much grey each pixel has that may be a stain, on the scale of saturation."""
    rough = cv2.morphologyEx(
        (looks.rough > _MIN_GREY_ROUGHNESS).astype(np.uint8),
        cv2.MORPH_CLOSE,
        np.ones((3, 3), np.uint8),
    )
    grey = _GREY_WEIGHT * (looks.density.mean - _SHADOW)
    candidate = (grey > _SATURATION_FLOOR) & ~excluded
    candidate &= resized(rough.astype(np.bool_), excluded.shape) > 0
    least = _MIN_GREY_UM2 / looks.mpp**2
    if candidate.sum() < least:
        return None
    width = max(1, round(_MIN_GREY_WIDTH_UM / looks.mpp / 2)) | 1
    small = cv2.resize(
        candidate.astype(np.uint8), looks.rough.shape[::-1], interpolation=cv2.INTER_NEAREST
    )
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    closed = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    wide = cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel) > 0
    wide = drop_small(np.asarray(wide, np.bool_), least / 4)
    candidate &= resized(wide, excluded.shape) > 0
    return np.asarray(np.where(candidate, grey, 0), np.float32)


def _by_entropy(looks: Looks, excluded: Bool) -> tuple[Bool, float]:
    # Steps of a few grey levels, centred on the glass, so that its noise is one step: no entropy.
    grey = looks.density.mean * (255.0 / _ENTROPY_STEP)
    steps = np.rint(np.minimum(grey, _ENTROPY_STEPS - 1)).astype(np.uint8)
    window = np.ones((_ENTROPY_WINDOW, _ENTROPY_WINDOW), np.uint8)
    grown = cv2.dilate(excluded.astype(np.uint8), window).astype(bool)
    found, threshold = _above(
        _local_entropy(steps),
        np.asarray(grown, np.bool_),
        cap=3.0,
        bounds=(_ENTROPY_FLOOR, _ENTROPY_CEILING),
        contrast=_MIN_ENTROPY_CONTRAST,
    )
    # The window sees tissue before its centre is in it: take that rim off, where it is glass.
    inner = cv2.erode(found.astype(np.uint8), window).astype(bool)
    return np.asarray(inner | (found & (steps > 0)), np.bool_), threshold


def _local_entropy(steps: NDArray[np.uint8]) -> Float:
    """Shannon entropy in bits of the values in a square window around each pixel.

    Counted value by value with box filters, which is several times faster than a histogram for
    each pixel.
    """
    cells = _ENTROPY_WINDOW**2
    share = np.arange(256) / cells
    terms = np.where(share > 0, -share * np.log2(np.maximum(share, 1e-9)), 0).astype(np.float32)
    terms[cells + 1 :] = 0
    bits = np.zeros(steps.shape, np.float32)
    for value in np.flatnonzero(np.bincount(steps.ravel(), minlength=_ENTROPY_STEPS)):
        here = (steps == value).astype(np.uint8)
        counts = cv2.boxFilter(here, -1, (_ENTROPY_WINDOW, _ENTROPY_WINDOW), normalize=False)
        bits += cv2.LUT(counts, terms)
    return bits


def _above(
    feature: Float,
    excluded: Bool,
    *,
    cap: float,
    bounds: tuple[float, float],
    contrast: float,
    look_for_pale: bool = False,
) -> tuple[Bool, float]:
    """Cells over the Otsu threshold of the capped feature, none where the contrast is too low."""
    nothing = np.zeros(feature.shape, np.bool_)
    # All further arithmetic is on 256 counts: value i stands for i / 255 of the cap.
    scaled = np.minimum(feature * (255.0 / cap), 255.0).astype(np.uint8)
    counts = np.bincount(scaled[~excluded], minlength=256).astype(np.float64)
    if counts.sum() == 0:
        return nothing, math.nan
    first = _otsu(counts)
    # Pale tissue beside dark tissue or rests of ink: the part below may be two groups itself.
    lower = counts.copy()
    lower[first + 1 :] = 0
    second = _otsu(lower)
    unit = cap / 255.0
    pale = lower[second + 1 :].sum() > _PALE_SHARE * counts.sum()
    if look_for_pale and pale and _contrast(lower, second) * unit > contrast:
        first = second
    threshold = min(max((first + 1) * unit, bounds[0]), bounds[1])
    split = math.ceil(threshold / unit) - 1
    if counts[split + 1 :].sum() == 0 or _contrast(counts, split) * unit < contrast:
        return nothing, math.nan
    return np.asarray((feature > threshold) & ~excluded, np.bool_), threshold


def _contrast(counts: NDArray[np.float64], split: int) -> float:
    """Mean of the values over ``split`` minus the mean of the others (0 without any)."""
    values = np.arange(len(counts))
    below, above = counts[: split + 1], counts[split + 1 :]
    low = (below * values[: split + 1]).sum() / max(below.sum(), 1)
    high = (above * values[split + 1 :]).sum() / max(above.sum(), 1)
    return float(high - low)


def _otsu(counts: NDArray[np.float64]) -> int:
    """The highest value of the lower class of a histogram split best (Otsu, 1979)."""
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * np.arange(len(counts)))
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return int(np.argmax(below * above * (mean_below - mean_above) ** 2))


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
