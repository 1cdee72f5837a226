"""Hotspots as GeoJSON that QuPath imports (drag the file onto the slide)."""

from typing import Any

from wsi.storage.results import Hotspot, SlideResult

_MALIGNANT = ((220, 40, 40), (240, 110, 20), (230, 160, 30))
_OTHER = ((30, 130, 220), (30, 160, 80), (150, 60, 200))


def hotspots_to_geojson(result: SlideResult) -> dict[str, Any]:
    """A FeatureCollection of annotations, one a hotspot, most suspicious first.

    ``properties`` of the collection say how many hotspots there are in all, for only the first
    ones are listed, and the score from which a place belongs to one.

    Coordinates are level-0 pixels, which is what QuPath uses. QuPath's layout: ``objectType``,
    ``name``, ``classification`` with an RGB colour, and ``measurements`` by name.
    """
    return {
        "type": "FeatureCollection",
        "properties": {
            "listed": len(result.hotspots),
            "total": result.hotspot_total,
            "area um^2": result.hotspot_area_um2,
            "threshold": result.hotspot_threshold,
        },
        "features": [
            _feature(result, number, spot) for number, spot in enumerate(result.hotspots, start=1)
        ],
    }


def _feature(result: SlideResult, number: int, spot: Hotspot) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"{result.pipeline}-hotspot-{number}",
        "geometry": {
            "type": "Polygon",
            "coordinates": [_ring(one) for one in (spot.polygon_level0, *spot.holes_level0)],
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
                "centre x px": float(spot.centre_level0.x),
                "centre y px": float(spot.centre_level0.y),
            },
            "metadata": {"pipeline": result.pipeline, "model": result.model},
        },
    }


def _ring(points: tuple[tuple[float, float], ...]) -> list[list[float]]:
    """Closed, as GeoJSON wants it."""
    ring = [[float(x), float(y)] for x, y in points]
    return ring if not ring or ring[0] == ring[-1] else [*ring, ring[0]]


def _color(result: SlideResult, class_name: str) -> list[int]:
    """Red is the most severe class, warm colours are malignant, cold ones are not."""
    malignant = result.malignant_classes
    if class_name in malignant:
        return list(_MALIGNANT[min(malignant.index(class_name), len(_MALIGNANT) - 1)])
    index = result.classes.index(class_name) if class_name in result.classes else 0
    return list(_OTHER[index % len(_OTHER)])
