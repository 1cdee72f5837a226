"""Patches through a classifier, and what names a set of patches."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from wsi.data.loader import load_batches
from wsi.data.patches import PatchSource
from wsi.models.card import IMAGENET_MEAN, IMAGENET_STD
from wsi.models.runtime import autocast, to_input
from wsi.training.distributed import World

_BATCH = 128


_LOOKED_AT = 256


def normalize(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) in [0, 1] with ImageNet's mean and deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return (images - mean) / std


def predict(
    network: nn.Module,
    source: PatchSource,
    classes: int,
    device: torch.device,
    dtype: torch.dtype,
    world: World | None = None,
    workers: int = 0,
) -> NDArray[np.float32]:
    """(N, classes) float32 probabilities of all patches of a source, dealt out to the world.

    ``workers`` is that of ``wsi.data.loader.load_batches``.
    """
    network.eval()
    world = world or World()
    mine = world.share(np.arange(len(source.labels_n)))
    batches = np.array_split(mine, max(1, -(-len(mine) // _BATCH)))
    rows = np.zeros((len(source.labels_n), classes), np.float32)
    for indices, pixels in zip(batches, load_batches(source, batches, workers), strict=True):
        with torch.inference_mode(), autocast(device, dtype):
            logits = network(to_input(pixels, IMAGENET_MEAN, IMAGENET_STD, device))
        rows[indices] = logits.float().softmax(1).cpu().numpy()
    return world.merge_rows(rows)


def data_digest(*sources: PatchSource) -> str:
    """Names the training data: the patches' descriptions and labels, in order, and the pixels of
    up to 256 of each source, evenly over it."""
    digest = hashlib.sha256()
    for source in sources:
        count = len(source.labels_n)
        for index, label in enumerate(source.labels_n):
            digest.update(f"{source.describe(index)}\t{label}\n".encode())
        looked_at = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.int64))
        for index in looked_at:
            digest.update(np.ascontiguousarray(source.read(np.array([index]))).tobytes())
    return digest.hexdigest()
