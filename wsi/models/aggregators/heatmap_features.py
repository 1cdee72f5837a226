"""Features of a probability map: the classical Camelyon16 recipe (after Wang 2016).

Thirty numbers: what share of the tissue exceeds each of five thresholds and by how much, and size,
shape and scores of the two largest regions. Names and meanings are those of the feature tables
that US FDA's DIDSR published for Camelyon16, whose regions are the areas above 0.6 (the lowest
score inside them is never below it). Two things differ on purpose: regions that touch the border
of the map are kept (here the map ends where the slide ends, and tumour at its edge is tumour), and
of two regions of one size both count.

The map is that of all diseases together. Where a slide can have several, it cannot tell them apart:
then each disease's own map is described in the same way, under names ``DISEASE:NAME``.
"""

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from wsi.models.aggregators.base import slide_classes

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
REGION_THRESHOLD = 0.6
_OF_REGION = (
    "{}_area",
    "eccentricity_{}",
    "extend_{}",
    "area_bbox_{}",
    "major_axis_length_{}",
    "maxprob_{}",
    "minprob_{}",
    "aveprob_{}",
    "aspect_ratio_bbox_{}",
    "solidity_{}",
)
FEATURES: tuple[str, ...] = (
    *(f"ratio_cancer_tissue{round(100 * t)}" for t in THRESHOLDS),
    *(f"ratio_sum_tissue{round(100 * t)}" for t in THRESHOLDS),
    *(pattern.format(which) for which in ("largest", "second_largest") for pattern in _OF_REGION),
)
"""The names, in the order of the published tables."""


def heatmap_features(probability_hw: NDArray[np.float32]) -> dict[str, float]:
    """The features of one map.

    Args:
        probability_hw: (rows, columns) probability of disease in [0, 1], NaN where nothing was
            looked at; what is not NaN is the tissue.

    Returns:
        Every name of ``FEATURES``; lengths in cells, areas in cells, ratios without a unit. All
        0 for a region that is not there.
    """
    values = probability_hw.astype(np.float64)
    tissue = max(1, int(np.isfinite(values).sum()))
    values = np.nan_to_num(values, nan=0.0)
    shares = [float((values > t).sum()) / tissue for t in THRESHOLDS]
    excesses = [float(np.clip(values - t, 0, None).sum()) / tissue for t in THRESHOLDS]
    labels = label(values > REGION_THRESHOLD, connectivity=2)  # type: ignore[no-untyped-call]
    regions = sorted(
        regionprops(labels, intensity_image=values),  # type: ignore[no-untyped-call]
        key=lambda region: (region.area, region.intensity_max),
        reverse=True,
    )
    largest = [_of_region(region) for region in regions[:2]]
    largest += [[0.0] * len(_OF_REGION)] * (2 - len(largest))
    numbers = [*shares, *excesses, *largest[0], *largest[1]]
    return dict(zip(FEATURES, numbers, strict=True))


def feature_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """What ``class_features`` gives, in order: ``FEATURES``, then each disease's if several.

    Args:
        classes: of patches or slides.

    Raises:
        ConfigError: there is no disease among them.
    """
    diseases = slide_classes(classes)[1:]
    own = diseases if len(diseases) > 1 else ()
    return (*FEATURES, *(f"{disease}:{name}" for disease in own for name in FEATURES))


def class_features(
    probability_chw: NDArray[np.float32], classes: tuple[str, ...]
) -> dict[str, float]:
    """The features of the map of all diseases together and, if there are several, of each one's.

    Args:
        probability_chw: (C, rows, columns) in [0, 1], NaN where nothing was looked at.
        classes: the C names, of patches.

    Returns:
        Every name of ``feature_names``.
    """
    diseases = slide_classes(classes)[1:]
    rows = [classes.index(name) for name in diseases]
    found = heatmap_features(probability_chw[rows].sum(0))
    if len(diseases) > 1:
        for name, row in zip(diseases, rows, strict=True):
            own = heatmap_features(probability_chw[row])
            found |= {f"{name}:{key}": value for key, value in own.items()}
    return found


def _of_region(region: object) -> list[float]:
    """One region, in the order of ``_OF_REGION``."""
    get = region.__getattribute__
    top, left, bottom, right = get("bbox")
    # A line of cells has no convex hull that scikit-image could draw; it is convex itself.
    thin = min(bottom - top, right - left) == 1
    return [
        float(get("area")),
        float(get("eccentricity")),
        float(get("extent")),
        float(get("area_bbox")),
        float(get("axis_major_length")),
        float(get("intensity_max")),
        float(get("intensity_min")),
        float(get("intensity_mean")),
        (bottom - top) / (right - left),
        1.0 if thin else float(get("solidity")),
    ]
