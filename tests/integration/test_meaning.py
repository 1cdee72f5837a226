"""Slides that are valid and unusual are read for what they are, or refused.

``WSI_DRAWN_SLIDES`` says how many in the long form; ``benchmarks/drawn_slides.py`` draws 500 and
writes them down.
"""

import os
from pathlib import Path

import pytest

from tests.integration.meaning import read_all
from wsi.testing.drawn_slides import drawn_slides

COUNT = int(os.environ.get("WSI_DRAWN_SLIDES", "60"))


@pytest.mark.parametrize("count", [12, pytest.param(COUNT, marks=pytest.mark.long)])
def test_no_drawn_slide_is_read_for_what_it_is_not(tmp_path: Path, count: int) -> None:
    found = read_all(drawn_slides(tmp_path, count, seed=1))
    assert found.wrong == []
    assert found.counts.total() == count
    outcomes = {outcome for _, outcome in found.counts}
    assert {"accepted", "unsupported", "mpp"} <= outcomes, "the slides are all of one kind"
    assert found.counts["nothing", "accepted"] >= count // 4


def test_the_same_slides_are_drawn_at_every_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (list(drawn_slides(tmp_path / name, 3, seed=5)) for name in ("one", "two"))
    assert [s.path.read_bytes() for s in one] == [s.path.read_bytes() for s in two]
    assert [s.odd for s in one] == [s.odd for s in two]
