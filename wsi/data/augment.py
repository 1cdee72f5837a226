"""Augmentation of patches as batched tensor work: every symmetry of the square, and the stain."""

from dataclasses import dataclass

import torch

# Haematoxylin, eosin and residual in optical density (Ruifrok and Johnston, 2001).
_RGB_FROM_HED = torch.tensor(
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=torch.float32
)


@dataclass(frozen=True, kw_only=True)
class AugmentSpec:
    """How much patches may change while training.

    Attributes:
        symmetries: flips and quarter turns; tissue has no up.
        stain: largest relative change of each stain's amount (Tellez 2018, "HED-light" is 0.05).
        brightness: largest relative change of the optical density as a whole.
    """

    symmetries: bool = True
    stain: float = 0.05
    brightness: float = 0.1


def augment(
    images_nchw: torch.Tensor, spec: AugmentSpec, generator: torch.Generator
) -> torch.Tensor:
    """A random variant of each image.

    Args:
        images_nchw: (N, 3, side, side) float in [0, 1].
        spec: how much.
        generator: where every draw comes from (on the CPU); equal state, equal result.

    Returns:
        The same shape and range.
    """
    if spec.stain or spec.brightness:
        images_nchw = _jitter_stain(images_nchw, spec, generator)
    if spec.symmetries:
        images_nchw = _symmetries(images_nchw, generator)
    return images_nchw


def _symmetries(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    draws = torch.randint(8, (len(images),), generator=generator)
    out = torch.empty_like(images)
    for draw in sorted(set(draws.tolist())):
        chosen = (draws == draw).nonzero().squeeze(1).to(images.device)
        part = images[chosen]
        part = part.flip(3) if draw >= 4 else part
        out[chosen] = part.rot90(draw % 4, (2, 3))
    return out


def stain_matrices(spec: AugmentSpec, count: int, generator: torch.Generator) -> torch.Tensor:
    """Random changes of the stains' amounts, as matrices on optical densities.

    Returns:
        (count, 3, 3) float32; a row vector of densities times a matrix is the changed density.
    """

    def draw(amount: float, columns: int) -> torch.Tensor:
        return 1 + amount * (2 * torch.rand((count, columns), generator=generator) - 1)

    factors = draw(spec.stain, 3) * draw(spec.brightness, 1)
    # To stains, change their amounts, back to colours: all in one matrix an image.
    to_hed = torch.linalg.inv(_RGB_FROM_HED)
    return torch.einsum("ch,nh,hd->ncd", to_hed, factors, _RGB_FROM_HED)


def _jitter_stain(
    images: torch.Tensor, spec: AugmentSpec, generator: torch.Generator
) -> torch.Tensor:
    matrices = stain_matrices(spec, len(images), generator).to(images)
    # In place and by one matrix product per image: most of what a training's loop does on a CPU.
    logarithms = images.clamp_min(1 / 255).log_().flatten(2)
    changed = torch.bmm(matrices.transpose(1, 2), logarithms)
    return changed.exp_().clamp_(0, 1).view_as(images)
