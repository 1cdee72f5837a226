"""How well tissue masks agree with known tissue: sets of stains, tints and real slides."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi.errors import SlideError
from wsi.geometry import Size
from wsi.slides import RGB, open_slide
from wsi.testing.slides import synthetic_slide
from wsi.testing.textures import STAINS
from wsi.tissue import TissueSpec
from wsi.tissue.find import tissue_of_overview
from wsi.tissue.overview import read_overview

Bool = NDArray[np.bool_]

TINTS: Mapping[str, tuple[int, int, int]] = {
    "clear glass": (244, 244, 244),
    "warm glass": (240, 232, 212),
    "very warm glass": (240, 225, 195),
    "yellowish glass": (250, 245, 220),
    "bluish light": (225, 235, 250),
    "greenish light": (230, 245, 230),
    "dark scanner": (200, 200, 200),
    "very dark scanner": (150, 150, 150),
}
_GLASS, _MPP = 244.0, 8.0
_STRENGTHS = np.linspace(1.0, 0.82, 10)
_CHANNELS = {"red": [0], "green": [1], "blue": [2], "all channels": [0, 1, 2]}
_REAL = (("wsi/CMU-1-Small-Region.svs", None), ("wsi/TCGA-CR-7395-01A-01-TS1.svs", 0.5))


def agreement(real: Path) -> dict[str, Any]:
    """Least and mean IoU of each set; real slides, where they are, against their untinted mask."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = {stain: _drawn(Path(folder), stain) for stain in STAINS}
    sets = {
        f"all stains, {tint}": [
            _iou(_mask(_tinted(pair[0], rgb)), pair[1]) for pair in drawn.values()
        ]
        for tint, rgb in TINTS.items()
    }
    for stain, (overview, known) in drawn.items():
        sets[f"{stain}, all tints"] = [
            _iou(_mask(_tinted(overview, rgb)), known) for rgb in TINTS.values()
        ]
    for name, channels in _CHANNELS.items():
        masks = {stain: _sweep(pair[0], channels) for stain, pair in drawn.items()}
        sets[f"all stains, {name} swept from 1 to 0.82"] = [
            _iou(mask, drawn[stain][1]) for stain, swept in masks.items() for mask in swept
        ]
    for row, mpp in _REAL:
        try:
            with open_slide(real / row, mpp=mpp) as slide:
                overview = read_overview(slide, _MPP).pixels
        except SlideError:
            continue
        swept = {name: _sweep(overview, channels) for name, channels in _CHANNELS.items()}
        sets[f"{Path(row).stem}, every channel swept, against untinted"] = [
            _iou(mask, masks[0]) for masks in swept.values() for mask in masks[1:]
        ]
    return {
        name: {"least": round(min(ious), 4), "mean": round(float(np.mean(ious)), 4), "n": len(ious)}
        for name, ious in sets.items()
    }


def as_table(sets: Mapping[str, Mapping[str, float]]) -> str:
    """The sets as a table in markdown."""
    rows = [
        f"| {name} | {s['n']} | {s['least']:.3f} | {s['mean']:.3f} |" for name, s in sets.items()
    ]
    return "\n".join(["| set | masks | least IoU | mean IoU |", "|---|---|---|---|", *rows])


def _drawn(folder: Path, stain: str) -> tuple[RGB, Bool]:
    seed = 60 + list(STAINS).index(stain)
    made = synthetic_slide(folder / f"{stain}.tif", 3072, 1.0, stain=stain, seed=seed, mask_px=8)
    with open_slide(made.path) as slide:
        return read_overview(slide, _MPP).pixels, made.tissue_mask


def _tinted(overview: RGB, rgb: tuple[int, int, int]) -> NDArray[np.float64]:
    return np.asarray(overview * np.array(rgb) / _GLASS)


def _sweep(overview: RGB, channels: list[int]) -> list[Bool]:
    masks = []
    for strength in _STRENGTHS:
        factors = np.ones(3)
        factors[channels] = strength
        masks.append(_mask(overview * factors))
    return masks


def _mask(pixels: NDArray[np.float64]) -> Bool:
    overview = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    size = Size(round(overview.shape[1] * _MPP), round(overview.shape[0] * _MPP))
    return tissue_of_overview(overview, size, _MPP, TissueSpec()).mask


def _iou(found: Bool, known: Bool) -> float:
    return float((found & known).sum() / max(1, (found | known).sum()))
