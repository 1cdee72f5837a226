"""What a mask leaves out: where it shows more than glass, a person must look."""

from dataclasses import dataclass

import cv2
import numpy as np

from wsi.tissue.glass import EVEN, Bool
from wsi.tissue.ink import MAX_RIPPLE
from wsi.tissue.looks import Looks
from wsi.tissue.optics import drop_small

_DARK = 60
"""Grey value below which a pixel is not glass in transmitted light."""

_VISIBLE_DENSITY = 0.08
_SMALLEST_UM2 = 1_000.0
_DIMMEST_GLASS = 150
_MOST_TINT = 0.2
_MOST_PINK = 0.06
_MOSTLY = 0.5
_PALE_DENSITY, _PALE_SATURATION = 0.06, 0.012
_PALE_WINDOW = 9
_SMALLEST_PALE_UM2 = 20_000.0
_MANY_SPECKS = 0.01
_MUCH_LEFT_OUT = 0.01
_MUCH_DOUBTFUL = 0.05
_MUCH_EVEN = 0.05
_MIN_INK_DENSITY = 0.1
_LOOK = "a person must look"


@dataclass(frozen=True)
class Verdict:
    """What to say of a mask.

    Attributes:
        nothing: the mask must not be used: what it holds is not tissue.
        unclear: there is no tissue, yet the slide is not blank glass.
        warnings: sentences for the reader.
    """

    nothing: bool = False
    unclear: bool = False
    warnings: tuple[str, ...] = ()


def judge(looks: Looks, mask: Bool, found: Bool, min_tissue_um2: float) -> Verdict:
    """Compare what a slide shows with what was taken for tissue.

    Args:
        looks: the slide.
        mask: its tissue.
        found: what had the colour or the texture of tissue before small pieces were dropped.
        min_tissue_um2: what is a small piece.
    """
    if not looks.glass.found and _dark_share(looks) > _MOSTLY:
        return Verdict(nothing=True, unclear=True, warnings=(_dark(looks),))
    if mask.any() and not looks.glass.found:
        even = float((looks.rough_full[mask] < EVEN).mean())
        if even > 0.5:
            red, green, blue = np.median(looks.overview[mask], axis=0).astype(int)
            return Verdict(
                nothing=True,
                unclear=True,
                warnings=(
                    f"{mask.mean():.0%} of the slide has one even colour (RGB {red}, {green}, "
                    f"{blue}), which is neither that of glass nor of tissue: {_LOOK}",
                ),
            )
        if even > 0.1 and mask.mean() > 0.97:
            return Verdict(
                warnings=(
                    f"{mask.mean():.0%} of the slide was taken for tissue and nothing for glass: "
                    "check the mask",
                )
            )
    if mask.any():
        looks, mask, found = looks.reduced(), mask[::2, ::2], found[::2, ::2]
    specks = _specks(looks, mask, found, min_tissue_um2)
    if mask.any():
        return Verdict(warnings=(*specks, *_of_a_found_mask(looks, mask)))
    reasons = [*_of_an_empty_mask(looks), *specks]
    return Verdict(unclear=bool(reasons), warnings=tuple(reasons))


def _of_an_empty_mask(looks: Looks) -> list[str]:
    """Why a slide without tissue is not simply blank."""
    if _dark_share(looks) > _MOSTLY:
        return [_dark(looks)]
    glass = looks.glass
    # No lamp is pink: a stain absorbs green the most.
    pink = glass.rgb[1] == glass.rgb.min() and glass.tint > _MOST_PINK
    dim = glass.rgb.max() < _DIMMEST_GLASS
    if pink or dim or glass.tint > _MOST_TINT or not glass.found:
        red, green, blue = np.rint(glass.rgb).astype(int)
        colour = f"RGB {red}, {green}, {blue}" if glass.found else "no even colour"
        return [f"the ground of the slide ({colour}) does not look like glass: {_LOOK}"]
    nothing = np.zeros_like(looks.border)
    share = float((_unrecognized(looks, nothing) | _scattered(looks)).mean())
    # A wide window sees what is pale, but says too much of what is not.
    share = share or float(_pale(looks).mean())
    ink = float(looks.ink.mask.mean())
    told = []
    if share > 0:
        told.append(
            f"{100 * share:.2g} % of the slide differs from the glass but was not recognized as "
            f"tissue: {_LOOK}"
        )
    if ink > 0:
        told.append(f"{100 * ink:.2g} % of the slide was taken for pen marks: {_LOOK}")
    return told


def _dark_share(looks: Looks) -> float:
    return float((looks.overview.max(axis=2) < _DARK).mean())


def _dark(looks: Looks) -> str:
    return (
        f"{_dark_share(looks):.0%} of the slide is dark, as in fluorescence or where nothing was "
        f"scanned, and no tissue was recognized: {_LOOK}"
    )


def _of_a_found_mask(looks: Looks, mask: Bool) -> list[str]:
    """What a reader of the mask should know."""
    told = []
    tissue = float(mask.sum())
    rest = float(_unrecognized(looks, mask).sum())
    if rest > _MUCH_LEFT_OUT * mask.size and rest > 0.5 * tissue:
        told.append(
            f"{100 * rest / mask.size:.2g} % of the slide differs from the glass but was not "
            "recognized as tissue: check the mask"
        )
    if looks.ink.mask.sum() > 0.5 * tissue:
        told.append(
            f"{100 * looks.ink.mask.mean():.2g} % of the slide was taken for pen marks, as much as "
            "half of the tissue: check the mask"
        )
    doubtful = float((looks.ink.doubtful & mask).sum())
    if doubtful > _MUCH_DOUBTFUL * tissue:
        told.append(
            f"{doubtful / tissue:.0%} of the tissue has a colour that ink can have, and was kept"
        )
    even = float(_evenly_coloured(looks, mask).sum())
    if even > _MUCH_EVEN * tissue:
        told.append(
            f"{even / tissue:.0%} of the tissue has one even colour, like ink or dye and "
            "unlike sections: check whether it is tissue"
        )
    return told


def _evenly_coloured(looks: Looks, mask: Bool) -> Bool:
    """Connected parts that are mostly even inside, as strokes of a pen are in whatever colour."""
    inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    darkness = looks.density.mean
    even = inside & (darkness > _MIN_INK_DENSITY)
    even &= looks.rough < MAX_RIPPLE * darkness
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    known = np.bincount(labels[inside], minlength=count)
    keep = np.bincount(labels[even], minlength=count) > 0.5 * known
    keep[0] = False
    return np.asarray(keep[labels], np.bool_)


def _specks(looks: Looks, mask: Bool, found: Bool, min_tissue_um2: float) -> list[str]:
    """What is said of pieces that were too small, where they are worth it."""
    if not found.any():
        return []
    around = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    rest = drop_small(np.asarray(found & ~around, np.bool_), _SMALLEST_UM2 / looks.mpp**2)
    area = float(rest.sum())
    if area <= _MANY_SPECKS * mask.sum():
        return []
    count = cv2.connectedComponents(rest.astype(np.uint8))[0] - 1
    return [
        f"{count} specks with the colour of tissue ({area * looks.mpp**2 / 1e6:.2g} mm2 together) "
        f"were left out: each is smaller than {min_tissue_um2:g} um2 or a thread"
    ]


def _unrecognized(looks: Looks, mask: Bool) -> Bool:
    """Cells that differ from the glass and are neither tissue, ink nor a rim; specks left out."""
    density = looks.density
    absorbed = cv2.blur(cv2.max(density.mean, density.saturation), (3, 3))
    known = mask.astype(np.uint8) | looks.ink.mask.astype(np.uint8)
    known = cv2.dilate(known, np.ones((7, 7), np.uint8)) | looks.border.astype(np.uint8)
    seen = (absorbed > _VISIBLE_DENSITY) & (known == 0)
    return drop_small(np.asarray(seen, np.bool_), _SMALLEST_UM2 / looks.mpp**2)


def _scattered(looks: Looks) -> Bool:
    """Dark or coloured points, such as single cells, where there are many of them."""
    density = looks.density
    points = cv2.max(density.mean, density.saturation) > 2 * _VISIBLE_DENSITY
    points = points & ~looks.border & ~looks.ink.mask
    enough = points.sum() * looks.mpp**2 > 2 * _SMALLEST_UM2
    return np.asarray(points if enough else np.zeros_like(points), np.bool_)


def _pale(looks: Looks) -> Bool:
    """Large places that differ from the glass by little, yet by more than noise."""
    window = (_PALE_WINDOW, _PALE_WINDOW)
    channels = [
        np.asarray(cv2.blur(channel, window), np.float32)
        for channel in (looks.density.red, looks.density.green, looks.density.blue)
    ]
    mean = sum(channels) / 3
    spread = np.max(channels, axis=0) - np.min(channels, axis=0)
    around = np.ones((2 * _PALE_WINDOW - 1, 2 * _PALE_WINDOW - 1), np.uint8)
    known = cv2.dilate(looks.ink.mask.astype(np.uint8), around) > 0
    seen = ((mean > _PALE_DENSITY) | (spread > _PALE_SATURATION)) & ~looks.border & ~known
    return drop_small(np.asarray(seen, np.bool_), _SMALLEST_PALE_UM2 / looks.mpp**2)
