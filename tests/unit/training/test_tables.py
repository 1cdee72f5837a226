"""Training tables, and what is refused in them."""

from pathlib import Path

import pytest

from wsi.errors import DatasetError
from wsi.training.tables import Row, read_table

CLASSES = ("benign", "cancer")
GOOD = """path,label,patient,split
a.png,0,p1,train
b.png,cancer,p1,train
c.png,benign,p2,train
d.png,1,p3,train
e.png,1,p4,validation
"""


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text)
    return path


def test_labels_may_be_names_or_numbers_and_splits_have_synonyms(tmp_path: Path) -> None:
    rows = read_table(table(tmp_path, GOOD), CLASSES)
    assert [row.label for row in rows] == [0, 1, 0, 1, 1]
    assert rows[-1] == Row(path="e.png", label=1, patient="p4", split="val")


def test_one_patient_in_two_splits_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"p1 \(train and val\)"):
        read_table(table(tmp_path, GOOD.replace("p4", "p1")), CLASSES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cancer,p1", "tumour,p1", "line 3: label 'tumour'"),
        ("1,p3", "2,p3", "label '2'"),
        ("0,p1", ",p1", "a.png has no label"),
        ("validation", "later", "split 'later'"),
        ("a.png", "", "path is empty"),
        ("path,", "name,", "column missing: path"),
        (",split", ",fold", "column missing: split"),
        ("b.png,cancer", "b.png,benign", "class 'cancer' has 1 training"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_table(table(tmp_path, GOOD.replace(old, new)), CLASSES)


@pytest.mark.parametrize("text", ["", "path,label,split\n"])
def test_a_table_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DatasetError, match="no rows"):
        read_table(table(tmp_path, text), CLASSES)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_table(tmp_path / "none.csv", CLASSES)


def test_slides_without_labels_are_taken_where_annotations_label_them(tmp_path: Path) -> None:
    text = "slide,annotations,split,mpp\ns.svs,s.geojson,train,0.5\n"
    (row,) = read_table(table(tmp_path, text), CLASSES, needs_label=False)
    assert (row.label, row.annotations, row.patient, row.mpp) == (None, "s.geojson", "s.svs", 0.5)


@pytest.mark.parametrize("written", ["p1 ", "p1\u00a0", "\u200bp1"])
def test_a_patient_is_known_however_the_spaces_are(tmp_path: Path, written: str) -> None:
    with pytest.raises(DatasetError, match=r"p1 \(train and val\)"):
        read_table(table(tmp_path, GOOD.replace("p4", written)), CLASSES)


@pytest.mark.parametrize("written", ["P1", "p01", "p-1"])
def test_a_patient_who_looks_like_another_is_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(DatasetError, match="look like one patient"):
        read_table(table(tmp_path, GOOD.replace("p4", written)), CLASSES)


def test_a_missing_patient_among_named_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 6: patient is empty"):
        read_table(table(tmp_path, GOOD.replace("p4", "")), CLASSES)


def test_a_semicolon_table_is_read_alike(tmp_path: Path) -> None:
    rows = read_table(table(tmp_path, GOOD.replace(",", ";")), CLASSES)
    assert rows == read_table(table(tmp_path, GOOD), CLASSES)
