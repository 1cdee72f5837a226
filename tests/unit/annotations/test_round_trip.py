"""Random annotations come back whole through every format that is written."""

import json
from pathlib import Path

import numpy as np
import pytest

from wsi.annotations import (
    annotations_of_geojson,
    read_annotations,
    to_geojson,
    write_geojson,
)
from wsi.geometry import Region, Size
from wsi.testing.annotations import (
    as_qupath_exports,
    differences,
    random_annotations,
)

SLIDE = Size(7000, 6000)
AREA = Region(3000, 2000, 3000, 2400)
SETS = 30


@pytest.mark.parametrize("bounds", [None, AREA], ids=["whole slide", "scanned area"])
def test_sets_written_and_read_are_the_same(tmp_path: Path, bounds: Region | None) -> None:
    rng = np.random.default_rng(1)
    for _ in range(SETS):
        before = random_annotations(rng, SLIDE)
        write_geojson(before, tmp_path / "a.geojson", bounds)
        after = read_annotations(tmp_path / "a.geojson", SLIDE, bounds=bounds)
        found = differences(before.items, after.items, tolerance_px=1e-6)
        assert found.lost == 0
        assert after.warnings == ()


@pytest.mark.parametrize("bounds", [None, AREA], ids=["whole slide", "scanned area"])
def test_sets_that_went_through_qupath_lose_nothing(bounds: Region | None) -> None:
    rng = np.random.default_rng(2)
    ignored = 0
    for _ in range(SETS):
        # QuPath shows the scanned area alone, so all lies in it.
        size = Size(3000, 2400) if bounds else SLIDE
        drawn = random_annotations(rng, size)
        given = to_geojson(drawn)
        exported = json.loads(json.dumps(as_qupath_exports(given, rng)))
        after = annotations_of_geojson("a.geojson", exported, SLIDE, bounds=bounds)
        # What QuPath wrote counts from the scanned area; what was read, from the whole slide.
        back = annotations_of_geojson(
            "b.geojson", to_geojson(after, bounds) | {"wholeslide": {"frame": "level0"}}
        )
        found = differences(drawn.items, back.items)
        assert found.lost == 0
        assert found.farthest_px < 0.006
        ignored += after.ignored.get("detection", 0)
    assert ignored > 0


def test_differences_are_seen() -> None:
    rng = np.random.default_rng(3)
    one = random_annotations(rng, SLIDE, most=12)
    other = random_annotations(rng, SLIDE, most=12)
    assert differences(one.items, other.items).lost > 0
    assert differences(one.items, one.items[:-1]).shapes == 1
