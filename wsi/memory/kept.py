"""Graphs of tiles that wait from forward to backward."""

from torch import Tensor

from wsi.memory.source import Rect


class KeptGraphs:
    """Tiles whose graphs are kept from forward to backward, so that they need no replay.

    Backward begins where forward ended: tiles of the last groups are chosen first. Their graphs
    are gone before the first groups, the largest, are replayed.

    Attributes:
        chosen: the tiles, by group and output rectangle.
    """

    def __init__(self) -> None:
        self.chosen: set[tuple[int, Rect]] = set()
        self._graphs: dict[tuple[int, Rect], tuple[Tensor, Tensor]] = {}

    def wants(self, index: int, part: Rect) -> bool:
        """Whether this part of a group was chosen."""
        return (index, part) in self.chosen

    def all_of(self, index: int, parts: list[Rect]) -> bool:
        """Whether every part of a group was chosen: then its input is not read again."""
        return all((index, part) in self.chosen for part in parts)

    def put(self, index: int, part: Rect, cells: Tensor, result: Tensor) -> None:
        """Keep a tile's input (a leaf) and what came of it, which has a graph."""
        self._graphs[index, part] = cells, result

    def take(self, index: int, part: Rect) -> tuple[Tensor, Tensor] | None:
        """A tile's input and result, forgotten here; ``None`` where they were not kept."""
        return self._graphs.pop((index, part), None)

    def drop(self, index: int) -> None:
        """Forget what is left of a group: tiles that no gradient reached."""
        for key in [key for key in self._graphs if key[0] == index]:
            del self._graphs[key]
