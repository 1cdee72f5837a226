"""Memory of an update at each point in time, and what its tiles may save."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from tests.unit.streaming.networks import image, loss, network
from wsi.streaming import TensorSource, make_mode
from wsi.streaming.accounting.memory_timeline import GroupMemory, MemoryTimeline
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.tiles.tiling import Group


def three_groups() -> MemoryTimeline:
    return MemoryTimeline(
        [
            GroupMemory(boundary=16, recompute=40, backward_saved=10),
            GroupMemory(boundary=8, recompute=20, backward_saved=6),
            GroupMemory(boundary=4, recompute=12, backward_saved=5),
        ]
    )


def test_each_point_in_time_counts_what_is_needed_then() -> None:
    timeline = three_groups()
    # Its own gradient and that below it, the activations that are still to be read, and a tile.
    assert timeline.backward(0) == 16 + 40
    assert timeline.backward(1) == 16 + (8 + 16) + 20
    assert timeline.backward(2) == (16 + 8) + (4 + 8) + 12
    assert timeline.peak() == 60
    timeline.groups[0].recompute = 0
    timeline.groups[1].recompute = 0
    timeline.groups[2].recompute = 0
    assert timeline.peak() == 40  # as group 1 goes back; at the turn there are 28 + 4


def test_a_saved_graph_counts_until_the_backward_of_its_group() -> None:
    timeline = three_groups()
    timeline.groups[1].graphs = 7
    assert timeline.backward(2) == 48 + 7
    assert timeline.backward(1) == 60 + 7
    assert timeline.backward(0) == 56
    assert timeline.headroom(0, 100) == 100 - 67
    assert timeline.headroom(2, 100) == 100 - 55


def test_a_group_that_saves_all_graphs_frees_its_input_and_is_not_recomputed() -> None:
    timeline = three_groups()
    timeline.groups[2].graphs, timeline.groups[2].saves_all = 9, True
    assert timeline.backward(2) == 16 + (4 + 8) + 9 + 5
    assert timeline.peak() == 60


def test_the_in_core_rest_is_there_at_the_turn() -> None:
    timeline = three_groups()
    timeline.tail = 100
    assert timeline.peak() == (16 + 8 + 4) + 100


@pytest.mark.parametrize("limit_mb", [1, 30, 60, 90, 120, 100_000])
def test_the_more_memory_the_more_tiles_save_their_graph(limit_mb: int) -> None:
    net = network(18)
    groups = (Group(0, 5, 96), Group(5, 7, 128), Group(7, 9, 192))
    source = TensorSource(image(384, 512))

    def kept(megabytes: int) -> int:
        mode = make_mode("tiled", groups=groups, device_bytes=megabytes * 10**6)
        return mode.step(net, source, loss).measured.counters["tiles_saved"]

    assert kept(limit_mb // 2) <= kept(limit_mb)
    assert (kept(limit_mb) == 0) == (limit_mb == 1)


def test_gradients_go_down_in_the_order_that_convolutions_like() -> None:
    net = network(18, dtype=torch.float32)
    seen: list[bool] = []

    def look(_: nn.Module, __: tuple[Tensor, ...], made: Tensor) -> None:
        if made.requires_grad:
            made.register_hook(
                lambda grad: seen.append(grad.is_contiguous(memory_format=torch.channels_last))
            )

    for stage in net.stage_list[:5]:
        stage.register_forward_hook(look)
    groups = (Group(0, 5, 128), Group(5, 9, None))
    source = TensorSource(image(384, 512, dtype=torch.float32))
    make_mode("tiled", groups=groups).step(net, source, loss)
    assert len(seen) > 20
    assert all(seen)


def test_a_profile_is_made_once_for_a_size_and_what_learns() -> None:
    net = network(18)
    first = profile_network(net, (96, 128))
    assert profile_network(net, (96, 128)) is first
    assert profile_network(net, (128, 96)) is not first
    net.requires_grad_(False)
    frozen = profile_network(net, (96, 128))
    assert sum(p.saved_bytes for p in frozen) < sum(p.saved_bytes for p in first)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


def test_in_blocks_the_peaks_of_feature_maps_and_tiles_add_up() -> None:
    timeline = three_groups()
    timeline.in_blocks = True
    # Activations give way to the gradient beside them: 16 + 8 + 4 at the turn is the most.
    assert timeline.backward(1) == 16 + 8 + 20
    assert timeline.peak() == 28 + 40
    timeline.groups[1].bottleneck = 7
    assert timeline.peak() == 28 + 7 + 40
    assert timeline.headroom(1, 100) == timeline.recompute_headroom(0, 100) == 100 - 75
    assert timeline.recompute_headroom(2, 100) == 100 - 35 - 12
    # Graphs lie in the heap, which has room until the first group's tiles run again.
    timeline.groups[2].graphs = 28
    assert timeline.peak() == 28 + 7 + 40
    assert timeline.headroom(2, 100, graphs=True) == 100 - 35 - 40
    timeline.groups[2].graphs = 30
    assert timeline.peak() == 28 + 7 + 42


def test_a_group_that_saves_all_graphs_has_no_activations_to_free() -> None:
    timeline = three_groups()
    timeline.in_blocks = True
    timeline.groups[2].graphs, timeline.groups[2].saves_all = 9, True
    assert timeline.backward(2) == 16 + (4 + 8) + 9 + 5
