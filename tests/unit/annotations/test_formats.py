"""HALO, ImageScope, Darwin, Sectra, Girder, gzip: read as those programs mean them."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
import shapely

from wsi.annotations import AnnotationSpec, annotations_of_json, read_annotations
from wsi.errors import AnnotationError
from wsi.geometry import Region, Size

SLIDE = Size(2000, 1000)


def layered(vertex: str, *regions: tuple[str, int, list[tuple[Any, Any]]]) -> str:
    def region(kind: str, negative: int, points: list[tuple[Any, Any]]) -> str:
        inner = "".join(f'<{vertex} X="{x}" Y="{y}"/>' for x, y in points)
        comments = '<Comments><Comment Body="one"/><Comment Body=" two "/></Comments>'
        return (
            f'<Region Type="{kind}" NegativeROA="{negative}"><Vertices>{inner}</Vertices>'
            f"{comments}</Region>"
        )

    inside = "".join(region(*one) for one in regions)
    layer = f'<Annotation Name="Tumour"><Regions>{inside}</Regions></Annotation>'
    return f"<Annotations>{layer}</Annotations>"


def square(low: int, high: int) -> list[tuple[int, int]]:
    return [(low, low), (high, low), (high, high), (low, high), (low, low)]


def save(folder: Path, text: str) -> Path:
    path = folder / "a.annotations"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("vertex", "kind"), [("V", "Polygon"), ("Vertex", "0")])
def test_negative_regions_cut_what_is_around_them_and_not_islands_in_them(
    tmp_path: Path, vertex: str, kind: str
) -> None:
    text = layered(
        vertex,
        (kind, 0, square(0, 100)),
        (kind, 1, square(20, 80)),
        (kind, 0, square(40, 60)),
        (kind, 1, square(200, 210)),
    )
    found = read_annotations(save(tmp_path, text))
    assert [item.geometry.area for item in found] == [10_000 - 3600, 400]
    assert found.classes == ("Tumour",)
    assert found.warnings == (
        "exclusions cut out of the areas around them: 1 (3,600 px)",
        "exclusions outside every area, which cut nothing: 1",
    )


def test_halo_regions_of_every_kind_are_read(tmp_path: Path) -> None:
    text = layered(
        "V",
        ("Rectangle", 0, [(0, 0), (100, 50)]),
        ("Ellipse", 0, [(0, 0), (100, 60)]),
        ("Ruler", 0, [(0, 0), (30, 40)]),
        ("Pin", 0, [(7, 8)]),
        ("Polygon", 0, [(0, 0), (100, 0), (200, 100), (300, 50)]),
        ("Ruler", 1, [(0, 0), (30, 40)]),
    )
    found = read_annotations(save(tmp_path, text))
    box, ellipse, ruler, pin, open_ = (item.geometry for item in found)
    assert box.area == 5000
    assert ellipse.area == pytest.approx(math.pi * 50 * 30, rel=1e-9)
    assert (ruler.length, pin.wkt) == (50, "POINT (7 8)")
    assert open_.area > 0
    assert found.items[0].comment == "one\ntwo"
    assert found.ignored == {"negative region without an area": 1}
    assert "region 5 is an outline whose ends lie 304 px apart" in found.warnings[0]


def test_halo_without_vertices_is_known_by_its_kinds(tmp_path: Path) -> None:
    layer = '<Annotation Name="a"><Regions><Region Type="Pin"/></Regions></Annotation>'
    text = f"<Annotations>{layer}</Annotations>"
    with pytest.raises(AnnotationError, match="layer 1 region 1 is empty"):
        read_annotations(save(tmp_path, text))
    assert len(read_annotations(save(tmp_path, "<Annotations/>"))) == 0


def test_real_halo_areas_are_those_that_halo_shows(real_data: Path) -> None:
    """HALO's own table of this file, um2 at 0.2325 um/px (pyhaloxml's test data)."""
    path = real_data / "annotations" / "halo" / "test_types.annotations"
    areas = [item.geometry.area * 0.2325**2 for item in read_annotations(path)]
    shown = [7500025.81, 3487576.49, 3781775.48, 1993818.9, 0, 0, 6581696.15]
    assert areas[:7] == pytest.approx(shown, abs=0.01)


def test_real_halo_files_hold_67_regions_17_of_them_holes(real_data: Path) -> None:
    files = sorted((real_data / "annotations" / "halo").glob("*.annotations"))
    found = [read_annotations(path) for path in files]
    assert sum(len(one) for one in found) == 67 - 17
    holes = sum(
        len(part.interiors)
        for one in found
        for item in one
        for part in shapely.get_parts(item.geometry)
        if part.geom_type == "Polygon"
    )
    assert holes == 17
    layers = found[[path.name for path in files].index("qupath_test.annotations")]
    assert layers.classes[:2] == ("Putamen", "Corpus Callosum")


@pytest.mark.parametrize("vertex", ["V", "Vertex"])
def test_decimal_commas_are_read_where_they_can_only_be_that(tmp_path: Path, vertex: str) -> None:
    points = [("10,5", 0), ("20,25", 0), ("20,5", "10,5"), ("10,5", "10,5")]
    found = read_annotations(save(tmp_path, layered(vertex, ("0", 0, points))))
    assert found.items[0].geometry.bounds == (10.5, 0, 20.5, 10.5)
    assert "coordinates with decimal commas, read as decimals: 6" in found.warnings


def test_commas_that_may_be_thousands_are_refused(tmp_path: Path) -> None:
    points = [("10,500", "0"), ("20,250", "0"), ("20,500", "1,000")]
    with pytest.raises(AnnotationError, match="'10,500' may be thousands or decimals"):
        read_annotations(save(tmp_path, layered("Vertex", ("0", 0, points))))


def darwin(*annotations: Any, **more: Any) -> dict[str, Any]:
    slot = {"width": 2000, "height": 1000}
    return {"version": "2.0", "item": {"slots": [slot]}, "annotations": list(annotations), **more}


def xy(points: list[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"x": x, "y": y} for x, y in points]


def test_darwin_shapes_of_every_kind_are_read() -> None:
    rings = [xy(square(*one)) for one in ((0, 100), (20, 80), (40, 60))]
    oval = {"center": {"x": 500, "y": 500}, "radius": {"x": 100, "y": 50}, "angle": math.pi / 2}
    data = darwin(
        {"name": "a", "polygon": {"paths": rings}},
        {"name": "a", "polygon": {"path": xy(square(0, 10))}, "text": {"text": "seen"}},
        {"name": "b", "bounding_box": {"x": 5, "y": 6, "w": 10, "h": 20}},
        {"name": "b", "ellipse": oval},
        {"name": "c", "line": {"path": xy([(0, 0), (3, 4)])}},
        {"name": "c", "keypoint": {"x": 3, "y": 4}},
        {"name": "d", "raster_layer": {}, "bounding_box": {"x": 0, "y": 0, "w": 1, "h": 1}},
        {"name": "d", "tag": {}},
        {"name": "d"},
    )  # fmt: skip
    found = annotations_of_json("a.json", data, SLIDE)
    ring, plain, box, ellipse, line, point = (item.geometry for item in found)
    assert (ring.area, plain.area, box.area) == (10_000 - 3600 + 400, 100, 200)
    assert ellipse.bounds == pytest.approx((450, 400, 550, 600), abs=0.1)
    assert (line.length, point.wkt) == (5, "POINT (3 4)")
    assert found.items[1].comment == "seen"
    assert found.ignored == {"raster layer": 1, "tag": 1, "annotation without a shape": 1}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (darwin(version="1.0"), "version 1.0; 2.0 is read"),
        (darwin(item={"slots": [{}, {}]}), "of 2 images"),
        (darwin(item={"slots": [{"width": 200, "height": 100}]}), "200 x 100 px, and this slide"),
        (darwin({"name": "a", "polygon": {"paths": 3}}), r"annotation 1 \(a\) has no readable"),
        (darwin("a"), "annotation 1 .* not an object"),
    ],
)  # fmt: skip
def test_darwin_that_is_not_of_this_slide_is_refused(data: Any, text: str) -> None:
    with pytest.raises(AnnotationError, match=text):
        annotations_of_json("a.json", data, SLIDE)


def test_darwin_of_the_scanned_area_counts_from_it() -> None:
    data = darwin({"name": "a", "keypoint": {"x": 3, "y": 4}})
    area = Region(100, 200, 2000, 1000)
    found = annotations_of_json("a.json", data, Size(4000, 3000), bounds=area)
    assert found.items[0].geometry.wkt == "POINT (103 204)"


def test_real_darwin_file_is_read(real_data: Path) -> None:
    path = real_data / "annotations" / "darwin_v7" / "103S.json"
    found = read_annotations(path, Size(63488, 40064))
    assert len(found) == 17
    roi = found.of("ROI (segmentation)")[0].geometry
    assert roi.area == pytest.approx(4597.51 * 5122.94, rel=1e-6)
    # Its six paths are an outline, holes, and islands in them with holes of their own.
    stroma = found.of("stroma (area)")[0].geometry
    assert sorted(len(part.interiors) for part in stroma.geoms) == [0, 1, 2]
    assert stroma.area == pytest.approx(2_820_846, abs=1)
    raster = read_annotations(real_data / "annotations" / "darwin_v7" / "raster.json")
    assert raster.warnings == ("not taken: raster layer (1)",)


def test_sectra_counts_both_ways_in_widths_of_the_slide(real_data: Path) -> None:
    """The area and the length that Sectra states are of one slide, about 23.63 mm wide."""
    folder = real_data / "annotations" / "sectra"
    wide = Size(23630, 20000)  # 1 um/px
    area = read_annotations(folder / "pathologycore-area.json", wide)
    line = read_annotations(folder / "pathologycore-polyline.json", wide)
    assert area.items[0].geometry.area / 1e6 == pytest.approx(5.33, abs=0.005)
    assert line.items[0].geometry.length / 1e3 == pytest.approx(5.93, abs=0.005)
    with pytest.raises(AnnotationError, match="slide is needed"):
        read_annotations(folder / "pathologycore-area.json")


def sectra(kind: str, slide: str = "s", content: Any = None) -> dict[str, Any]:
    points = xy([(0, 0), (1, 0), (0, 1)]) if content is None else content
    return {"type": kind, "name": "Tumour", "slideId": slide, "content": points}


def test_sectra_kinds_are_read_counted_or_refused() -> None:
    found = annotations_of_json("a", [sectra("Area"), sectra("Sticker")], Size(2000, 2000))
    assert (found.classes, found.items[0].geometry.area) == (("Tumour",), 2_000_000)
    assert found.ignored == {"annotation of type Sticker": 1}
    with pytest.raises(AnnotationError, match="of 2 slides"):
        annotations_of_json("a", [sectra("Area"), sectra("Area", "t")], SLIDE)
    with pytest.raises(AnnotationError, match="no readable content"):
        annotations_of_json("a", sectra("Area", content=[3]), SLIDE)


def girder(*elements: Any) -> dict[str, Any]:
    return {"name": "Doc", "elements": list(elements)}


def test_girder_shapes_of_every_kind_are_read() -> None:
    points = [[x, y, 0] for x, y in square(0, 100)[:4]]
    hole = [[x, y, 0] for x, y in square(20, 40)[:4]]
    turned = {"center": [50, 50, 0], "width": 40, "height": 20, "rotation": math.pi / 2}
    round_ = {"center": [50, 50, 0], "radius": 10, "group": "g", "label": {"value": "l"}}
    document = girder(
        {"type": "polyline", "points": points, "closed": True, "holes": [hole], "group": "tumor"},
        {"type": "polyline", "points": points[:2], "label": {"value": "length"}},
        {"type": "rectangle", **turned},
        {"type": "ellipse", "center": [50, 50, 0], "width": 40, "height": 20, "group": "default"},
        {"type": "circle", **round_},
        {"type": "point", "center": [1, 2, 0]},
        {"type": "heatmap", "points": []},
    )  # fmt: skip
    for data in (document, {"annotation": document}, [{"annotation": document}]):
        found = annotations_of_json("a.json", data, SLIDE)
        area, line, box, ellipse, circle, point = (item.geometry for item in found)
        assert (area.area, line.length) == (10_000 - 400, 100)
        assert box.bounds == pytest.approx((40, 30, 60, 70))
        assert ellipse.area == pytest.approx(math.pi * 20 * 10)
        assert circle.area == pytest.approx(math.pi * 100)
        assert point.wkt == "POINT (1 2)"
        assert found.classes == ("tumor", "length", "Doc", "g")
        assert found.items[4].name == "l"
        assert found.ignored == {"element of type heatmap": 1}
    with pytest.raises(AnnotationError, match=r"element 1 \(Doc\) has no readable shape"):
        annotations_of_json("a.json", girder({"type": "point"}))


def test_real_girder_files_are_read(real_data: Path) -> None:
    folder = real_data / "annotations" / "dsa_girder"
    found = read_annotations(folder / "sample.anot")
    assert [item.geometry.geom_type for item in found] == ["Point", "Polygon"]
    assert found.classes == ("Sample",)
    assert read_annotations(folder / "sample_girder_id.anot").ignored == {
        "element of type image": 1
    }


def test_geojson_of_the_digital_slide_archive_keeps_its_classes_and_round_shapes() -> None:
    box = {
        "type": "Polygon",
        "coordinates": [[[0, 0, 0], [40, 0, 0], [40, 20, 0], [0, 20, 0], [0, 0, 0]]],
    }
    first = {"type": "ellipse", "group": "tumor", "annotation": {"name": "Doc"}}
    features = [
        {"geometry": box, "properties": first},
        {"geometry": box, "properties": {"type": "polyline", "label": {"value": "stroma"}}},
        {"geometry": box, "properties": {"type": "rectangle", "lineColor": "rgb(0,0,0)"}},
    ]  # fmt: skip
    data = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", **one} for one in features],
    }
    found = annotations_of_json("a", data, SLIDE, bounds=Region(100, 100, 500, 500))
    assert found.classes == ("tumor", "stroma", "Doc")
    assert found.items[0].geometry.area == pytest.approx(math.pi * 20 * 10)
    assert found.items[1].geometry.bounds == (0, 0, 40, 20)
    assert found.warnings == ()


def test_gzip_is_read_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    outline = {"type": "Polygon", "coordinates": [square(0, 9)]}
    content = gzip.compress(json.dumps(outline).encode())
    (tmp_path / "a.geojson.gz").write_bytes(content)
    assert len(read_annotations(tmp_path / "a.geojson.gz")) == 1
    (tmp_path / "b.geojson.gz").write_bytes(content[:-12])
    with pytest.raises(AnnotationError, match=r"b\.geojson\.gz: the gzip file is damaged"):
        read_annotations(tmp_path / "b.geojson.gz")


def test_json_nested_beyond_reason_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="broken JSON"):
        read_annotations(save(tmp_path, "[" * 100_000))


def test_thousands_of_real_polygons_keep_their_holes_and_outsiders_are_told(
    real_data: Path,
) -> None:
    path, size = real_data / "polygons" / "hgsc_tissue_wsi.geojson.gz", Size(47001, 66210)
    with gzip.open(path) as file:
        features = json.load(file)["features"]
    # The few of ten thousand corners take most of the time.
    small = [one for one in features if sum(map(len, one["geometry"]["coordinates"])) < 300]
    assert len(features) == 3712
    data = {"type": "FeatureCollection", "features": small}
    with pytest.raises(AnnotationError, match="wholly outside the slide"):
        annotations_of_json("a", data, size)
    found = annotations_of_json("a", data, size, AnnotationSpec(outside="drop"))
    dropped = [text for text in found.warnings if text.endswith("; dropped")]
    assert len(dropped) == 5
    assert len(found) == len(small) - len(dropped)
    holes = sum(len(part.interiors) for item in found for part in shapely.get_parts(item.geometry))
    # Those without an area are none, and five lie in what was dropped.
    drawn = [ring for one in small for ring in one["geometry"]["coordinates"][1:]]
    assert holes == sum(shapely.Polygon(ring).area > 0 for ring in drawn) - 5


@pytest.mark.parametrize(
    "data",
    [
        {"positive": 3},
        {"negative": [3]},
        darwin(item={"slots": [{"width": "wide", "height": 3}]}),
        darwin(item={"slots": 3}),
        darwin({"name": "a", "keypoint": {"x": 1, "y": 2}, "text": "x"}),
        {"name": "a", "elements": [3]},
        [{"annotation": {"elements": []}}, 3],
        [{"slideId": "s", "content": []}, 3],
    ],
)
def test_json_that_is_not_as_its_format_has_it_is_refused(data: Any) -> None:
    with pytest.raises(AnnotationError, match=r"^a\.json: "):
        annotations_of_json("a.json", data, SLIDE)


def test_geojson_nested_beyond_reason_is_refused() -> None:
    data: Any = []
    for _ in range(20_000):
        data = [data]
    with pytest.raises(AnnotationError, match="malformed"):
        annotations_of_json("a.json", data)


def test_asap_measurements_are_lines_and_splines_are_told(tmp_path: Path) -> None:
    def shape(kind: str, points: list[tuple[int, int]]) -> str:
        inner = "".join(
            f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points)
        )
        return f'<Annotation Name="a" Type="{kind}">{inner}</Annotation>'

    both = shape("Measurement", [(0, 0), (3, 4)]) + shape("Spline", square(0, 9))
    found = read_annotations(save(tmp_path, f"<ASAP_Annotations>{both}</ASAP_Annotations>"))
    assert [item.geometry.geom_type for item in found] == ["LineString", "Polygon"]
    assert found.warnings == ("splines read with straight lines between their points: 1",)
    none = f"<ASAP_Annotations>{shape('Polygon', [])}</ASAP_Annotations>"
    with pytest.raises(AnnotationError, match=r"annotation 1 \(a\) is empty"):
        read_annotations(save(tmp_path, none))


def test_a_left_out_shape_may_be_broken() -> None:
    far = [[1e30, 0], [1e31, 0], [1e31, 1e31], [1e30, 0]]
    outlines = [square(0, 9), square(-5, 5), far]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [outline]},
            "properties": {"classification": {"name": "ink"}},
        }
        for outline in outlines
    ]
    found = annotations_of_json("a", features, SLIDE, AnnotationSpec(classes={"ink": None}))
    assert (len(found), len(found.left_out)) == (0, 2)
    assert "areas of class 'ink' left out: 2 (106 px)" in found.warnings[0]
