"""Hotspots as GeoJSON that QuPath imports (drag the file onto the slide)."""

from typing import Any

from wsi.annotations import feature_collection, known_colour
from wsi.geometry import Region
from wsi.storage.results import Hotspot, SlideResult

_MALIGNANT = ((200, 0, 0), (240, 110, 20), (230, 160, 30))
_OTHER = ((30, 130, 220), (30, 160, 80), (150, 60, 200))


def hotspots_to_geojson(result: SlideResult, bounds: Region | None = None) -> dict[str, Any]:
    """A FeatureCollection of annotations, one per hotspot, most suspicious first.

    ``properties`` of the collection say how many hotspots there are in all, for only the first
    ones are listed, and the score from which a place belongs to one.

    QuPath's layout: ``objectType``, ``name``, ``classification`` with an RGB colour, and
    ``measurements`` by name. The centre among them is in the same coordinates as the outline.

    Args:
        result: of one slide, level-0 px.
        bounds: the slide's scanned area, from whose corner QuPath counts: ``scanned_bounds``.
    """
    corner = (bounds.x, bounds.y) if bounds is not None else (0.0, 0.0)
    features = [
        _feature(result, number, spot, corner)
        for number, spot in enumerate(result.hotspots, start=1)
    ]
    return feature_collection(features, bounds) | {
        "properties": {
            "listed": len(result.hotspots),
            "total": result.hotspot_total,
            "area um^2": result.hotspot_area_um2,
            "threshold": result.hotspot_threshold,
        }
    }


def _feature(
    result: SlideResult, number: int, spot: Hotspot, corner: tuple[float, float]
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"{result.pipeline}-hotspot-{number}",
        "geometry": {
            "type": "Polygon",
            "coordinates": [
                _ring(one, corner) for one in (spot.polygon_level0, *spot.holes_level0)
            ],
        },
        "properties": {
            "objectType": "annotation",
            "name": f"{spot.class_name} {number}",
            "classification": {
                "name": spot.class_name,
                "color": list(_color(result, spot.class_name)),
            },
            "isLocked": False,
            "measurements": {
                "score": float(spot.score),
                "mean score": float(spot.mean_score),
                "area um^2": float(spot.area_um2),
                "centre x px": float(spot.centre_level0.x) - corner[0],
                "centre y px": float(spot.centre_level0.y) - corner[1],
            },
            "metadata": {"pipeline": result.pipeline, "model": result.model},
        },
    }


def _ring(
    points: tuple[tuple[float, float], ...], corner: tuple[float, float]
) -> list[list[float]]:
    """Closed, as GeoJSON wants it, and counted from a corner."""
    ring = [[float(x) - corner[0], float(y) - corner[1]] for x, y in points]
    return ring if not ring or ring[0] == ring[-1] else [*ring, ring[0]]


def _color(result: SlideResult, class_name: str) -> list[int]:
    """As annotations have it where its name is known.

    Else red is the most severe class, warm colours are malignant, cold ones are not.
    """
    known = known_colour(class_name)
    if known is not None:
        return list(known)
    malignant = result.malignant_classes
    if class_name in malignant:
        return list(_MALIGNANT[min(malignant.index(class_name), len(_MALIGNANT) - 1)])
    index = result.classes.index(class_name) if class_name in result.classes else 0
    return list(_OTHER[index % len(_OTHER)])
