"""Stain normalization (Macenko 2009) of a whole slide as one matrix on optical densities.

torchstain estimates the slide's two stain colours and their strength once, from an overview of its
tissue; a patch has too few nuclei for that. Changing every pixel to the reference colours is then
the same linear map of optical densities everywhere on the slide.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from wsi.errors import MissingExtraError, SlideError
from wsi.geometry import Region, Size
from wsi.slides import SlideReader
from wsi.tissue import TissueMask

StainNormalization = Literal["none", "macenko"]

_WHITE = 240.0  # torchstain's intensity of glass
_OVERVIEW_PX = 2048
_MIN_PIXELS = 1000


def macenko_matrix(slide: SlideReader, tissue: TissueMask) -> NDArray[np.float32]:
    """The map that gives a slide the reference's stain colours.

    Returns:
        (3, 3) float32; a row vector of optical densities times it is the normalized density.

    Raises:
        MissingExtraError: torchstain is not installed.
        SlideError: the slide has too little stained tissue to estimate from.
    """
    try:
        from torchstain.torch.normalizers import TorchMacenkoNormalizer
    except ImportError:
        raise MissingExtraError("Macenko normalization needs torchstain, which", "stain") from None
    scale = max(1.0, max(slide.size.width, slide.size.height) / _OVERVIEW_PX)
    size = Size(max(1, round(slide.size.width / scale)), max(1, round(slide.size.height / scale)))
    pixels = slide.read_region(Region.whole(slide.size), size)
    rows = np.linspace(0, tissue.mask.shape[0], size.height, endpoint=False).astype(int)
    columns = np.linspace(0, tissue.mask.shape[1], size.width, endpoint=False).astype(int)
    stained = pixels[tissue.mask[np.ix_(rows, columns)]]
    if len(stained) < _MIN_PIXELS:
        raise SlideError(slide.name, "too little tissue to estimate its stain from")
    reference, own = TorchMacenkoNormalizer(), TorchMacenkoNormalizer()
    try:
        # (3, N, 1): an image of the tissue's pixels alone.
        own.fit(torch.from_numpy(np.ascontiguousarray(stained.T[:, :, None])), Io=int(_WHITE))
    except (RuntimeError, IndexError) as error:
        raise SlideError(slide.name, f"its stain cannot be estimated: {error}") from error
    strength = torch.diag(reference.maxCRef / own.maxCRef)
    matrix = reference.HERef @ strength @ torch.linalg.pinv(own.HERef)
    return np.asarray(matrix.T.numpy(), np.float32)


def change_density(pixels: NDArray[np.uint8], matrix_33: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Apply a matrix on optical densities to pixels.

    Args:
        pixels: (..., 3) uint8.
        matrix_33: see ``macenko_matrix``.

    Returns:
        The same shape, uint8.
    """
    table = -np.log((np.arange(256, dtype=np.float32) + 1) / _WHITE)
    # Glass is a little brighter than the reference white; its negative density is none.
    density = np.maximum(table, 0)[pixels] @ matrix_33
    return np.asarray(np.clip(_WHITE * np.exp(-density), 0, 255), np.uint8)
