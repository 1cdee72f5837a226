"""A heatmap drawn over a slide's thumbnail."""

import numpy as np
from numpy.typing import NDArray

from wsi.errors import ConfigError
from wsi.geometry import Size
from wsi.storage.results import HeatmapGrid

# Thirty-three evenly spaced colours of matplotlib's "inferno" (CC0; van der Walt and Smith, 2015),
# a perceptually uniform map: equal steps of the score look like equal steps.
_INFERNO = np.frombuffer(
    bytes.fromhex(
        "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61"
        "b0315bbc3754c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949"
        "f2e865f3f586fcffa4"
    ),
    np.uint8,
).reshape(-1, 3)

# Scores that round to nothing stay see-through, so that the tissue is seen where it matters not.
_CLEAR_BELOW = 0.02


def colorize(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours of scores in [0, 1], of the same shape with three channels more. NaN is black."""
    places = np.nan_to_num(np.clip(values, 0, 1), nan=0.0) * (len(_INFERNO) - 1)
    steps = np.arange(len(_INFERNO))
    channels = [np.interp(places, steps, _INFERNO[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def render_overlay(
    thumbnail: NDArray[np.uint8],
    slide_size: Size,
    grid: HeatmapGrid,
    values_hw: NDArray[np.float32],
    alpha: float = 0.5,
) -> NDArray[np.uint8]:
    """A heatmap over a picture of the whole slide.

    Args:
        thumbnail: (height, width, 3) uint8, the whole slide.
        slide_size: level-0 size of the slide.
        grid: where the cells lie.
        values_hw: (rows, columns) in [0, 1]; NaN, "not looked at", is left as it is.
        alpha: opacity of the colours in [0, 1].

    Returns:
        (height, width, 3) uint8.

    Raises:
        ConfigError: ``values_hw`` does not fit the grid, or alpha lies outside [0, 1].
    """
    if values_hw.shape != grid.shape:
        raise ConfigError(f"heatmap of shape {values_hw.shape} on a grid of {grid.shape}")
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha must lie in [0, 1], got {alpha}")
    height, width = thumbnail.shape[:2]
    rows = _cells(height, slide_size.height, grid.origin_level0.y, grid.cell_level0[1])
    columns = _cells(width, slide_size.width, grid.origin_level0.x, grid.cell_level0[0])
    inside = ((rows >= 0) & (rows < grid.shape[0]))[:, None] & (
        (columns >= 0) & (columns < grid.shape[1])
    )[None, :]
    values = values_hw[
        np.clip(rows, 0, grid.shape[0] - 1)[:, None],
        np.clip(columns, 0, grid.shape[1] - 1)[None, :],
    ]
    # A comparison with NaN is false, so what was not looked at stays clear as well.
    shown = inside & (values >= _CLEAR_BELOW)
    opacity = np.where(shown, alpha, 0.0)[..., None]
    mixed = thumbnail * (1 - opacity) + colorize(values) * opacity
    drawn: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return drawn


def _cells(pixels: int, extent_level0: int, origin: float, cell: float) -> NDArray[np.intp]:
    """For each pixel along one axis, the grid cell under its centre."""
    centres = (np.arange(pixels) + 0.5) * extent_level0 / pixels
    return np.floor((centres - origin) / cell).astype(np.intp)
