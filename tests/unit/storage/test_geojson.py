"""Hotspots as QuPath wants them."""

import json

from wsi.geometry import Point
from wsi.storage import Hotspot, SlideResult
from wsi.storage.geojson import hotspots_to_geojson


def result(*spots: Hotspot) -> SlideResult:
    return SlideResult(
        slide="s.svs",
        pipeline="patch",
        model="m",
        model_digest="d",
        classes=("benign", "cancer"),
        probabilities={"benign": 0.1, "cancer": 0.9},
        hotspots=spots,
    )


def spot(class_name: str, ring: tuple[tuple[float, float], ...]) -> Hotspot:
    return Hotspot(
        polygon_level0=ring,
        centre_level0=Point(5, 6),
        class_name=class_name,
        score=0.9,
        mean_score=0.5,
        area_um2=12.0,
    )


TRIANGLE = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0))


def test_each_hotspot_is_a_closed_annotation_with_its_measurements() -> None:
    data = json.loads(json.dumps(hotspots_to_geojson(result(spot("cancer", TRIANGLE)))))
    assert data["type"] == "FeatureCollection"
    (feature,) = data["features"]
    assert feature["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 0]]],
    }
    properties = feature["properties"]
    assert properties["objectType"] == "annotation"
    assert properties["classification"] == {"name": "cancer", "color": [220, 40, 40]}
    assert properties["measurements"]["score"] == 0.9
    assert properties["measurements"]["area um^2"] == 12.0


def test_a_ring_that_is_closed_is_not_closed_twice() -> None:
    (feature,) = hotspots_to_geojson(result(spot("cancer", (*TRIANGLE, TRIANGLE[0]))))["features"]
    assert len(feature["geometry"]["coordinates"][0]) == 4


def test_classes_differ_in_colour_and_the_order_is_kept() -> None:
    data = hotspots_to_geojson(result(spot("cancer", TRIANGLE), spot("benign", TRIANGLE)))
    classes = [feature["properties"]["classification"] for feature in data["features"]]
    assert [item["name"] for item in classes] == ["cancer", "benign"]
    assert classes[0]["color"] != classes[1]["color"]


def test_a_result_without_hotspots_is_an_empty_collection() -> None:
    assert hotspots_to_geojson(result())["features"] == []
