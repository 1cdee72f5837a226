"""FROC: how many lesions are found at how many false alarms a slide, by Camelyon16's definition.

Ehteshami Bejnordi 2017 and the challenge's evaluation: the annotated area is widened by half of
75 um and filled, its connected components are the lesions. A lesion counts as found with the
highest confidence of the detections inside it. A detection outside every lesion is a false
positive, each on its own. Lesions whose major axis is below 275 um (after widening) are isolated
tumour cells: missing them is not a fault, and hitting them neither gain nor fault. The score is the
mean sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false positives per slide.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label, regionprops

from wsi.errors import DatasetError
from wsi.evaluation.bootstrap import Bootstrap, Estimate, interval, resample

FROC_RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_WIDEN_UM = 75 / 2
_ISOLATED_UM = 275.0


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """The lesions of one slide.

    Attributes:
        labels_hw: (rows, columns) int, 0 outside, 1.. the number of the lesion.
        isolated: numbers of those that are isolated tumour cells.
        cell_level0: width and height of a cell, level-0 px; cell (0, 0) starts at the origin.
    """

    labels_hw: NDArray[np.int64]
    isolated: frozenset[int]
    cell_level0: tuple[float, float]

    @property
    def count(self) -> int:
        """Lesions that must be found."""
        return int(self.labels_hw.max(initial=0)) - len(self.isolated)


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Places that a model points at on one slide.

    Attributes:
        xy_n2: (N, 2) level-0 px.
        confidence_n: (N,).
    """

    xy_n2: NDArray[np.float64]
    confidence_n: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Froc:
    """A FROC curve, from the strictest threshold to the loosest.

    Attributes:
        thresholds_t: confidences.
        false_positives_t: mean number a slide.
        sensitivity_t: share of the lesions.
        at_rates: sensitivity at each of ``FROC_RATES``.
        score: their mean; ``None`` where there is no lesion.
        note: why there is none.
    """

    thresholds_t: NDArray[np.float64]
    false_positives_t: NDArray[np.float64]
    sensitivity_t: NDArray[np.float64]
    at_rates: tuple[float, ...]
    score: float | None
    note: str = ""


@dataclass(frozen=True)
class _Match:
    """One slide: the highest confidence of each lesion that was found, those of false positives,
    and how many lesions there were to find."""

    found: NDArray[np.float64]
    false: NDArray[np.float64]
    lesions: int


def find_lesions(
    tumour_hw: NDArray[np.bool_], cell_um: float, cell_level0: tuple[float, float]
) -> Lesions:
    """The lesions of an annotated area.

    Args:
        tumour_hw: (rows, columns) true where tumour is annotated.
        cell_um: micrometres along a cell; the challenge uses about 7.8 (level 5).
        cell_level0: width and height of a cell, level-0 px.
    """
    if not tumour_hw.any():
        return Lesions(
            labels_hw=np.zeros(tumour_hw.shape, np.int64),
            isolated=frozenset(),
            cell_level0=cell_level0,
        )
    away = ndimage.distance_transform_edt(~tumour_hw)
    widened = ndimage.binary_fill_holes(away < _WIDEN_UM / cell_um)
    labels_hw = label(widened, connectivity=2).astype(np.int64)  # type: ignore[no-untyped-call]
    isolated = frozenset(
        int(region.label)
        for region in regionprops(labels_hw)  # type: ignore[no-untyped-call]
        if region.axis_major_length < _ISOLATED_UM / cell_um
    )
    return Lesions(labels_hw=labels_hw, isolated=isolated, cell_level0=cell_level0)


def froc(slides: Sequence[tuple[Lesions, Detections]]) -> Froc:
    """The FROC curve of a set of slides, those without lesions included.

    Raises:
        DatasetError: there are no slides.
    """
    if not slides:
        raise DatasetError("FROC needs at least one slide")
    return _curve([_match(lesions, detections) for lesions, detections in slides])


def froc_interval(
    slides: Sequence[tuple[Lesions, Detections]],
    patients_n: NDArray[np.str_],
    spec: Bootstrap | None = None,
) -> Estimate:
    """The FROC score with an interval that resamples patients.

    Args:
        slides: N of them.
        patients_n: (N,) whom each is of.
        spec: how the interval is made.
    """
    spec = spec or Bootstrap(replicates=500)
    score = froc(slides).score
    if score is None:
        return Estimate(value=None, note="no slide has a lesion")
    matches = [_match(lesions, detections) for lesions, detections in slides]

    def drawn(weights_bn: NDArray[np.float64]) -> NDArray[np.float64]:
        scores = []
        for weights_n in weights_bn.astype(np.int64):
            curve = _curve([m for m, w in zip(matches, weights_n, strict=True) for _ in range(w)])
            scores.append(np.nan if curve.score is None else curve.score)
        return np.array(scores)

    replicates = resample(patients_n, spec, drawn)
    return interval(score, replicates, len(np.unique(patients_n)), spec)


def _curve(parts: Sequence[_Match]) -> Froc:
    found = np.concatenate([part.found for part in parts])
    false = np.concatenate([part.false for part in parts])
    total = sum(part.lesions for part in parts)
    thresholds = np.unique(np.concatenate([found, false]))[::-1]
    false_positives = _at_least(false, thresholds) / len(parts)
    if not total:
        nothing = np.full(len(thresholds), np.nan)
        note = "no slide has a lesion: sensitivity is not defined"
        return Froc(
            thresholds_t=thresholds,
            false_positives_t=false_positives,
            sensitivity_t=nothing,
            at_rates=(),
            score=None,
            note=note,
        )
    sensitivity = _at_least(found, thresholds) / total
    # From "nothing is called": no false alarm, nothing found.
    at_rates = np.interp(FROC_RATES, np.append(0, false_positives), np.append(0, sensitivity))
    return Froc(
        thresholds_t=thresholds,
        false_positives_t=false_positives,
        sensitivity_t=sensitivity,
        at_rates=tuple(float(value) for value in at_rates),
        score=float(at_rates.mean()),
    )


def _match(lesions: Lesions, detections: Detections) -> _Match:
    rows, columns = lesions.labels_hw.shape
    width, height = lesions.cell_level0
    xs = np.floor(detections.xy_n2[:, 0] / width).astype(np.int64)
    ys = np.floor(detections.xy_n2[:, 1] / height).astype(np.int64)
    inside = (xs >= 0) & (ys >= 0) & (xs < columns) & (ys < rows)
    hit_n = np.zeros(len(xs), np.int64)
    hit_n[inside] = lesions.labels_hw[ys[inside], xs[inside]]
    found = [
        float(detections.confidence_n[hit_n == number].max())
        for number in np.unique(hit_n[hit_n > 0])
        if int(number) not in lesions.isolated
    ]
    return _Match(
        found=np.array(found, np.float64),
        false=detections.confidence_n[hit_n == 0].astype(np.float64),
        lesions=lesions.count,
    )


def _at_least(
    values: NDArray[np.float64], thresholds_t: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How many values reach each threshold."""
    return (len(values) - np.searchsorted(np.sort(values), thresholds_t, side="left")).astype(float)
