"""Hotspots as QuPath wants them."""

import dataclasses
import json

from wsi.annotations import annotations_of_geojson
from wsi.geometry import Point, Region
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
    assert properties["classification"] == {"name": "cancer", "color": [200, 0, 0]}
    assert properties["measurements"]["score"] == 0.9
    assert properties["measurements"]["area um^2"] == 12.0


def test_holes_are_part_of_the_polygon_and_those_not_listed_are_counted() -> None:
    hole = ((2.0, 1.0), (3.0, 1.0), (3.0, 2.0))
    one = dataclasses.replace(spot("cancer", TRIANGLE), holes_level0=(hole,))
    data = hotspots_to_geojson(dataclasses.replace(result(one), hotspot_total=131))
    (feature,) = data["features"]
    assert feature["geometry"]["coordinates"][1] == [[2, 1], [3, 1], [3, 2], [2, 1]]
    assert (data["properties"]["listed"], data["properties"]["total"]) == (1, 131)


def test_colours_go_by_malignancy_and_not_by_place() -> None:
    spots = [spot(name, TRIANGLE) for name in ("invasive", "dcis", "benign", "strange")]
    several = dataclasses.replace(
        result(*spots),
        classes=("invasive", "dcis", "benign"),
        malignant=("invasive", "dcis"),
    )
    features = hotspots_to_geojson(several)["features"]
    red, orange, blue, other = (f["properties"]["classification"]["color"] for f in features)
    assert red == [200, 0, 0]
    assert orange[0] > 200
    assert max(blue[2], other[2]) > 200


def test_hotspots_of_a_slide_that_qupath_crops_count_from_its_scanned_area() -> None:
    whole = result(spot("cancer", TRIANGLE))
    data = hotspots_to_geojson(whole, Region(4, 3, 100, 90))
    assert data["wholeslide"] == {"frame": "qupath-bounds", "x": 4, "y": 3}
    (feature,) = data["features"]
    assert feature["geometry"]["coordinates"] == [[[-4, -3], [6, -3], [6, 7], [-4, -3]]]
    assert feature["properties"]["measurements"]["centre x px"] == 1
    (item,) = annotations_of_geojson("a", data)
    assert item.geometry.bounds == (0, 0, 10, 10)


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
