"""What a tiled update holds at each moment, and how many graphs fit beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsi.memory.profile import StageProfile


@dataclass(slots=True, kw_only=True)
class Held:
    """Bytes of the device that one tiled group accounts for.

    Attributes:
        boundary: its output's activations, and as much for the gradient there; 0 where boundaries
            are kept elsewhere.
        replay: its largest tile, while that runs again.
        sending: its largest tile, while the gradient goes through a graph that was kept; the
            graph is not counted.
        graphs: the graphs of its tiles that are kept from forward to backward.
        all_kept: every tile's graph is kept: none runs again, and its input is given up early.
    """

    boundary: float
    replay: float = 0.0
    sending: float = 0.0
    graphs: float = 0.0
    all_kept: bool = False


@dataclass(slots=True)
class Ledger:
    """The moments of an update that may hold the most.

    They are the turn from forward to backward, when every boundary and every graph is there, and
    each group's backward, when the groups after it are done. A group's forward holds no more than
    its backward.

    Attributes:
        groups: the tiled ones, first to last.
        rest: of the in-core stages after them, with the gradient at the last boundary.
    """

    groups: list[Held]
    rest: float = 0.0

    def peak(self) -> float:
        """The most that is held at any moment."""
        return max(self._turn(), *(self.backward(index) for index in range(len(self.groups))))

    def room(self, index: int, limit: float) -> float:
        """Bytes that further graphs of a group may take; negative where ``limit`` is passed.

        Its graphs are there from its forward to its backward: only those moments count.
        """
        later = (self.backward(at) for at in range(index, len(self.groups)))
        return limit - max(self._turn(), *later)

    def backward(self, index: int) -> float:
        """What is held while the gradient goes through a group's tiles."""
        group = self.groups[index]
        gradients = group.boundary + (self.groups[index - 1].boundary if index else 0.0)
        graphs = sum(below.graphs for below in self.groups[: index + 1])
        working = group.sending if group.all_kept else group.replay
        return self._activations(index) + gradients + graphs + working

    def _turn(self) -> float:
        graphs = sum(group.graphs for group in self.groups)
        top = self.rest or self.groups[-1].boundary
        return self._activations(len(self.groups)) + top + graphs

    def _activations(self, stop: int) -> float:
        """Activations after the first ``stop`` groups, those given up left out."""
        return sum(
            group.boundary
            for index, group in enumerate(self.groups[:stop])
            if index + 1 == len(self.groups) or not self.groups[index + 1].all_kept
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
