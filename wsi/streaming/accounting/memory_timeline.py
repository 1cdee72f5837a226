"""What a tiled update holds at each moment, and how much its tiles may keep beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsi.streaming.accounting.profile import StageProfile


@dataclass(slots=True, kw_only=True)
class Held:
    """Bytes of the device that one tiled group accounts for.

    Attributes:
        boundary: its output's activations, and as much for the gradient there; 0 where boundaries
            are kept elsewhere.
        replay: its largest tile, while that runs again.
        sending: its largest tile, while the gradient goes through a graph that was kept; the
            graph is not counted.
        narrow: narrow cells that its tiles keep from forward to backward.
        graphs: graphs that its tiles keep so.
        all_graphs: every tile's graph is kept: none runs again, and its input is given up early.
    """

    boundary: float
    replay: float = 0.0
    sending: float = 0.0
    narrow: float = 0.0
    graphs: float = 0.0
    all_graphs: bool = False


@dataclass(slots=True)
class Ledger:
    """The moments of an update that may hold the most.

    They are the turn from forward to backward, when every boundary and all that is kept are
    there, and each group's backward, when the groups after it are done. A group's forward holds
    no more than its backward.

    Attributes:
        groups: the tiled ones, first to last.
        rest: of the in-core stages after them, with the gradient at the last boundary.
        in_blocks: boundaries and narrow cells lie in blocks of their own, which stay when fewer
            are needed, as on the host: the most that they take and the most of all else then add
            up. Activations give up block by block what has been read, to the gradient beside them.
            What in-core stages took leaves holes in the heap that tiles may find too small: it is
            taken to stay, too.
    """

    groups: list[Held]
    rest: float = 0.0
    in_blocks: bool = False

    def peak(self) -> float:
        """The most that is held."""
        held = self._moments()
        if not self.in_blocks:
            return max(blocks + heap for blocks, heap in held)
        return max(blocks for blocks, _ in held) + max(heap for _, heap in held)

    def room(self, index: int, limit: float, *, graphs: bool = False) -> float:
        """Bytes that a group may keep besides; negative where ``limit`` is passed.

        What it keeps is there from its forward to its backward: only those moments count.

        Args:
            index: of the group.
            limit: of all that is held.
            graphs: whether it would keep graphs; else narrow cells.
        """
        held = self._moments()
        if not self.in_blocks:
            return limit - max(blocks + heap for blocks, heap in held[index:])
        if graphs:
            return limit - max(blocks for blocks, _ in held) - max(heap for _, heap in held[index:])
        return limit - max(heap for _, heap in held) - max(blocks for blocks, _ in held[index:])

    def spare(self, index: int, limit: float) -> float:
        """Bytes that a group's tiles may take besides, as they run again."""
        blocks, heap = self._moment(index)
        if self.in_blocks:
            blocks = max(blocks for blocks, _ in self._moments())
        return limit - blocks - heap

    def backward(self, index: int) -> float:
        """What is held while the gradient goes through a group's tiles."""
        return sum(self._moment(index))

    def _moments(self) -> list[tuple[float, float]]:
        return [self._moment(index) for index in range(len(self.groups) + 1)]

    def _moment(self, index: int) -> tuple[float, float]:
        """What may lie in blocks, and all else, as a group goes back; the turn after the last."""
        there = self.groups[: index + 1]
        narrow = sum(group.narrow for group in there)
        graphs = sum(group.graphs for group in there)
        if index == len(self.groups):
            top = 0.0 if self.rest or self.in_blocks else self.groups[-1].boundary
            return self._activations(index) + top + narrow, self.rest + graphs
        group = self.groups[index]
        gradients = group.boundary
        if index and (group.all_graphs or not self.in_blocks):
            gradients += self.groups[index - 1].boundary
        working = group.sending if group.all_graphs else group.replay
        working += self.rest if self.in_blocks else 0.0
        return self._activations(index) + gradients + narrow, working + graphs

    def _activations(self, stop: int) -> float:
        """Activations after the first ``stop`` groups, those given up left out."""
        return sum(
            group.boundary
            for index, group in enumerate(self.groups[:stop])
            if index + 1 == len(self.groups) or not self.groups[index + 1].all_graphs
        )


def working_bytes(profiles: Sequence[StageProfile], *, graph: bool) -> int:
    """What stages take while they run on the whole image: with ``graph`` also what they save."""
    saved = sum(profile.saved_bytes for profile in profiles) if graph else 0
    return saved + 2 * max(profile.live_bytes for profile in profiles)


def rest_bytes(
    rest: Sequence[StageProfile], top_bytes: int, *, graph: bool, top_counted: bool
) -> int:
    """What in-core stages after the groups keep and need; 0 for none.

    Args:
        rest: their profiles.
        top_bytes: of the last boundary.
        graph: whether they keep what backward needs.
        top_counted: whether that boundary is counted already: it is then taken as it is, and
            only its gradient comes on top; else a copy of it does, too.
    """
    if not rest:
        return 0
    return working_bytes(rest, graph=graph) + top_bytes * (1 if top_counted else 2)
