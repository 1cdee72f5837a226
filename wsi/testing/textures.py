"""Small tiles that look like stained tissue, drawn once and laid side by side.

Colour follows Beer-Lambert: an amount of haematoxylin (or DAB) and of eosin absorbs light, as in
colour deconvolution (Ruifrok and Johnston, 2001). Every tile of one tissue shares what crosses its
edges, so that any two fit side by side without a seam.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi.slides.reader import RGB

Float = NDArray[np.float32]

GLASS_RGB = 244


class Tissue(StrEnum):
    """What a tile shows."""

    BACKGROUND = "background"
    BENIGN = "benign"
    CANCER = "cancer"


@dataclass(frozen=True, kw_only=True)
class Stain:
    """Optical density that one unit of each dye adds to red, green and blue."""

    nuclear: tuple[float, float, float] = (0.65, 0.70, 0.29)
    counter: tuple[float, float, float] = (0.09, 0.92, 0.30)
    counter_amount: float = 0.32
    strength: float = 1.0


STAINS: Mapping[str, Stain] = {
    "he": Stain(),
    "faint": Stain(strength=0.35),
    # Immunohistochemistry: haematoxylin counterstain is the pale ground, DAB the dark nuclei.
    "ihc": Stain(nuclear=(0.27, 0.57, 0.78), counter=(0.65, 0.70, 0.29), counter_amount=0.13),
    "strong": Stain(strength=1.9),
    "eosin": Stain(nuclear=(0.09, 0.92, 0.30)),
    # Vectors of Fiji's colour deconvolution (Landini, 2004): Masson's trichrome (methyl blue,
    # Ponceau fuchsin), Alcian blue and haematoxylin, periodic acid-Schiff.
    "trichrome": Stain(nuclear=(0.10, 0.74, 0.67), counter=(0.80, 0.59, 0.11), counter_amount=0.55),
    "alcian": Stain(nuclear=(0.55, 0.75, 0.35), counter=(0.87, 0.46, 0.16), counter_amount=0.5),
    "pas": Stain(nuclear=(0.64, 0.72, 0.27), counter=(0.18, 0.97, 0.15), counter_amount=0.35),
    "blood": Stain(nuclear=(0.35, 0.90, 0.95), counter=(0.28, 0.90, 0.95), counter_amount=1.1),
    "silver": Stain(nuclear=(0.90, 0.91, 0.92), counter=(0.55, 0.57, 0.60), counter_amount=0.35),
}


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """How the nuclei of one tissue look; lengths in micrometres, density per mm2."""

    density: float
    radius: tuple[float, float]
    elongation: float
    irregular: float
    amount: tuple[float, float]
    ground: float


_BENIGN = _Cells(
    density=1500,
    radius=(2.4, 3.4),
    elongation=1.5,
    irregular=0.05,
    amount=(0.65, 0.85),
    ground=1.0,
)
_CANCER = _Cells(
    density=5200,
    radius=(3.6, 6.2),
    elongation=1.6,
    irregular=0.28,
    amount=(0.85, 1.35),
    ground=0.8,
)
_GLAND_RADIUS_UM = (18.0, 32.0)
_MAX_NUCLEI = 900


def palette(
    mpp: float, tile_px: int, seed: int, *, stain: str = "he", variants: int = 12
) -> dict[Tissue, list[RGB]]:
    """Tiles of every tissue: each a list of (tile_px, tile_px, 3) uint8.

    Args:
        mpp: resolution they are drawn at.
        tile_px: their side.
        seed: equal seeds draw equal tiles; colour varies a little with it, as between slides.
        stain: a name in ``STAINS``.
        variants: how many of each tissue.
    """
    rng = np.random.default_rng([seed, 1])
    dyes = _varied(STAINS[stain], rng)
    tiles = {
        Tissue.BENIGN: _tiles(_BENIGN, mpp, tile_px, dyes, rng, variants, glands=True),
        Tissue.CANCER: _tiles(_CANCER, mpp, tile_px, dyes, rng, variants, glands=False),
        Tissue.BACKGROUND: [
            np.clip(
                np.rint(rng.normal(GLASS_RGB, 0.8, (tile_px, tile_px, 1))) + np.array([0, 0, -1]),
                0,
                255,
            ).astype(np.uint8)
            for _ in range(3)
        ],
    }
    return tiles


def _varied(stain: Stain, rng: np.random.Generator) -> Stain:
    """The same dyes as another laboratory would have mixed them."""

    def vary(dye: tuple[float, float, float]) -> tuple[float, float, float]:
        r, g, b = (value * rng.uniform(0.92, 1.08) for value in dye)
        return (r, g, b)

    return replace(
        stain,
        nuclear=vary(stain.nuclear),
        counter=vary(stain.counter),
        strength=stain.strength * rng.uniform(0.9, 1.1),
    )


def _tiles(
    cells: _Cells,
    mpp: float,
    tile_px: int,
    dyes: Stain,
    rng: np.random.Generator,
    variants: int,
    *,
    glands: bool,
) -> list[RGB]:
    shared_ground = _ground(rng, mpp, tile_px)
    edge = _nuclei(cells, mpp, tile_px, rng)
    margin = (cells.radius[1] * cells.elongation * (1 + cells.irregular) + 1) / mpp + 1
    crossing = [n for n in edge if _crosses(n, tile_px, margin)]
    # Inside a tile everything may differ; towards its edge all tiles are the same.
    ramp = np.clip(np.minimum(np.arange(tile_px), tile_px - 1 - np.arange(tile_px)) / 24, 0, 1)
    window = np.outer(ramp, ramp).astype(np.float32)
    tiles = []
    for _ in range(variants):
        ground = shared_ground * (1 - window) + _ground(rng, mpp, tile_px) * window
        counter = (dyes.counter_amount * cells.ground * ground).astype(np.float32)
        nuclear = np.full((tile_px, tile_px), 0.03, np.float32)
        inner = [n for n in _nuclei(cells, mpp, tile_px, rng) if not _crosses(n, tile_px, margin)]
        if glands:
            inner = _gland(counter, inner, mpp, tile_px, rng, margin)
        for nucleus in [*crossing, *inner]:
            _draw(nuclear, nucleus, cells, tile_px, wrap=nucleus in crossing)
        tiles.append(_colour(nuclear, counter, dyes, rng))
    return tiles


@dataclass(frozen=True)
class _Nucleus:
    """Place and size in pixels; ``seed`` fixes its outline."""

    x: float
    y: float
    radius: float
    amount: float
    seed: int


def _nuclei(cells: _Cells, mpp: float, tile_px: int, rng: np.random.Generator) -> list[_Nucleus]:
    area_mm2 = (tile_px * mpp / 1000) ** 2
    count = min(_MAX_NUCLEI, int(rng.poisson(cells.density * area_mm2)))
    # Beyond the cap the tile covers millimetres and a nucleus is below a pixel: fewer, wider.
    wide = max(1.0, float(np.sqrt(cells.density * area_mm2 / _MAX_NUCLEI)))
    return [
        _Nucleus(
            x=rng.uniform(0, tile_px),
            y=rng.uniform(0, tile_px),
            radius=max(0.6, rng.uniform(*cells.radius) * wide / mpp),
            amount=rng.uniform(*cells.amount),
            seed=int(rng.integers(2**31)),
        )
        for _ in range(count)
    ]


def _crosses(nucleus: _Nucleus, tile_px: int, margin: float) -> bool:
    margin = max(margin, nucleus.radius * 2)
    return not (margin <= nucleus.x < tile_px - margin and margin <= nucleus.y < tile_px - margin)


def _draw(nuclear: Float, nucleus: _Nucleus, cells: _Cells, tile_px: int, *, wrap: bool) -> None:
    """Add one nucleus; one that crosses an edge comes back in at the other side."""
    rng = np.random.default_rng(nucleus.seed)
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    stretch = np.sqrt(rng.uniform(1, cells.elongation))
    turn = rng.uniform(0, np.pi)
    wobble = 1 + cells.irregular * rng.uniform(-1, 1, len(angles))
    u = np.cos(angles) * nucleus.radius * stretch * wobble
    v = np.sin(angles) * nucleus.radius / stretch * wobble
    outline = np.stack(
        [u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)], axis=1
    )
    shifts = (-tile_px, 0, tile_px) if wrap else (0,)
    for dx in shifts:
        for dy in shifts:
            place = np.array([nucleus.x + dx, nucleus.y + dy])
            points = np.rint((outline + place) * 16).astype(np.int32)
            cv2.fillPoly(nuclear, [points], nucleus.amount, lineType=cv2.LINE_8, shift=4)


def _gland(
    counter: Float,
    nuclei: list[_Nucleus],
    mpp: float,
    tile_px: int,
    rng: np.random.Generator,
    margin: float,
) -> list[_Nucleus]:
    """A ring of nuclei around a pale lumen, in every other tile that has room for one."""
    radius = rng.uniform(*_GLAND_RADIUS_UM) / mpp
    room = tile_px / 2 - margin - 6 / mpp
    if rng.random() < 0.5 or room < 8 / mpp or radius < 4:
        return nuclei
    radius = min(radius, room)
    reach = tile_px / 2 - margin - radius
    x, y = tile_px / 2 + rng.uniform(-reach, reach, 2)
    cv2.circle(counter, (round(x), round(y)), round(radius), 0.55, -1, cv2.LINE_AA)
    cv2.circle(counter, (round(x), round(y)), max(1, round(radius * 0.55)), 0.06, -1, cv2.LINE_AA)
    outside = [n for n in nuclei if np.hypot(n.x - x, n.y - y) > radius + n.radius]
    around = max(8, int(2 * np.pi * radius * mpp / 7))
    ring = [
        _Nucleus(
            x=x + radius * 0.85 * np.cos(angle),
            y=y + radius * 0.85 * np.sin(angle),
            radius=rng.uniform(2.4, 3.0) / mpp,
            amount=rng.uniform(0.7, 0.85),
            seed=int(rng.integers(2**31)),
        )
        for angle in np.linspace(0, 2 * np.pi, around, endpoint=False)
    ]
    return [*outside, *ring]


def _ground(rng: np.random.Generator, mpp: float, tile_px: int) -> Float:
    """Stroma: periodic noise drawn out along one direction, about 1 on average."""
    noise = rng.standard_normal((tile_px, tile_px))
    fy = np.fft.fftfreq(tile_px)[:, None]
    fx = np.fft.rfftfreq(tile_px)[None, :]
    turn = rng.uniform(0, np.pi)
    along, across = fx * np.cos(turn) + fy * np.sin(turn), fy * np.cos(turn) - fx * np.sin(turn)
    fibre, width = 14 / mpp, max(1.0, 2.5 / mpp)
    spectrum = np.fft.rfft2(noise) * np.exp(
        -2 * (np.pi**2) * ((along * fibre) ** 2 + (across * width) ** 2)
    )
    field = np.fft.irfft2(spectrum, s=(tile_px, tile_px))
    field /= field.std() + 1e-9
    return np.clip(1 + 0.22 * field, 0.45, 1.7).astype(np.float32)


def _colour(nuclear: Float, counter: Float, dyes: Stain, rng: np.random.Generator) -> RGB:
    soft = np.asarray(cv2.GaussianBlur(nuclear, (0, 0), 0.7, borderType=cv2.BORDER_REFLECT))
    grain = 1 + 0.04 * rng.standard_normal(soft.shape)
    density = (soft * grain)[..., None] * np.array(dyes.nuclear) + counter[..., None] * np.array(
        dyes.counter
    )
    rgb = GLASS_RGB * np.exp(-density * dyes.strength)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), dtype=np.uint8)
