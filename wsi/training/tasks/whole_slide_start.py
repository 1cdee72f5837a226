"""What a whole-slide training starts with: its network, and how each slide is varied."""

from pathlib import Path
from typing import cast

import torch
from torchvision.models import ResNet

from wsi.data.augment import AugmentSpec, stain_matrices
from wsi.data.slide_image import SlideVariant
from wsi.errors import ConfigError
from wsi.models.backbones import build_backbone, start_from
from wsi.models.bundle import load_bundle
from wsi.networks import StagedNetwork, stage_network
from wsi.seeding import mix_seed
from wsi.training.provenance import training_subjects
from wsi.training.tasks.whole_slide_config import WholeSlideTraining


def start_network(config: WholeSlideTraining) -> tuple[StagedNetwork, frozenset[str] | None]:
    """The network as training starts, and whom it has learned from already.

    Raises:
        ConfigError: the bundle to start from is of another architecture.
        ModelError: it is missing or damaged.
    """
    inherited: frozenset[str] | None = frozenset()
    torch.manual_seed(mix_seed(config.seed))
    backbone = build_backbone(config.architecture, len(config.classes), weights=config.weights)
    if config.start:
        card, state = load_bundle(Path(config.start))
        if card.architecture != config.architecture:
            raise ConfigError(
                f"{config.start} is a {card.architecture}, the network a {config.architecture}"
            )
        start_from(backbone, state, source=config.start)
        inherited = training_subjects(card.training)
    network = stage_network(
        cast(ResNet, backbone),
        classes=len(config.classes),
        pooling=config.pooling,
        norm=config.norm,
    )
    return network, inherited


def draw_variant(spec: AugmentSpec, generator: torch.Generator) -> SlideVariant:
    """One random augmentation of a whole slide."""
    draw = int(torch.randint(8, (), generator=generator)) if spec.symmetries else 0
    colour = None
    if spec.stain or spec.brightness:
        colour = stain_matrices(spec, 1, generator)[0].numpy()
    return SlideVariant(flip=draw >= 4, turns=draw % 4, colour_33=colour)
