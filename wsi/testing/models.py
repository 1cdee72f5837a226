"""Small model bundles made on the spot, with seeded but untrained weights."""

from pathlib import Path
from typing import cast

import torch
from torchvision.models import ResNet

from wsi.models.backbones import build_backbone
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard
from wsi.networks import stage_network

PATCH_CLASSES = ("background", "benign", "cancer")
SLIDE_CLASSES = ("benign", "cancer")


def untrained_patch_bundle(
    folder: Path,
    *,
    mpp: float = 2.0,
    input_px: int = 64,
    classes: tuple[str, ...] = PATCH_CLASSES,
) -> ModelCard:
    """A patch classifier that has learned nothing, as a bundle in ``folder``."""
    torch.manual_seed(0)
    network = build_backbone("resnet10", len(classes))
    card = ModelCard(
        name=folder.name,
        pipeline="patch",
        architecture="resnet10",
        classes=classes,
        mpp=mpp,
        input_px=input_px,
    )
    return save_bundle(folder, card, network.state_dict())


def untrained_whole_slide_bundle(folder: Path, *, mpp: float = 2.0) -> ModelCard:
    """A whole-slide network that has learned nothing, as a bundle in ``folder``."""
    torch.manual_seed(1)
    backbone = cast(ResNet, build_backbone("resnet10", len(SLIDE_CLASSES)))
    network = stage_network(backbone, classes=len(SLIDE_CLASSES), norm="frozen", pooling="lse")
    card = ModelCard(
        name=folder.name,
        pipeline="whole-slide",
        architecture="resnet10",
        classes=SLIDE_CLASSES,
        mpp=mpp,
        input_px=0,
        settings={"norm": "frozen", "pooling": "lse"},
    )
    return save_bundle(folder, card, network.state_dict())
