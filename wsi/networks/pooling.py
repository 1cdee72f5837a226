"""Pooling of an embedding (N, D, h, w) into one vector per sample, whole or in bands of rows.

Every pooling here is a function of sums over positions, once a shift (a running maximum, a constant
for the gradient) is known. So an embedding too large for one tensor is pooled in bands: one pass
for the shift, one for the sums. In backward each band's gradient follows from the gradient of the
sums alone.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from wsi.errors import ConfigError

PoolingKind = Literal["average", "max", "lse", "attention"]


class Pooling(nn.Module):
    """Base: ``forward`` for a whole embedding; ``shift``, ``sums``, ``finish`` for bands."""

    def shift(self, band: Tensor, so_far: Tensor | None) -> Tensor | None:
        """The running maximum after ``band`` (N, D, h, w); ``None`` where none is needed."""
        return None

    def sums(self, band: Tensor, shift: Tensor | None) -> Tensor:
        """The sums over one band: (N, K), to be added over bands."""
        raise NotImplementedError

    def finish(self, sums: Tensor, shift: Tensor | None, positions: int) -> Tensor:
        """The pooled vector (N, D) from the sums over all ``positions``."""
        raise NotImplementedError

    def forward(self, embedding: Tensor) -> Tensor:
        """(N, D, h, w) -> (N, D)."""
        raise NotImplementedError


def _accumulator(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


class AveragePooling(Pooling):
    """The mean over positions."""

    def sums(self, band: Tensor, shift: Tensor | None) -> Tensor:
        return band.sum((2, 3), dtype=_accumulator(band))

    def finish(self, sums: Tensor, shift: Tensor | None, positions: int) -> Tensor:
        return sums / positions

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding.mean((2, 3), dtype=_accumulator(embedding))


class MaxPooling(Pooling):
    """The maximum over positions; ties share the gradient evenly, as in ``amax``."""

    def shift(self, band: Tensor, so_far: Tensor | None) -> Tensor:
        top = band.detach().amax((2, 3)).to(_accumulator(band))
        return top if so_far is None else torch.maximum(so_far, top)

    def sums(self, band: Tensor, shift: Tensor | None) -> Tensor:
        assert shift is not None
        won = band.detach() == shift.to(band.dtype)[:, :, None, None]
        zero = torch.zeros((), dtype=band.dtype, device=band.device)
        total = torch.where(won, band, zero).sum((2, 3), dtype=_accumulator(band))
        return torch.cat([total, won.sum((2, 3)).to(total.dtype)], 1)

    def finish(self, sums: Tensor, shift: Tensor | None, positions: int) -> Tensor:
        total, count = sums.chunk(2, 1)
        return total / count.detach()

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding.amax((2, 3)).to(_accumulator(embedding))


class LogSumExpPooling(Pooling):
    """``log(mean(exp(r x))) / r``: between mean (small r) and maximum (large r).

    Pinheiro and Collobert, 2015.
    """

    def __init__(self, sharpness: float = 4.0) -> None:
        super().__init__()
        if not sharpness > 0:
            raise ConfigError(f"sharpness must be positive, got {sharpness}")
        self.sharpness = sharpness

    def shift(self, band: Tensor, so_far: Tensor | None) -> Tensor:
        top = band.detach().amax((2, 3)).to(_accumulator(band)) * self.sharpness
        return top if so_far is None else torch.maximum(so_far, top)

    def sums(self, band: Tensor, shift: Tensor | None) -> Tensor:
        assert shift is not None
        scaled = band.to(_accumulator(band)) * self.sharpness
        return (scaled - shift[:, :, None, None]).exp().sum((2, 3))

    def finish(self, sums: Tensor, shift: Tensor | None, positions: int) -> Tensor:
        assert shift is not None
        return (sums.log() + shift - math.log(positions)) / self.sharpness

    def forward(self, embedding: Tensor) -> Tensor:
        scaled = embedding.to(_accumulator(embedding)) * self.sharpness
        positions = embedding.shape[2] * embedding.shape[3]
        return (torch.logsumexp(scaled, (2, 3)) - math.log(positions)) / self.sharpness


class AttentionPooling(Pooling):
    """Gated attention over positions (Ilse, Tomczak and Welling, 2018)."""

    def __init__(self, features: int, hidden: int = 128) -> None:
        super().__init__()
        self.tanh = nn.Linear(features, hidden)
        self.gate = nn.Linear(features, hidden)
        # No bias: the softmax over positions would cancel it.
        self.score = nn.Linear(hidden, 1, bias=False)

    def _scores(self, rows: Tensor) -> Tensor:
        """(N, positions, D) -> (N, positions)."""
        gated = torch.tanh(self.tanh(rows)) * torch.sigmoid(self.gate(rows))
        scores: Tensor = self.score(gated)
        return scores.squeeze(-1)

    def _rows(self, band: Tensor) -> Tensor:
        return band.flatten(2).transpose(1, 2).to(self.score.weight.dtype)

    def shift(self, band: Tensor, so_far: Tensor | None) -> Tensor:
        with torch.no_grad():
            top = self._scores(self._rows(band)).amax(1, keepdim=True)
        return top if so_far is None else torch.maximum(so_far, top)

    def sums(self, band: Tensor, shift: Tensor | None) -> Tensor:
        assert shift is not None
        rows = self._rows(band)
        weights = (self._scores(rows) - shift).exp()
        pooled = torch.bmm(weights[:, None], rows).squeeze(1)
        return torch.cat([pooled, weights.sum(1, keepdim=True)], 1)

    def finish(self, sums: Tensor, shift: Tensor | None, positions: int) -> Tensor:
        return sums[:, :-1] / sums[:, -1:]

    def forward(self, embedding: Tensor) -> Tensor:
        rows = self._rows(embedding)
        weights = self._scores(rows).softmax(1)
        return torch.bmm(weights[:, None], rows).squeeze(1)


def make_pooling(kind: PoolingKind, features: int) -> Pooling:
    """The pooling of this name over ``features`` channels.

    Raises:
        ConfigError: no such pooling.
    """
    if kind == "average":
        return AveragePooling()
    if kind == "max":
        return MaxPooling()
    if kind == "lse":
        return LogSumExpPooling()
    if kind == "attention":
        return AttentionPooling(features)
    raise ConfigError(f"unknown pooling {kind!r}; choose from: {', '.join(get_args(PoolingKind))}")
