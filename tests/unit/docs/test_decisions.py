"""Every decision record can be found, and says whether it still holds."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
STATUS = re.compile(r"Status: (accepted|superseded (in part )?by .+)\. Date: 20\d\d-\d\d-\d\d\.")


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_has_title_status_and_date_and_is_in_the_index(path: Path) -> None:
    title, _, status, *_ = path.read_text().splitlines()
    assert re.match(r"# [A-Z]", title)
    assert STATUS.match(status), f"{path.name} begins: {status!r}"
    line = f"- [{path.stem[:4]}]({path.name}) {title.removeprefix('# ')}"
    assert line in (FOLDER / "index.md").read_text()


def test_numbers_are_unique_and_links_between_records_resolve() -> None:
    numbers = [path.stem[:4] for path in RECORDS]
    assert len(set(numbers)) == len(numbers)
    names = {path.name for path in FOLDER.glob("*.md")}
    linked = {
        name for path in RECORDS for name in re.findall(r"\]\((\d{4}-[^)#]+)\)", path.read_text())
    }
    assert linked <= names


def test_what_a_record_supersedes_says_so_itself() -> None:
    by_number = {path.stem[:4]: path.read_text().splitlines()[2] for path in RECORDS}
    for number, status in by_number.items():
        before, supersedes, older = status.partition("Supersedes")
        assert "superseded" not in before or re.search(r"\[\d{4}\]", before)
        for other in re.findall(r"\[(\d{4})\]", older if supersedes else ""):
            assert f"[{number}]" in by_number[other]
