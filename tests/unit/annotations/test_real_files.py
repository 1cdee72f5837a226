"""Files that QuPath, ASAP, ImageScope and NCRF wrote, read as those programs meant them."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from wsi.annotations import AnnotationSpec, read_annotations
from wsi.geometry import Size


@pytest.fixture
def files(real_data: Path) -> Path:
    return real_data / "annotations"


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ("brush", "Polygon"),
        ("ellipse", "Polygon"),
        ("line", "LineString"),
        ("multipoint", "MultiPoint"),
        ("point", "Point"),
        ("polygon", "Polygon"),
        ("polyline", "LineString"),
        ("rectangle", "Polygon"),
        ("wand", "Polygon"),
    ],
)
def test_every_qupath_shape_is_read(files: Path, shape: str, kind: str) -> None:
    path = files / "qupath_geojson" / f"wsidicom_qupath-{shape}.json"
    (item,) = read_annotations(path, Size(46000, 33000))
    assert item.geometry.geom_type == kind
    assert item.name == shape
    if shape == "rectangle":
        assert item.geometry.area == (26478 - 26268) * (15474 - 15298)


def test_qupath_multipolygons_and_holes_are_read(files: Path) -> None:
    many = read_annotations(files / "qupath_geojson" / "histoqc_geojson_example.json")
    assert many.classes == ("Tumor", "Invborder")
    assert {item.geometry.geom_type for item in many} == {"MultiPolygon"}
    (holed,) = read_annotations(files / "qupath_geojson" / "histoqc_holed.geojson")
    outline = (13369 - 10098) * (19491 - 16763)
    assert len(holed.geometry.interiors) == 1
    assert 0 < holed.geometry.area < outline
    assert len(read_annotations(files / "qupath_geojson" / "dlup_qupath05.geojson")) > 2


@pytest.mark.parametrize("slide", ["076", "085"])
def test_camelyon_areas_agree_between_asap_and_ncrf(files: Path, slide: str) -> None:
    asap = read_annotations(
        files / "asap_xml" / f"tumor_{slide}.xml",
        spec=AnnotationSpec(classes={"metastasis": "cancer"}),
    )
    ncrf = read_annotations(
        files / "ncrf_json" / f"Tumor_{slide}.json",
        spec=AnnotationSpec(classes={"positive": "cancer", "negative": "benign"}),
    )
    # NCRF left out the one spline among the 39 outlines of 076.
    assert len(asap) - (slide == "076") == len(ncrf.of("cancer")) > 30
    ours, theirs = asap.area("cancer"), ncrf.area("cancer")
    assert ours.area == pytest.approx(theirs.area, rel=5e-4)
    assert ours.intersection(theirs).area == pytest.approx(ours.area, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "kind"), [("dot", "Point"), ("pointset", "MultiPoint"), ("polygon", "Polygon")]
)
def test_other_asap_shapes_are_read(files: Path, name: str, kind: str) -> None:
    (item,) = read_annotations(files / "asap_xml" / f"wsidicom_asap-{name}.xml")
    assert item.geometry.geom_type == kind
    assert item.class_name == "Annotation 0"


@pytest.mark.parametrize(
    "name", ["eedap_CCB010352HE", "eedap_CCB030097HE", "eedap_CCB030179HE", "eedap_CCB050031HE"]
)
def test_imagescope_areas_are_those_the_file_states(files: Path, name: str) -> None:
    path = files / "imagescope_xml" / f"{name}.xml"
    stated = [float(region.get("Area", 0)) for region in ElementTree.parse(path).iter("Region")]
    found = read_annotations(path)
    areas = [item.geometry.area for item in found if item.geometry.area > 0]
    assert sum(areas) == pytest.approx(sum(stated), rel=0.01)


def test_imagescope_layers_are_classes(files: Path) -> None:
    found = read_annotations(files / "imagescope_xml" / "TCGA-EJ-5518-01Z-00-DX1.xml")
    assert "CaP" in found.classes
    assert found.area("CaP").area > 1e7
    assert all(item.geometry.is_valid for item in found)


def test_tumour_polygons_of_a_real_slide_lie_on_it(real_data: Path) -> None:
    from wsi.slides import open_slide

    for name in ("idc_14082", "idc_8865"):
        with open_slide(real_data / "idc_slides" / f"{name}.tif") as slide:
            found = read_annotations(real_data / "idc_slides" / f"{name}.geojson", slide.size)
        assert len(found) > 0
        assert found.warnings == ()
