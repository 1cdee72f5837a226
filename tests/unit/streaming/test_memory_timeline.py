"""What an update holds at each moment, and what its tiles may keep beside it."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from tests.unit.streaming.networks import image, loss, network
from wsi.streaming import TensorSource, make_mode
from wsi.streaming.accounting.memory_timeline import Held, Ledger
from wsi.streaming.accounting.profile import profile_network
from wsi.streaming.tiles.tiling import Group


def three_groups() -> Ledger:
    return Ledger(
        [
            Held(boundary=16, replay=40, sending=10),
            Held(boundary=8, replay=20, sending=6),
            Held(boundary=4, replay=12, sending=5),
        ]
    )


def test_each_moment_holds_what_is_needed_then() -> None:
    ledger = three_groups()
    # Its own gradient and that below it, the activations that are still to be read, and a tile.
    assert ledger.backward(0) == 16 + 40
    assert ledger.backward(1) == 16 + (8 + 16) + 20
    assert ledger.backward(2) == (16 + 8) + (4 + 8) + 12
    assert ledger.peak() == 60
    ledger.groups[0].replay = 0
    ledger.groups[1].replay = 0
    ledger.groups[2].replay = 0
    assert ledger.peak() == 40  # as group 1 goes back; at the turn there are 28 + 4


def test_a_kept_graph_waits_until_its_group_goes_back() -> None:
    ledger = three_groups()
    ledger.groups[1].graphs = 7
    assert ledger.backward(2) == 48 + 7
    assert ledger.backward(1) == 60 + 7
    assert ledger.backward(0) == 56
    assert ledger.room(0, 100) == 100 - 67
    assert ledger.room(2, 100) == 100 - 55


def test_a_group_that_keeps_all_its_graphs_gives_up_its_input_and_its_replay() -> None:
    ledger = three_groups()
    ledger.groups[2].graphs, ledger.groups[2].all_graphs = 9, True
    assert ledger.backward(2) == 16 + (4 + 8) + 9 + 5
    assert ledger.peak() == 60


def test_the_in_core_rest_is_there_at_the_turn() -> None:
    ledger = three_groups()
    ledger.rest = 100
    assert ledger.peak() == (16 + 8 + 4) + 100


@pytest.mark.parametrize("limit_mb", [1, 30, 60, 90, 120, 100_000])
def test_the_more_memory_the_more_tiles_keep_their_graph(limit_mb: int) -> None:
    net = network(18)
    groups = (Group(0, 5, 96), Group(5, 7, 128), Group(7, 9, 192))
    source = TensorSource(image(384, 512))

    def kept(megabytes: int) -> int:
        mode = make_mode("tiled", groups=groups, device_bytes=megabytes * 10**6)
        return mode.step(net, source, loss).measured.counters["tiles_kept"]

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


def test_in_blocks_the_most_of_boundaries_and_the_most_of_tiles_add_up() -> None:
    ledger = three_groups()
    ledger.in_blocks = True
    # Activations give way to the gradient beside them: 16 + 8 + 4 at the turn is the most.
    assert ledger.backward(1) == 16 + 8 + 20
    assert ledger.peak() == 28 + 40
    ledger.groups[1].narrow = 7
    assert ledger.peak() == 28 + 7 + 40
    assert ledger.room(1, 100) == ledger.spare(0, 100) == 100 - 75
    assert ledger.spare(2, 100) == 100 - 35 - 12
    # Graphs lie in the heap, which has room until the first group's tiles run again.
    ledger.groups[2].graphs = 28
    assert ledger.peak() == 28 + 7 + 40
    assert ledger.room(2, 100, graphs=True) == 100 - 35 - 40
    ledger.groups[2].graphs = 30
    assert ledger.peak() == 28 + 7 + 42


def test_a_group_that_keeps_all_its_graphs_has_no_activations_to_give_way() -> None:
    ledger = three_groups()
    ledger.in_blocks = True
    ledger.groups[2].graphs, ledger.groups[2].all_graphs = 9, True
    assert ledger.backward(2) == 16 + (4 + 8) + 9 + 5
