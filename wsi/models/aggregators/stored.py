"""Aggregators in model bundles.

An aggregator lies in a bundle of its own (``pipeline`` is ``aggregator``), or with a patch
classifier in one patch bundle, so that one digest names both. Either way its description is
``settings["aggregator"]`` of the card and its arrays are the tensors ``aggregator.*``.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from wsi.errors import ConfigError, ModelError
from wsi.models.aggregators import attention, trees
from wsi.models.aggregators.attention import AttentionAggregator, AttentionNetwork, AttentionSpec
from wsi.models.aggregators.base import SlideAggregator, slide_classes
from wsi.models.aggregators.ordinal_trees import OrdinalTrees
from wsi.models.aggregators.pooling import pooling
from wsi.models.aggregators.trees import HeatmapTrees, TreeModel, Trees
from wsi.models.bundle import load_bundle, save_bundle
from wsi.models.card import AGGREGATOR, ModelCard

PIPELINE = AGGREGATOR
_PREFIX = "aggregator."


def pack_trees(model: HeatmapTrees) -> dict[str, torch.Tensor]:
    """Tensors to store."""
    return {_PREFIX + k: torch.from_numpy(v) for k, v in model.trees.arrays().items()}


def pack_attention(
    network_state: Mapping[str, torch.Tensor], mean_d: torch.Tensor, deviation_d: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Tensors to store."""
    return {
        _PREFIX + "mean": mean_d,
        _PREFIX + "deviation": deviation_d,
        **{f"{_PREFIX}network.{key}": value for key, value in network_state.items()},
    }


def split_state(
    state: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The patch network's tensors, and the aggregator's."""
    network = {key: value for key, value in state.items() if not key.startswith(_PREFIX)}
    own = {key[len(_PREFIX) :]: v for key, v in state.items() if key.startswith(_PREFIX)}
    return network, own


def aggregator_of(card: ModelCard, own: Mapping[str, torch.Tensor]) -> SlideAggregator:
    """The aggregator that a card describes; top-k where it describes none.

    Args:
        card: of an aggregator or of a patch model.
        own: the aggregator's tensors, from ``split_state``.

    Raises:
        ModelError: description and tensors do not fit, or its classes are not the slide's.
    """
    settings = card.settings.get("aggregator")
    if settings is None:
        return pooling("top-k", int(card.settings.get("top_k", 10)))
    try:
        kind = settings["kind"]
        if kind in ("mean", "max", "top-k"):
            return pooling(kind, int(settings.get("k", 10)))
        classes = tuple(settings["classes"])
        if classes != slide_classes(card.classes):
            raise ModelError(
                f"{card.name}: its aggregator knows the slide classes {', '.join(classes)}, the "
                f"patch classifier {', '.join(slide_classes(card.classes))}"
            )
        if kind in trees.KINDS:
            return _trees(settings, classes, own)
        if kind in attention.KINDS:
            return _attention(settings, classes, own)
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        raise ModelError(f"{card.name}: its aggregator does not fit: {error}") from error
    raise ModelError(f"{card.name}: no aggregator {kind!r} in this version")


def _trees(
    settings: Mapping[str, Any], classes: tuple[str, ...], own: Mapping[str, torch.Tensor]
) -> HeatmapTrees:
    features = tuple(settings["features"])
    arrays = {k: v.numpy() for k, v in own.items()}
    model: TreeModel = (
        OrdinalTrees.from_arrays(arrays, len(features), len(classes))
        if settings.get("ordinal")
        else Trees.from_arrays(arrays, len(features))
    )
    return HeatmapTrees(model, features, classes, settings.get("heatmap_mpp"))


def _attention(
    settings: Mapping[str, Any], classes: tuple[str, ...], own: Mapping[str, torch.Tensor]
) -> AttentionAggregator:
    network = AttentionNetwork(AttentionSpec(**settings["spec"]))
    start = "network."
    network.load_state_dict({k[len(start) :]: v for k, v in own.items() if k.startswith(start)})
    return AttentionAggregator(network, classes, own["mean"], own["deviation"])


def load_aggregator(bundle: Path) -> tuple[ModelCard, SlideAggregator]:
    """The aggregator in a bundle, with or without a patch classifier beside it.

    Raises:
        ModelError: there is none, or the bundle is damaged.
    """
    card, state = load_bundle(bundle)
    if "aggregator" not in card.settings:
        raise ModelError(f"{bundle}: there is no trained aggregator in this model")
    return card, aggregator_of(card, split_state(state)[1])


def join_bundles(patch: Path, aggregator: Path, out: Path) -> ModelCard:
    """A patch model that uses an aggregator: one bundle, one digest.

    Raises:
        ModelError: a bundle is damaged or of another kind, or their classes differ.
    """
    card, state = load_bundle(patch)
    if card.pipeline != "patch":
        raise ModelError(f"{patch}: a model of pipeline {card.pipeline}, not patch")
    other, tensors = load_bundle(aggregator)
    own = split_state(tensors)[1]
    joined = dataclasses.replace(
        card,
        name=out.name,
        settings={**card.settings, "aggregator": other.settings.get("aggregator")},
        training={**card.training, "aggregator": other.training},
        metrics={**card.metrics, **{f"aggregator_{k}": v for k, v in other.metrics.items()}},
    )
    aggregator_of(joined, own)
    network = split_state(state)[0]
    return save_bundle(out, joined, {**network, **{_PREFIX + k: v for k, v in own.items()}})
