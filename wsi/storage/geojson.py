"""Hotspots as GeoJSON that QuPath imports (drag the file onto the slide)."""

from typing import Any

from wsi.storage.results import Hotspot, SlideResult

_COLORS = ((220, 40, 40), (240, 150, 20), (150, 60, 200), (30, 130, 220), (30, 160, 80))


def hotspots_to_geojson(result: SlideResult) -> dict[str, Any]:
    """A FeatureCollection of annotations, one a hotspot, most suspicious first.

    Coordinates are level-0 pixels, which is what QuPath uses. QuPath's layout: ``objectType``,
    ``name``, ``classification`` with an RGB colour, and ``measurements`` by name.
    """
    return {
        "type": "FeatureCollection",
        "features": [
            _feature(result, number, spot) for number, spot in enumerate(result.hotspots, start=1)
        ],
    }


def _feature(result: SlideResult, number: int, spot: Hotspot) -> dict[str, Any]:
    ring = [[float(x), float(y)] for x, y in spot.polygon_level0]
    if ring and ring[0] != ring[-1]:
        ring.append(ring[0])
    index = result.classes.index(spot.class_name) if spot.class_name in result.classes else 0
    # The last class is the one that matters most (cancer), so it gets the first, red colour.
    color = _COLORS[(len(result.classes) - 1 - index) % len(_COLORS)]
    return {
        "type": "Feature",
        "id": f"{result.pipeline}-hotspot-{number}",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "annotation",
            "name": f"{spot.class_name} {number}",
            "classification": {"name": spot.class_name, "color": list(color)},
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
