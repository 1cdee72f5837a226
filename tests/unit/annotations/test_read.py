"""Reading what four programs draw, and refusing what cannot be meant."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from wsi.annotations import (
    UNCLASSIFIED,
    Annotation,
    Annotations,
    AnnotationSpec,
    read_annotations,
    to_geojson,
    write_geojson,
)
from wsi.errors import AnnotationError, ConfigError
from wsi.geometry import Size

SQUARE = [[10, 10], [110, 10], [110, 110], [10, 110], [10, 10]]
HOLE = [[40, 40], [80, 40], [80, 80], [40, 80], [40, 40]]
BOW_TIE = [[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]


def feature(coordinates: Any, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def tumour(coordinates: Any, kind: str = "Polygon") -> dict[str, Any]:
    return feature(coordinates, kind, classification={"name": "Tumor"})


def save(folder: Path, data: Any, name: str = "a.geojson") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


@pytest.mark.parametrize("wrap", ["collection", "list", "feature", "geometry"])
def test_geojson_is_read_however_it_is_wrapped(tmp_path: Path, wrap: str) -> None:
    one = tumour([SQUARE, HOLE])
    data: Any = {
        "collection": {"type": "FeatureCollection", "features": [one]},
        "list": [one],
        "feature": one,
        "geometry": one["geometry"],
    }[wrap]
    (item,) = read_annotations(save(tmp_path, data))
    assert item.class_name == ("Tumor" if wrap != "geometry" else UNCLASSIFIED)
    assert item.geometry.area == 100 * 100 - 40 * 40


def test_multipolygon_keeps_its_parts_and_holes(tmp_path: Path) -> None:
    far = [[x + 500, y] for x, y in SQUARE]
    (item,) = read_annotations(save(tmp_path, tumour([[SQUARE, HOLE], [far]], "MultiPolygon")))
    assert item.geometry.geom_type == "MultiPolygon"
    assert item.geometry.area == 2 * 100 * 100 - 40 * 40


def test_object_name_stands_in_for_a_missing_classification(tmp_path: Path) -> None:
    (named,) = read_annotations(save(tmp_path, feature([SQUARE], name="stroma")))
    (old,) = read_annotations(save(tmp_path, feature([SQUARE], classification="Tumor")))
    assert (named.class_name, old.class_name) == ("stroma", "Tumor")


def test_class_map_renames_leaves_out_and_refuses_the_unknown(tmp_path: Path) -> None:
    path = save(tmp_path, [tumour([SQUARE]), feature([SQUARE], name="ink")])
    known = AnnotationSpec(classes={"Tumor": "cancer", "ink": None})
    assert read_annotations(path, spec=known).classes == ("cancer",)
    with pytest.raises(AnnotationError, match=r"feature 2 .* unknown class 'ink'.*'Tumor'"):
        read_annotations(path, spec=AnnotationSpec(classes={"Tumor": "cancer"}))


def test_shape_without_a_class_says_what_to_do_under_a_class_map(tmp_path: Path) -> None:
    path = save(tmp_path, feature([SQUARE]))
    with pytest.raises(AnnotationError, match="give it a class"):
        read_annotations(path, spec=AnnotationSpec(classes={"Tumor": "cancer"}))


def test_self_crossing_polygon_is_repaired_with_a_warning_or_refused(tmp_path: Path) -> None:
    path = save(tmp_path, tumour([BOW_TIE]))
    found = read_annotations(path)
    assert found.items[0].geometry.is_valid
    assert found.items[0].geometry.area == 5000  # both wings
    assert "crossed itself" in found.warnings[0]
    with pytest.raises(AnnotationError, match=r"a\.geojson: feature 1 \(Tumor\) crosses itself"):
        read_annotations(path, spec=AnnotationSpec(crossing="error"))


def test_polygon_without_area_is_an_error(tmp_path: Path) -> None:
    flat = save(tmp_path, tumour([[[0, 0], [10, 10], [20, 20], [0, 0]]]))
    with pytest.raises(AnnotationError, match="no area"):
        read_annotations(flat)


@pytest.mark.parametrize("geometry", [None, {"type": "Polygon", "coordinates": []}])
def test_empty_shape_is_an_error_that_names_it(tmp_path: Path, geometry: Any) -> None:
    data = {"type": "Feature", "geometry": geometry, "properties": {"name": "nothing"}}
    with pytest.raises(AnnotationError, match=r"feature 1 \(nothing\) is empty"):
        read_annotations(save(tmp_path, data))


def test_shape_outside_the_slide_is_refused_or_dropped(tmp_path: Path) -> None:
    path = save(tmp_path, tumour([SQUARE]))
    with pytest.raises(AnnotationError, match=r"wholly outside .* 10 x 9\).*another slide"):
        read_annotations(path, Size(10, 9))
    found = read_annotations(path, Size(10, 9), AnnotationSpec(outside="drop"))
    assert len(found) == 0
    assert "dropped" in found.warnings[0]


def test_shape_mostly_outside_is_refused_with_its_share(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="80% outside"):
        read_annotations(save(tmp_path, tumour([SQUARE])), Size(30, 400))


def test_shape_over_the_border_is_cut_off_there_with_a_warning(tmp_path: Path) -> None:
    found = read_annotations(save(tmp_path, tumour([SQUARE])), Size(90, 400))
    assert found.items[0].geometry.area == 80 * 100
    assert "20.0% cut off" in found.warnings[0]


def test_half_a_pixel_over_the_border_is_no_news(tmp_path: Path) -> None:
    found = read_annotations(save(tmp_path, tumour([SQUARE])), Size(110, 110))
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("hello", "supported annotation file"),
        ("{", "broken JSON"),
        ('{"a": 1}', "not GeoJSON"),
        ('[{"type": "Dog"}]', "not GeoJSON"),
        ('{"type": "FeatureCollection"}', "not GeoJSON"),
        ("<a", "broken XML"),
        ("<svg/>", "unknown format"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><Annotations/>', "document type"),
        ('{"positive": [{"vertices": 3}]}', "vertices"),
        (
            '<ASAP_Annotations><Annotation Type="Polygon"><Coordinate Order="0" X="a" Y="1"/>'
            "</Annotation></ASAP_Annotations>",
            "X='a'",
        ),
    ],
)
def test_file_that_is_no_annotation_is_refused_by_name(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(AnnotationError, match=message) as caught:
        read_annotations(save(tmp_path, text, "odd.xml"))
    assert "odd.xml" in str(caught.value)


def test_missing_file_is_an_annotation_error(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_annotations(tmp_path / "none.xml")


def test_malformed_geometry_names_its_feature(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"feature 1 \(Tumor\)"):
        read_annotations(save(tmp_path, tumour([["x", "y"]])))


def test_imagescope_negative_regions_cut_holes_and_ellipses_are_round(tmp_path: Path) -> None:
    def region(kind: int, negative: int, *points: tuple[int, int]) -> str:
        vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points)
        return (
            f'<Region Id="1" Type="{kind}" NegativeROA="{negative}">'
            f"<Vertices>{vertices}</Vertices></Region>"
        )

    square = region(0, 0, (0, 0), (100, 0), (100, 100), (0, 100))
    hole = region(0, 1, (20, 20), (40, 20), (40, 40), (20, 40))
    ellipse = region(2, 0, (200, 0), (300, 60))
    ruler = region(4, 0, (0, 0), (9, 9))
    text = (
        '<Annotations><Annotation Id="1" Name="tumour"><Regions>'
        f"{square}{hole}{ellipse}{ruler}</Regions></Annotation></Annotations>"
    )
    holed, round_, line = read_annotations(save(tmp_path, text, "a.xml"))
    assert holed.geometry.area == 10_000 - 400
    assert round_.geometry.area == pytest.approx(np.pi * 50 * 30, rel=0.01)
    assert line.geometry.geom_type == "LineString"
    assert holed.class_name == "tumour"


def test_class_without_area_is_refused_where_it_is_required(tmp_path: Path) -> None:
    found = read_annotations(
        save(tmp_path, [tumour([SQUARE]), feature([3, 4], "Point", name="mitosis")])
    )
    found.require("Tumor")
    with pytest.raises(AnnotationError, match=r"'mitosis' has no area .* Tumor, mitosis"):
        found.require("Tumor", "mitosis")


def test_written_geojson_reads_back_the_same(tmp_path: Path) -> None:
    shapes = Annotations(
        "x",
        (
            Annotation("cancer", shapely.Polygon(SQUARE, [HOLE]), "focus"),
            Annotation("benign", shapely.MultiPolygon([shapely.box(0, 0, 5, 5)])),
            Annotation("mitosis", shapely.Point(3, 4)),
        ),
    )
    write_geojson(shapes, tmp_path / "a.geojson")
    assert read_annotations(tmp_path / "a.geojson").items == shapes.items
    assert [path.name for path in tmp_path.iterdir()] == ["a.geojson"]
    first = to_geojson(shapes)["features"][0]["properties"]
    assert first["objectType"] == "annotation"


def test_geojson_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a.geojson"
    target.mkdir()
    with pytest.raises(AnnotationError, match="not written"):
        write_geojson(Annotations("x", ()), target)
    assert list(tmp_path.iterdir()) == [target]


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="crossing"):
        AnnotationSpec(crossing="maybe")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="outside"):
        AnnotationSpec(outside="maybe")  # type: ignore[arg-type]


def test_what_is_no_text_and_no_number_is_an_error_that_can_be_written(tmp_path: Path) -> None:
    odd = feature([SQUARE], classification={"name": "\ud800"})
    with pytest.raises(AnnotationError) as caught:
        read_annotations(save(tmp_path, [odd]), Size(1000, 1000), AnnotationSpec(classes={}))
    assert str(caught.value).encode()
    huge = [[[1e308, 0], [-1e308, 1e308], [1e308, 1e308], [5, -1e308], [1e308, 0]]]
    with pytest.raises(AnnotationError):
        read_annotations(save(tmp_path, [feature(huge)]), Size(1000, 1000))
    without = feature([SQUARE]) | {"properties": [1]}
    assert read_annotations(save(tmp_path, [without])).classes == ("unclassified",)


RING = [[100, 100], [200, 100], [200, 200], [100, 200], [100, 100]]


def moved(by: int, scale: float = 1.0) -> list[list[float]]:
    return [[(x - 100) * scale + 100 + by, (y - 100) * scale + 100 + by] for x, y in RING]


@pytest.mark.parametrize(
    ("kind", "coordinates", "area"),
    [
        ("Polygon", [RING, moved(50)], 7500),  # a hole that reaches over the outline
        ("Polygon", [RING, moved(500)], 10_000),  # a hole somewhere else
        ("Polygon", [moved(0, 4.0), moved(50), moved(100)], 160_000 - 17_500),  # holes that overlap
        ("MultiPolygon", [[moved(0, 3.0)], [RING]], 90_000),  # a part inside another
        ("MultiPolygon", [[RING], [moved(50)]], 17_500),  # parts that overlap
        ("MultiPolygon", [[moved(0, 3.0), moved(50)], [RING]], 90_000 - 7500),  # a part in a hole
    ],
)
def test_holes_subtract_and_parts_add_wherever_they_lie(
    tmp_path: Path, kind: str, coordinates: Any, area: float
) -> None:
    geometry = {"type": kind, "coordinates": coordinates}
    data = {"type": "Feature", "geometry": geometry, "properties": {"classification": "a"}}
    found = read_annotations(save(tmp_path, json.dumps(data), "a.json"))
    assert found.area("a").area == pytest.approx(area)
    assert "was repaired" in found.warnings[0]


def test_a_hole_as_large_as_its_outline_leaves_no_area(tmp_path: Path) -> None:
    data = {"type": "Polygon", "coordinates": [RING, RING]}
    with pytest.raises(AnnotationError, match="has no area"):
        read_annotations(save(tmp_path, json.dumps(data), "a.json"))


def test_classes_that_look_alike_are_named(tmp_path: Path) -> None:
    items = [{"type": "Polygon", "coordinates": [moved(200 * n)]} for n in range(4)]
    names = ["Tumor", "tumor ", "Tu mor", "Stroma"]
    data = [
        {"type": "Feature", "geometry": g, "properties": {"classification": {"name": n}}}
        for g, n in zip(items, names, strict=True)
    ]
    found = read_annotations(save(tmp_path, json.dumps(data), "a.json"))
    assert found.warnings == (
        "classes 'Tu mor', 'Tumor', 'tumor ' look like spellings of one class; "
        "they are treated as different classes",
    )


def test_a_file_without_annotations_says_so(tmp_path: Path) -> None:
    found = read_annotations(save(tmp_path, '{"type":"FeatureCollection","features":[]}', "a.json"))
    assert (len(found), found.warnings) == (0, ("nothing is annotated in it",))


def test_coordinates_in_millimetres_are_doubted_on_a_large_slide(tmp_path: Path) -> None:
    ring = [[x / 40, y / 40] for x, y in RING]
    path = save(tmp_path, json.dumps({"type": "Polygon", "coordinates": [ring]}), "a.json")
    assert "if they are millimetres" in read_annotations(path, Size(20_000, 9000)).warnings[-1]
    assert read_annotations(path, Size(400, 300)).warnings == ()
