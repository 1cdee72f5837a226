"""Attention over bags: what must not matter, and what must."""

import numpy as np
import pytest
import torch

from wsi.errors import ConfigError, ModelError
from wsi.models.aggregators import SlideFeatures
from wsi.models.aggregators.attention import (
    KINDS,
    AttentionAggregator,
    AttentionKind,
    AttentionNetwork,
    AttentionSpec,
    grade_log_probabilities,
    pad_bags,
)

CLASSES = ("normal", "tumor")


@pytest.fixture(params=KINDS)
def network(request: pytest.FixtureRequest) -> AttentionNetwork:
    torch.manual_seed(0)
    kind: AttentionKind = request.param
    spec = AttentionSpec(kind=kind, features=6, classes=2, hidden=8, attention=5)
    return AttentionNetwork(spec).eval()


def bag(patches: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(patches, 6, generator=torch.Generator().manual_seed(seed))


def test_padding_does_not_change_the_bag_score(network: AttentionNetwork) -> None:
    short, long = bag(3), bag(11, 1)
    padded, mask = pad_bags([short, long])
    padded[0, 3:] = 1e3  # whatever lies behind a bag is not of it
    together, attention, _ = network(padded, mask)
    for index, one in enumerate((short, long)):
        alone, of_alone, _ = network(*pad_bags([one]))
        torch.testing.assert_close(together[index], alone[0])
        torch.testing.assert_close(attention[index, : len(one)], of_alone[0])
    assert (attention[0, 3:] == 0).all()


def test_the_order_of_patches_does_not_change_the_bag_score(network: AttentionNetwork) -> None:
    one, order = bag(9), torch.randperm(9, generator=torch.Generator().manual_seed(3))
    straight, attention, _ = network(*pad_bags([one]))
    turned, of_turned, _ = network(*pad_bags([one[order]]))
    torch.testing.assert_close(turned, straight)
    torch.testing.assert_close(of_turned[0], attention[0][order])


def test_doubling_every_patch_does_not_change_the_bag_score(network: AttentionNetwork) -> None:
    one = bag(5)
    torch.testing.assert_close(
        network(*pad_bags([one.repeat(2, 1)]))[0], network(*pad_bags([one]))[0]
    )


def test_attention_sums_to_one_over_a_bag(network: AttentionNetwork) -> None:
    _, attention, _ = network(*pad_bags([bag(3), bag(7, 1)]))
    torch.testing.assert_close(attention.sum(1), torch.ones(2, attention.shape[2]))


def test_the_bag_score_is_that_of_the_attended_sum(network: AttentionNetwork) -> None:
    logits, attention, hidden = network(*pad_bags([bag(4)]))
    for k in range(2):
        weights = attention[0, :, k if attention.shape[2] > 1 else 0]
        summary = (weights[:, None] * hidden[0]).sum(0)
        expected = summary @ network.classify.weight[k] + network.classify.bias[k]
        torch.testing.assert_close(logits[0, k], expected)


def clam() -> AttentionNetwork:
    torch.manual_seed(0)
    spec = AttentionSpec(kind="clam", features=6, classes=2, hidden=8, attention=5)
    return AttentionNetwork(spec).eval()


def test_the_clustering_constraint_pulls_the_ends_of_the_own_class_apart() -> None:
    network = clam()
    attention = torch.tensor([[[0.1, 0.7], [0.2, 0.1], [0.3, 0.1], [0.4, 0.1]]])
    hidden = torch.randn(1, 4, 8)
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert network.instance is not None
    own, other = network.instance[1], network.instance[0]
    expected = torch.stack(
        [
            # class 0 is not the bag's: its most attended patch (3) is no evidence for it
            torch.nn.functional.cross_entropy(other(hidden[0, [3]]), torch.tensor([0])),
            # class 1 is: most attended (0) for, least attended (3, the last of the equal) against
            torch.nn.functional.cross_entropy(own(hidden[0, [0, 3]]), torch.tensor([1, 0])),
        ]
    ).mean()
    found = network.instance_loss(attention, hidden, mask, torch.tensor([1]), patches=1)
    torch.testing.assert_close(found, expected)


def test_padding_does_not_change_the_clustering_constraint() -> None:
    network = clam()
    padded, mask = pad_bags([bag(6), bag(20, 1)])
    _, attention, hidden = network(padded, mask)
    both = network.instance_loss(attention[:1], hidden[:1], mask[:1], torch.tensor([1]), 8)
    _, attention, hidden = network(*pad_bags([bag(6)]))
    alone = network.instance_loss(attention, hidden, mask[:1, :6], torch.tensor([1]), 8)
    torch.testing.assert_close(both, alone)


def test_a_bag_of_one_patch_has_no_clusters() -> None:
    network = clam()
    _, attention, hidden = network(*pad_bags([bag(1)]))
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert network.instance_loss(attention, hidden, mask, torch.tensor([0]), 8) == 0


def aggregator(network: AttentionNetwork) -> AttentionAggregator:
    return AttentionAggregator(network, CLASSES, torch.zeros(6), torch.ones(6))


def test_a_call_has_probabilities_and_relative_attention(network: AttentionNetwork) -> None:
    values = bag(9).numpy()
    call = aggregator(network).score_bag(values)
    assert sum(call.probabilities.values()) == pytest.approx(1)
    assert call.attention_nk is not None
    assert call.attention_nk.shape == (9, 2)
    np.testing.assert_allclose(call.attention_nk.max(0), 1)


def test_embeddings_are_brought_to_the_scale_of_training(network: AttentionNetwork) -> None:
    mean, deviation = torch.arange(6.0), torch.full((6,), 3.0)
    shifted = AttentionAggregator(network, CLASSES, mean, deviation)
    values = bag(9)
    assert shifted.score_bag((values * deviation + mean).numpy()).probabilities == pytest.approx(
        aggregator(network).score_bag(values.numpy()).probabilities, rel=1e-4
    )


def test_embeddings_of_another_encoder_are_refused(network: AttentionNetwork) -> None:
    with pytest.raises(ModelError, match="another encoder"):
        aggregator(network).score_bag(np.zeros((3, 7), np.float32))
    nothing = SlideFeatures(classes=CLASSES, probabilities_nc=np.zeros((1, 2), np.float32))
    with pytest.raises(ModelError, match="none were given"):
        aggregator(network).aggregate(nothing)


def test_shapes_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="no attention"):
        AttentionSpec(kind="mean", features=6, classes=2)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least two"):
        AttentionSpec(kind="clam", features=6, classes=1)


GRADES = ("none", "low", "middle", "high")


@pytest.fixture(params=KINDS)
def graded(request: pytest.FixtureRequest) -> AttentionNetwork:
    torch.manual_seed(0)
    kind: AttentionKind = request.param
    spec = AttentionSpec(
        kind=kind, features=6, classes=4, hidden=8, attention=5, dropout=0, ordinal=True
    )
    return AttentionNetwork(spec).eval()


def test_grades_probabilities_are_consistent_whatever_the_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([0.1, 1, 10, 100, 1000])[:, None, None]
    steps = (torch.randn(5, 200, 3, generator=generator).double() * scales).reshape(-1, 3)
    probabilities = grade_log_probabilities(steps).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1000).double())
    # P(grade > k) is the product of the conditional probabilities up to k, and only falls.
    above = 1 - probabilities.cumsum(1)[:, :-1]
    torch.testing.assert_close(above, steps.sigmoid().cumprod(1), atol=1e-12, rtol=1e-9)
    assert (above.diff(dim=1) <= 1e-12).all()


def test_extreme_logits_give_a_finite_loss() -> None:
    steps = torch.tensor([[1e4, -1e4, 1e4], [-1e4, 1e4, -1e4]], requires_grad=True)
    loss = torch.nn.functional.cross_entropy(grade_log_probabilities(steps), torch.tensor([3, 2]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert steps.grad is not None
    assert steps.grad.isfinite().all()


def test_the_loss_is_that_of_corn() -> None:
    """Binary cross-entropy in each of the paper's conditional subsets, summed over the cases."""
    steps = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(40) % 4
    expected = torch.zeros(())
    for j in range(3):
        subset = labels >= j
        expected += torch.nn.functional.binary_cross_entropy_with_logits(
            steps[subset, j], (labels[subset] > j).float(), reduction="sum"
        )
    found = torch.nn.functional.cross_entropy(
        grade_log_probabilities(steps), labels, reduction="sum"
    )
    torch.testing.assert_close(found, expected)


def test_an_ordinal_network_ends_in_a_number_a_step(graded: AttentionNetwork) -> None:
    assert graded.classify.out_features == 3
    logits, attention, _ = graded(*pad_bags([bag(5), bag(9, 1)]))
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2))
    assert attention.shape[2] == (3 if graded.spec.kind == "clam" else 1)


def test_a_call_of_grades_has_attention_for_each(graded: AttentionNetwork) -> None:
    scored = AttentionAggregator(graded, GRADES, torch.zeros(6), torch.ones(6))
    call = scored.score_bag(bag(9).numpy())
    assert tuple(call.probabilities) == GRADES
    assert sum(call.probabilities.values()) == pytest.approx(1)
    assert call.attention_nk is not None
    assert call.attention_nk.shape == (9, 4)
    # The lowest grade has no step of its own: it goes by the first.
    np.testing.assert_array_equal(call.attention_nk[:, 0], call.attention_nk[:, 1])
    different = graded.spec.kind == "clam"
    assert (call.attention_nk[:, 1] != call.attention_nk[:, 3]).any() == different


def test_a_grade_is_evidence_for_every_step_below_it() -> None:
    torch.manual_seed(0)
    spec = AttentionSpec(kind="clam", features=6, classes=3, hidden=8, attention=5, ordinal=True)
    network = AttentionNetwork(spec).eval()
    assert network.instance is not None
    attention = torch.tensor([[[0.6, 0.1], [0.3, 0.2], [0.1, 0.7]]])
    hidden, mask = torch.randn(1, 3, 8), torch.ones(1, 3, dtype=torch.bool)
    first, second = network.instance

    def loss(classifier: torch.nn.Module, rows: list[int], target: list[int]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(classifier(hidden[0, rows]), torch.tensor(target))

    for label, expected in {
        0: [loss(first, [0], [0]), loss(second, [2], [0])],
        1: [loss(first, [0, 2], [1, 0]), loss(second, [2], [0])],
        2: [loss(first, [0, 2], [1, 0]), loss(second, [2, 0], [1, 0])],
    }.items():
        found = network.instance_loss(attention, hidden, mask, torch.tensor([label]), patches=1)
        torch.testing.assert_close(found, torch.stack(expected).mean())
