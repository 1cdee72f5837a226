"""Annotations of a slide, whatever program drew them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import shapely
from shapely.geometry.base import BaseGeometry

from wsi.errors import AnnotationError, ConfigError
from wsi.geometry import Size

UNCLASSIFIED = "unclassified"
"""The class of a shape to which its program gave neither class nor name."""

Cuts = Literal["no", "hole", "class"]
"""Whether a shape is cut out of those around it: not, only that (a negative region of ImageScope or
HALO), or as an area that also has a class of its own (Camelyon's ``_2``, NCRF's ``negative``)."""

Frame = Literal["level0", "qupath-bounds"]
"""Where coordinates begin: at the corner of level 0, or at that of the scanned area
(``openslide.bounds-x`` and ``-y``), to which QuPath crops a slide."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape as its file states it, before anything is checked.

    Attributes:
        where: how messages call it, such as ``feature 3 (Tumor)``.
        class_name: the file's own word for its class.
        name: the shape's own name, often empty.
        geometry: px of the file's frame; may be invalid, empty, or outside the slide.
        comment: what its author wrote about it, often empty.
        cuts: whether it is cut out of the shapes around it.
        layer: what ``cuts`` reaches: the shapes of the same layer.
    """

    where: str
    class_name: str
    name: str
    geometry: BaseGeometry
    comment: str = ""
    cuts: Cuts = "no"
    layer: str = ""


@dataclass
class Drawing:
    """What a file holds, before anything is checked against the slide.

    Attributes:
        program: which format it is, for messages.
        shapes: in the file's order.
        ignored: what was not taken, and how often, such as ``detection``.
        notes: sentences about how the rest was read.
        image_size: size of the image that was drawn on, where the file states it.
        frame: where its coordinates begin; ``None`` where the format does not say.
        offset: the scanned area's corner, where the file states it.
    """

    program: str
    shapes: list[Shape] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    image_size: Size | None = None
    frame: Frame | None = None
    offset: tuple[float, float] | None = None

    def ignore(self, kind: str) -> None:
        """Count something that is not taken."""
        self.ignored[kind] = self.ignored.get(kind, 0) + 1


@dataclass(frozen=True, slots=True)
class Annotation:
    """One valid shape on the slide.

    Attributes:
        class_name: the class, after the config's class map.
        geometry: point, line or polygon of any kind, level-0 px.
        name: the shape's own name, often empty.
        comment: what its author wrote about it, often empty.
    """

    class_name: str
    geometry: BaseGeometry
    name: str = ""
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class AnnotationSpec:
    """How to take what a file holds.

    Attributes:
        classes: the file's class name to ours; ``None`` as the value leaves such shapes out: what
            they cover gets no label. ``None`` as the whole keeps every name. A name that is not in
            it is an error.
        exclusions: the file's names of classes that are cut out of the areas around them, beside
            those that a format itself cuts out.
        crossing: a polygon that crosses itself is repaired, with a warning, or an error.
        outside: a shape mostly outside the slide is an error, or dropped with a warning. What
            only reaches over the border is cut off there, with a warning.
        frame: where the file's coordinates begin; ``auto`` takes what the file says, and QuPath's
            convention for GeoJSON that QuPath wrote.
    """

    classes: Mapping[str, str | None] | None = None
    exclusions: tuple[str, ...] = ()
    crossing: Literal["repair", "error"] = "repair"
    outside: Literal["error", "drop"] = "error"
    frame: Literal["auto", "level0", "qupath-bounds"] = "auto"

    def __post_init__(self) -> None:
        if self.crossing not in ("repair", "error"):
            raise ConfigError(f"crossing must be repair or error, got {self.crossing!r}")
        if self.outside not in ("error", "drop"):
            raise ConfigError(f"outside must be error or drop, got {self.outside!r}")
        if self.frame not in ("auto", "level0", "qupath-bounds"):
            raise ConfigError(f"frame must be auto, level0 or qupath-bounds, got {self.frame!r}")


@dataclass(frozen=True)
class Annotations:
    """All annotations of one slide.

    Attributes:
        source: the file they come from, for messages.
        items: in the file's order.
        warnings: what was repaired, cut, ignored, assumed or dropped, in sentences.
        ignored: what was not taken, such as ``detection``, and how often.
        left_out: areas whose class the class map leaves out, under the file's own class names:
            the covered places get no label.
    """

    source: str
    items: tuple[Annotation, ...]
    warnings: tuple[str, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[Annotation, ...] = ()

    def __iter__(self) -> Iterator[Annotation]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes present, in order of their first shape."""
        return tuple(dict.fromkeys(item.class_name for item in self.items))

    def of(self, class_name: str) -> tuple[Annotation, ...]:
        """The shapes of one class."""
        return tuple(item for item in self.items if item.class_name == class_name)

    def area(self, class_name: str) -> BaseGeometry:
        """What the polygons of a class cover together, level-0 px; empty where there is none.

        As drawn: where classes lie over each other, ``label_areas`` says which one counts.
        """
        shapes = [polygonal(item.geometry) for item in self.of(class_name)]
        return shapely.union_all(shapes) if shapes else shapely.MultiPolygon()

    def require(self, *class_names: str) -> None:
        """Insist that classes have shapes with an area.

        Raises:
            AnnotationError: one has none; names it and the classes that are there.
        """
        for name in class_names:
            if self.area(name).is_empty:
                there = ", ".join(self.classes) or "none"
                raise AnnotationError(
                    f"{self.source}: class {name!r} has no area annotated; classes there: {there}"
                )


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """The part of a geometry that has an area; an empty polygon where nothing has."""
    return of_dimension(geometry, 2)


def of_dimension(geometry: BaseGeometry, dimension: int) -> BaseGeometry:
    """Only the points (0), lines (1) or polygons (2) of a geometry, never a collection of kinds."""
    if geometry.geom_type != "GeometryCollection":
        right = shapely.get_dimensions(geometry) == dimension
        return geometry if right else _EMPTY[dimension]
    parts = [part for part in flat_parts(geometry) if shapely.get_dimensions(part) == dimension]
    return shapely.union_all(parts) if parts else _EMPTY[dimension]


def flat_parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    """The single points, lines and polygons of a geometry, however deep they lie."""
    if not hasattr(geometry, "geoms"):
        return [geometry]
    return [part for inner in geometry.geoms for part in flat_parts(inner)]


_EMPTY: tuple[BaseGeometry, BaseGeometry, BaseGeometry] = (
    shapely.MultiPoint(),
    shapely.MultiLineString(),
    shapely.MultiPolygon(),
)
