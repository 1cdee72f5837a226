"""The one rule for areas that lie over each other.

The innermost area counts: where areas of several classes cover a place, the smallest of them. What
is drawn as a hole, as a negative region or as an exclusion is cut out of what lies around it, and
not out of what lies inside it. Where two areas of one size and two classes overlap, what both cover
has no label. Training patches, label rasters, evaluation and reports all ask here.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import Annotations, polygonal
from wsi.geometry import Mpp

_INSIDE = 0.99
"""Share of an area that lies in another one to be called inside it: hands are not exact."""
_SLIVER_PX = 1.0
"""Neighbours that share a border overlap by less: rounding, and no news."""
_SAME_SIZE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Areas of two classes that lie over each other.

    Attributes:
        counts: the class that counts there, the smaller area's.
        yields: the other class.
        how: the smaller area lies inside the other one, both overlap partly, or both are of one
            size, so that neither counts.
        count: how many pairs of areas.
        area_px: what they share, level-0 px.
    """

    counts: str
    yields: str
    how: Literal["inside", "partly", "equal"]
    count: int
    area_px: float

    def describe(self, mpp: Mpp | None = None) -> str:
        """One sentence with the shared area in px, and in mm2 where the resolution is known."""
        pairs = "1 place" if self.count == 1 else f"{self.count} places"
        area = f"{pairs}, {describe_area(self.area_px, mpp)}"
        if self.how == "equal":
            return (
                f"areas of {self.counts} and {self.yields} of the same size overlap "
                f"({area}): the overlap gets no label"
            )
        lies = "lies inside" if self.how == "inside" else "partly overlaps"
        why = "the inner area" if self.how == "inside" else "the smaller area"
        return f"{self.counts} {lies} {self.yields} ({area}): {why}, {self.counts}, counts there"


@dataclass(frozen=True)
class LabelAreas:
    """What each class covers once areas over each other are decided.

    Attributes:
        classes: class to its area, level-0 px; no two overlap.
        left_out: what gets no label although somebody drew there: classes that the class map
            leaves out, and what areas of one size and two classes share.
        overlaps: what had to be decided.
    """

    classes: Mapping[str, BaseGeometry]
    left_out: BaseGeometry = field(default_factory=shapely.MultiPolygon)
    overlaps: tuple[Overlap, ...] = ()

    def area(self, class_name: str) -> BaseGeometry:
        """The area of a class; empty where it has none."""
        return self.classes.get(class_name, shapely.MultiPolygon())


def describe_area(area_px: float, mpp: Mpp | None) -> str:
    """An area in words: ``1,000,000 px (0.25 mm2)``."""
    text = f"{area_px:,.0f} px"
    return text if mpp is None else f"{text} ({area_px * mpp.x * mpp.y / 1e6:.3g} mm2)"


def describe_overlaps(
    overlaps: Sequence[Overlap], mpp: Mpp | None = None, most: int = 5
) -> list[str]:
    """A sentence per overlap, largest first; of many only the first are told, the rest summed."""
    ordered = sorted(overlaps, key=lambda one: -one.area_px)
    lines = [one.describe(mpp) for one in ordered[:most]]
    if len(ordered) > most:
        rest = describe_area(sum(one.area_px for one in ordered[most:]), mpp)
        lines.append(f"and {len(ordered) - most} more pairs of classes overlap ({rest})")
    return lines


def label_areas(annotations: Annotations) -> LabelAreas:
    """Decide by the one rule which class counts where.

    Args:
        annotations: points and lines in them have no area and cover nothing.
    """
    drawn = [(item.class_name, polygonal(item.geometry), False) for item in annotations.items]
    drawn += [(item.class_name, polygonal(item.geometry), True) for item in annotations.left_out]
    drawn = [one for one in drawn if not one[1].is_empty]
    if not drawn:
        return LabelAreas({})
    # A class of the file that is left out may have the name of one of ours.
    keys = [(name, out) for name, _, out in drawn]
    geometries = np.array([geometry for _, geometry, _ in drawn], object)
    pairs, shared = _overlapping(geometries, keys)
    above, contested, overlaps = _decide(geometries, keys, pairs, shared)
    own: dict[tuple[str, bool], list[BaseGeometry]] = defaultdict(list)
    for index, key in enumerate(keys):
        geometry = geometries[index]
        if above[index]:
            geometry = polygonal(geometry.difference(shapely.union_all(geometries[above[index]])))
        own[key].append(geometry)
    areas = {name: shapely.union_all(parts) for (name, out), parts in own.items() if not out}
    nobody = [part for (_, out), parts in own.items() if out for part in parts]
    if contested:
        rest = shapely.union_all(contested).difference(shapely.union_all(list(areas.values())))
        nobody.append(polygonal(rest))
    left_out = shapely.union_all(nobody) if nobody else shapely.MultiPolygon()
    return LabelAreas(areas, left_out, overlaps)


def _overlapping(
    geometries: NDArray[np.object_], keys: Sequence[tuple[str, bool]]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Pairs of areas of different classes that overlap, the smaller one first.

    Returns:
        (P, 2) indices, and (P,) what they share, px.
    """
    first, second = shapely.STRtree(geometries).query(geometries)
    class_n = np.unique([f"{out}{name}" for name, out in keys], return_inverse=True)[1]
    wanted = (first < second) & (class_n[first] != class_n[second])
    pairs = np.stack([first[wanted], second[wanted]], axis=1)
    size_n = shapely.area(geometries)
    # The smaller one first.
    swap = size_n[pairs[:, 0]] > size_n[pairs[:, 1]]
    pairs[swap] = pairs[swap][:, ::-1]
    small, large = geometries[pairs[:, 0]], geometries[pairs[:, 1]]
    shapely.prepare(large)
    shared = np.where(shapely.covers(large, small), size_n[pairs[:, 0]], 0.0)
    partly = np.flatnonzero((shared == 0) & shapely.intersects(large, small))
    shared[partly] = _shared_area(small[partly], large[partly])
    return pairs[shared > 0], shared[shared > 0]


def _shared_area(small: NDArray[np.object_], large: NDArray[np.object_]) -> NDArray[np.float64]:
    """What small areas share with large ones, pair by pair.

    Outlines of 100,000 corners meet hundreds of small ones: only the part around each is cut.
    """
    around = [
        shapely.clip_by_rect(geometry, *bounds)
        for geometry, bounds in zip(large, shapely.bounds(small), strict=True)
    ]
    clipped = np.array(around, object)
    broken = ~shapely.is_valid(clipped)
    clipped[broken] = large[broken]
    areas: NDArray[np.float64] = shapely.area(shapely.intersection(small, clipped))
    return areas


def _decide(
    geometries: NDArray[np.object_],
    keys: Sequence[tuple[str, bool]],
    pairs: NDArray[np.intp],
    shared: NDArray[np.float64],
) -> tuple[dict[int, list[int]], list[BaseGeometry], tuple[Overlap, ...]]:
    """For each area those that count above it, what nobody gets, and what to tell."""
    above: dict[int, list[int]] = defaultdict(list)
    contested: list[BaseGeometry] = []
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    size_n = shapely.area(geometries)
    for (small, large), area in zip(pairs.tolist(), shared.tolist(), strict=True):
        above[large].append(small)
        how = "inside" if area >= _INSIDE * size_n[small] else "partly"
        if size_n[large] - size_n[small] <= _SAME_SIZE * size_n[large]:
            above[small].append(large)
            contested.append(geometries[small].intersection(geometries[large]))
            how = "equal"
        if area > _SLIVER_PX:
            found[_name(keys[small]), _name(keys[large]), how].append(area)
    overlaps = tuple(
        Overlap(counts=a, yields=b, how=how, count=len(areas), area_px=sum(areas))  # type: ignore[arg-type]
        for (a, b, how), areas in found.items()
    )
    return above, contested, overlaps


def _name(key: tuple[str, bool]) -> str:
    name, out = key
    return f"{name} (left out)" if out else name


def lies_inside(inner: BaseGeometry, outer: BaseGeometry) -> bool:
    """Whether an area is smaller than another one and lies in it, but for a shaky hand."""
    if not inner.area < outer.area * (1 - _SAME_SIZE):
        return False
    return bool(inner.intersection(outer).area >= _INSIDE * inner.area)


def cut_out(geometry: BaseGeometry, cutters: Iterable[BaseGeometry]) -> BaseGeometry:
    """An area without the exclusions that lie over it; one that it lies inside does not cut it.

    Args:
        geometry: a valid polygon or several; anything else is given back as it is.
        cutters: valid polygons.
    """
    if shapely.get_dimensions(geometry) != 2:
        return geometry
    over = [one for one in cutters if one.intersects(geometry) and not lies_inside(geometry, one)]
    return polygonal(geometry.difference(shapely.union_all(over))) if over else geometry
