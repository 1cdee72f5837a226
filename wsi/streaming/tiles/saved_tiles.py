"""What tiles keep from forward to backward: their graph, their narrow cells, or nothing."""

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from wsi.networks.activation_cache import NarrowCells
from wsi.streaming.image_source import Rect
from wsi.streaming.storage.blocks import Packed


class Keep(Enum):
    """What a tile keeps, beside its input and result at the boundaries."""

    NOTHING = "nothing"
    NARROW = "narrow cells"
    GRAPH = "graph"


@dataclass(frozen=True, slots=True)
class Graph:
    """A tile's input (a leaf) and what came of it."""

    cells: Tensor
    result: Tensor


class KeptTiles:
    """What was chosen to be kept, and what is.

    Backward begins where forward ended: what tiles of the last groups keep is gone before the
    first groups, the largest, run again.

    Attributes:
        chosen: by group and output rectangle; tiles that keep nothing are not there.
        narrow: the stages whose narrow cells tiles keep that keep some, counted from the group's
            first.
    """

    def __init__(self) -> None:
        self.chosen: dict[tuple[int, Rect], Keep] = {}
        self.narrow: dict[tuple[int, Rect], set[int]] = {}
        self._held: dict[tuple[int, Rect], Graph | NarrowCells] = {}

    def wants(self, index: int, part: Rect) -> Keep:
        """What a part of a group was chosen to keep."""
        return self.chosen.get((index, part), Keep.NOTHING)

    def keep_narrow(self, index: int, part: Rect, stage: int) -> None:
        """Choose a stage's narrow cells of a part of a group to be kept."""
        self.chosen[index, part] = Keep.NARROW
        self.narrow.setdefault((index, part), set()).add(stage)

    def narrow_cells(self, index: int, part: Rect) -> NarrowCells:
        """Empty ones for what a part was chosen to keep."""
        return NarrowCells(frozenset(self.narrow[index, part]), Packed)

    def all_graphs(self, index: int, parts: list[Rect]) -> bool:
        """Whether every part of a group keeps its graph: then its input is not read again."""
        return all(self.wants(index, part) is Keep.GRAPH for part in parts)

    def put(self, index: int, part: Rect, held: Graph | NarrowCells) -> None:
        """Keep what a tile was chosen to keep."""
        self._held[index, part] = held

    def take(self, index: int, part: Rect) -> Graph | NarrowCells | None:
        """What a tile kept, forgotten here."""
        return self._held.pop((index, part), None)

    def drop(self, index: int) -> None:
        """Forget what is left of a group: tiles that no gradient reached."""
        for key in [key for key in self._held if key[0] == index]:
            del self._held[key]
