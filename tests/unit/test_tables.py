"""CSV files as people write them."""

from pathlib import Path

import pytest

from wsi.errors import DatasetError
from wsi.tables import number_of, read_lines


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_part_cells_alike(tmp_path: Path, separator: str) -> None:
    text = "\ufeffslide , score\na.svs,1\n\nb.svs,2\n".replace(",", separator)
    assert read_lines(write(tmp_path, text)) == [
        {"slide": "a.svs", "score": "1"},
        {"slide": "b.svs", "score": "2"},
    ]


def test_a_semicolon_table_keeps_its_decimal_commas(tmp_path: Path) -> None:
    (line,) = read_lines(write(tmp_path, "slide;score\na.svs;0,25\n"))
    assert number_of(line["score"], "line 2") == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide,score\na,1,2\n", "line 2: 3 cells where the header has 2"),
        ("slide,slide\na,b\n", "'slide' occurs twice"),
        ("slide,score\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_a_table_that_could_be_misread_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_lines(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [("1,234", "fraction or thousands"), ("x", "is not a number"), ("inf", "not finite")],
)
def test_a_number_that_is_none_or_two_is_refused(text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        number_of(text, "line 2")


@pytest.mark.parametrize(
    ("text", "value"), [("0,5", 0.5), ("-1,25", -1.25), ("0,125", 0.125), (" 3", 3)]
)
def test_a_decimal_comma_is_a_point(text: str, value: float) -> None:
    assert number_of(text, "line 2") == value
