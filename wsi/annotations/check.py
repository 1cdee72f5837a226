"""Checking what a file holds against its slide, and cutting out its exclusions."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsi.annotations.annotation import (
    UNCLASSIFIED,
    Annotation,
    Annotations,
    AnnotationSpec,
    Drawing,
    Shape,
    flat_parts,
    of_dimension,
    polygonal,
)
from wsi.annotations.frame import to_level0
from wsi.annotations.rule import cut_out, lies_inside
from wsi.errors import AnnotationError
from wsi.geometry import Region, Size
from wsi.identifiers import normal_identifier

_FARTHEST_PX = 1e9
"""Geometry fails over numbers that no slide reaches."""
_MOST_CROSSINGS = 1000
"""Repairing takes time by the square of them: a minute for a scribble of 400 points."""
_BORDER_PX = 1.0
"""A drawing program may round half a pixel over the border: that is no news."""
_GLASS_MM, _LARGE_PX = 155.0, 5000
"""No coordinate in mm is above the longer side of the largest glass; on a slide of so many px,
areas in so small a corner were hardly drawn there."""
_MOST_NOTES = 5
"""So many sentences of one kind are told in full."""


class _Notes:
    """Sentences by kind; of many of one kind only the first are kept, and the rest counted."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, text: str) -> None:
        self._by_kind[kind].append(text)

    def lines(self) -> tuple[str, ...]:
        found: list[str] = []
        for kind, texts in self._by_kind.items():
            found += texts[:_MOST_NOTES]
            if len(texts) > _MOST_NOTES:
                found.append(f"and {len(texts) - _MOST_NOTES} more shapes {kind}")
        return tuple(found)


@dataclass
class _Kept:
    """A shape with what became of it."""

    shape: Shape
    class_name: str | None
    geometry: BaseGeometry
    cuts: bool
    everywhere: bool


def checked(
    source: str,
    drawing: Drawing,
    slide_size: Size | None,
    bounds: Region | None,
    spec: AnnotationSpec,
) -> Annotations:
    """What a file holds as valid annotations on the slide, in level-0 px.

    Args:
        source: name of the file, for messages.
        drawing: what it holds.
        slide_size: level-0 size; without it nothing is checked against the slide.
        bounds: the slide's scanned area.
        spec: class map, and what to do with shapes that are broken or outside.

    Raises:
        AnnotationError: as ``read_annotations``.
    """
    notes = _Notes()
    shapes = to_level0(source, drawing, slide_size, bounds, spec)
    kept: list[_Kept] = []
    left_out: list[Annotation] = []
    for shape in shapes:
        everywhere = shape.class_name in spec.exclusions
        cuts = shape.cuts != "no" or everywhere
        class_name = _class_of(source, shape, spec, cuts)
        if class_name is None and not cuts:
            area = _area_or_nothing(shape, slide_size)
            if not area.is_empty:
                left_out.append(Annotation(shape.class_name, area, shape.name, shape.comment))
            continue
        geometry = _valid(source, shape, spec, notes)
        kept.append(_Kept(shape, class_name, geometry, cuts, everywhere or shape.cuts == "class"))
    _cut(kept, notes)
    items = []
    for one in kept:
        if one.class_name is None or one.geometry.is_empty:
            continue
        inside = _inside(source, one.shape, one.geometry, slide_size, spec, notes)
        if inside is not None:
            shape = one.shape
            items.append(Annotation(one.class_name, inside, shape.name, shape.comment))
    lines = [*drawing.notes, *notes.lines(), *_left_out_lines(left_out)]
    if drawing.ignored:
        counts = ", ".join(f"{kind} ({count})" for kind, count in drawing.ignored.items())
        lines.append(f"not taken: {counts}")
    lines += _doubts(shapes, bool(drawing.ignored), slide_size, spec)
    return Annotations(source, tuple(items), tuple(lines), dict(drawing.ignored), tuple(left_out))


def _doubts(
    shapes: Sequence[Shape], ignored: bool, slide_size: Size | None, spec: AnnotationSpec
) -> Iterator[str]:
    """What makes a readable file doubtful as a whole."""
    if not shapes and not ignored:
        yield "nothing is annotated in it"
    spelled: dict[str, set[str]] = defaultdict(set)
    for name in (*(shape.class_name for shape in shapes), *spec.exclusions):
        spelled["".join(normal_identifier(name).casefold().split())].add(name)
    for names in spelled.values():
        if len(names) > 1:
            told = ", ".join(repr(name) for name in sorted(names))
            yield (
                f"classes {told} look like spellings of one class; "
                "they are treated as different classes"
            )
    areas = [shape.geometry for shape in shapes if shapely.get_dimensions(shape.geometry) == 2]
    if slide_size is None or not areas or max(slide_size.width, slide_size.height) < _LARGE_PX:
        return
    xy = shapely.get_coordinates(areas)
    farthest = float(np.abs(xy).max(initial=0))
    if farthest <= _GLASS_MM and (xy % 1).any():
        yield (
            f"no coordinate is above {farthest:.4g}: if they are millimetres or shares of the "
            "slide, they must be converted to level-0 px"
        )


def _class_of(source: str, shape: Shape, spec: AnnotationSpec, cuts: bool) -> str | None:
    """Our class of a shape; ``None`` where it is left out, or only cuts."""
    if shape.cuts == "hole":
        return None
    if spec.classes is None:
        return shape.class_name
    if cuts:
        return spec.classes.get(shape.class_name)
    if shape.class_name not in spec.classes:
        known = ", ".join(repr(name) for name in spec.classes) or "none"
        hint = (
            f"add it to the class map, or map it to nothing to leave it out; classes: {known}"
            if shape.class_name != UNCLASSIFIED
            else f"give it a class, or add {UNCLASSIFIED!r} to the class map; classes: {known}"
        )
        raise AnnotationError(
            f"{source}: {shape.where} has the unknown class {shape.class_name!r}; {hint}"
        )
    return spec.classes[shape.class_name]


def _is_placed(geometry: BaseGeometry) -> bool:
    # No number compares as no place, too.
    return bool((np.abs(shapely.get_coordinates(geometry)) < _FARTHEST_PX).all())


def _area_or_nothing(shape: Shape, slide_size: Size | None) -> BaseGeometry:
    """What a shape that is left out covers; nothing where it is broken."""
    if not _is_placed(shape.geometry):
        return shapely.MultiPolygon()
    area = polygonal(shapely.make_valid(shape.geometry))
    if slide_size is None:
        return area
    return polygonal(area.intersection(shapely.box(0, 0, slide_size.width, slide_size.height)))


def _left_out_lines(left_out: list[Annotation]) -> list[str]:
    areas: dict[str, list[float]] = defaultdict(list)
    for one in left_out:
        areas[one.class_name].append(one.geometry.area)
    return [
        f"areas of class {name!r} left out: {len(sizes)} ({sum(sizes):,.0f} px); the covered "
        "places get no label"
        for name, sizes in areas.items()
    ]


def _cut(kept: list[_Kept], notes: _Notes) -> None:
    """Cut the exclusions out of what lies around them, by the one rule."""
    cutters = [one for one in kept if one.cuts and shapely.get_dimensions(one.geometry) == 2]
    if not cutters:
        return
    tree = shapely.STRtree([one.geometry for one in cutters])
    used: set[int] = set()
    lost = 0.0
    for one in kept:
        if one.cuts:
            continue
        over = [
            int(index)
            for index in tree.query(one.geometry, predicate="intersects")
            if cutters[index].everywhere or cutters[index].shape.layer == one.shape.layer
        ]
        used |= {i for i in over if not lies_inside(one.geometry, cutters[i].geometry)}
        before = one.geometry.area
        one.geometry = cut_out(one.geometry, [cutters[i].geometry for i in over])
        lost += before - one.geometry.area
        if one.geometry.is_empty:
            notes.add(
                "were cut out completely",
                f"{one.shape.where} is cut out completely: nothing is left",
            )
    notes.add("", f"exclusions cut out of the areas around them: {len(used)} ({lost:,.0f} px)")
    if len(used) < len(cutters):
        notes.add(
            "", f"exclusions outside every area, which cut nothing: {len(cutters) - len(used)}"
        )


def _valid(source: str, shape: Shape, spec: AnnotationSpec, notes: _Notes) -> BaseGeometry:
    geometry = shape.geometry
    if geometry.is_empty:
        raise AnnotationError(f"{source}: {shape.where} is empty: it has no point or no area")
    if not _is_placed(geometry):
        raise AnnotationError(
            f"{source}: {shape.where} has a coordinate that is not a position on a slide"
        )
    return geometry if geometry.is_valid else _repaired(source, shape, spec, notes)


def _crosses_more_often(geometry: BaseGeometry, most: int) -> bool:
    """Whether its lines cross one another more than ``most`` times."""
    coordinates, ring = shapely.get_coordinates(geometry), _ring_of_each_point(geometry)
    ends = np.stack([coordinates[:-1], coordinates[1:]], axis=1)[ring[:-1] == ring[1:]]
    lines = shapely.linestrings(ends)
    tree, found = shapely.STRtree(lines), 0
    for start in range(0, len(lines), 8):
        # Each crossing is found from both of its lines.
        found += tree.query(lines[start : start + 8], predicate="crosses").shape[1]
        if found > 2 * most:
            return True
    return False


def _ring_of_each_point(geometry: BaseGeometry) -> NDArray[np.intp]:
    parts = shapely.get_parts(geometry)
    rings = shapely.get_rings(parts) if shapely.get_dimensions(geometry) == 2 else parts
    return np.repeat(np.arange(len(rings)), shapely.get_num_coordinates(rings))


def _repaired(source: str, shape: Shape, spec: AnnotationSpec, notes: _Notes) -> BaseGeometry:
    why = shapely.is_valid_reason(shape.geometry)
    if spec.crossing == "error":
        raise AnnotationError(
            f"{source}: {shape.where} crosses itself ({why}); draw it again, or allow repairs"
        )
    if _crosses_more_often(shape.geometry, _MOST_CROSSINGS):
        raise AnnotationError(
            f"{source}: {shape.where} crosses itself more than {_MOST_CROSSINGS} times, which "
            "cannot be repaired; draw it again"
        )
    if shape.geometry.geom_type in ("Polygon", "MultiPolygon"):
        repaired = shapely.union_all([_mended(part) for part in flat_parts(shape.geometry)])
    else:
        repaired = shapely.make_valid(shape.geometry)
    if repaired.is_empty:
        raise AnnotationError(f"{source}: {shape.where} has no area ({why})")
    fault = "crossed itself" if "intersection" in why.lower() else "was not valid"
    notes.add(
        "that were not valid were repaired",
        f"{shape.where} {fault} ({why}) and was repaired: "
        f"area {shape.geometry.area:.0f} -> {repaired.area:.0f} px",
    )
    return repaired


def _mended(polygon: BaseGeometry) -> BaseGeometry:
    """What the outline of a polygon encloses, without its holes, wherever these lie.

    ``make_valid`` takes all rings alike: a hole that reaches over the outline would add an area.
    """
    outline, *holes = (
        # Spikes without area become lines: they are no annotation.
        polygonal(shapely.make_valid(shapely.Polygon(ring)))
        for ring in (polygon.exterior, *polygon.interiors)
    )
    return polygonal(outline.difference(shapely.union_all(holes))) if holes else outline


def _inside(
    source: str,
    shape: Shape,
    geometry: BaseGeometry,
    size: Size | None,
    spec: AnnotationSpec,
    notes: _Notes,
) -> BaseGeometry | None:
    """The part on the slide, of the same kind; ``None`` where the shape is dropped."""
    if size is None:
        return geometry
    left, top, right, bottom = geometry.bounds
    if (
        min(left, top) >= -_BORDER_PX
        and right <= size.width + _BORDER_PX
        and bottom <= size.height + _BORDER_PX
    ):
        return geometry
    frame = shapely.box(0, 0, size.width, size.height)
    # An outline that touches the border leaves points and lines there, which are none of it.
    kept = of_dimension(geometry.intersection(frame), int(shapely.get_dimensions(geometry)))
    share = _measure(kept) / _measure(geometry)
    if share >= 0.5:
        notes.add(
            "were clipped at the slide's border",
            f"{shape.where} reached over the slide's border: {1 - share:.1%} cut off",
        )
        return kept
    text = (
        f"{shape.where} lies {'wholly' if share == 0 else f'{1 - share:.0%}'} outside the slide "
        f"(x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}; the slide is "
        f"{size.width} x {size.height})"
    )
    if spec.outside == "drop":
        notes.add("outside the slide were dropped", f"{text}; dropped")
        return None
    raise AnnotationError(f"{source}: {text}; was it drawn on another slide or level?")


def _measure(geometry: BaseGeometry) -> float:
    """Area, else length, else the number of points: what a shape has most of."""
    return float(geometry.area or geometry.length or shapely.get_num_coordinates(geometry))
