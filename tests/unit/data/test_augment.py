"""Augmentation changes what it may and nothing else."""

import numpy as np
import torch

from wsi.data.augment import AugmentSpec, augment
from wsi.testing.slides import synthetic_patches


def images() -> torch.Tensor:
    pixels, _ = synthetic_patches(24, 32, 1.0, 0)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def test_equal_generators_give_equal_variants() -> None:
    one, two = (augment(images(), AugmentSpec(), torch.Generator().manual_seed(3)) for _ in "ab")
    assert torch.equal(one, two)
    assert not torch.equal(one, augment(images(), AugmentSpec(), torch.Generator().manual_seed(4)))


def test_symmetries_move_pixels_and_change_none() -> None:
    spec = AugmentSpec(stain=0, brightness=0)
    changed = augment(images(), spec, torch.Generator().manual_seed(0))
    for before, after in zip(images(), changed, strict=True):
        np.testing.assert_array_equal(
            np.sort(before.flatten(1).numpy(), 1), np.sort(after.flatten(1).numpy(), 1)
        )
    assert not torch.equal(changed, images())


def test_the_stain_varies_within_its_bounds_and_glass_stays_white() -> None:
    spec = AugmentSpec(symmetries=False, stain=0.05, brightness=0.1)
    before = torch.cat([images(), torch.ones(1, 3, 32, 32)])
    after = augment(before, spec, torch.Generator().manual_seed(0))
    assert after.min() >= 0
    assert after.max() <= 1
    assert torch.equal(after[-1], before[-1])
    assert 0 < (after - before).abs().mean() < 0.1


def test_no_augmentation_is_the_identity() -> None:
    spec = AugmentSpec(symmetries=False, stain=0, brightness=0)
    assert torch.equal(augment(images(), spec, torch.Generator()), images())
