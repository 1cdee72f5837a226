"""Exact training and inference on images of any size, tile by tile.

The stages are cut into groups. Going forward, a group runs tile by tile, each tile with the halo
that its layers reach over, and only the group's output is kept. Going backward, the tiles of a
group run again, this time with a graph, and take the gradient of their own, disjoint part of the
output; the gradients of overlapping inputs add up. Where memory is left, the last groups' tiles
keep their narrow cells from forward, which spare most of the second run, or their graph, which
spares all of it, and the last stages may run in-core at once.
(Activation recomputation: Chen et al., 2016; for tiles of a convolutional network:
Pinckaers et al., 2020.)
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsi.heap import trim_heap
from wsi.networks.activation_cache import NarrowCells
from wsi.networks.norms import folded_once, refuse_image_wide_norm
from wsi.networks.staged import StagedNetwork
from wsi.networks.valid_forward import PADDED
from wsi.streaming.api import (
    Inference,
    LossFunction,
    RunOptions,
    StepResult,
    autocast,
    evaluation,
    to_device,
)
from wsi.streaming.image_source import ImageSource, Rect, read_ahead
from wsi.streaming.meter import Meter, resident_host_bytes
from wsi.streaming.storage.blocks import BLOCKS
from wsi.streaming.storage.feature_map import Boundary, MemoryBoundary, Place, make_boundary
from wsi.streaming.tiles.background import Mask, nonzero_cells
from wsi.streaming.tiles.checkpoint_policy import choose_kept
from wsi.streaming.tiles.cover import bounding
from wsi.streaming.tiles.prepare import prepare
from wsi.streaming.tiles.saved_tiles import Graph, Keep
from wsi.streaming.tiles.schedule import Pass, needed_cells
from wsi.streaming.tiles.streaming_head import PiecewiseHead, row_pieces
from wsi.streaming.tiles.tiling import Group

NARROW_ABOVE = 0.75
"""Share of a tile that must have a gradient for its narrow cells to spare time: they serve the
whole tile, where without them the part with a gradient alone runs again."""

SPARE_BYTES = 2**28
"""Of memory that is given back beyond what is over the limit, so that it is not at once again."""

DENSE_ABOVE = 0.5
"""Share of an output's cells with a gradient above which all of its input is taken to have one."""


class Tiled:
    """Tile by tile in bounded memory; any image size; frozen or cell-wise normalization."""

    name = "tiled"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Options:
        """How the network is cut.

        Attributes:
            groups: the tiled groups, first stage first; stages after the last group run in-core.
                ``None``: groups by stride, every stage tiled, tiles as ``tile_px`` says.
            tile_px: side of a tile of the first group in image pixels, without its halo; later
                groups get tiles that keep as many bytes. Used where ``groups`` is ``None``.
            boundaries: where activations and gradients between groups are kept.
            scratch: folder for boundaries on disk; ``None`` for the system's temporary folder.
            background: use what the source knows of constant background.
            device_bytes: memory of the device for tiles, boundaries that are there and what is
                kept. What tiles and boundaries leave of it keeps narrow cells and graphs of tiles
                from forward, the last groups' first. 0 keeps none.
            resident_bytes: on a CPU, of the process: where more is resident, free memory is given
                back to the system before a tile runs. 0 keeps it.
        """

        groups: tuple[Group, ...] | None = None
        tile_px: int = 2048
        boundaries: Place = "host"
        scratch: Path | None = None
        background: bool = True
        device_bytes: int = 0
        resident_bytes: int = 0

    def __init__(self, run: RunOptions, options: Options) -> None:
        self.run = run
        self.options = options

    def infer(
        self, network: StagedNetwork, source: ImageSource, *, keep_embedding: bool = True
    ) -> Inference:
        """See ``MemoryMode.infer``."""
        meter = Meter(self.run.torch_device)
        with evaluation(network), torch.inference_mode():
            work = self._prepare(network, source, step=False)
            with folded_once(network, self.run.compute_dtype(network)):
                *before, top = self._forward(work, keep=False)
            assert not before
            if self._tail(work):
                cells = top.whole().to(self.run.torch_device)
                with autocast(self.run):
                    for stage in self._tail(work):
                        cells = stage(cells, PADDED)
                top = MemoryBoundary.holding(cells)
                del cells
            logits = PiecewiseHead(network, top, self.run).logits()
            kept = top.whole().cpu() if keep_embedding else None
        top.close()
        # Results leave inference mode, so that Grad-CAM may differentiate through them.
        if kept is not None and kept.is_inference():
            kept = kept.clone()
        self.run.report(1.0)
        return Inference(logits.cpu().clone(), kept, meter.read(work.counters))

    def step(
        self, network: StagedNetwork, source: ImageSource, loss_fn: LossFunction
    ) -> StepResult:
        """See ``MemoryMode.step``."""
        meter = Meter(self.run.torch_device)
        refuse_image_wide_norm(network)
        work = self._prepare(network, source, step=True)
        with folded_once(network, self.run.compute_dtype(network)):
            return self._update(work, loss_fn, meter)

    def _update(self, work: Pass, loss_fn: LossFunction, meter: Meter) -> StepResult:
        with torch.no_grad():
            boundaries = self._forward(work, keep=True)
        top = boundaries.pop()
        if self._tail(work):
            loss, logits, gradient = self._tail_backward(work, top, loss_fn)
        else:
            head = PiecewiseHead(work.network, top, self.run)
            loss, logits = head.backward(loss_fn)
            gradient = top.like()
            head.gradient_into(gradient)
            top.close()
        mask: Mask | None = None
        for index in reversed(range(self._first_trainable(work), len(work.groups))):
            mask = self._take_background(work, index, gradient, mask)
            below = boundaries.pop() if index else None
            gradient, mask = self._backward_group(work, index, below, gradient, mask)
        gradient.close()
        if work.background is not None:
            work.background.backward(work.network, self.run)
        self.run.report(1.0)
        return StepResult(loss, logits, meter.read(work.counters))

    # -- preparation

    def _prepare(self, network: StagedNetwork, source: ImageSource, *, step: bool) -> Pass:
        options = self.options
        work, profiles = prepare(
            network,
            source,
            self.run,
            groups=options.groups,
            tile_px=options.tile_px,
            background=options.background,
            step=step,
        )
        if step and options.device_bytes:
            choose_kept(
                work,
                profiles,
                self.run,
                limit=options.device_bytes,
                boundaries=options.boundaries,
                first=self._first_trainable(work),
            )
        return work

    def _tail(self, work: Pass) -> list[torch.nn.Module]:
        """The stages after the last group, which run in-core."""
        return list(work.network.stages[work.groups[-1].stop :])

    def _boundary(self, work: Pass, index: int) -> Boundary:
        """An empty one for the output of a group."""
        runner, run = work.runners[index], self.run
        return make_boundary(
            self.options.boundaries,
            (work.source.batch, runner.stages[-1].channels, *runner.out_size),
            run.compute_dtype(work.network),
            run.torch_device,
            self.options.scratch,
        )

    def _tidy(self) -> None:
        """Before a tile: give free memory back to the system, where it is short."""
        limit = self.options.resident_bytes
        if not limit or self.run.torch_device.type != "cpu":
            return
        over = resident_host_bytes() - limit
        if over > 0 and BLOCKS.release(over + SPARE_BYTES) < over:
            trim_heap()

    def _tick(self, work: Pass, flop: float) -> None:
        work.done_flop += flop
        self.run.report(work.done_flop / work.total_flop)

    # -- forward

    def _forward(self, work: Pass, *, keep: bool) -> list[Boundary]:
        """The groups' output boundaries; only the last one unless ``keep``."""
        boundaries: list[Boundary] = []
        for index in range(len(work.groups)):
            below = boundaries[-1] if boundaries else None
            above = self._boundary(work, index)
            self._forward_group(work, index, below, above)
            if below is not None and not keep:
                boundaries.pop().close()
            elif below is not None and work.kept.all_graphs(index, work.parts[index]):
                below.close()  # the kept graphs have what they need of it
            boundaries.append(above)
        return boundaries

    def _forward_group(
        self, work: Pass, index: int, below: Boundary | None, above: Boundary
    ) -> None:
        runner, parts = work.runners[index], work.parts[index]
        if work.twin is not None:
            self._write_background(work, index, above)
        area = sum(part.area for part in parts)
        for out, cells in zip(parts, self._inputs(work, index, below, parts), strict=True):
            self._tidy()
            keep = work.kept.wants(index, out)
            graph = keep is Keep.GRAPH
            narrow = work.kept.narrow_cells(index, out) if keep is Keep.NARROW else None
            cells.requires_grad_(graph and below is not None)
            with torch.set_grad_enabled(graph), autocast(self.run):
                result = runner.run(cells, out, narrow)
            rows, columns = runner.inside(out).relative_to(0, 0)
            above.write(out, result.detach()[:, :, rows, columns])
            if graph:
                work.kept.put(index, out, Graph(cells, result))
            elif narrow is not None:
                work.kept.put(index, out, narrow)
            del cells, result
            work.counters["tiles_forward"] += 1
            self._tick(work, work.flops[index] * out.area / area)

    def _write_background(self, work: Pass, index: int, above: Boundary) -> None:
        """Copy the background's cells from the twin, those that are read from here on."""
        twin, stop = work.twin, work.groups[index].stop
        assert twin is not None
        wanted = twin.pure[stop]
        if index + 1 < len(work.groups):
            wanted = wanted & needed_cells(work.runners[index + 1], work.parts[index + 1])
        work.counters["tiles_background"] += work.background_tiles(index)
        for tile in work.runners[index].out_tiles(work.groups[index].tile_px):
            box = bounding(wanted[tile.relative_to(0, 0)], tile)
            if box is not None:
                above.write(box, twin.cells(stop, *box.relative_to(0, 0)))
                work.counters["cells_background"] += box.area

    def _inputs(
        self, work: Pass, index: int, below: Boundary | None, outs: Iterable[Rect]
    ) -> Iterator[Tensor]:
        """Each output tile's input on the device, the image's being read ahead."""
        runner = work.runners[index]
        rects = [runner.needed(out) for out in outs]
        if below is None:
            moved = functools.partial(to_device, network=work.network, run=self.run)
            yield from map(moved, read_ahead(work.source, rects))  # no name keeps the original
            return
        for rect in rects:
            yield below.read(rect).to(self.run.torch_device, non_blocking=True)

    # -- backward

    def _tail_backward(
        self, work: Pass, top: Boundary, loss_fn: LossFunction
    ) -> tuple[float, Tensor, Boundary]:
        """Loss, logits and the gradient at the last tiled boundary, the rest being in-core."""
        cells = top.whole().to(self.run.torch_device)
        cells.requires_grad_()
        with autocast(self.run):
            embedding = cells
            for stage in self._tail(work):
                embedding = stage(embedding, PADDED)
        logits = work.network.classify(embedding)
        del embedding
        loss = loss_fn(logits)
        loss.backward()  # type: ignore[no-untyped-call]
        self._tick(work, 3 * work.tail_flop)
        assert cells.grad is not None
        return loss.item(), logits.detach().cpu(), MemoryBoundary.holding(cells.grad)

    def _first_trainable(self, work: Pass) -> int:
        """The first group with a parameter that learns; their number if none does."""
        for index, runner in enumerate(work.runners):
            if any(p.requires_grad for stage in runner.stages for p in stage.parameters()):
                return index
        return len(work.groups)

    def _take_background(
        self, work: Pass, index: int, gradient: Boundary, mask: Mask | None
    ) -> Mask:
        """Take the background's part of the gradient at a group's output, which tiles leave out.

        Args:
            work: the call.
            index: of the group.
            gradient: at its output.
            mask: (h, w) where that is not zero; ``None`` looks.

        Returns:
            Where the gradient that tissue's cells have is not zero: (h, w).
        """
        stop = work.groups[index].stop
        pure = None if work.twin is None else work.twin.pure[stop]
        left = np.zeros(gradient.shape[2:], dtype=bool) if mask is None else mask
        for rect in row_pieces(gradient):
            rows = slice(rect.y0, rect.y1)
            if mask is not None and (pure is None or not (mask[rows] & pure[rows]).any()):
                continue  # no background has a gradient here
            values = gradient.read(rect)
            if mask is None:
                left[rows] = nonzero_cells(values)
            if work.background is not None:
                taken = work.background.take(stop, values, rect.y0, left)
                work.counters["cells_background_gradient"] += taken
        return left if pure is None else left & ~pure

    def _backward_group(
        self, work: Pass, index: int, below: Boundary | None, gradient: Boundary, mask: Mask
    ) -> tuple[Boundary, Mask]:
        """Replay one group; returns the gradient at its input and where that is not zero."""
        runner, stop = work.runners[index], work.groups[index].stop
        result = gradient if below is None else below.like()
        touched = np.zeros(runner.in_size if below is not None else (0, 0), dtype=bool)
        todo: list[tuple[Rect, Rect]] = []
        work.counters["tiles_zero_gradient"] += work.background_tiles(index)
        for part in work.parts[index]:
            wanted = bounding(mask[part.relative_to(0, 0)], part)
            if wanted is None:
                work.counters["tiles_zero_gradient"] += 1
            else:
                todo.append((part, wanted))
        area = sum(wanted.area for _, wanted in todo)

        def send(out: Rect, cells: Tensor, replayed: Tensor) -> None:
            incoming = gradient.read(out).to(replayed.device, replayed.dtype)
            if work.twin is not None:  # the background's gradient has gone through the twin
                pure = torch.from_numpy(work.twin.pure[stop][out.relative_to(0, 0)])
                incoming.masked_fill_(pure.to(incoming.device), 0)
            at, (height, width) = runner.inside(out), replayed.shape[2:]
            halo = (at.x0, width - at.x1, at.y0, height - at.y1)
            if any(halo):
                # Had the result been sliced, its gradient would arrive in NCHW order: slow below.
                incoming = F.pad(incoming, halo)
            torch.autograd.backward(replayed, incoming)
            if below is not None:
                assert cells.grad is not None
                rect = runner.needed(out)
                result.add(rect, cells.grad)
                dense = mask[out.relative_to(0, 0)].mean() > DENSE_ABOVE
                touched[rect.relative_to(0, 0)] |= dense or nonzero_cells(cells.grad)
            work.counters["tiles_backward"] += 1
            self._tick(work, 3 * work.flops[index] * out.area / area)

        graphs: list[tuple[Rect, Graph]] = []
        replays: list[tuple[Rect, NarrowCells | None]] = []
        for part, wanted in todo:
            held = work.kept.take(index, part)
            if isinstance(held, Graph):
                graphs.append((part, held))
            elif held is not None and wanted.area > NARROW_ABOVE * part.area:
                replays.append((part, held))
            else:
                replays.append((wanted, None))
            del held
        work.kept.drop(index)
        work.counters["tiles_kept"] += len(graphs)
        work.counters["tiles_narrow"] += sum(narrow is not None for _, narrow in replays)
        gradient.last_reads([out for out, _ in graphs] + [out for out, _ in replays])
        if below is not None:
            below.last_reads([runner.needed(out) for out, _ in replays])
        graphs.reverse()
        while graphs:
            out, graph = graphs.pop()
            send(out, graph.cells, graph.result)
            del graph
        inputs = self._inputs(work, index, below, [out for out, _ in replays])
        replays.reverse()
        for cells in inputs:
            out, narrow = replays.pop()
            self._tidy()
            cells.requires_grad_(below is not None)
            with torch.enable_grad(), autocast(self.run):
                replayed = runner.run(cells, out, narrow)
            send(out, cells, replayed)
            del cells, replayed, narrow
        gradient.close()
        if below is not None:
            below.close()
        return result, touched
