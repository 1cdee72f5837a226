"""Unusual inputs and what the product does with each: one module per area, one table in the docs.

A case makes its input itself, runs the product and says in one sentence what happened. The test
compares that sentence with the committed table, ``docs/unusual-inputs/AREA.md``; the site joins
the tables into one page. ``python -m tests.cases [AREA ...]`` writes the tables anew.
"""

import importlib
import pkgutil
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import data_dir

TABLES = Path(__file__).parents[2] / "docs" / "unusual-inputs"
_HEAD = ("| input | what happens |", "|---|---|")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One unusual input.

    Attributes:
        input: what it is, in plain words; unique within its area.
        run: makes the input in an empty folder, runs the product on it, and returns what happened
            in one sentence: usually the text of the error or warning.
        real: whether it reads the real slides of ``WSI_TEST_DATA``.
    """

    input: str
    run: Callable[[Path], str]
    real: bool = False


def areas() -> tuple[str, ...]:
    """The modules of this package that hold cases."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in found if not name.startswith(("_", "test_")))


def cases(area: str) -> tuple[Case, ...]:
    """The cases of one area."""
    found: tuple[Case, ...] = importlib.import_module(f"{__name__}.{area}").CASES
    return found


def outcome(case: Case, folder: Path) -> str:
    """What happens with this input, on one line and without the folder's name."""
    told = case.run(folder).replace(f"{folder}/", "").replace(str(folder), ".")
    return re.sub(r"\s+", " ", told).strip().replace("|", r"\|")


def row(case: Case, told: str) -> str:
    """The case as a line of its table."""
    return f"| {case.input} | {told} |"


def table(area: str) -> str:
    """The committed table of an area; empty where there is none."""
    file = TABLES / f"{area}.md"
    return file.read_text(encoding="utf-8") if file.exists() else ""


def write(area: str) -> None:
    """Run an area's cases and write its table; rows that need absent data stay as they were."""
    known = {line.split(" | ")[0]: line for line in table(area).splitlines()}
    doc = importlib.import_module(f"{__name__}.{area}").__doc__ or area
    rows = []
    for case in cases(area):
        if case.real and data_dir() is None:
            rows.append(known[f"| {case.input}"])
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(case, outcome(case, Path(folder).resolve())))
    TABLES.mkdir(exist_ok=True)
    text = "\n".join([f"## {doc.strip().splitlines()[0].rstrip('.')}", "", *_HEAD, *rows, ""])
    (TABLES / f"{area}.md").write_text(text, encoding="utf-8")
