"""Annotations of a slide, whatever program drew them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import shapely
from shapely.geometry.base import BaseGeometry

from wsi.errors import AnnotationError, ConfigError

UNCLASSIFIED = "unclassified"
"""The class of a shape to which its program gave neither class nor name."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape as its file states it, before anything is checked.

    Attributes:
        where: how messages call it, such as ``feature 3 (Tumor)``.
        class_name: the file's own word for its class.
        name: the shape's own name, often empty.
        geometry: level-0 px; may be invalid, empty, or outside the slide.
        comment: what its author wrote about it, often empty.
    """

    where: str
    class_name: str
    name: str
    geometry: BaseGeometry
    comment: str = ""


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
        classes: the file's class name to ours; ``None`` as the value leaves such shapes out.
            ``None`` as the whole keeps every name. A name that is not in it is an error.
        crossing: a polygon that crosses itself is repaired, with a warning, or an error.
        outside: a shape mostly outside the slide is an error, or dropped with a warning. What
            only reaches over the border is cut off there, with a warning.
    """

    classes: Mapping[str, str | None] | None = None
    crossing: Literal["repair", "error"] = "repair"
    outside: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        if self.crossing not in ("repair", "error"):
            raise ConfigError(f"crossing must be repair or error, got {self.crossing!r}")
        if self.outside not in ("error", "drop"):
            raise ConfigError(f"outside must be error or drop, got {self.outside!r}")


@dataclass(frozen=True)
class Annotations:
    """All annotations of one slide.

    Attributes:
        source: the file they come from, for messages.
        items: in the file's order.
        warnings: what was repaired, cut off or dropped.
    """

    source: str
    items: tuple[Annotation, ...]
    warnings: tuple[str, ...] = ()

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
        """What the polygons of a class cover together, level-0 px; empty where there is none."""
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
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    parts = [
        part
        for part in shapely.get_parts(shapely.get_parts(geometry))
        if part.geom_type in ("Polygon", "MultiPolygon")
    ]
    return shapely.union_all(parts) if parts else shapely.MultiPolygon()
