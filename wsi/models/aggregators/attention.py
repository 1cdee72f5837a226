"""Aggregation by attention over patch embeddings: gated attention, and CLAM's clustering.

A bag is a slide's patches, in no order: (N patches, D features). Bags of different sizes go through
together by padding; a mask says which rows are patches.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from wsi.errors import ConfigError, ModelError
from wsi.models.aggregators.base import SlideFeatures, SlidePrediction

AttentionKind = Literal["gated-attention", "clam"]
KINDS: tuple[AttentionKind, ...] = ("gated-attention", "clam")


@dataclass(frozen=True, kw_only=True)
class AttentionSpec:
    """The shape of an attention aggregator.

    Attributes:
        kind: ``gated-attention`` has one attention for all classes (Ilse 2018); ``clam`` one a
            class, and classifiers of single patches that training pulls apart (Lu 2021, CLAM-MB).
        features: D, of the embeddings.
        classes: K, of slides.
        hidden: width after the first layer.
        attention: width of the gate.
        dropout: share dropped after the first layer and in the gate.
        ordinal: classes are grades, lowest first. The network then answers K-1 questions, "is it
            above grade k, given that it is not below?" (CORN: Shi, Cao & Raschka 2021), of which
            grades' probabilities are made; with ``clam``, attention and the classifiers of
            patches belong to a question, not to a class.
    """

    kind: AttentionKind
    features: int
    classes: int
    hidden: int = 256
    attention: int = 128
    dropout: float = 0.25
    ordinal: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no attention {self.kind!r}; choose from: {', '.join(KINDS)}")
        if min(self.features, self.hidden, self.attention) < 1 or self.classes < 2:
            raise ConfigError("widths must be positive and classes at least two")

    @property
    def outputs(self) -> int:
        """How many numbers the network ends in: one a class, or one a step between grades."""
        return self.classes - 1 if self.ordinal else self.classes

    @property
    def branches(self) -> int:
        """How many attentions there are over a bag."""
        return self.outputs if self.kind == "clam" else 1

    @property
    def branch_of_class(self) -> list[int]:
        """(K,) which attention a class goes by; the lowest grade has that of the first step."""
        if self.branches == 1:
            return [0] * self.classes
        return [max(0, k - 1) if self.ordinal else k for k in range(self.classes)]


def grade_log_probabilities(steps_bj: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of K grades from the K-1 logits of CORN.

    Logit j is that of P(grade > j | grade >= j), so P(grade > k) is a product of probabilities and
    can only fall with k, whatever the logits (Shi, Cao & Raschka 2021, eq. 5). The cross-entropy
    of these log-probabilities is the paper's loss, as a sum over its conditional subsets.

    Args:
        steps_bj: (B, K-1).

    Returns:
        (B, K), whose exponentials sum to 1.
    """
    above = functional.logsigmoid(steps_bj).cumsum(1)  # log P(grade > j)
    reached = functional.pad(above, (1, 0))  # log P(grade >= j), 0 for the lowest
    stays = functional.pad(functional.logsigmoid(-steps_bj), (0, 1))
    return reached + stays


class AttentionNetwork(nn.Module):
    """Logits of a bag and the attention that led to them."""

    def __init__(self, spec: AttentionSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embed = nn.Linear(spec.features, spec.hidden)
        self.content = nn.Linear(spec.hidden, spec.attention)
        self.gate = nn.Linear(spec.hidden, spec.attention)
        self.weigh = nn.Linear(spec.attention, spec.branches)
        self.dropout = nn.Dropout(spec.dropout)
        # One row a class (a step between grades, if ordinal): on its own summary in CLAM, on the
        # common one otherwise.
        self.classify = nn.Linear(spec.hidden, spec.outputs)
        self.instance = (
            nn.ModuleList(nn.Linear(spec.hidden, 2) for _ in range(spec.outputs))
            if spec.kind == "clam"
            else None
        )

    def forward(
        self, embeddings_bnd: torch.Tensor, mask_bn: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Score bags.

        Args:
            embeddings_bnd: (B, N, D); rows outside the mask may hold anything finite.
            mask_bn: (B, N) bool, true at patches; each bag has at least one.

        Returns:
            (B, K) logits, which are log-probabilities if ordinal; (B, N, branches) attention that
            sums to 1 over a bag's patches, 0 outside them; (B, N, hidden) what the attention
            weighs.
        """
        hidden = self.dropout(functional.relu(self.embed(embeddings_bnd)))
        gated = torch.tanh(self.content(hidden)) * torch.sigmoid(self.gate(hidden))
        scores = self.weigh(self.dropout(gated))
        attention = scores.masked_fill(~mask_bn[:, :, None], -torch.inf).softmax(1)
        summary = attention.transpose(1, 2) @ hidden
        logits = (summary * self.classify.weight).sum(2) + self.classify.bias
        if self.spec.ordinal:
            logits = grade_log_probabilities(logits)
        return logits, attention, hidden

    def instance_loss(
        self,
        attention_bnk: torch.Tensor,
        hidden_bnh: torch.Tensor,
        mask_bn: torch.Tensor,
        labels_b: torch.Tensor,
        patches: int,
    ) -> torch.Tensor:
        """CLAM's clustering constraint (Lu 2021).

        In a bag's own class the most attended patches are evidence for it, the least attended
        ones against; in every other class its most attended patches are evidence against. The
        paper's smooth SVM loss is replaced by cross-entropy. Of ordinal grades, a bag is "of"
        every step between grades that lies below its grade.

        Args:
            patches: how many of each; never more than half of a bag.
        """
        assert self.instance is not None
        losses = []
        for attention_nk, hidden_nh, mask_n, label in zip(
            attention_bnk, hidden_bnh, mask_bn, labels_b.tolist(), strict=True
        ):
            attention, hidden = attention_nk[mask_n], hidden_nh[mask_n]
            k = min(patches, len(attention) // 2)
            if not k:
                continue
            for index, classifier in enumerate(self.instance):
                order = attention[:, index].argsort(descending=True, stable=True)
                own = index < label if self.spec.ordinal else index == label
                chosen = torch.cat([order[:k], order[-k:]]) if own else order[:k]
                target = torch.zeros(len(chosen), dtype=torch.long, device=hidden.device)
                if own:
                    target[:k] = 1
                losses.append(functional.cross_entropy(classifier(hidden[chosen]), target))
        if not losses:
            return attention_bnk.new_zeros(())
        return torch.stack(losses).mean()


def pad_bags(bags: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """(N_i, D) bags as (B, longest, D) with zeros behind, and the (B, longest) mask."""
    padded = nn.utils.rnn.pad_sequence(bags, batch_first=True)
    sizes = torch.tensor([len(bag) for bag in bags])
    return padded, torch.arange(padded.shape[1])[None] < sizes[:, None]


class AttentionAggregator:
    """A trained attention network as a slide aggregator.

    Args:
        network: on the CPU, where it is a thousandth of the classifier's work.
        classes: slide classes in the order of its logits.
        mean_d, deviation_d: of the training embeddings, to bring them to one scale.
    """

    needs_embeddings = True

    def __init__(
        self,
        network: AttentionNetwork,
        classes: tuple[str, ...],
        mean_d: torch.Tensor,
        deviation_d: torch.Tensor,
    ) -> None:
        self.network, self.classes = network.eval(), classes
        self._mean, self._deviation = mean_d, deviation_d

    def aggregate(self, evidence: SlideFeatures) -> SlidePrediction:
        if evidence.embeddings_nd is None:
            raise ModelError("this aggregator reads patch embeddings, and none were given")
        return self.score_bag(evidence.embeddings_nd)

    def score_bag(self, embeddings_nd: NDArray[np.float32]) -> SlidePrediction:
        """Score (N, D) embeddings.

        Raises:
            ModelError: there are none, or they are of another width.
        """
        features = self.network.spec.features
        if embeddings_nd.ndim != 2 or embeddings_nd.shape[1] != features or not len(embeddings_nd):
            raise ModelError(
                f"embeddings of shape {embeddings_nd.shape} do not fit an aggregator of "
                f"{features} features: was it trained on another encoder?"
            )
        bag = (torch.from_numpy(embeddings_nd).float() - self._mean) / self._deviation
        with torch.inference_mode():
            logits, attention, _ = self.network(
                bag[None], torch.ones(1, len(bag), dtype=torch.bool)
            )
        relative = attention[0] / attention[0].amax(0, keepdim=True)
        probabilities = logits[0].double().softmax(0).tolist()
        return SlidePrediction(
            probabilities=dict(zip(self.classes, probabilities, strict=True)),
            attention_nk=relative[:, self.network.spec.branch_of_class].numpy(),
        )
