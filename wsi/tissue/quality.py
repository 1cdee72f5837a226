"""What is wrong with a slide: out of focus, ink, folds, dust, bubbles, parts that do not decode.

Cheap published methods on an overview; each gives a layer on the tissue mask's own grid. They find
what is plain to the eye at low power and are no substitute for looking.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.errors import ConfigError
from wsi.slides.reader import SlideReader
from wsi.tissue.focus import find_blur
from wsi.tissue.glass import Bool
from wsi.tissue.looks import look_at
from wsi.tissue.mask import TissueMask
from wsi.tissue.optics import OpticalDensity, drop_small
from wsi.tissue.overview import overview_mpp, read_overview

LAYERS = ("blur", "pen", "fold", "dust", "bubble", "unreadable")
"""Every layer, in the order in which pictures draw them."""

_NAMES: Mapping[str, str] = {
    "blur": "out of focus",
    "pen": "under pen marks",
    "fold": "folded",
    "dust": "under dust",
    "bubble": "under air bubbles",
    "unreadable": "unreadable",
}
_MIN_BUBBLE_UM2 = 30_000.0
_FOLD_SURROUND_UM = 700.0


@dataclass(frozen=True, kw_only=True)
class QualitySpec:
    """How to judge a slide.

    Attributes:
        focus_mpp: resolution at which sharpness is measured; a coarser slide is taken as it is.
        min_sharpness: variance of the Laplacian over the variance of the density, below which a
            window is out of focus. In-focus tissue measured 0.85 to 10; a blur of 2 um standard
            deviation brings it under 0.5, one of 4 um under 0.1.
        min_fold_um2: smaller dark patches are no folds.
        max_blur_share, max_pen_share, max_fold_share, max_unreadable_share: of the tissue; above
            them the slide is flagged.
        min_usable_share: of the tissue, free of every layer; below it the slide is flagged.
    """

    focus_mpp: float = 2.0
    min_sharpness: float = 0.45
    min_fold_um2: float = 15_000.0
    max_blur_share: float = 0.4
    max_pen_share: float = 0.3
    max_fold_share: float = 0.3
    max_unreadable_share: float = 0.1
    min_usable_share: float = 0.5

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be zero or more, got {value}")
        if self.focus_mpp == 0:
            raise ConfigError("focus_mpp must be positive")


@dataclass(frozen=True)
class QualityReport:
    """The quality of one slide.

    Attributes:
        layers: name in ``LAYERS`` to (rows, cols) bool on the tissue mask's grid.
        shares: name to the share of the tissue that the layer covers, 0..1; for ``pen`` the share
            of tissue and of the ink that crosses it. What does not decode counts as tissue.
            All 0 where there is neither.
        usable_share: share of the tissue that no layer covers.
        reasons: why the slide is flagged, as sentences; empty where it is not.
    """

    layers: Mapping[str, NDArray[np.bool_]]
    shares: Mapping[str, float]
    usable_share: float
    reasons: tuple[str, ...]

    @property
    def flagged(self) -> bool:
        """Whether the slide is too poor to be scored without a person looking at it."""
        return bool(self.reasons)

    @property
    def bad(self) -> NDArray[np.bool_]:
        """(rows, cols) bool: cells that any layer covers."""
        return np.asarray(np.any(np.stack(list(self.layers.values())), axis=0), np.bool_)


def find_quality(
    slide: SlideReader, tissue: TissueMask, spec: QualitySpec | None = None
) -> QualityReport:
    """Judge a slide on its tissue.

    - ``blur``: variance of the Laplacian (Pech-Pacheco et al., 2000) over the local variance, at
      low power as HistoQC does (Janowczyk et al., 2019); read on tissue alone.
    - ``pen``: see ``wsi.tissue.ink.find_ink``.
    - ``fold``: saturation and darkness both well over the usual (Palokangas et al., 2007;
      Kothari et al., 2013), here against the tissue around, and long and thin.
    - ``dust``, ``bubble``: neutral dark specks; neutral dark closed outlines, with what they
      enclose.
    - ``unreadable``: stored tiles that do not decode.

    Raises:
        MppError: the slide states no usable resolution.
        DamagedSlideError: nothing of the overview decodes.
    """
    spec = spec or QualitySpec()
    mpp = overview_mpp(slide, tissue.spec)
    overview = read_overview(slide, mpp)
    looks = look_at(overview.pixels, mpp)
    density, pen = looks.density, looks.ink.mask
    dust, bubble = _debris(density, looks.border | pen, mpp)
    blur, unreadable = find_blur(
        slide, tissue, mpp=spec.focus_mpp, min_sharpness=spec.min_sharpness
    )
    layers: dict[str, Bool] = {
        "blur": blur & tissue.mask,
        "pen": pen,
        "fold": _folds(density, tissue.mask, mpp, spec.min_fold_um2),
        "dust": dust,
        "bubble": bubble,
        "unreadable": unreadable | overview.unreadable,
    }
    return _report(layers, tissue.mask, mpp, spec)


def _report(layers: dict[str, Bool], tissue: Bool, mpp: float, spec: QualitySpec) -> QualityReport:
    """Shares of the tissue, and what is over its limit."""
    # The mask leaves ink out, so the tissue under it is taken to be what the tissue around closes.
    inked = layers["pen"] & _closed(tissue, round(400 / mpp))
    # What shows nothing at all may be tissue: better to warn once too often.
    whole = tissue | inked | layers["unreadable"]
    cells = int(whole.sum())
    if cells == 0:
        return QualityReport(layers, dict.fromkeys(layers, 0.0), 0.0, ("no tissue was found",))
    shares = {name: float((layer & whole).sum()) / cells for name, layer in layers.items()}
    bad = np.any(np.stack(list(layers.values())), axis=0)
    usable = float((whole & ~bad).sum()) / cells
    limits = {
        "blur": spec.max_blur_share,
        "pen": spec.max_pen_share,
        "fold": spec.max_fold_share,
        "unreadable": spec.max_unreadable_share,
    }
    reasons = [
        f"{shares[name]:.0%} of the tissue is {_NAMES[name]} (at most {limit:.0%})"
        for name, limit in limits.items()
        if shares[name] > limit
    ]
    if usable < spec.min_usable_share:
        reasons.append(
            f"only {usable:.0%} of the tissue is free of problems (at least "
            f"{spec.min_usable_share:.0%})"
        )
    return QualityReport(layers, shares, usable, tuple(reasons))


def _folds(density: OpticalDensity, tissue: Bool, mpp: float, min_um2: float) -> Bool:
    """Two layers of tissue absorb twice: about double what is around them, and drawn out."""
    if not tissue.any():
        return np.zeros_like(tissue)
    sigma = max(0.6, 10 / mpp)
    weight = tissue.astype(np.float32)
    side = 2 * max(1, round(_FOLD_SURROUND_UM / mpp / 2)) + 1
    around = cv2.blur(weight, (side, side)) + 1e-6
    over = tissue.copy()
    for feature, ratio in ((density.mean, 1.25), (density.saturation, 1.3)):
        smooth = cv2.GaussianBlur(feature, (0, 0), sigma)
        usual = cv2.blur(feature * weight, (side, side)) / around
        over &= smooth > ratio * usual
    joined = cv2.morphologyEx(over.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    large = drop_small(np.asarray(joined > 0, np.bool_), min_um2 / mpp**2)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(large.astype(np.uint8))
    keep = np.zeros(count, np.bool_)
    dark = float(np.percentile(density.mean[tissue], 80))
    for label in range(1, count):
        x, y, w, h, _ = stats[label]
        part = (labels[y : y + h, x : x + w] == label).astype(np.uint8)
        # Strands of stroma in pale fat stand out as much, but are no darker than other tissue.
        own = density.mean[y : y + h, x : x + w][part > 0]
        keep[label] = float(np.median(own)) > dark and _is_long(part, mpp)
    return np.asarray(keep[labels], np.bool_)


def _is_long(part: NDArray[np.uint8], mpp: float) -> bool:
    """Whether a shape is at least four times as long as it is wide, along all its bends.

    Its gaps are closed first: a nest of dark nuclei is speckled, but no thread.
    """
    reach = max(1, round(32 / mpp))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    closed = cv2.morphologyEx(np.pad(part, reach + 1), cv2.MORPH_CLOSE, kernel)
    widest = 2 * float(cv2.distanceTransform(closed, cv2.DIST_L2, 3).max())
    return float(closed.sum()) / widest**2 > 4


def _debris(density: OpticalDensity, excluded: Bool, mpp: float) -> tuple[Bool, Bool]:
    """Neutral dark specks, and the insides of neutral dark rings."""
    darkness = density.mean
    # A thin rim takes some colour from beside it; a speck has a core of its own grey.
    neutral = (darkness > 0.45) & (density.saturation < 0.25 * darkness) & ~excluded
    core = neutral & (density.saturation < 0.12 * darkness)
    solid = cv2.morphologyEx(
        neutral.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)
    ).astype(bool)
    solid = drop_small(np.asarray(solid, np.bool_), max(6, 1_000 / mpp**2))
    dust, bubble = np.zeros_like(excluded), np.zeros_like(excluded)
    outlines, _ = cv2.findContours(solid.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for outline in outlines:
        x, y, w, h = cv2.boundingRect(outline)
        filled = np.zeros((h, w), np.uint8)
        cv2.drawContours(filled, [outline - np.array([x, y])], -1, 1, -1)
        own = solid[y : y + h, x : x + w] & (filled > 0)
        inside = (slice(y, y + h), slice(x, x + w))
        area = float(filled.sum())
        round_enough = 12.6 * area > 0.6 * cv2.arcLength(outline, True) ** 2
        if round_enough and own.sum() < 0.6 * area and area * mpp**2 > _MIN_BUBBLE_UM2:
            bubble[inside] |= filled > 0
        elif core[inside][filled > 0].mean() > 0.4:
            dust[inside] |= filled > 0
    return dust, bubble


def _closed(mask: Bool, radius: int) -> Bool:
    """Morphological closing by a wide disk, done on a reduced copy."""
    factor = max(1, radius // 8)
    rows, cols = mask.shape
    small = cv2.resize(
        mask.astype(np.uint8),
        (max(1, cols // factor), max(1, rows // factor)),
        interpolation=cv2.INTER_AREA,
    )
    reach = max(1, radius // factor)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    padded = np.pad(np.asarray(small), reach)
    closed = np.asarray(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel))
    inner = closed[reach:-reach, reach:-reach]
    return np.asarray(cv2.resize(inner, (cols, rows), interpolation=cv2.INTER_NEAREST) > 0)
