"""Memory of a tiled update over time, and how much of it is left for saved activations."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsi.streaming.accounting.profile import StageProfile


@dataclass(slots=True, kw_only=True)
class GroupMemory:
    """Device memory of one tiled group, in bytes.

    Attributes:
        boundary: activations at its output, and as much again for their gradient; 0 where they
            are stored elsewhere.
        recompute: the recomputation of its largest tile with a graph, and backward through it.
        backward_saved: backward through the saved graph of its largest tile, without that graph.
        bottleneck: bottleneck activations that its tiles save from forward to backward.
        graphs: autograd graphs that its tiles save.
        saves_all: whether every tile saves its graph. Then nothing is recomputed, and the group's
            input is freed after its forward.
    """

    boundary: float
    recompute: float = 0.0
    backward_saved: float = 0.0
    bottleneck: float = 0.0
    graphs: float = 0.0
    saves_all: bool = False


@dataclass(slots=True)
class MemoryTimeline:
    """Memory at the points in time of an update that can be its peak.

    These are the end of forward, when all boundary activations and all saved activations exist,
    and the backward of each group, when the groups after it are done. The forward of a group never
    needs more than its backward.

    Attributes:
        groups: the tiled groups, first to last.
        tail: of the in-core stages after them, with the gradient at the last boundary.
        in_blocks: whether boundary and bottleneck activations are stored in blocks that the
            process keeps when fewer are needed, as on the host. Then the peak of the blocks and
            the peak of everything else add up; activations free block by block what has been read,
            for the gradient; and the memory of the in-core stages is assumed to stay, because it
            leaves the heap too fragmented for tiles.
    """

    groups: list[GroupMemory]
    tail: float = 0.0
    in_blocks: bool = False

    def peak(self) -> float:
        """Peak memory of the update in bytes."""
        memory = self._points()
        if not self.in_blocks:
            return max(blocks + heap for blocks, heap in memory)
        return max(blocks for blocks, _ in memory) + max(heap for _, heap in memory)

    def headroom(self, index: int, limit: float, *, graphs: bool = False) -> float:
        """Bytes that a group may save in addition; negative where ``limit`` is exceeded.

        Saved activations exist from the group's forward to its backward: only those points count.

        Args:
            index: of the group.
            limit: of the whole update.
            graphs: whether graphs would be saved; else bottleneck activations.
        """
        memory = self._points()
        if not self.in_blocks:
            return limit - max(blocks + heap for blocks, heap in memory[index:])
        if graphs:
            return (
                limit
                - max(blocks for blocks, _ in memory)
                - max(heap for _, heap in memory[index:])
            )
        return limit - max(heap for _, heap in memory) - max(blocks for blocks, _ in memory[index:])

    def recompute_headroom(self, index: int, limit: float) -> float:
        """Bytes by which the recomputation of a group's tiles may grow."""
        blocks, heap = self._point(index)
        if self.in_blocks:
            blocks = max(blocks for blocks, _ in self._points())
        return limit - blocks - heap

    def backward(self, index: int) -> float:
        """Bytes in use during the backward of a group."""
        return sum(self._point(index))

    def _points(self) -> list[tuple[float, float]]:
        return [self._point(index) for index in range(len(self.groups) + 1)]

    def _point(self, index: int) -> tuple[float, float]:
        """Bytes that may be in blocks, and all others, in a group's backward.

        ``index == len(groups)`` is the end of forward.
        """
        alive = self.groups[: index + 1]
        bottleneck = sum(group.bottleneck for group in alive)
        graphs = sum(group.graphs for group in alive)
        if index == len(self.groups):
            top = 0.0 if self.tail or self.in_blocks else self.groups[-1].boundary
            return self._activations(index) + top + bottleneck, self.tail + graphs
        group = self.groups[index]
        gradients = group.boundary
        if index and (group.saves_all or not self.in_blocks):
            gradients += self.groups[index - 1].boundary
        working = group.backward_saved if group.saves_all else group.recompute
        working += self.tail if self.in_blocks else 0.0
        return self._activations(index) + gradients + bottleneck, working + graphs

    def _activations(self, stop: int) -> float:
        """Boundary activations of the first ``stop`` groups that are not freed yet."""
        return sum(
            group.boundary
            for index, group in enumerate(self.groups[:stop])
            if index + 1 == len(self.groups) or not self.groups[index + 1].saves_all
        )


def working_bytes(profiles: Sequence[StageProfile], *, graph: bool) -> int:
    """Bytes that stages need on the whole image; with ``graph`` also what autograd saves."""
    saved = sum(profile.saved_bytes for profile in profiles) if graph else 0
    return saved + 2 * max(profile.live_bytes for profile in profiles)


def tail_bytes(
    tail: Sequence[StageProfile], top_bytes: int, *, graph: bool, top_counted: bool
) -> int:
    """Bytes of the in-core stages after the tiled groups; 0 if there are none.

    Args:
        tail: their profiles.
        top_bytes: of the last boundary.
        graph: whether autograd saves activations for backward.
        top_counted: whether that boundary is counted already. Then only its gradient is added,
            otherwise a copy of its activations too.
    """
    if not tail:
        return 0
    return working_bytes(tail, graph=graph) + top_bytes * (1 if top_counted else 2)
