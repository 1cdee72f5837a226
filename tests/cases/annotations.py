"""Annotations and QuPath."""

# ruff: noqa: E501

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import shapely
from click.testing import CliRunner

from tests.cases import Case
from tests.unit.annotations.scanned_slide import write_scn
from wsi.annotations import (
    Annotations,
    AnnotationSpec,
    describe_overlaps,
    label_areas,
    read_annotations,
    read_slide_annotations,
    scanned_bounds,
    to_geojson,
)
from wsi.cli import main
from wsi.errors import AnnotationError
from wsi.geometry import Mpp, Size
from wsi.slides import open_slide
from wsi.testing.slides import synthetic_slide

SLIDE = Size(2000, 1000)
Box = tuple[float, float, float, float]


def _told(found: Annotations) -> str:
    areas = label_areas(found)
    parts = [f"{name} {area.area:,.0f} px" for name, area in areas.classes.items()]
    if not areas.left_out.is_empty:
        parts.append(f"no label {areas.left_out.area:,.0f} px")
    flat = [item for item in found if shapely.get_dimensions(item.geometry) < 2]
    parts += [f"{item.class_name} (a {item.geometry.geom_type})" for item in flat]
    notes = [*found.warnings, *describe_overlaps(areas.overlaps, Mpp.square(0.5))]
    return f"read as {', '.join(parts) or 'nothing'}" + "".join(f"; {note}" for note in notes)


def _read(folder: Path, text: str, spec: AnnotationSpec, size: Size | None) -> str:
    (folder / "a.file").write_text(text)
    try:
        return _told(read_annotations(folder / "a.file", size, spec))
    except AnnotationError as error:
        return f"refused: {error}"


def case(
    name: str, content: Any, spec: AnnotationSpec | None = None, size: Size | None = SLIDE
) -> Case:
    """A file that holds this text, or this as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    run: Callable[[Path], str] = partial(_read, text=text, spec=spec or AnnotationSpec(), size=size)
    return Case(input=name, run=run)


def ring(box: Box) -> list[list[float]]:
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(name: str | None, box: Box = (0, 0, 100, 100), **more: Any) -> dict[str, Any]:
    properties = {"objectType": "annotation", **more}
    if name:
        properties["classification"] = {"name": name}
    geometry = {"type": "Polygon", "coordinates": [ring(box)]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def shaped(kind: str, coordinates: Any, **more: Any) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates, **more}
    return {**feature("cancer"), "geometry": geometry}


def asap(*regions: tuple[str, Box], comma: bool = False) -> str:
    shapes = ""
    for group, box in regions:
        points = "".join(
            f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(ring(box)[:4])
        )
        shapes += f'<Annotation Type="Polygon" PartOfGroup="{group}">{points}</Annotation>'
    text = f"<ASAP_Annotations>{shapes}</ASAP_Annotations>"
    return text.replace(".", ",") if comma else text


def layer(vertex: str, *regions: tuple[str, int, list[list[float]]]) -> str:
    inside = "".join(
        f'<Region Type="{kind}" NegativeROA="{negative}"><Vertices>'
        + "".join(f'<{vertex} X="{x}" Y="{y}"/>' for x, y in points)
        + "</Vertices></Region>"
        for kind, negative, points in regions
    )
    return f'<Annotations><Annotation Name="cancer"><Regions>{inside}</Regions></Annotation></Annotations>'


def _report_nested(folder: Path) -> str:
    synthetic_slide(folder / "s.tif", 1024, 0.5)
    nested = [feature("benign", (100, 100, 900, 900)), feature("cancer", (300, 300, 500, 500))]
    (folder / "s.geojson").write_text(json.dumps(nested))
    (folder / "t.csv").write_text("path,annotations,patient,split\ns.tif,s.geojson,p,train\n")
    asked = ["dataset", "report", "--table", str(folder / "t.csv"), "--out", str(folder / "out")]
    done = CliRunner().invoke(main, asked)
    return next(line for line in done.stderr.splitlines() if "lies inside" in line)


def _scanned(folder: Path) -> str:
    (folder / "a.geojson").write_text(json.dumps([feature("cancer", (20, 20, 60, 60))]))
    with open_slide(write_scn(folder / "a.scn")) as slide:
        bounds = scanned_bounds(slide.properties)
        found = read_slide_annotations(folder / "a.geojson", slide)
    left, top, _, _ = found.items[0].geometry.bounds
    written = to_geojson(found, bounds)
    corner = written["features"][0]["geometry"]["coordinates"][0][0]
    return (
        f"read at x {left:.0f}, y {top:.0f} of the slide ({found.warnings[0]}); written for QuPath "
        f"at x {corner[0]:.0f}, y {corner[1]:.0f}"
    )


OUTER, INNER, ISLAND = (0, 0, 100, 100), (20, 20, 80, 80), (40, 40, 60, 60)
_CANCER = AnnotationSpec(classes={"Tumor": "cancer", "_0": "cancer", "positive": "cancer"})
_OVAL = {"type": "ellipse", "center": [50, 50, 0], "width": 40, "height": 20, "group": "cancer"}

CASES = (
    Case(input="a benign outline with cancer inside, `wsi dataset report`", run=_report_nested),
    case("areas of two classes that overlap partly", [feature("a"), feature("b", (80, 0, 140, 100))]),
    case("the same outline in two classes", [feature("cancer"), feature("benign")]),
    case("Camelyon's exclusion `_2` in a tumour, with a tumour inside", asap(("_0", OUTER), ("_2", INNER), ("_0", ISLAND)), _CANCER),
    case("NCRF's negative in a positive", {"positive": [{"vertices": ring(OUTER)}], "negative": [{"vertices": ring(INNER)}]}, _CANCER),
    case("a class that the class map leaves out, inside cancer", [feature("Tumor"), feature("ink", INNER)], AnnotationSpec(classes={"Tumor": "cancer", "ink": None})),
    case("QuPath: a class in parts (`names`, 0.4 on)", [feature(None, classification={"names": ["Tumor", "Positive"]})]),
    case("QuPath: a class that is not readable", [feature(None, classification={"names": [3]})]),
    case("QuPath: objects inside objects", [feature("Stroma", childObjects=[feature("Tumor", INNER)])]),
    case("QuPath: detections, cells, TMA cores", [feature("cancer"), *(feature("x", objectType=kind) for kind in ("detection", "cell", "tmaCore"))]),
    case("QuPath: an object on another plane", [feature("cancer"), shaped("Polygon", [ring(INNER)], plane={"c": -1, "z": 2, "t": 0})]),
    case("QuPath: a line, and a line that closes", [shaped("LineString", [[0, 0], [9, 9]]), shaped("LineString", ring(INNER))]),
    case("an outline that is not closed", [shaped("Polygon", [ring(OUTER)[:4]])]),
    case("a GeometryCollection", [{**feature("cancer"), "geometry": {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 1]}, {"type": "Polygon", "coordinates": [ring(OUTER)]}]}}]),
    case("an outline over the slide's border", [feature("cancer", (-20, 0, 80, 100))]),
    case("an outline of another slide", [feature("cancer", (9000, 0, 9100, 100))]),
    case("an outline that crosses itself", [shaped("Polygon", [[[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]])]),
    case("three areas inside each other", [feature("a"), feature("b", (20, 20, 80, 80)), feature("a", (40, 40, 60, 60))]),
    case("an exclusion inside an exclusion", asap(("_0", OUTER), ("_2", INNER), ("_2", ISLAND)), _CANCER),
    case("a hole that another class fills", [shaped("Polygon", [ring(OUTER), ring(INNER)]), feature("benign", INNER)]),
    case("a hole that reaches over its outline", [shaped("Polygon", [ring(OUTER), ring((50, 50, 150, 150))])]),
    case("a MultiPolygon with a part inside another", [shaped("MultiPolygon", [[ring(OUTER)], [ring(INNER)]])]),
    case("class names that differ in case and spaces", [feature("Tumor"), feature("tumor ", (200, 0, 300, 100))]),
    case("a file without annotations", {"type": "FeatureCollection", "features": []}),
    case("an empty file", ""),
    case("a coordinate that is no number", asap(("Tumor", (0, 0, float("nan"), 100)))),
    case("coordinates in millimetres", [feature("cancer", (1.5, 2.5, 4.0, 6.0))], size=Size(40_000, 20_000)),
    Case(input="QuPath's square on a slide that QuPath crops to its scanned area (x 300, y 200)", run=_scanned),
    case("HALO: a negative region with an island", layer("V", ("Polygon", 0, ring(OUTER)), ("Polygon", 1, ring(INNER)), ("Polygon", 0, ring(ISLAND)))),
    case("HALO: an outline that does not close", layer("V", ("Polygon", 0, [[0, 0], [100, 0], [200, 100], [300, 50]]))),
    case("ImageScope: a negative region with an island", layer("Vertex", ("0", 0, ring(OUTER)), ("0", 1, ring(INNER)), ("0", 0, ring(ISLAND)))),
    case("decimal commas", asap(("Tumor", (0.5, 0.5, 100.5, 100.5)), comma=True)),
    case("commas that may be thousands", layer("Vertex", ("0", 0, [["1,000", "2,000"], ["3,000", "2,000"], ["3,000", "4,000"]]))),  # type: ignore[list-item]
    case("Girder annotation JSON with an ellipse and an image", {"name": "a", "elements": [_OVAL, {"type": "image", "girderId": "i"}]}),
    case("GeoJSON of the Digital Slide Archive", [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring((0, 0, 40, 20))]}, "properties": {"type": "ellipse", "group": "tumor"}}]),
    case("Darwin V7 JSON of an image of another size", {"version": "2.0", "item": {"slots": [{"width": 500, "height": 300}]}, "annotations": []}),
    case("Darwin JSON of version 1", {"version": "1.0", "dataset": "d", "annotations": []}),
    case("Sectra JSON without its slide", {"type": "Area", "slideId": "s", "content": []}, size=None),
    case("XML of another program", "<ndpviewstate/>"),
)  # fmt: skip
