"""Rectangles that cover the tissue: disjoint, complete, within the tile, cheaper than a grid."""

import numpy as np
import pytest
import torchvision
from numpy.typing import NDArray

from wsi.networks import stage_network
from wsi.streaming.image_source import Rect
from wsi.streaming.tiles.cover import bounding, cover
from wsi.streaming.tiles.tiling import GroupRunner

CELLS = 160
PX = 4 * CELLS


@pytest.fixture(scope="module")
def runner() -> GroupRunner:
    """A group with a stride of 4 and a halo of 23 px, on an image of 640 px."""
    net = stage_network(torchvision.models.resnet18(), classes=2)
    return GroupRunner(net.stage_list[:3], (PX, PX), 1)


def _ring() -> NDArray[np.bool_]:
    y, x = np.mgrid[:CELLS, :CELLS]
    distance = np.hypot(y - 70, x - 90)
    return (distance < 60) & (distance > 40)


def _scattered() -> NDArray[np.bool_]:
    return np.random.default_rng(0).random((CELLS, CELLS)) < 0.002


def _counted(rects: list[Rect]) -> NDArray[np.int64]:
    counts = np.zeros((CELLS, CELLS), dtype=np.int64)
    for rect in rects:
        counts[rect.relative_to(0, 0)] += 1
    return counts


@pytest.mark.parametrize("tile_px", [32, 100, 256, None])
@pytest.mark.parametrize("wanted", [_ring(), _scattered()], ids=["ring", "scattered"])
def test_every_wanted_position_lies_in_one_rectangle(
    runner: GroupRunner, wanted: NDArray[np.bool_], tile_px: int | None
) -> None:
    counts = _counted(cover(runner, wanted, tile_px))
    assert (counts[wanted] == 1).all()
    assert counts.max() == 1


def test_no_rectangle_reads_more_than_a_tile(runner: GroupRunner) -> None:
    wanted = np.ones((CELLS, CELLS), dtype=bool)
    rects = cover(runner, wanted, 128)
    middle = runner.needed(Rect(64, 64, 96, 96))
    assert max(runner.needed(rect).area for rect in rects) <= middle.area
    assert (_counted(rects) == 1).all()


def test_less_is_read_than_by_a_grid(runner: GroupRunner) -> None:
    wanted = _ring()
    boxes = [bounding(wanted[t.relative_to(0, 0)], t) for t in runner.out_tiles(128)]
    grid = sum(runner.needed(box).area for box in boxes if box is not None)
    found = sum(runner.needed(rect).area for rect in cover(runner, wanted, 128))
    assert found < 0.95 * grid


def test_two_regions_far_apart_are_two_rectangles_without_what_lies_between(
    runner: GroupRunner,
) -> None:
    wanted = np.zeros((CELLS, CELLS), dtype=bool)
    wanted[3:30, 5:33] = wanted[110:150, 99:140] = True
    rects = cover(runner, wanted, None)
    assert sorted(rects, key=lambda rect: rect.y0) == [
        Rect(3, 5, 30, 33),
        Rect(110, 99, 150, 140),
    ]


def test_nothing_wanted_is_no_rectangle(runner: GroupRunner) -> None:
    assert cover(runner, np.zeros((CELLS, CELLS), dtype=bool), 128) == []
