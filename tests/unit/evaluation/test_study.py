"""A resolution study's cells, made into a table and a figure."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from wsi.errors import DatasetError
from wsi.evaluation.bootstrap import Bootstrap, Estimate
from wsi.evaluation.study import (
    CELL_FILE,
    Cell,
    Resolution,
    accuracy_against_cost,
    read_cell,
    resolutions,
    write_cell,
    write_study,
)

SPEC = Bootstrap(replicates=100)


def cell(mpp: float, seed: int, scores: list[float], *, seconds: float = 60.0) -> Cell:
    """Cases of the truth 0, 1, 0, 1, ... of a patient each."""
    return Cell(
        mpp=mpp,
        seed=seed,
        classes=("benign", "cancer"),
        names=tuple(f"s{i}" for i in range(len(scores))),
        patients=tuple(f"p{i}" for i in range(len(scores))),
        labels=tuple(("benign", "cancer")[i % 2] for i in range(len(scores))),
        probabilities_nk=tuple((1 - score, score) for score in scores),
        training={"seconds": seconds, "peak_host_bytes": 2**30 * (1 + seed)},
        scoring={"seconds_median": 2.0, "peak_host_bytes": 2**29},
    )


GOOD = [0.1, 0.9] * 6
HALF = [0.1, 0.9, 0.9, 0.1] * 3


def test_seeds_are_averaged_and_their_range_and_cost_told() -> None:
    cells = [cell(8, 0, GOOD), cell(8, 1, HALF, seconds=80), cell(2, 0, GOOD, seconds=600)]
    fine, coarse = resolutions(cells, SPEC)
    assert (fine.mpp, fine.seeds, fine.auc.value) == (2, (0,), 1.0)
    assert (coarse.seeds, coarse.slides) == ((0, 1), 12)
    assert coarse.auc.value == pytest.approx(0.75)
    assert (coarse.auc_low, coarse.auc_high) == (0.5, 1.0)
    assert coarse.auc.low is not None
    assert coarse.auc.low < 0.75
    assert (coarse.seconds, coarse.peak_bytes, coarse.on_gpu) == (70, 2**31, False)


def test_seeds_are_compared_on_the_slides_that_all_have_scored() -> None:
    short = cell(8, 1, GOOD[:6])
    assert resolutions([cell(8, 0, GOOD), short], SPEC)[0].slides == 6
    other = replace(short, names=tuple(f"x{i}" for i in range(6)))
    with pytest.raises(DatasetError, match="8 um/px: no slide was scored by every seed"):
        resolutions([cell(8, 0, GOOD), other], SPEC)


def test_the_gpus_peak_counts_where_every_training_used_one() -> None:
    cuda = replace(cell(8, 0, GOOD), training={"seconds": 1, "peak_host_bytes": 9,
                                               "peak_device_bytes": 5})  # fmt: skip
    assert resolutions([cuda], SPEC)[0].peak_bytes == 5
    found = resolutions([cuda, cell(8, 1, GOOD)], SPEC)[0]
    assert (found.on_gpu, found.peak_bytes) == (False, 2**31)


def test_one_class_alone_has_no_auc_and_is_written_all_the_same(tmp_path: Path) -> None:
    alone = replace(cell(8, 0, GOOD), labels=("benign",) * 12)
    found = resolutions([alone], SPEC)
    assert found[0].auc.value is None
    assert "not available" in write_study(tmp_path, "t", found, []).read_text()


def test_a_cell_is_read_as_it_was_written_and_a_damaged_one_refused(tmp_path: Path) -> None:
    assert read_cell(tmp_path) is None
    write_cell(tmp_path, cell(8, 0, GOOD))
    assert read_cell(tmp_path) == cell(8, 0, GOOD)
    (tmp_path / CELL_FILE).write_text("{}")
    with pytest.raises(DatasetError, match="remove it to run it again"):
        read_cell(tmp_path)


def test_the_study_is_written_as_page_table_and_figures(tmp_path: Path) -> None:
    found = resolutions([cell(8, 0, GOOD), cell(2, 0, HALF, seconds=600)], SPEC)
    page = write_study(tmp_path, "Study", found, ["4 um/px, seed 1: the training failed"])
    text = page.read_text()
    assert "4 um/px, seed 1: the training failed" in text
    assert "10 min" in text
    assert (tmp_path / "figures" / "resolution.pdf").read_bytes().startswith(b"%PDF")
    assert len(json.loads((tmp_path / "study.json").read_text())["resolutions"]) == 2
    lines = list(csv.DictReader((tmp_path / "study.csv").read_text().splitlines()))
    assert [(line["mpp"], line["auc"]) for line in lines] == [("2", "0.5"), ("8", "1.0")]


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0, 37.5])
def test_a_single_resolution_is_drawn_whatever_it_cost(seconds: float) -> None:
    one = Resolution(
        mpp=8.0, seeds=(0,), slides=2, auc=Estimate(value=1.0), auc_low=None, auc_high=None,
        seconds=seconds, peak_bytes=2**30, on_gpu=False, score_seconds=0.1, score_peak_bytes=2**30,
    )  # fmt: skip
    time_axes, memory_axes = accuracy_against_cost([one]).axes
    for axes, cost in ((time_axes, max(seconds, 0.05)), (memory_axes, 1.0)):
        low, high = axes.get_xlim()
        assert 0 < low < cost < high
