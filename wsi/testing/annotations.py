"""Random annotations, what QuPath makes of a file, and what two sets differ in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsi.annotations import UNCLASSIFIED, Annotation, Annotations
from wsi.geometry import Size

_CLASSES = (
    "cancer",
    "benign",
    "Tumor: Positive",
    "Immune cells",
    "Nekrose (Ränder)",
    "浸潤",
    UNCLASSIFIED,
)
_KINDS = (
    "Polygon",
    "MultiPolygon",
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What the second of two sets lacks.

    Attributes:
        shapes: shapes that are gone, or of another kind.
        classes: shapes of another class.
        texts: names and comments that differ.
        holes: holes that are gone.
        vertices: vertices that are gone, or lie more than the tolerance away.
        farthest_px: how far a vertex moved.
    """

    shapes: int = 0
    classes: int = 0
    texts: int = 0
    holes: int = 0
    vertices: int = 0
    farthest_px: float = 0.0

    @property
    def lost(self) -> int:
        """How much is lost in all."""
        return self.shapes + self.classes + self.texts + self.holes + self.vertices


def random_annotations(rng: np.random.Generator, size: Size, most: int = 12) -> Annotations:
    """Up to ``most`` valid shapes of every kind on a slide of this size, with classes and texts."""
    items = []
    for number in range(int(rng.integers(1, most + 1))):
        class_name = str(rng.choice(_CLASSES))
        kind = str(rng.choice(_KINDS, p=(0.4, 0.2, 0.1, 0.1, 0.1, 0.1)))
        comment = "zwei\nZeilen, “quoted”" if rng.random() < 0.3 else ""
        named = rng.random() < 0.3 and class_name != UNCLASSIFIED
        name = f"region {number}" if named else ""
        items.append(Annotation(class_name, _geometry(rng, size, kind), name, comment))
    return Annotations("random", tuple(items))


def _geometry(rng: np.random.Generator, size: Size, kind: str) -> BaseGeometry:
    # Parts lie side by side: those of one shape must not overlap.
    count = int(rng.integers(2, 4)) if kind.startswith("Multi") else 1
    width = size.width / count
    frames = [(part * width, 0.0, width, float(size.height)) for part in range(count)]
    parts = [_part(rng, frame, kind.removeprefix("Multi")) for frame in frames]
    if count == 1:
        return parts[0]
    return getattr(shapely, kind)(parts)


def _part(
    rng: np.random.Generator, frame: tuple[float, float, float, float], kind: str
) -> BaseGeometry:
    left, top, width, height = frame
    if kind == "Point":
        return shapely.Point(left + rng.random() * width, top + rng.random() * height)
    if kind == "LineString":
        points = rng.random((int(rng.integers(2, 9)), 2)) * (width, height) + (left, top)
        return shapely.LineString(points)
    radius = rng.uniform(0.05, 0.45) * min(width, height)
    x = left + rng.uniform(radius, width - radius)
    y = top + rng.uniform(radius, height - radius)
    outline = _star(rng, x, y, 0.7 * radius, radius)
    holes = []
    if rng.random() < 0.6:
        # Two small ones left and right of the middle.
        holes = [
            _star(rng, x + side * 0.3 * radius, y, 0.1 * radius, 0.2 * radius) for side in (-1, 1)
        ]
    return shapely.Polygon(outline, holes)


def _star(
    rng: np.random.Generator, x: float, y: float, low: float, high: float
) -> NDArray[np.float64]:
    count = int(rng.integers(8, 40))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radii = rng.uniform(low, high, count)
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)


def as_qupath_exports(data: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """What QuPath writes of GeoJSON that it has imported, as its type adapters do it.

    Two decimals; a class of several parts as ``names``; ids; no foreign members; at times objects
    inside others and a detection. Not run in QuPath: its source was read (``QuPathTypeAdapters``,
    ``ROITypeAdapters``, ``GsonTools.PathClassTypeAdapter``).
    """
    features: list[dict[str, Any]] = []
    for feature in data["features"]:
        properties = dict(feature["properties"])
        given = properties.get("classification")
        if given and ": " in given["name"]:
            names = {"names": given["name"].split(": "), "color": given["color"]}
            properties["classification"] = names
        written = {
            "type": "Feature",
            "id": str(UUID(bytes=rng.bytes(16))),
            "geometry": _rounded(feature["geometry"]),
            "properties": properties,
        }
        if features and rng.random() < 0.2:
            features[-1]["properties"].setdefault("childObjects", []).append(written)
        else:
            features.append(written)
    if features and rng.random() < 0.5:
        dot = {"type": "Point", "coordinates": [1.0, 1.0]}
        kind = {"objectType": "detection"}
        features.append({"type": "Feature", "geometry": dot, "properties": kind})
    return {"type": "FeatureCollection", "features": features}


def _rounded(geometry: Mapping[str, Any]) -> dict[str, Any]:
    def walk(value: Any) -> Any:
        return [walk(one) for one in value] if isinstance(value, list) else round(value, 2)

    return {"type": geometry["type"], "coordinates": walk(geometry["coordinates"])}


def differences(
    before: Sequence[Annotation], after: Sequence[Annotation], tolerance_px: float = 0.1
) -> Differences:
    """What the second set lacks of the first; both in the same order."""
    shapes = abs(len(before) - len(after))
    classes = texts = holes = vertices = 0
    farthest = 0.0
    for a, b in zip(before, after, strict=False):
        classes += a.class_name != b.class_name
        texts += (a.name, a.comment) != (b.name, b.comment)
        if a.geometry.geom_type != b.geometry.geom_type:
            shapes += 1
            continue
        holes += max(0, _holes(a.geometry) - _holes(b.geometry))
        ours, theirs = (shapely.get_coordinates(one.geometry) for one in (a, b))
        if len(ours) != len(theirs):
            vertices += abs(len(ours) - len(theirs))
            continue
        moved = np.abs(ours - theirs).max(1)
        vertices += int((moved > tolerance_px).sum())
        farthest = max(farthest, float(moved.max()))
    return Differences(
        shapes=shapes,
        classes=classes,
        texts=texts,
        holes=holes,
        vertices=vertices,
        farthest_px=farthest,
    )


def _holes(geometry: BaseGeometry) -> int:
    if shapely.get_dimensions(geometry) != 2:
        return 0
    return int(shapely.get_num_interior_rings(shapely.get_parts(geometry)).sum())
