"""Exact training and inference on images of any size, tile by tile.

The stages are divided into groups. In forward, a group runs tile by tile, each tile with the halo
of its receptive field, and only the group's output is stored. In backward, the tiles of a group are
recomputed with an autograd graph and receive the gradient of their own, disjoint part of the
output; the gradients of overlapping inputs add up. Where memory is left, tiles save bottleneck
activations in forward, which reduces recomputation, or their whole graph, which avoids it
(``wsi.streaming.tiles.checkpoint_policy``). The last stages may run in-core.
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
from wsi.networks.activation_cache import BottleneckActivations
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
from wsi.streaming.storage.feature_map import FeatureMap, Place, TensorFeatureMap, make_feature_map
from wsi.streaming.tiles.background import Mask, nonzero_positions
from wsi.streaming.tiles.build_pass import build_pass
from wsi.streaming.tiles.cover import bounding
from wsi.streaming.tiles.saved_tiles import CheckpointPolicy, SavedGraph
from wsi.streaming.tiles.schedule import TiledPass, needed_positions
from wsi.streaming.tiles.streaming_head import StreamingHead, row_bands
from wsi.streaming.tiles.tile_memory import apply_checkpoint_policy
from wsi.streaming.tiles.tiling import Group, first_trainable

BOTTLENECK_MIN_SHARE = 0.75
"""Share of a tile that must have a gradient for saved bottleneck activations to be used: with them
the whole tile is recomputed, without them only the part that has a gradient."""

TRIM_MARGIN_BYTES = 2**28
"""Returned to the system beyond what exceeds the limit, so that it lasts for a while."""

DENSE_SHARE = 0.5
"""Share of output positions with a gradient above which the whole input is assumed to have one."""


class Tiled:
    """Tile by tile in bounded memory; any image size; frozen or per-position normalization."""

    name = "tiled"

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Options:
        """How the network is divided.

        Attributes:
            groups: the tiled groups, first stage first; stages after the last group run in-core.
                ``None``: groups by stride, every stage tiled, tiles as ``tile_px`` says.
            tile_px: side of a tile of the first group in image pixels, without its halo; later
                groups get tiles that save as many bytes. Used where ``groups`` is ``None``.
            boundaries: where activations and gradients between groups are stored.
            scratch: folder for boundaries on disk; ``None`` for the system's temporary folder.
            background: use what the source knows of constant background.
            device_bytes: memory of the device for tiles, group outputs stored there, and what
                tiles save from forward to backward. 0 saves nothing: all tiles are recomputed.
            resident_bytes: on a CPU, resident memory of the process above which free memory is
                returned to the system before a tile runs; 0 for never.
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
        """Logits and embedding, tile by tile (``MemoryMode.infer``)."""
        meter = Meter(self.run.torch_device)
        with evaluation(network), torch.inference_mode():
            work = self._build_pass(network, source, step=False)
            with folded_once(network, self.run.compute_dtype(network)):
                *before, top = self._forward(work, keep=False)
            assert not before
            if self._tail(work):
                cells = top.whole().to(self.run.torch_device)
                with autocast(self.run):
                    for stage in self._tail(work):
                        cells = stage(cells, PADDED)
                top = TensorFeatureMap.holding(cells)
                del cells
            logits = StreamingHead(network, top, self.run).logits()
            kept_embedding = top.whole().cpu() if keep_embedding else None
        top.close()
        # Results must not be inference tensors: Grad-CAM differentiates through them.
        if kept_embedding is not None and kept_embedding.is_inference():
            kept_embedding = kept_embedding.clone()
        self.run.report(1.0)
        return Inference(logits.cpu().clone(), kept_embedding, meter.read(work.counters))

    def step(
        self, network: StagedNetwork, source: ImageSource, loss_fn: LossFunction
    ) -> StepResult:
        """One update of exact gradients, tile by tile (``MemoryMode.step``)."""
        meter = Meter(self.run.torch_device)
        refuse_image_wide_norm(network)
        work = self._build_pass(network, source, step=True)
        with folded_once(network, self.run.compute_dtype(network)):
            return self._update(work, loss_fn, meter)

    def _update(self, work: TiledPass, loss_fn: LossFunction, meter: Meter) -> StepResult:
        with torch.no_grad():
            boundaries = self._forward(work, keep=True)
        top = boundaries.pop()
        if self._tail(work):
            loss, logits, gradient = self._tail_backward(work, top, loss_fn)
        else:
            head = StreamingHead(work.network, top, self.run)
            loss, logits = head.backward(loss_fn)
            gradient = top.like()
            head.gradient_into(gradient)
            top.close()
        mask: Mask | None = None
        for index in reversed(
            range(first_trainable([runner.stages for runner in work.runners]), len(work.groups))
        ):
            mask = self._take_background(work, index, gradient, mask)
            below = boundaries.pop() if index else None
            gradient, mask = self._backward_group(work, index, below, gradient, mask)
        gradient.close()
        if work.background is not None:
            work.background.backward(work.network, self.run)
        self.run.report(1.0)
        return StepResult(loss, logits, meter.read(work.counters))

    # -- preparation

    def _build_pass(self, network: StagedNetwork, source: ImageSource, *, step: bool) -> TiledPass:
        options = self.options
        work, profiles = build_pass(
            network,
            source,
            self.run,
            groups=options.groups,
            tile_px=options.tile_px,
            background=options.background,
            step=step,
        )
        if step and options.device_bytes:
            apply_checkpoint_policy(
                work,
                profiles,
                self.run,
                limit=options.device_bytes,
                boundaries=options.boundaries,
                first=first_trainable([runner.stages for runner in work.runners]),
            )
        return work

    def _tail(self, work: TiledPass) -> list[torch.nn.Module]:
        """The stages after the last group, which run in-core."""
        return list(work.network.stages[work.groups[-1].stop :])

    def _boundary(self, work: TiledPass, index: int) -> FeatureMap:
        """An empty store for the output of a group."""
        runner, run = work.runners[index], self.run
        return make_feature_map(
            self.options.boundaries,
            (work.source.batch, runner.stages[-1].channels, *runner.out_size),
            run.compute_dtype(work.network),
            run.torch_device,
            self.options.scratch,
        )

    def _trim_memory(self) -> None:
        """Return free memory to the system before a tile runs, if the limit is exceeded."""
        limit = self.options.resident_bytes
        if not limit or self.run.torch_device.type != "cpu":
            return
        over = resident_host_bytes() - limit
        if over > 0 and BLOCKS.trim(over + TRIM_MARGIN_BYTES) < over:
            trim_heap()

    def _advance(self, work: TiledPass, flop: float) -> None:
        work.done_flop += flop
        self.run.report(work.done_flop / work.total_flop)

    # -- forward

    def _forward(self, work: TiledPass, *, keep: bool) -> list[FeatureMap]:
        """The groups' outputs; only the last one unless ``keep``."""
        boundaries: list[FeatureMap] = []
        for index in range(len(work.groups)):
            below = boundaries[-1] if boundaries else None
            above = self._boundary(work, index)
            self._forward_group(work, index, below, above)
            if below is not None and not keep:
                boundaries.pop().close()
            elif below is not None and work.saved.saves_all(index, work.tiles[index]):
                below.close()  # the saved graphs hold what they need of it
            boundaries.append(above)
        return boundaries

    def _forward_group(
        self, work: TiledPass, index: int, below: FeatureMap | None, above: FeatureMap
    ) -> None:
        runner, tiles = work.runners[index], work.tiles[index]
        if work.reference is not None:
            self._write_background(work, index, above)
        area = sum(tile.area for tile in tiles)
        for out, cells in zip(tiles, self._inputs(work, index, below, tiles), strict=True):
            self._trim_memory()
            keep = work.saved.policy(index, out)
            graph = keep is CheckpointPolicy.SAVE_ALL
            bottleneck = (
                work.saved.new_bottleneck(index, out)
                if keep is CheckpointPolicy.SAVE_BOTTLENECK
                else None
            )
            cells.requires_grad_(graph and below is not None)
            with torch.set_grad_enabled(graph), autocast(self.run):
                result = runner.run(cells, out, bottleneck)
            rows, columns = runner.inside(out).relative_to(0, 0)
            above.write(out, result.detach()[:, :, rows, columns])
            if graph:
                work.saved.put(index, out, SavedGraph(cells, result))
            elif bottleneck is not None:
                work.saved.put(index, out, bottleneck)
            del cells, result
            work.counters["tiles_forward"] += 1
            self._advance(work, work.flops[index] * out.area / area)

    def _write_background(self, work: TiledPass, index: int, above: FeatureMap) -> None:
        """Copy background activations from the reference, where later groups read them."""
        reference, stop = work.reference, work.groups[index].stop
        assert reference is not None
        wanted = reference.background_only[stop]
        if index + 1 < len(work.groups):
            wanted = wanted & needed_positions(work.runners[index + 1], work.tiles[index + 1])
        work.counters["tiles_background"] += work.background_tiles(index)
        for tile in work.runners[index].out_tiles(work.groups[index].tile_px):
            box = bounding(wanted[tile.relative_to(0, 0)], tile)
            if box is not None:
                above.write(box, reference.activations(stop, *box.relative_to(0, 0)))
                work.counters["positions_background"] += box.area

    def _inputs(
        self, work: TiledPass, index: int, below: FeatureMap | None, outs: Iterable[Rect]
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
        self, work: TiledPass, top: FeatureMap, loss_fn: LossFunction
    ) -> tuple[float, Tensor, FeatureMap]:
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
        self._advance(work, 3 * work.tail_flop)
        assert cells.grad is not None
        return loss.item(), logits.detach().cpu(), TensorFeatureMap.holding(cells.grad)

    def _take_background(
        self, work: TiledPass, index: int, gradient: FeatureMap, mask: Mask | None
    ) -> Mask:
        """Add up the gradient of background positions at a group's output, which tiles leave out.

        Args:
            work: the call.
            index: of the group.
            gradient: at its output.
            mask: (h, w) where that is not zero; ``None`` to find out.

        Returns:
            Where the gradient of the other positions is not zero: (h, w).
        """
        stop = work.groups[index].stop
        background_only = None if work.reference is None else work.reference.background_only[stop]
        left = np.zeros(gradient.shape[2:], dtype=bool) if mask is None else mask
        for rect in row_bands(gradient):
            rows = slice(rect.y0, rect.y1)
            if mask is not None and (
                background_only is None or not (mask[rows] & background_only[rows]).any()
            ):
                continue  # no background has a gradient here
            values = gradient.read(rect)
            if mask is None:
                left[rows] = nonzero_positions(values)
            if work.background is not None:
                taken = work.background.add(stop, values, rect.y0, left)
                work.counters["positions_background_gradient"] += taken
        return left if background_only is None else left & ~background_only

    def _backward_group(
        self,
        work: TiledPass,
        index: int,
        below: FeatureMap | None,
        gradient: FeatureMap,
        mask: Mask,
    ) -> tuple[FeatureMap, Mask]:
        """Backward of one group; returns the gradient at its input and where that is not zero."""
        runner, stop = work.runners[index], work.groups[index].stop
        result = gradient if below is None else below.like()
        has_gradient = np.zeros(runner.in_size if below is not None else (0, 0), dtype=bool)
        pending: list[tuple[Rect, Rect]] = []
        work.counters["tiles_zero_gradient"] += work.background_tiles(index)
        for tile in work.tiles[index]:
            wanted = bounding(mask[tile.relative_to(0, 0)], tile)
            if wanted is None:
                work.counters["tiles_zero_gradient"] += 1
            else:
                pending.append((tile, wanted))
        area = sum(wanted.area for _, wanted in pending)

        def send(out: Rect, cells: Tensor, output: Tensor) -> None:
            incoming = gradient.read(out).to(output.device, output.dtype)
            if work.reference is not None:  # background has its gradient through the reference
                background_only = torch.from_numpy(
                    work.reference.background_only[stop][out.relative_to(0, 0)]
                )
                incoming.masked_fill_(background_only.to(incoming.device), 0)
            at, (height, width) = runner.inside(out), output.shape[2:]
            halo = (at.x0, width - at.x1, at.y0, height - at.y1)
            if any(halo):
                # The gradient of a slice would be in NCHW order, which is slow in what follows.
                incoming = F.pad(incoming, halo)
            torch.autograd.backward(output, incoming)
            if below is not None:
                assert cells.grad is not None
                rect = runner.needed(out)
                result.add(rect, cells.grad)
                dense = mask[out.relative_to(0, 0)].mean() > DENSE_SHARE
                has_gradient[rect.relative_to(0, 0)] |= dense or nonzero_positions(cells.grad)
            work.counters["tiles_backward"] += 1
            self._advance(work, 3 * work.flops[index] * out.area / area)

        graphs: list[tuple[Rect, SavedGraph]] = []
        recomputed: list[tuple[Rect, BottleneckActivations | None]] = []
        for tile, wanted in pending:
            saved = work.saved.take(index, tile)
            if isinstance(saved, SavedGraph):
                graphs.append((tile, saved))
            elif saved is not None and wanted.area > BOTTLENECK_MIN_SHARE * tile.area:
                recomputed.append((tile, saved))
            else:
                recomputed.append((wanted, None))
            del saved
        work.saved.drop(index)
        work.counters["tiles_saved"] += len(graphs)
        work.counters["tiles_bottleneck"] += sum(
            bottleneck is not None for _, bottleneck in recomputed
        )
        gradient.last_reads([out for out, _ in graphs] + [out for out, _ in recomputed])
        if below is not None:
            below.last_reads([runner.needed(out) for out, _ in recomputed])
        graphs.reverse()
        while graphs:
            out, graph = graphs.pop()
            send(out, graph.input, graph.output)
            del graph
        inputs = self._inputs(work, index, below, [out for out, _ in recomputed])
        recomputed.reverse()
        for cells in inputs:
            out, bottleneck = recomputed.pop()
            self._trim_memory()
            cells.requires_grad_(below is not None)
            with torch.enable_grad(), autocast(self.run):
                output = runner.run(cells, out, bottleneck)
            send(out, cells, output)
            del cells, output, bottleneck
        gradient.close()
        if below is not None:
            below.close()
        return result, has_gradient
