"""A fusion of the untrained bundles, with weights that a test can compute by hand."""

from pathlib import Path

import torch

from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard, read_card
from wsi.testing.models import (
    SLIDE_CLASSES,
    untrained_patch_bundle,
    untrained_whole_slide_bundle,
)
from wsi.training.fusion import name_members

WEIGHTS = (0.5, 2.0)
BIAS = 0.25


def fusion_bundle(
    folder: Path, patch: str = "patch", whole_slide: str = "whole-slide"
) -> ModelCard:
    """A fusion in ``folder``; its members are made beside it where they are not there yet.

    The log-odds of the second class are ``BIAS`` plus ``WEIGHTS`` times the members' log-odds.
    """
    makers = {patch: untrained_patch_bundle, whole_slide: untrained_whole_slide_bundle}
    for name, make in makers.items():
        if not (folder.parent / name).exists():
            make(folder.parent / name)
    members = [read_card(folder.parent / name) for name in makers]
    card = ModelCard(
        name=folder.name,
        pipeline="fusion",
        architecture="stacked-logistic-regression",
        classes=SLIDE_CLASSES,
        mpp=0.0,
        input_px=0,
        settings=name_members(members),
    )
    digests = [list(bytes.fromhex(member.weights_sha256)) for member in members]
    state = {
        "weights": torch.tensor([[0.0, 0.0], list(WEIGHTS)], dtype=torch.float64),
        "bias": torch.tensor([0.0, BIAS], dtype=torch.float64),
        "members": torch.tensor(digests, dtype=torch.uint8),
    }
    return save_bundle(folder, card, state)
