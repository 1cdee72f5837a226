"""Hotspots against annotations, as files on disk."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from wsi.cli.main import main
from wsi.errors import AnnotationError, DatasetError
from wsi.evaluation.localization import localize
from wsi.evaluation.result_set import read_results
from wsi.geometry import Point
from wsi.storage import HeatmapGrid, HeatmapLayer, Hotspot, SlideResult, result_to_json


def write_result(folder: Path, name: str, spots: list[tuple[float, float, float, str]]) -> None:
    """A slide of 8,000 px at 0.5 um with hotspots of (x, y, score, class)."""
    result = SlideResult(
        slide=name,
        pipeline="patch",
        model="m",
        model_digest="d",
        classes=("benign", "cancer"),
        probabilities={"benign": 0.5, "cancer": 0.5},
        grid=HeatmapGrid(origin_level0=Point(0, 0), cell_level0=(80, 80), shape=(100, 100), mpp=40),
        layers=(HeatmapLayer(kind="probability", values_chw=np.zeros((2, 100, 100), np.float32)),),
        hotspots=tuple(
            Hotspot(
                polygon_level0=((x, y), (x + 1, y), (x, y + 1), (x, y)),
                centre_level0=Point(x, y),
                class_name=class_name,
                score=score,
                mean_score=score,
                area_um2=1.0,
            )
            for x, y, score, class_name in spots
        ),
    )
    (folder / name).mkdir(parents=True)
    (folder / name / "patch.json").write_text(json.dumps(result_to_json(result)))


def box(left: int, top: int, right: int, bottom: int, name: str) -> dict[str, object]:
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }


@pytest.fixture
def made(tmp_path: Path) -> Path:
    write_result(
        tmp_path / "results",
        "a",
        [(1500, 1500, 0.9, "cancer"), (7000, 7000, 0.8, "cancer"), (5500, 5500, 0.99, "benign")],
    )
    write_result(tmp_path / "results", "b", [(100, 100, 0.5, "cancer")])
    (tmp_path / "drawn").mkdir()
    drawn = [box(1000, 1000, 2500, 2500, "tumour"), box(5000, 5000, 6500, 6500, "tumour")]
    collection = {"type": "FeatureCollection", "features": drawn}
    (tmp_path / "drawn" / "a.geojson").write_text(json.dumps(collection))
    return tmp_path


def test_hotspots_of_the_class_are_matched_to_lesions(made: Path) -> None:
    results = read_results(made / "results", "patch")
    found = localize(results, made / "drawn", positive="cancer", lesions=["tumour"])
    assert (found.slides, found.lesions, found.unannotated) == (2, 2, ("b",))
    # One of two lesions at no false alarm, and never the other.
    np.testing.assert_allclose(found.curve.thresholds_t, [0.9, 0.8, 0.5])
    np.testing.assert_allclose(found.curve.sensitivity_t, 0.5)
    np.testing.assert_allclose(found.curve.false_positives_t, [0, 0.5, 1])
    assert found.score.value == 0.5


def test_a_hole_is_no_lesion(made: Path) -> None:
    path = made / "drawn" / "a.geojson"
    data = json.loads(path.read_text())
    # It lies along the lesion's edge: a hole inside would be filled again by definition.
    data["features"].append(box(900, 900, 2100, 2600, "spared"))
    path.write_text(json.dumps(data))
    results = read_results(made / "results", "patch")
    found = localize(
        results, made / "drawn", positive="cancer", lesions=["tumour"], holes=["spared"]
    )
    assert found.score.value == 0
    assert len(found.curve.thresholds_t) == 3


def test_an_annotation_without_the_class_is_refused(made: Path) -> None:
    results = read_results(made / "results", "patch")
    with pytest.raises(AnnotationError, match="classes there: tumour"):
        localize(results, made / "drawn", positive="cancer", lesions=["metastasis"])


def test_a_folder_of_annotations_that_is_not_there_is_refused(made: Path) -> None:
    results = read_results(made / "results", "patch")
    with pytest.raises(DatasetError, match="there is no such folder of annotations"):
        localize(results, made / "drwan", positive="cancer", lesions=["tumour"])


def test_the_command_writes_a_page_and_names_slides_without_annotation(made: Path) -> None:
    asked = ["--results", str(made / "results"), "patch", "--annotations", str(made / "drawn")]
    out = made / "out"
    done = CliRunner().invoke(
        main, ["evaluate", "froc", *asked, "--lesion", "tumour", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "FROC 0.5000" in done.output
    assert "count as lesion-free: b" in done.output
    assert "not a medical device" in (out / "froc.html").read_text()
    assert json.loads((out / "froc.json").read_text())["lesions"] == 2


def test_the_inner_area_counts_in_evaluation_too_and_is_told(made: Path) -> None:
    path = made / "drawn" / "a.geojson"
    data = json.loads(path.read_text())
    # Tumour around the first hotspot, then benign tissue inside it there.
    data["features"] = [box(1000, 1000, 4000, 2500, "tumour"), box(900, 900, 2100, 2600, "benign")]
    path.write_text(json.dumps(data))
    asked = ["--results", str(made / "results"), "patch", "--annotations", str(made / "drawn")]
    done = CliRunner().invoke(
        main, ["evaluate", "froc", *asked, "--lesion", "tumour", "--out", str(made / "out")]
    )
    assert done.exit_code == 0, done.output
    assert "FROC 0.0000" in done.output
    assert "a: benign partly overlaps tumour (1 place, 1,650,000 px)" in done.stderr


def test_annotations_of_a_slide_that_qupath_crops_lie_right(made: Path) -> None:
    result = made / "results" / "a" / "patch.json"
    data = json.loads(result.read_text())
    result.write_text(json.dumps(data | {"scanned_bounds_level0": [900, 900, 7000, 7000]}))
    drawn = [box(100, 100, 1600, 1600, "tumour")]  # as QuPath counts
    (made / "drawn" / "a.geojson").write_text(json.dumps(drawn))
    results = read_results(made / "results", "patch")
    found = localize(results, made / "drawn", positive="cancer", lesions=["tumour"])
    assert (found.lesions, found.score.value) == (1, 1.0)
    assert "scanned area (x 900, y 900)" in found.notes[0]
