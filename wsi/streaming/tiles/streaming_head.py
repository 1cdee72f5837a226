"""Pooling, head and loss over an embedding that is read piece by piece from its store."""

from collections.abc import Iterator

import torch
from torch import Tensor

from wsi.networks.staged import StagedNetwork
from wsi.streaming.api import LossFunction, RunOptions
from wsi.streaming.image_source import Rect
from wsi.streaming.storage.feature_map import Boundary

PIECE_ELEMENTS = 2**22
"""Elements of a piece: 16 MiB in float32."""


def row_pieces(boundary: Boundary, elements: int = PIECE_ELEMENTS) -> Iterator[Rect]:
    """Bands of whole rows that cover a boundary, each of at most ``elements`` (or one row)."""
    n, c, height, width = boundary.shape
    rows = max(1, elements // (n * c * width))
    for y0 in range(0, height, rows):
        yield Rect(y0, 0, min(y0 + rows, height), width)


class PiecewiseHead:
    """The network's pooling and head on an embedding (N, D, h, w) in a store."""

    def __init__(self, network: StagedNetwork, embedding: Boundary, run: RunOptions) -> None:
        self._network = network
        self._embedding = embedding
        self._device = run.torch_device
        self._cells = embedding.shape[2] * embedding.shape[3]
        self._shift: Tensor | None = None
        self._gradient_of_sums: Tensor | None = None

    def _pieces(self) -> Iterator[tuple[Rect, Tensor]]:
        for rect in row_pieces(self._embedding):
            yield rect, self._embedding.read(rect).to(self._device)

    def _sums(self) -> Tensor:
        """The pooling's sums over all pieces (N, K), without a graph; notes the shift."""
        pooling = self._network.pooling
        shift: Tensor | None = None
        for _, piece in self._pieces():
            shift = pooling.shift(piece, shift)
            if shift is None:
                break  # this pooling needs none: spare the first pass
        self._shift = shift
        total: Tensor | None = None
        for _, piece in self._pieces():
            sums = pooling.sums(piece, shift)
            total = sums if total is None else total + sums
        assert total is not None
        return total

    def _logits(self, sums: Tensor) -> Tensor:
        pooled = self._network.pooling.finish(sums, self._shift, self._cells)
        return self._network.classify_pooled(pooled)

    @torch.no_grad()
    def logits(self) -> Tensor:
        """(N, classes), no graph."""
        return self._logits(self._sums())

    def backward(self, loss_fn: LossFunction) -> tuple[float, Tensor]:
        """Loss and logits; adds to the head's gradients."""
        with torch.no_grad():
            sums = self._sums()
        sums.requires_grad_()
        logits = self._logits(sums)
        loss = loss_fn(logits)
        loss.backward()  # type: ignore[no-untyped-call]
        self._gradient_of_sums = sums.grad
        return loss.item(), logits.detach().cpu()

    def gradient_into(self, gradient: Boundary) -> None:
        """Write the embedding's gradient in its place; adds to the pooling's own gradients.

        Where the last stage ends in a ReLU that gave zero, the gradient would end there: it is
        left out here already. So with max-pooling a channel that is zero everywhere, which all
        cells win together, does not keep every tile from being skipped.
        """
        assert self._gradient_of_sums is not None
        ends_in_relu = self._network.stage_list[-1].ends_in_relu
        self._embedding.last_reads(row_pieces(self._embedding))
        for rect, piece in self._pieces():
            piece.requires_grad_()
            sums = self._network.pooling.sums(piece, self._shift)
            sums.backward(self._gradient_of_sums)  # type: ignore[no-untyped-call]
            assert piece.grad is not None
            if ends_in_relu:
                piece.grad.masked_fill_(piece.detach() == 0, 0)
            gradient.write(rect, piece.grad)
