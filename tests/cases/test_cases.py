"""The documented table of unusual inputs says what happens."""

from pathlib import Path

import pytest

from tests.cases import Case, areas, cases, outcome, row, table
from tests.conftest import data_dir

ALL = [
    pytest.param(area, case, id=f"{area}: {case.input}") for area in areas() for case in cases(area)
]


@pytest.mark.parametrize(("area", "case"), ALL)
def test_an_unusual_input_is_answered_as_the_table_says(
    area: str, case: Case, tmp_path: Path
) -> None:
    if case.real and data_dir() is None:
        pytest.skip("no real slides here: set WSI_TEST_DATA to their folder")
    assert row(case, outcome(case, tmp_path.resolve())) in table(area).splitlines()


@pytest.mark.parametrize("area", areas())
def test_the_table_holds_one_row_for_each_case(area: str) -> None:
    inputs = [line.split(" | ")[0] for line in table(area).splitlines() if line.startswith("| ")]
    assert inputs[1:] == [f"| {case.input}" for case in cases(area)]
