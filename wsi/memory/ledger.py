"""What a tiled update holds at each moment, and how much its tiles may keep beside it."""

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
        kept: what its tiles keep from forward to backward, narrow cells and graphs.
        all_graphs: every tile's graph is kept: none runs again, and its input is given up early.
    """

    boundary: float
    replay: float = 0.0
    sending: float = 0.0
    kept: float = 0.0
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
        apart: boundaries have memory of their own, which stays when they need less of it, as on
            the host: the most that they take and the most of all else then add up.
    """

    groups: list[Held]
    rest: float = 0.0
    apart: bool = False

    def peak(self) -> float:
        """The most that is held."""
        return self._most(range(len(self.groups) + 1))

    def room(self, index: int, limit: float) -> float:
        """Bytes that a group may keep besides; negative where ``limit`` is passed.

        What it keeps is there from its forward to its backward: only those moments count.
        """
        return limit - self._most(range(index, len(self.groups) + 1))

    def spare(self, index: int, limit: float) -> float:
        """Bytes that a group's tiles may take besides, as they run again."""
        return limit - self._most(range(index, index + 1))

    def backward(self, index: int) -> float:
        """What is held while the gradient goes through a group's tiles."""
        return sum(self._moment(index))

    def _most(self, moments: range) -> float:
        held = [self._moment(index) for index in moments]
        if not self.apart:
            return max(boundaries + rest for boundaries, rest in held)
        most = max(self._moment(index)[0] for index in range(len(self.groups) + 1))
        return most + max(rest for _, rest in held)

    def _moment(self, index: int) -> tuple[float, float]:
        """Boundaries, and all else, as a group goes back; after the last one, at the turn."""
        kept = sum(below.kept for below in self.groups[: index + 1])
        if index == len(self.groups):
            top = 0.0 if self.rest else self.groups[-1].boundary
            return self._activations(index) + top, self.rest + kept
        group = self.groups[index]
        gradients = group.boundary + (self.groups[index - 1].boundary if index else 0.0)
        working = group.sending if group.all_graphs else group.replay
        return self._activations(index) + gradients, kept + working

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
