"""One patient is one patient, however a table writes it."""

import warnings

import pytest

from wsi.errors import DatasetError
from wsi.identifiers import DatasetWarning, identifiers_of, normal_identifier, require_distinct


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("P1 ", "P1"),
        ("\u00a0P1", "P1"),
        ("P\u00a01", "P 1"),
        ("P1\u200b", "P1"),
        ("\ufeffP1", "P1"),
        ("P\u20131", "P-1"),
        ("\uff30\uff11", "P1"),
        ("12.0", "12"),
        ("12.00", "12"),
        ("1.2", "1.2"),
        ("TCGA-A1-A0SH", "TCGA-A1-A0SH"),
        ("01", "01"),
    ],
)
def test_an_identifier_has_one_form(text: str, wanted: str) -> None:
    assert normal_identifier(text) == wanted
    assert normal_identifier(wanted) == wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "01"), ("P1", "p1"), ("P1", "P-1"), ("P01", "P1"), ("S21/12", "S21-12"), ("a 7", "a_7")],
)
def test_look_alikes_are_refused_by_name(one: str, other: str) -> None:
    with pytest.raises(DatasetError, match="look like one patient") as caught:
        require_distinct([one, "x", other], "patient", "t.csv")
    assert repr(one) in str(caught.value)
    assert repr(other) in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "10"),
        ("A-11", "A1-1"),
        ("1-11", "11-1"),
        ("TCGA-A1-A0S", "TCGA-A1-A0T"),
        ("P1", "Q1"),
    ],
)
def test_different_patients_are_left_alone(one: str, other: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_distinct([one, other], "patient", "t.csv")


def test_one_case_number_under_two_prefixes_is_named() -> None:
    with pytest.warns(DatasetWarning, match="'GT2012468' and 'GTXC2012468' share a number"):
        require_distinct(["GT2012468", "GTXC2012468", "GT2012469"], "patient", "t.csv")
    with pytest.warns(DatasetWarning, match="'GT2012468-1' and 'GTXC2012468-2' share a number"):
        require_distinct(["GT2012468-1", "GTXC2012468-2", "GT2012469-1"], "patient", "t.csv")


def test_an_empty_cell_among_filled_ones_is_refused_with_its_line() -> None:
    lines = [{"patient": "p1"}, {"patient": "NA"}, {"patient": " "}]
    with pytest.raises(DatasetError, match=r"line 3: patient is empty.*2 of 3 lines"):
        identifiers_of(lines, "patient", "t.csv")
    assert identifiers_of([{"patient": ""}, {"patient": "nan"}], "patient", "t.csv") is None
