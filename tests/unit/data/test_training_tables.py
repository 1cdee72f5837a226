"""Training tables, and what is refused in them."""

from pathlib import Path

import pytest

from wsi.data.tables import Row, read_table
from wsi.errors import DatasetError
from wsi.identifiers import DatasetWarning

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


@pytest.mark.parametrize("name", ["a.png", "./a.png", "x/../a.png", "../FOLDER/a.png"])
@pytest.mark.parametrize(
    ("line", "differs"),
    [
        ("0,p9,val", "split and patient"),
        ("1,p1,train", "label"),
        ("0,p2,train", "patient"),
    ],
)
def test_one_file_of_which_two_lines_say_different_things_is_refused(
    tmp_path: Path, name: str, line: str, differs: str
) -> None:
    text = GOOD + f"{name.replace('FOLDER', tmp_path.name)},{line}\n"
    with pytest.raises(DatasetError, match=f"lines 2 and 7 name one file, .* another {differs};"):
        read_table(table(tmp_path, text), CLASSES)


def test_of_annotated_slides_it_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    text = GOOD + "a.png,0,p9,val\n"
    assert len(read_table(table(tmp_path, text), CLASSES, tell=told.append)) == 6
    assert "lines 2 and 7 name one file" in told[0]
    assert "cannot be tested on it" in told[0]


def test_files_are_compared_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    text = GOOD + "../slides/a.png,0,p9,val\n"
    read_table(table(tmp_path, text), CLASSES)
    with pytest.raises(DatasetError, match="name one file"):
        read_table(tmp_path / "table.csv", CLASSES, root=tmp_path / "slides")


@pytest.mark.parametrize("name", ["Patient", "patient_id", "PatientID", " patients"])
def test_a_column_that_is_nearly_called_patient_is_not_passed_over(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(DatasetError, match="is not read, 'patient' would be"):
        read_table(table(tmp_path, GOOD.replace("patient", name)), CLASSES)


def test_a_table_of_cases_without_patients_warns(tmp_path: Path) -> None:
    with pytest.warns(DatasetWarning, match="if 'case' says whom"):
        read_table(table(tmp_path, GOOD.replace("patient", "case")), CLASSES)


def test_what_a_spreadsheet_shortened_is_no_patient(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="a spreadsheet shortened"):
        read_table(table(tmp_path, GOOD.replace("p4", "2.01247E+11")), CLASSES)


def test_a_patient_with_a_decimal_comma_is_the_whole_number(tmp_path: Path) -> None:
    text = GOOD.replace("p1", "1").replace("p4", "1,0").replace(",", ";").replace("1;0", "1,0")
    with pytest.raises(DatasetError, match=r"1 \(train and val\)"):
        read_table(table(tmp_path, text), CLASSES)


def test_a_label_that_only_looks_like_a_digit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="label '²' is not one of the classes"):
        read_table(table(tmp_path, GOOD.replace("c.png,benign", "c.png,²")), CLASSES)
