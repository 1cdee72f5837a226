"""Which tiles of a slide keep their graph from forward to backward: those that memory allows."""

from dataclasses import dataclass

import torch

from wsi.memory.boundary import Place, on_device
from wsi.memory.candidate import CPU_GRAPH_SLACK, CPU_TILE_SLACK
from wsi.memory.ledger import Held, Ledger, rest_bytes, working_bytes
from wsi.memory.mode import RunOptions
from wsi.memory.parts import Pass
from wsi.memory.profile import StageProfile, graph_weight_bytes
from wsi.memory.source import TILES_READ, Rect


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Bytes of a slide's parts, as a plan counts them for its tiles."""

    work: Pass
    stages: list[list[StageProfile]]
    dtype: torch.dtype
    on_cpu: bool

    @property
    def _tile_slack(self) -> float:
        return CPU_TILE_SLACK if self.on_cpu else 1.0

    def graph(self, index: int, part: Rect) -> float:
        """What the graph of a group's part holds."""
        saved = self._saved(index, part)
        weights = graph_weight_bytes(self.work.runners[index].stages, self.dtype)
        return (CPU_GRAPH_SLACK if self.on_cpu else 1.0) * (saved + weights)

    def replay(self, index: int, part: Rect) -> float:
        """What a part takes as it runs again."""
        working = self._tile_slack * self._saved(index, part) + self.sending(index, part)
        if index:
            return working
        pixels = self.work.runners[index].needed(part).area * self.work.source.batch * 3
        return working + TILES_READ * pixels * self.work.network.dtype.itemsize

    def sending(self, index: int, part: Rect) -> float:
        """What a part takes beside its graph, if that was kept."""
        share = self.work.runners[index].worked(part)[0]
        return self._tile_slack * share * working_bytes(self.stages[index], graph=False)

    def _saved(self, index: int, part: Rect) -> float:
        """What the stages save of a part for backward."""
        shares = self.work.runners[index].worked(part)
        return sum(
            p.saved_bytes * share for p, share in zip(self.stages[index], shares, strict=True)
        )

    def ledger(self, *, counted: bool, rest: list[StageProfile]) -> Ledger:
        """What an update holds that keeps no graph.

        Args:
            counted: whether boundaries are in the memory that is counted.
            rest: of the in-core stages.
        """
        held = []
        for index, parts in enumerate(self.work.parts):
            cells = self.work.held_cells(index) if counted else 0.0
            held.append(
                Held(
                    boundary=cells * self.dtype.itemsize,
                    replay=max((self.replay(index, part) for part in parts), default=0.0),
                    sending=max((self.sending(index, part) for part in parts), default=0.0),
                )
            )
        top = self.stages[-1][-1].out_elements * self.dtype.itemsize
        return Ledger(held, rest_bytes(rest, top, graph=True, top_counted=counted))


def choose_kept(
    work: Pass,
    profiles: list[StageProfile],
    run: RunOptions,
    *,
    limit: int,
    boundaries: Place,
    first: int,
) -> None:
    """Choose from the last group backwards, the largest tiles first, those that fit.

    Args:
        work: the update; its ``kept`` is filled in.
        profiles: of the network's stages, on the whole image.
        run: for the device and the dtype.
        limit: of the device's memory for all but the network, in bytes.
        boundaries: where they are kept.
        first: the first group with a parameter that learns: none before it needs a graph.
    """
    on_cpu = run.torch_device.type == "cpu"
    stages = [profiles[group.first : group.stop] for group in work.groups]
    dtype = run.compute_dtype(work.network)
    sizes = _Sizes(work, stages, dtype, on_cpu)
    counted = on_device(boundaries, on_cuda=not on_cpu)
    ledger = sizes.ledger(counted=counted, rest=profiles[work.groups[-1].stop :])
    for index in reversed(range(first, len(work.groups))):
        _choose_of_group(sizes, ledger, limit, index)


def _choose_of_group(sizes: _Sizes, ledger: Ledger, limit: int, index: int) -> None:
    parts, held, chosen = sizes.work.parts[index], ledger.groups[index], sizes.work.kept.chosen
    graphs = [sizes.graph(index, part) for part in parts]
    held.graphs, held.all_kept = sum(graphs), True
    if ledger.peak() <= limit:
        chosen.update((index, part) for part in parts)
        return
    held.graphs, held.all_kept = 0.0, False
    passed_over = 0.0  # the replay of the largest of them
    for part, smaller, graph in zip(parts, [*parts[1:], None], graphs, strict=True):
        before = held.replay
        held.replay = max(passed_over, sizes.replay(index, smaller) if smaller else 0.0)
        if graph <= ledger.room(index, limit):
            held.graphs += graph
            chosen.add((index, part))
        else:
            held.replay = before
            passed_over = max(passed_over, sizes.replay(index, part))
