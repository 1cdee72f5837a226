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

from wsi.errors import ConfigError, DamagedSlideError
from wsi.geometry import Point, Region, Size, region_at_mpp
from wsi.slides.reader import RGB, SlideReader, require_mpp
from wsi.tissue.find import overview_mpp, read_overview
from wsi.tissue.mask import TissueMask
from wsi.tissue.optics import (
    Bool,
    Float,
    OpticalDensity,
    border_mask,
    drop_small,
    glass_colour,
    pen_mask,
)

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
_FOCUS_WINDOW_PX = 32
_FOCUS_BLOCK_WINDOWS = 16
_CONTRAST_FLOOR = 1e-3
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
            of tissue and of the ink that crosses it. All 0 where there is no tissue.
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
    - ``pen``: see ``wsi.tissue.optics.pen_mask``.
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
    density = OpticalDensity.of(overview, glass_colour(overview))
    border = border_mask(density)
    pen = pen_mask(density, mpp, border)
    dust, bubble = _debris(density, border | pen, mpp)
    blur, unreadable = _focus(slide, tissue, spec)
    layers: dict[str, Bool] = {
        "blur": blur & tissue.mask,
        "pen": pen,
        "fold": _folds(density, tissue.mask, mpp, spec.min_fold_um2),
        "dust": dust,
        "bubble": bubble,
        "unreadable": unreadable,
    }
    return _report(layers, tissue.mask, mpp, spec)


def _report(layers: dict[str, Bool], tissue: Bool, mpp: float, spec: QualitySpec) -> QualityReport:
    """Shares of the tissue, and what is over its limit."""
    # The mask leaves ink out, so the tissue under it is taken to be what the tissue around closes.
    inked = layers["pen"] & _closed(tissue, round(400 / mpp))
    whole = tissue | inked
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
            f"only {usable:.0%} of the tissue is free of faults (at least "
            f"{spec.min_usable_share:.0%})"
        )
    return QualityReport(layers, shares, usable, tuple(reasons))


def sharpness(grey_density: Float, weight: Float, window_px: int) -> Float:
    """Variance of the Laplacian over the variance, for each window.

    The division makes pale and dark stains alike. Only what the weight lets in counts: at the edge
    of the tissue the step to the glass would outweigh all detail.

    Args:
        grey_density: (rows, cols) optical density.
        weight: (rows, cols) 1 on tissue, 0 elsewhere.
        window_px: side of the windows; rows and cols are cut to whole ones.

    Returns:
        (rows // window_px, cols // window_px) float32; infinite where less than a quarter of the
        window counts.
    """
    rows, cols = grey_density.shape[0] // window_px, grey_density.shape[1] // window_px
    laplacian = np.asarray(cv2.Laplacian(grey_density, cv2.CV_32F, ksize=1), np.float32)

    def mean(values: Float) -> Float:
        cut = np.ascontiguousarray(values[: rows * window_px, : cols * window_px])
        return np.asarray(cv2.resize(cut, (cols, rows), interpolation=cv2.INTER_AREA), np.float32)

    counted = mean(weight)
    share = np.maximum(counted, 0.25)
    average = mean(grey_density * weight) / share
    variance = mean(grey_density**2 * weight) / share - average**2
    sharp = mean(laplacian**2 * weight) / share / (np.maximum(variance, 0) + _CONTRAST_FLOOR)
    return np.asarray(np.where(counted < 0.25, np.inf, sharp), np.float32)


def _focus(slide: SlideReader, tissue: TissueMask, spec: QualitySpec) -> tuple[Bool, Bool]:
    """Cells out of focus, and cells that do not decode; blocks without tissue are not read."""
    base = require_mpp(slide)
    mpp = max(spec.focus_mpp, base.mean)
    block_px = _FOCUS_WINDOW_PX * _FOCUS_BLOCK_WINDOWS
    block = region_at_mpp(Point(0, 0), Size(block_px, block_px), mpp, base)
    columns = math.ceil(slide.size.width / block.width)
    rows = math.ceil(slide.size.height / block.height)
    origins = np.array(
        [(x * block.width, y * block.height) for y in range(rows) for x in range(columns)]
    )
    touched = tissue.shares(origins, block.width, block.height) > 0
    n = _FOCUS_BLOCK_WINDOWS
    inner = np.asarray(cv2.erode(tissue.mask.astype(np.uint8), np.ones((3, 3), np.uint8)), np.uint8)
    sharp = np.full((rows * n, columns * n), np.inf, np.float32)
    lost = np.zeros((rows * n, columns * n), np.bool_)
    for index in np.flatnonzero(touched):
        row, column = divmod(int(index), columns)
        span = (slice(row * n, (row + 1) * n), slice(column * n, (column + 1) * n))
        region = region_at_mpp(
            Point(float(origins[index][0]), float(origins[index][1])),
            Size(block_px, block_px),
            mpp,
            base,
        )
        try:
            pixels = slide.read_region(region, Size(block_px, block_px))
        except DamagedSlideError:
            lost[span] = True
            continue
        weight = _tissue_under(inner, region, tissue, block_px)
        sharp[span] = sharpness(_grey_density(pixels), weight, _FOCUS_WINDOW_PX)
    window_level0 = (block.width / n, block.height / n)
    blurred = _smooth_blur(sharp < spec.min_sharpness)
    return _on_grid(blurred, window_level0, tissue), _on_grid(lost, window_level0, tissue)


def _tissue_under(
    inner: NDArray[np.uint8], region: Region, tissue: TissueMask, side_px: int
) -> Float:
    """The eroded tissue mask drawn over a region, (side_px, side_px) of 0 and 1."""
    y = (region.y + (np.arange(side_px) + 0.5) * region.height / side_px) / tissue.cell_height_px
    x = (region.x + (np.arange(side_px) + 0.5) * region.width / side_px) / tissue.cell_width_px
    rows, cols = inner.shape
    found = inner[np.ix_(np.minimum(y.astype(int), rows - 1), np.minimum(x.astype(int), cols - 1))]
    found[y >= rows] = 0
    found[:, x >= cols] = 0
    return np.asarray(found, np.float32)


def _grey_density(pixels: RGB) -> Float:
    table = -np.log((np.arange(256, dtype=np.float32) + 8) / 263)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(table[grey], np.float32)


def _smooth_blur(blurred: Bool) -> Bool:
    """A lone window may show mucin or colloid, which is smooth by nature: ask for neighbours."""
    return np.asarray(
        cv2.morphologyEx(blurred.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0,
        np.bool_,
    )


def _on_grid(windows: Bool, window_level0: tuple[float, float], tissue: TissueMask) -> Bool:
    """The value of the window under the centre of each cell of the tissue mask."""
    rows, cols = tissue.mask.shape
    y = (np.arange(rows) + 0.5) * tissue.cell_height_px / window_level0[1]
    x = (np.arange(cols) + 0.5) * tissue.cell_width_px / window_level0[0]
    row = np.minimum(y.astype(np.int64), windows.shape[0] - 1)
    column = np.minimum(x.astype(np.int64), windows.shape[1] - 1)
    return np.asarray(windows[np.ix_(row, column)], np.bool_)


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
