"""What can be seen on a slide on which no tissue was recognized: a person must look at it."""

import cv2
import numpy as np

from wsi.slides.reader import RGB
from wsi.tissue.optics import Bool, OpticalDensity, border_mask, drop_small

_DARK = 60
"""Grey value below which a pixel is no glass in transmitted light."""

_VISIBLE_DENSITY = 0.08
_MIN_VISIBLE_UM2 = 1_000.0


def what_is_there(
    overview: RGB, density: OpticalDensity, mpp: float
) -> tuple[bool, tuple[str, ...]]:
    """Whether a slide without recognized tissue shows anything, and what, as sentences."""
    dark = float((overview.max(axis=2) < _DARK).mean())
    if dark > 0.5:
        return True, (
            f"{dark:.0%} of the slide is dark, as in fluorescence or where nothing was scanned, "
            "and no tissue was recognized: a person must look",
        )
    share = float(visible_mask(density, mpp).mean())
    if share == 0:
        return False, ()
    return True, (
        f"{100 * share:.2g} % of the slide differs from the glass but was not recognized as "
        "tissue: a person must look",
    )


def visible_mask(density: OpticalDensity, mpp: float) -> Bool:
    """Cells that differ from the glass, specks of less than 1,000 um2 left out."""
    absorbed = cv2.blur(np.maximum(density.mean, density.saturation), (3, 3))
    seen = (absorbed > _VISIBLE_DENSITY) & ~border_mask(density)
    return drop_small(np.asarray(seen, np.bool_), _MIN_VISIBLE_UM2 / mpp**2)
