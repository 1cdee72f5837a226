"""Annotations out to QuPath and in again."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.unit.annotations.scanned_slide import write_scn
from tests.unit.service.conftest import upload, write_slide
from tests.unit.service.test_annotations import BOW_TIE, SQUARE, A, B, listed, polygon, save

HOLE = [[40, 40], [60, 40], [60, 60], [40, 60], [40, 40]]
AWAY = [[9000, 9000], [9100, 9000], [9100, 9100], [9000, 9000]]


@pytest.fixture
def slide_id(client: TestClient, slide_file: Path) -> str:
    return str(upload(client, slide_file)["id"])


def feature(
    geometry: dict[str, Any], class_name: str | None = "cancer", **more: Any
) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "annotation", **more}
    if class_name:
        properties["classification"] = {"name": class_name, "color": [200, 0, 0]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def send(client: TestClient, slide_id: str, *features: Any, **query: Any) -> Any:
    body = {"type": "FeatureCollection", "features": features}
    return client.post(f"slides/{slide_id}/annotations.geojson", json=body, params=query)


def export(client: TestClient, slide_id: str) -> dict[str, Any]:
    answer = client.get(f"slides/{slide_id}/annotations.geojson")
    assert answer.headers["content-type"] == "application/geo+json"
    found: dict[str, Any] = answer.json()
    return found


def test_export_is_what_qupath_imports(client: TestClient, slide_id: str) -> None:
    save(client, slide_id, A, 0, geometry=polygon(SQUARE, HOLE), comment="focus", author="Ann")
    point = {"type": "Point", "coordinates": [5, 6]}
    save(client, slide_id, B, 0, geometry=point, class_name="unclassified")
    found = export(client, slide_id)
    assert found["type"] == "FeatureCollection"
    first, second = found["features"]
    assert first["id"] == A
    assert first["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "cancer", "color": [200, 0, 0]},
        "metadata": {"ANNOTATION_DESCRIPTION": "focus", "author": "Ann"},
    }
    assert len(first["geometry"]["coordinates"]) == 2
    assert second["geometry"] == point
    assert "classification" not in second["properties"]


def test_round_trip_to_another_slide_keeps_holes_parts_classes_and_comments(
    client: TestClient, slide_id: str, tmp_path: Path
) -> None:
    parts = {
        "type": "MultiPolygon",
        "coordinates": [
            [SQUARE, HOLE],
            [[[200, 200], [300, 200], [250, 290], [200, 200]]],
        ],
    }
    save(client, slide_id, A, 0, geometry=parts, comment="two parts")
    save(client, slide_id, B, 0, geometry=polygon(SQUARE), class_name="my own class")
    other = str(upload(client, write_slide(tmp_path / "other.tif", seed=3))["id"])
    answer = send(client, other, *export(client, slide_id)["features"])
    assert answer.json() == {"added": 2, "already_there": 0, "ignored": 0, "warnings": []}

    def content(of: str) -> list[Any]:
        keys = ("geometry", "class_name", "comment")
        return [[item[key] for key in keys] for item in listed(client, of)["items"]]

    assert content(other) == content(slide_id)


def test_the_same_file_twice_adds_nothing_twice(client: TestClient, slide_id: str) -> None:
    save(client, slide_id, A, 0)
    features = [*export(client, slide_id)["features"], feature(polygon(HOLE), "benign")]
    first = send(client, slide_id, *features)
    assert (first.json()["added"], first.json()["already_there"]) == (1, 1)
    assert send(client, slide_id, *features).json()["added"] == 0
    assert len(listed(client, slide_id)["items"]) == 2


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (feature(polygon(AWAY)), "feature 2 (cancer) lies wholly outside the slide"),
        (feature(polygon(BOW_TIE)), "feature 2 (cancer) crosses itself"),
        (feature(polygon(SQUARE), "Sarcoma"), "feature 2 (Sarcoma) has the unknown class"),
        (feature(polygon(SQUARE), "x" * 65), "feature 2"),
        (feature({"type": "Polygon", "coordinates": []}), "feature 2 (cancer) is empty"),
        (
            feature(polygon(SQUARE), metadata={"ANNOTATION_DESCRIPTION": "x" * 4001}),
            "its text is longer",
        ),
        ({"type": "Nonsense"}, "not GeoJSON as QuPath exports it"),
    ],
)
def test_one_bad_feature_is_named_and_nothing_is_imported(
    client: TestClient, slide_id: str, bad: dict[str, Any], text: str
) -> None:
    answer = send(client, slide_id, feature(polygon(SQUARE), "benign"), bad)
    assert (answer.status_code, answer.json()["kind"]) == (422, "annotation")
    assert text in answer.json()["detail"]
    assert listed(client, slide_id)["items"] == []


def test_new_classes_and_repairs_are_taken_when_asked_for(
    client: TestClient, slide_id: str
) -> None:
    bad = [feature(polygon(SQUARE), "Sarcoma"), feature(polygon(BOW_TIE))]
    answer = send(client, slide_id, *bad, new_classes=True, repair=True)
    assert answer.json()["added"] == 2
    assert "crossed itself" in answer.json()["warnings"][0]
    classes = client.get("annotation-classes").json()["items"]
    assert {"Sarcoma", "cancer", "stroma"} <= set(classes)
    assert send(client, slide_id, feature(polygon(HOLE), "Sarcoma")).json()["added"] == 1


def test_a_name_that_is_no_class_becomes_the_comment(client: TestClient, slide_id: str) -> None:
    send(client, slide_id, feature(polygon(SQUARE), name="Region 1"))
    assert listed(client, slide_id)["items"][0]["comment"] == "Region 1"


def test_a_body_that_is_no_json_is_refused(client: TestClient, slide_id: str) -> None:
    answer = client.post(f"slides/{slide_id}/annotations.geojson", content=b"<xml/>")
    assert answer.status_code == 422


def test_what_is_not_taken_is_counted_and_told(client: TestClient, slide_id: str) -> None:
    inner = feature(polygon(HOLE), "benign")
    core = feature(polygon(SQUARE), None, objectType="tmaCore", childObjects=[inner])
    detection = feature(polygon(SQUARE), None, objectType="detection")
    answer = send(client, slide_id, core, detection, detection)
    assert answer.json() == {
        "added": 1,
        "already_there": 0,
        "ignored": 3,
        "warnings": ["not taken: TMA core (1), detection (2)"],
    }
    assert listed(client, slide_id)["items"][0]["class_name"] == "benign"


def test_what_lies_outside_is_left_out_when_asked_for(client: TestClient, slide_id: str) -> None:
    features = [feature(polygon(SQUARE)), feature(polygon(AWAY))]
    assert send(client, slide_id, *features).status_code == 422
    answer = send(client, slide_id, *features, drop_outside=True)
    assert answer.json()["added"] == 1
    assert "outside the slide" in answer.json()["warnings"][0]


def test_annotation_json_of_other_programs_is_imported(client: TestClient, slide_id: str) -> None:
    circle = {"type": "circle", "center": [100, 100, 0], "radius": 10, "group": "cancer"}
    data = {"name": "a", "elements": [circle]}
    answer = client.post(f"slides/{slide_id}/annotations.geojson", json=data)
    assert answer.json()["added"] == 1
    assert listed(client, slide_id)["items"][0]["class_name"] == "cancer"


def test_a_measured_line_that_closes_stays_a_line(client: TestClient, slide_id: str) -> None:
    line = {"type": "LineString", "coordinates": SQUARE}
    save(client, slide_id, A, 0, geometry=line)
    assert listed(client, slide_id)["items"][0]["geometry"]["type"] == "LineString"
    again = send(client, slide_id, *export(client, slide_id)["features"], frame="level0")
    assert again.json()["added"] == 1  # bare features are of no known writer: an area
    whole = client.post(f"slides/{slide_id}/annotations.geojson", json=export(client, slide_id))
    assert whole.json()["already_there"] == 2


def test_what_went_through_qupath_is_not_added_again(client: TestClient, slide_id: str) -> None:
    fine = [[x + 0.123456, y + 0.654321] for x, y in SQUARE]
    save(client, slide_id, A, 0, geometry=polygon(fine))
    (one,) = export(client, slide_id)["features"]
    rounded = [[round(x, 2), round(y, 2)] for x, y in one["geometry"]["coordinates"][0]]
    answer = send(client, slide_id, one | {"geometry": polygon(rounded)})
    assert (answer.json()["added"], answer.json()["already_there"]) == (0, 1)


def test_a_slide_that_qupath_crops_is_exchanged_where_qupath_sees_it(
    client: TestClient, tmp_path: Path
) -> None:
    scanned = str(upload(client, write_scn(tmp_path / "a.scn"))["id"])
    square = polygon([[20, 20], [60, 20], [60, 60], [20, 60], [20, 20]])
    answer = send(client, scanned, feature(square))
    assert "scanned area (x 300, y 200)" in answer.json()["warnings"][0]
    (item,) = listed(client, scanned)["items"]
    assert item["geometry"]["coordinates"][0][0] == [320, 220]
    out = export(client, scanned)
    assert out["wholeslide"] == {"frame": "qupath-bounds", "x": 300, "y": 200}
    assert out["features"][0]["geometry"] == square
    back = client.post(f"slides/{scanned}/annotations.geojson", json=out)
    assert back.json() == {"added": 0, "already_there": 1, "ignored": 0, "warnings": []}
    level0 = send(client, scanned, feature(square), frame="level0")
    assert level0.json()["added"] == 1
