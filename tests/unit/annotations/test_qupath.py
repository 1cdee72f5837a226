"""What QuPath writes in every form, and what becomes of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import shapely

from wsi.annotations import (
    Annotation,
    Annotations,
    AnnotationSpec,
    annotations_of_geojson,
    feature_of,
    read_annotations,
    read_slide_annotations,
    scanned_bounds,
    to_geojson,
    write_geojson,
)
from wsi.errors import AnnotationError, ConfigError
from wsi.geometry import Region, Size

SLIDE = Size(7000, 6000)
AREA = Region(3000, 2000, 3000, 2400)


def ring(low: float, high: float) -> list[list[float]]:
    return [[low, low], [high, low], [high, high], [low, high], [low, low]]


def feature(low: float, high: float, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring(low, high)]},
        "properties": {"objectType": "annotation", **properties},
    }


def read(*features: Any, **more: Any) -> Annotations:
    data = {"type": "FeatureCollection", "features": list(features)}
    return annotations_of_geojson("a.geojson", data, SLIDE, **more)


@pytest.mark.parametrize(
    ("classification", "class_name"),
    [
        ({"name": "Tumor", "color": [200, 0, 0]}, "Tumor"),
        ({"names": ["Tumor", "Positive"], "color": [200, 0, 0]}, "Tumor: Positive"),
        ({"names": ["Tumor"]}, "Tumor"),
        ({"name": "Positive", "parentClass": {"name": "Tumor"}, "colorRGB": -1}, "Tumor: Positive"),
        ("Tumor: Positive", "Tumor: Positive"),
        ({}, "unclassified"),
        ({"colorRGB": -1}, "unclassified"),
        (None, "unclassified"),
    ],
)
def test_classes_are_read_in_every_form(classification: Any, class_name: str) -> None:
    assert read(feature(0, 9, classification=classification)).classes == (class_name,)


@pytest.mark.parametrize("classification", [{"names": [3]}, {"name": {"a": 1}}, 7, ["Tumor"]])
def test_a_class_that_is_not_readable_is_an_error(classification: Any) -> None:
    with pytest.raises(AnnotationError, match=r"feature 1 has a classification without a name"):
        read(feature(0, 9, classification=classification))


def test_objects_inside_others_are_taken() -> None:
    inner = feature(450, 500, classification={"name": "Tumor"})
    middle = feature(420, 600, classification={"name": "Stroma"}, childObjects=[inner])
    core = feature(400, 900, childObjects=[middle])
    core["properties"]["objectType"] = "tmaCore"
    found = read(core, feature(0, 9, name="a", children=[inner]))
    assert found.classes == ("Stroma", "Tumor", "a")
    assert len(found) == 4
    assert found.ignored == {"TMA core": 1}
    with pytest.raises(AnnotationError, match="feature 1 holds a child"):
        read(feature(0, 9, childObjects=["x"]))


def test_what_a_program_found_is_counted_and_not_taken() -> None:
    kinds = ("detection", "detection", "cell", "tile", "tmaCore", "root")
    objects = [feature(0, 9) for _ in kinds]
    for one, kind in zip(objects, kinds, strict=True):
        one["properties"]["objectType"] = kind
    objects[2]["nucleusGeometry"] = {"type": "Polygon", "coordinates": [ring(2, 4)]}
    legacy = {**feature(0, 9), "id": "PathDetectionObject"}
    del legacy["properties"]["objectType"]
    found = read(*objects, legacy, feature(1, 9))
    assert len(found) == 1
    assert found.ignored == {
        "detection": 3, "cell": 1, "tile": 1, "TMA core": 1, "whole-image object": 1
    }  # fmt: skip
    assert found.warnings == (
        "not taken: detection (3), cell (1), tile (1), TMA core (1), whole-image object (1)",
    )


def test_objects_of_other_planes_are_counted_and_not_taken() -> None:
    deep, first = feature(0, 9), feature(1, 9)
    deep["geometry"]["plane"] = {"c": -1, "z": 3, "t": 0}
    first["geometry"]["plane"] = {"c": 2, "z": 0, "t": 0}
    found = read(deep, first)
    assert [item.geometry.area for item in found] == [64]
    assert found.ignored == {"object on the plane z=3, t=0": 1}


def test_closed_lines_are_areas_but_for_our_own() -> None:
    closed, open_ = ring(0, 10), [[0, 0], [5, 5], [9, 0]]
    lines = [
        {"type": "LineString", "coordinates": closed},
        {"type": "MultiLineString", "coordinates": [closed, ring(2, 4)]},
        {"type": "LineString", "coordinates": open_},
    ]
    features = [{"type": "Feature", "geometry": line, "properties": {}} for line in lines]
    found = read(*features)
    assert [item.geometry.area for item in found] == [100, 96, 0]
    assert "closed lines read as areas: 2" in found.warnings
    ours = {"type": "FeatureCollection", "wholeslide": {"frame": "level0"}, "features": features}
    kept = annotations_of_geojson("a", ours)
    assert [item.geometry.geom_type for item in kept] == [line["type"] for line in lines]


def test_unclosed_outlines_are_closed_with_a_word() -> None:
    one, parts = feature(0, 10), feature(0, 10)
    one["geometry"]["coordinates"][0].pop()
    parts["geometry"] = {"type": "MultiPolygon", "coordinates": [[ring(0, 10)[:-1]]]}
    found = read(one, parts)
    assert [item.geometry.area for item in found] == [100, 100]
    assert found.warnings == ("outlines that were not closed, now closed: 2",)


def test_of_a_collection_of_kinds_the_areas_are_read() -> None:
    mixed = feature(0, 9)
    mixed["geometry"] = {
        "type": "GeometryCollection",
        "geometries": [
            {"type": "LineString", "coordinates": [[0, 0], [50, 50]]},
            {"type": "Polygon", "coordinates": [ring(0, 10)]},
        ],
    }
    found = read(mixed)
    assert found.items[0].geometry.equals(shapely.box(0, 0, 10, 10))
    assert "collection of several kinds: only its Polygon is read" in found.warnings[0]
    with pytest.raises(AnnotationError, match="GeometryCollection cannot be written"):
        feature_of(Annotation("a", shapely.GeometryCollection([shapely.Point(1, 1)])))


def test_an_outline_over_the_border_stays_an_area(tmp_path: Path) -> None:
    """Its cut leaves a line along the border, which QuPath would refuse."""
    comb = [[-5, 0], [20, 0], [20, 10], [0, 10], [0, 20], [20, 20], [20, 30], [-5, 30], [-5, 0]]
    spur = feature(0, 9)
    spur["geometry"]["coordinates"] = [comb]
    touching = shapely.box(0, 0, *(SLIDE.width, SLIDE.height)).intersection(shapely.Polygon(comb))
    assert touching.geom_type == "GeometryCollection"
    found = read(spur)
    assert found.items[0].geometry.geom_type == "MultiPolygon"
    assert found.items[0].geometry.area == 400
    assert "cut off" in found.warnings[0]
    write_geojson(found, tmp_path / "a.geojson")
    assert read_annotations(tmp_path / "a.geojson", SLIDE).items == found.items


def test_an_unknown_object_type_is_taken_with_a_word() -> None:
    odd = feature(0, 9, classification={"name": "a"})
    odd["properties"]["objectType"] = "superpixel"
    found = read(odd)
    assert found.classes == ("a",)
    assert "unknown type 'superpixel'" in found.warnings[0]


def test_collections_in_lists_are_read() -> None:
    many = [{"type": "FeatureCollection", "features": [feature(0, 9)]}, [feature(1, 9)]]
    assert len(annotations_of_geojson("a", many)) == 2


def properties(**bounds: Any) -> dict[str, str]:
    return {f"openslide.bounds-{key}": str(value) for key, value in bounds.items()}


def test_scanned_area_is_read_as_qupath_reads_it() -> None:
    whole = properties(x=3000, y=2000, width=3000, height=2400)
    assert scanned_bounds(whole) == AREA
    assert scanned_bounds({key: whole[key] for key in list(whole)[:3]}) is None
    assert scanned_bounds(properties(x="a", y=0, width=1, height=1)) is None
    assert scanned_bounds(properties(x=0, y=0, width=0, height=1)) is None


def test_qupaths_coordinates_count_from_the_scanned_area() -> None:
    found = read(feature(550, 1250), bounds=AREA)
    assert found.items[0].geometry.bounds == (3550, 2550, 4250, 3250)
    assert "corner of the scanned area (x 3000, y 2000)" in found.warnings[0]
    whole = read(feature(550, 1250), bounds=AREA, spec=AnnotationSpec(frame="level0"))
    assert whole.items[0].geometry.bounds == (550, 550, 1250, 1250)
    assert whole.warnings == ()
    asked = read(feature(550, 1250), bounds=AREA, spec=AnnotationSpec(frame="qupath-bounds"))
    assert asked.items == found.items
    assert asked.warnings == ()
    assert read(feature(550, 1250)).items == whole.items
    with pytest.raises(ConfigError, match="frame must be"):
        AnnotationSpec(frame="elsewhere")  # type: ignore[arg-type]


def test_coordinates_that_qupath_cannot_have_drawn_are_refused() -> None:
    with pytest.raises(AnnotationError, match=r"beyond the scanned area .* say where"):
        read(feature(3100, 3200), bounds=AREA)


def test_geojson_of_other_programs_counts_from_the_whole_slide_with_a_word() -> None:
    plain = {"type": "Feature", "geometry": feature(5, 9)["geometry"], "properties": {}}
    found = read(plain, bounds=AREA)
    assert found.items[0].geometry.bounds == (5, 5, 9, 9)
    assert "GeoJSON does not say where its coordinates begin" in found.warnings[0]


def test_written_files_say_where_they_count_from(tmp_path: Path) -> None:
    shapes = Annotations("x", (Annotation("cancer", shapely.box(3550, 2350, 4250, 3050)),))
    data = to_geojson(shapes, AREA)
    assert data["wholeslide"] == {"frame": "qupath-bounds", "x": 3000, "y": 2000}
    outline = shapely.geometry.shape(data["features"][0]["geometry"])
    assert outline.bounds == (550, 350, 1250, 1050)
    for size, bounds in ((SLIDE, AREA), (None, None)):
        assert annotations_of_geojson("a", data, size, bounds=bounds).items == shapes.items
    with pytest.raises(AnnotationError, match=r"scanned area at x 3000, y 2000.*another slide"):
        annotations_of_geojson("a", data, SLIDE)
    assert to_geojson(shapes)["wholeslide"] == {"frame": "level0"}
    whole = json.loads(json.dumps(to_geojson(shapes)))
    assert annotations_of_geojson("a", whole, SLIDE, bounds=AREA).items == shapes.items


@pytest.mark.parametrize("member", [{"frame": "x"}, 3, {"frame": "qupath-bounds", "x": "a"}])
def test_a_frame_that_is_not_ours_is_an_error(member: Any) -> None:
    with pytest.raises(AnnotationError, match="'wholeslide'"):
        annotations_of_geojson(
            "a", {"type": "FeatureCollection", "wholeslide": member, "features": []}
        )


def test_a_slide_with_a_scanned_area_is_read_and_written_where_qupath_sees_it(
    tmp_path: Path,
) -> None:
    from tests.unit.annotations.scanned_slide import write_scn
    from wsi.slides import open_slide

    path = write_scn(tmp_path / "a.scn")
    (tmp_path / "a.geojson").write_text(json.dumps([feature(20, 60)]))
    with open_slide(path) as slide:
        bounds = scanned_bounds(slide.properties)
        found = read_slide_annotations(tmp_path / "a.geojson", slide)
    assert bounds == Region(300, 200, 256, 256)
    assert found.items[0].geometry.bounds == (320, 220, 360, 260)
    back = to_geojson(found, bounds)["features"][0]["geometry"]
    assert shapely.geometry.shape(back).bounds == (20, 20, 60, 60)
