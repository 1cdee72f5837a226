"""What tiles save from forward to backward: their autograd graph, some activations, or nothing."""

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from wsi.networks.activation_cache import BottleneckActivations
from wsi.streaming.image_source import Rect
from wsi.streaming.storage.blocks import PackedQueue


class CheckpointPolicy(Enum):
    """How a tile's activations are available in backward (activation checkpointing).

    RECOMPUTE: the tile runs again from its stored input. SAVE_BOTTLENECK: it runs again, but for
    the inner activations of residual blocks, which are saved (selective checkpointing). SAVE_ALL:
    its autograd graph is saved and nothing runs again.
    """

    RECOMPUTE = "recompute"
    SAVE_BOTTLENECK = "save bottleneck activations"
    SAVE_ALL = "save all"


@dataclass(frozen=True, slots=True)
class SavedGraph:
    """A tile's input (a leaf) and the output of its autograd graph."""

    input: Tensor
    output: Tensor


class SavedTiles:
    """The checkpoint policy of each tile, and what tiles have saved.

    Backward begins with the last group: what its tiles save is freed before the first groups, the
    largest, are recomputed.

    Attributes:
        policies: by group and output rectangle; tiles that are recomputed have no entry.
        bottleneck_stages: the stages whose bottleneck activations a tile saves, counted from the
            group's first; tiles that save none have no entry.
    """

    def __init__(self) -> None:
        self.policies: dict[tuple[int, Rect], CheckpointPolicy] = {}
        self.bottleneck_stages: dict[tuple[int, Rect], set[int]] = {}
        self._saved: dict[tuple[int, Rect], SavedGraph | BottleneckActivations] = {}

    def policy(self, index: int, tile: Rect) -> CheckpointPolicy:
        """The policy of a group's tile."""
        return self.policies.get((index, tile), CheckpointPolicy.RECOMPUTE)

    def save_bottleneck(self, index: int, tile: Rect, stage: int) -> None:
        """Let a tile save the bottleneck activations of a stage."""
        self.policies[index, tile] = CheckpointPolicy.SAVE_BOTTLENECK
        self.bottleneck_stages.setdefault((index, tile), set()).add(stage)

    def new_bottleneck(self, index: int, tile: Rect) -> BottleneckActivations:
        """An empty store for the stages whose bottleneck activations a tile saves."""
        return BottleneckActivations(frozenset(self.bottleneck_stages[index, tile]), PackedQueue)

    def saves_all(self, index: int, tiles: list[Rect]) -> bool:
        """Whether every tile of a group saves its graph: then its input is not read again."""
        return all(self.policy(index, tile) is CheckpointPolicy.SAVE_ALL for tile in tiles)

    def put(self, index: int, tile: Rect, saved: SavedGraph | BottleneckActivations) -> None:
        """Save a tile's graph or bottleneck activations."""
        self._saved[index, tile] = saved

    def take(self, index: int, tile: Rect) -> SavedGraph | BottleneckActivations | None:
        """Remove and return what a tile saved; ``None`` if nothing."""
        return self._saved.pop((index, tile), None)

    def drop(self, index: int) -> None:
        """Free what is left of a group: tiles that no gradient reached."""
        for key in [key for key in self._saved if key[0] == index]:
            del self._saved[key]
