"""What each tile of a slide keeps from forward to backward: as much as memory allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from wsi.streaming.accounting.candidate import Slack
from wsi.streaming.accounting.memory_timeline import Held, Ledger, rest_bytes, working_bytes
from wsi.streaming.accounting.profile import StageProfile, graph_weight_bytes
from wsi.streaming.api import RunOptions
from wsi.streaming.image_source import TILES_READ, Rect
from wsi.streaming.storage.feature_map import Place, on_device
from wsi.streaming.tiles.saved_tiles import Keep
from wsi.streaming.tiles.schedule import Pass


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Bytes of a slide's parts, as a plan counts them for its tiles."""

    work: Pass
    stages: list[list[StageProfile]]
    dtype: torch.dtype
    on_cpu: bool

    @property
    def _slack(self) -> Slack:
        return Slack.of(on_cuda=not self.on_cpu)

    def graph(self, index: int, part: Rect) -> float:
        """What the graph of a group's part holds."""
        weights = graph_weight_bytes(self.work.runners[index].stages, self.dtype)
        return self._slack.graphs * (self._saved(index, part) + weights)

    def narrow(self, index: int, part: Rect) -> list[float]:
        """What the narrow cells of a group's part hold, stage by stage."""
        shares = self.work.runners[index].worked(part)
        own = zip(self.stages[index], shares, strict=True)
        return [self._slack.blocks * p.narrow_bytes * share for p, share in own]

    def replay(self, index: int, part: Rect) -> float:
        """What a part takes as it runs again."""
        working = self._slack.tile * self._saved(index, part) + self.sending(index, part)
        if index:
            return working
        pixels = self.work.runners[index].needed(part).area * self.work.source.batch * 3
        return working + TILES_READ * pixels * self.work.network.dtype.itemsize

    def sending(self, index: int, part: Rect) -> float:
        """What a part takes beside its graph, if that was kept."""
        share = self.work.runners[index].worked(part)[0]
        return self._slack.working * share * working_bytes(self.stages[index], graph=False)

    def _saved(self, index: int, part: Rect) -> float:
        """What the stages save of a part for backward."""
        shares = self.work.runners[index].worked(part)
        return sum(
            p.saved_bytes * share for p, share in zip(self.stages[index], shares, strict=True)
        )

    def ledger(self, *, counted: bool, rest: list[StageProfile]) -> Ledger:
        """What an update holds that keeps nothing of its tiles.

        Args:
            counted: whether boundaries are in the memory that is counted.
            rest: of the in-core stages.
        """
        held = []
        for index, parts in enumerate(self.work.parts):
            cells = self.work.held_cells(index) if counted else 0.0
            held.append(
                Held(
                    boundary=self._slack.blocks * cells * self.dtype.itemsize,
                    replay=max((self.replay(index, part) for part in parts), default=0.0),
                    sending=max((self.sending(index, part) for part in parts), default=0.0),
                )
            )
        top = self.stages[-1][-1].out_elements * self.dtype.itemsize
        rest_held = rest_bytes(rest, top, graph=True, top_counted=counted)
        return Ledger(held, rest_held, in_blocks=self.on_cpu)


def choose_kept(
    work: Pass,
    profiles: list[StageProfile],
    run: RunOptions,
    *,
    limit: int,
    boundaries: Place,
    first: int,
) -> None:
    """Choose narrow cells, the stages first that spare the most for a byte, then graphs.

    A byte of narrow cells spares three times the arithmetic of a graph's byte; the last stages'
    are the smallest for what they spare. What memory then is left turns tiles' narrow cells into
    graphs, the last groups' and the largest tiles' first.

    Args:
        work: the update; its ``kept`` is filled in.
        profiles: of the network's stages, on the whole image.
        run: for the device and the dtype.
        limit: of the device's memory for all but the network, in bytes.
        boundaries: where they are kept.
        first: the first group with a parameter that learns: none before it needs to keep any.
    """
    on_cpu = run.torch_device.type == "cpu"
    stages = [profiles[group.first : group.stop] for group in work.groups]
    dtype = run.compute_dtype(work.network)
    sizes = _Sizes(work, stages, dtype, on_cpu)
    counted = on_device(boundaries, on_cuda=not on_cpu)
    ledger = sizes.ledger(counted=counted, rest=profiles[work.groups[-1].stop :])
    _choose_narrow(sizes, ledger, limit, first)
    for index in reversed(range(first, len(work.groups))):
        _choose_graphs(sizes, ledger, limit, index)


def _choose_narrow(sizes: _Sizes, ledger: Ledger, limit: int, first: int) -> None:
    work, groups = sizes.work, range(first, len(sizes.stages))
    narrow = {(i, part): sizes.narrow(i, part) for i in groups for part in work.parts[i]}
    for index, stage in by_worth({index: sizes.stages[index] for index in groups}):
        held = ledger.groups[index]
        for part in work.parts[index]:
            more = narrow[index, part][stage]
            if more <= ledger.room(index, limit):
                held.narrow += more
                work.kept.keep_narrow(index, part, stage)


def by_worth(groups: Mapping[int, Sequence[StageProfile]]) -> list[tuple[int, int]]:
    """Groups' stages that have narrow cells, those first that spare the most for a byte.

    Args:
        groups: stages by the number of the group.

    Returns:
        Numbers of group and stage, the latter counted from the group's first.
    """
    worth = {
        (index, number): stage.narrow_flop / stage.narrow_bytes
        for index, stages in groups.items()
        for number, stage in enumerate(stages)
        if stage.narrow_bytes
    }
    return sorted(worth, key=lambda key: (-worth[key], -key[0], -key[1]))


def _choose_graphs(sizes: _Sizes, ledger: Ledger, limit: int, index: int) -> None:
    work = sizes.work
    parts, held, chosen = work.parts[index], ledger.groups[index], work.kept.chosen
    narrow = held.narrow
    held.graphs, held.narrow = sum(sizes.graph(index, part) for part in parts), 0.0
    held.all_graphs = True
    if ledger.peak() <= limit:
        chosen.update({(index, part): Keep.GRAPH for part in parts})
        return
    held.graphs, held.narrow, held.all_graphs = 0.0, narrow, False
    if ledger.in_blocks:
        return  # a few graphs between tiles that run leave the heap in holes
    passed_over = 0.0  # the replay of the largest of them
    for part, smaller in zip(parts, [*parts[1:], None], strict=True):
        before = held.graphs, held.narrow, held.replay
        kept = work.kept.narrow.get((index, part), set())
        narrow_bytes = sizes.narrow(index, part)
        held.narrow -= sum(narrow_bytes[stage] for stage in kept)
        held.replay = max(passed_over, sizes.replay(index, smaller) if smaller else 0.0)
        more = sizes.graph(index, part)
        if more <= ledger.room(index, limit, graphs=True):
            held.graphs += more
            chosen[index, part] = Keep.GRAPH
        else:
            held.graphs, held.narrow, held.replay = before
            passed_over = max(passed_over, sizes.replay(index, part))
