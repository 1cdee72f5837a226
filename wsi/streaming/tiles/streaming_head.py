"""Pooling, head and loss over an embedding that is read from its store in bands of rows."""

from collections.abc import Iterator

import torch
from torch import Tensor

from wsi.networks.staged import StagedNetwork
from wsi.streaming.api import LossFunction, RunOptions
from wsi.streaming.image_source import Rect
from wsi.streaming.storage.feature_map import FeatureMap

BAND_ELEMENTS = 2**22
"""Elements of a band: 16 MiB in float32."""


def row_bands(feature_map: FeatureMap, elements: int = BAND_ELEMENTS) -> Iterator[Rect]:
    """Bands of whole rows that cover a feature map, each of at most ``elements`` (or one row)."""
    n, c, height, width = feature_map.shape
    rows = max(1, elements // (n * c * width))
    for y0 in range(0, height, rows):
        yield Rect(y0, 0, min(y0 + rows, height), width)


class StreamingHead:
    """The network's pooling and head on an embedding (N, D, h, w) in a store."""

    def __init__(self, network: StagedNetwork, embedding: FeatureMap, run: RunOptions) -> None:
        self._network = network
        self._embedding = embedding
        self._device = run.torch_device
        self._positions = embedding.shape[2] * embedding.shape[3]
        self._shift: Tensor | None = None
        self._gradient_of_sums: Tensor | None = None

    def _bands(self) -> Iterator[tuple[Rect, Tensor]]:
        for rect in row_bands(self._embedding):
            yield rect, self._embedding.read(rect).to(self._device)

    def _sums(self) -> Tensor:
        """The pooling's sums over all bands (N, K), without a graph; sets the shift."""
        pooling = self._network.pooling
        shift: Tensor | None = None
        for _, band in self._bands():
            shift = pooling.shift(band, shift)
            if shift is None:
                break  # this pooling needs no shift, so no first pass
        self._shift = shift
        total: Tensor | None = None
        for _, band in self._bands():
            sums = pooling.sums(band, shift)
            total = sums if total is None else total + sums
        assert total is not None
        return total

    def _logits(self, sums: Tensor) -> Tensor:
        pooled = self._network.pooling.finish(sums, self._shift, self._positions)
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

    def gradient_into(self, gradient: FeatureMap) -> None:
        """Write the embedding's gradient to ``gradient``; adds to the pooling's own gradients.

        Where the ReLU at the end of the last stage returned zero, the gradient would end: it is
        set to zero here already. Otherwise a channel that is zero everywhere, whose maximum all
        positions share, would have a gradient in every tile and none could be skipped.
        """
        assert self._gradient_of_sums is not None
        ends_in_relu = self._network.stage_list[-1].ends_in_relu
        self._embedding.last_reads(row_bands(self._embedding))
        for rect, band in self._bands():
            band.requires_grad_()
            sums = self._network.pooling.sums(band, self._shift)
            sums.backward(self._gradient_of_sums)  # type: ignore[no-untyped-call]
            assert band.grad is not None
            if ends_in_relu:
                band.grad.masked_fill_(band.detach() == 0, 0)
            gradient.write(rect, band.grad)
