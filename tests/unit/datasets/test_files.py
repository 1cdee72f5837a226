"""The files of a dataset table, and how much of them is annotated."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from wsi.annotations import Annotation, Annotations
from wsi.datasets.coverage import coverage_of, measure_coverage
from wsi.datasets.files import check_files
from wsi.datasets.table import Entry
from wsi.geometry import Size
from wsi.testing.slides import synthetic_slide, write_geojson
from wsi.tissue import TissueMask


def entry(path: str, line: int = 2, **more: str) -> Entry:
    given = {"label": "benign", "patient": path, "split": "train", "site": "", "annotations": ""}
    return Entry(line=line, path=path, **{**given, "mpp": "", **more})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    made = synthetic_slide(folder / "a.tif", 512, 0.5, seed=1)
    write_geojson(folder / "a.geojson", [("cancer", shape) for shape in made.cancer_polygons])
    synthetic_slide(folder / "b.tif", 512, 0.5, seed=2)
    (folder / "more").mkdir()
    shutil.copy(folder / "a.tif", folder / "copy.tif")
    shutil.copy(folder / "b.tif", folder / "more" / "b.tif")
    (folder / "torn.tif").write_bytes(b"II*\x00torn")
    return folder


def test_sound_files_have_no_problem(root: Path) -> None:
    assert check_files([entry("a.tif"), entry("b.tif", 3)], root) == []


def test_missing_and_torn_files_are_named(root: Path) -> None:
    found = {one.kind: one for one in check_files([entry("lost.tif"), entry("torn.tif")], root)}
    assert found["file_missing"].message.startswith("1 of 2 files are missing")
    assert "lost.tif" in found["file_missing"].message
    assert "1 slide(s) cannot be read: torn.tif" in found["unreadable"].message


def test_one_slide_under_two_names_in_two_splits_is_an_error(root: Path) -> None:
    rows = [entry("a.tif"), entry("copy.tif", 3, split="test", label="cancer")]
    (found,) = check_files(rows, root)
    assert (found.severity, found.kind) == ("error", "same_file")
    assert "a.tif, copy.tif (lines 2, 3), in different splits (test, train), with different" in (
        found.message
    )


def test_slides_of_one_name_warn(root: Path) -> None:
    rows = [entry("b.tif", patient="p"), entry("more/b.tif", 3, patient="p")]
    found = {one.kind: one.severity for one in check_files(rows, root)}
    assert found == {"same_name": "warning", "same_file": "warning"}


def test_one_file_in_two_lines_of_different_labels_is_an_error(root: Path) -> None:
    rows = [entry("a.tif"), entry("a.tif", 3, label="cancer")]
    found = [one for one in check_files(rows, root) if one.severity == "error"]
    assert "one file in several lines: a.tif (lines 2, 3), with different labels" in (
        found[0].message
    )


def test_a_slide_without_resolution_is_named_unless_the_table_gives_one(real_data: Path) -> None:
    name = "wsi/TCGA-CR-7395-01A-01-TS1.svs"
    (found,) = check_files([entry(name)], real_data)
    assert (found.kind, name in found.message) == ("no_mpp", True)
    assert check_files([entry(name, mpp="0.5")], real_data) == []


def test_patches_in_a_zip_are_compared_and_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "patches.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, data in {"a.png": b"same", "b.png": b"same", "c.png": b"else"}.items():
            made.writestr(name, data)
    rows = [entry("a.png"), entry("b.png", 3, split="val"), entry("c.png", 4), entry("d.png", 5)]
    found = {one.kind: one for one in check_files(rows, path, images=True)}
    assert found.keys() == {"file_missing", "same_file"}
    assert found["same_file"].severity == "warning"
    assert "d.png" in found["file_missing"].message


def test_coverage_counts_tissue_and_what_lies_beside_it() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:, :5] = True
    tissue = TissueMask(mask=mask, size=Size(100, 100))
    drawn = Annotations(
        "x",
        (
            Annotation("cancer", box(0, 0, 20, 50)),
            Annotation("stroma", box(10, 0, 20, 50)),  # inside the other
            Annotation("ink", box(60, 0, 100, 100)),
        ),
    )
    found = coverage_of(entry("a.tif"), drawn, tissue)
    assert found.shares == {"cancer": 0.1, "stroma": 0.1, "ink": 0.0}
    (note,) = found.notes
    assert note.startswith("stroma lies inside cancer (1 place, 500 px): the inner area, stroma,")
    assert found.any_share == pytest.approx(0.2)
    assert found.on_glass == pytest.approx(0.8)


def test_annotated_slides_are_measured_and_a_failure_does_not_stop_the_rest(root: Path) -> None:
    rows = [
        entry("a.tif", annotations="a.geojson"),
        entry("torn.tif", 3, annotations="a.geojson"),
        entry("b.tif", 4),
    ]
    found = measure_coverage(rows, root)
    assert (found.annotated, found.unannotated, len(found.slides)) == (2, 1, 1)
    assert found.slides[0].shares["cancer"] == pytest.approx(0.3, abs=0.12)
    assert found.slides[0].on_glass < 0.2
    assert found.by_class()["cancer"][0] == 1
    assert [one.message.split(":")[0] for one in found.problems] == ["torn.tif"]


def test_annotations_beside_the_tissue_warn(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "a.tif", tmp_path / "a.tif")
    write_geojson(tmp_path / "a.geojson", [("cancer", box(0, 0, 60, 60))])
    (found,) = measure_coverage([entry("a.tif", annotations="a.geojson")], tmp_path).problems
    assert (found.severity, found.kind) == ("warning", "annotation_on_glass")
