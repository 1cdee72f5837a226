"""A synthetic stained slide and its heatmaps, small enough to make in a second."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

TILE = 254
OVERLAP = 1


class FakeSlide:
    """Tiles, thumbnail and heatmaps of one drawn slide.

    Args:
        seed: another one is another tissue.
        width, height: level-0 pixels.
        tumour: where the suspicious areas lie: (x, y, radius) in shares of the width.
    """

    def __init__(
        self,
        seed: int,
        width: int = 4096,
        height: int = 3072,
        tumour: tuple[tuple[float, float, float], ...] = ((0.36, 0.3, 0.07), (0.66, 0.46, 0.05)),
    ) -> None:
        self.width, self.height, self.tumour = width, height, tumour
        rng = np.random.default_rng(seed)
        self.picture = _draw(rng, width, height, tumour)
        self.tissue = _tissue_grid(self.picture, 64)
        self._levels: dict[int, Image.Image] = {}

    @property
    def max_level(self) -> int:
        """The Deep Zoom level of full resolution."""
        return math.ceil(math.log2(max(self.width, self.height)))

    def dzi(self) -> str:
        """The Deep Zoom descriptor."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" '
            f'Overlap="{OVERLAP}" TileSize="{TILE}">'
            f'<Size Height="{self.height}" Width="{self.width}"/></Image>'
        )

    def level(self, level: int) -> Image.Image:
        """The whole picture at one Deep Zoom level."""
        if level not in self._levels:
            scale = 2 ** (self.max_level - level)
            size = (math.ceil(self.width / scale), math.ceil(self.height / scale))
            self._levels[level] = self.picture.resize(size, Image.Resampling.BOX)
        return self._levels[level]

    def tile(self, level: int, column: int, row: int) -> bytes | None:
        """JPEG of a tile, or ``None`` outside the slide."""
        picture = self.level(level)
        left = column * TILE - (OVERLAP if column else 0)
        top = row * TILE - (OVERLAP if row else 0)
        if left >= picture.width or top >= picture.height:
            return None
        right = min(picture.width, (column + 1) * TILE + OVERLAP)
        bottom = min(picture.height, (row + 1) * TILE + OVERLAP)
        return jpeg(picture.crop((left, top, right, bottom)))

    def thumbnail(self, max_px: int) -> bytes:
        """JPEG no larger than ``max_px`` either way."""
        picture = self.level(max(0, self.max_level - 2)).copy()
        picture.thumbnail((max_px, max_px))
        return jpeg(picture)

    def heatmap(self, cell: int, class_index: int, sharpness: float) -> NDArray[np.float32]:
        """Values of one class, (rows, columns), NaN where there is no tissue."""
        rows, columns = math.ceil(self.height / cell), math.ceil(self.width / cell)
        y, x = np.mgrid[0:rows, 0:columns]
        px, py = (x + 0.5) * cell / self.width, (y + 0.5) * cell / self.width
        cancer = np.full((rows, columns), 0.04)
        for cx, cy, radius in self.tumour:
            distance = np.hypot(px - cx, py - cy) / radius
            cancer = np.maximum(cancer, 0.97 / (1 + np.exp((distance - 1) * sharpness)))
        noise = ndimage.gaussian_filter(
            np.random.default_rng(5).normal(0, 1, cancer.shape), 1, mode="nearest"
        )
        cancer = np.clip(cancer + noise * 0.06, 0, 1)
        values = (np.zeros_like(cancer) + 0.03, 1 - cancer, cancer)[class_index]
        tissue = ndimage.zoom(self.tissue.astype(float), 64 / cell, order=0)[:rows, :columns]
        padded = np.zeros((rows, columns))
        padded[: tissue.shape[0], : tissue.shape[1]] = tissue
        return np.where(padded > 0.5, values, np.nan).astype(np.float32)


def raw_png(values: NDArray[np.float32]) -> bytes:
    """The 8-bit grey-and-alpha PNG that the API speaks."""
    present = ~np.isnan(values)
    grey = np.round(255 * np.nan_to_num(values)).astype(np.uint8)
    picture = np.dstack([grey, np.where(present, 255, 0).astype(np.uint8)])
    out = io.BytesIO()
    Image.fromarray(picture, "LA").save(out, "PNG")
    return out.getvalue()


def jpeg(picture: Image.Image) -> bytes:
    """JPEG bytes of good quality."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return out.getvalue()


def _draw(
    rng: np.random.Generator,
    width: int,
    height: int,
    tumour: tuple[tuple[float, float, float], ...],
) -> Image.Image:
    """Two pieces of pink tissue with glands, and crowded dark nuclei where the tumour is."""
    small = (height // 8, width // 8)
    y, x = np.mgrid[0 : small[0], 0 : small[1]]
    px, py = x / small[1], y / small[1]
    wobble = ndimage.gaussian_filter(rng.normal(0, 1, small), 18) * 2.2
    body = np.hypot((px - 0.37) / 0.27, (py - 0.36) / 0.27) + wobble
    island = np.hypot((px - 0.72) / 0.15, (py - 0.47) / 0.2) + wobble
    tissue = np.minimum(body, island) < 1
    fibre = ndimage.gaussian_filter(rng.normal(0, 1, small), (2, 9)) * 5
    base = np.full((*small, 3), (243.0, 241.0, 244.0))
    pink = np.stack([226 + 12 * fibre, 168 + 22 * fibre, 198 + 14 * fibre], axis=-1)
    base[tissue] = np.clip(pink, 90, 250)[tissue]
    picture = Image.fromarray(base.astype(np.uint8), "RGB").resize(
        (width, height), Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(picture)
    _nuclei(draw, rng, tissue, width, tumour)
    return picture


def _nuclei(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    tissue: NDArray[np.bool_],
    width: int,
    tumour: tuple[tuple[float, float, float], ...],
) -> None:
    points = [(px, py, 0) for px, py in rng.random((9000, 2)) * (1, 0.75)]
    for cx, cy, radius in tumour:
        angle, distance = rng.random(1500) * 2 * math.pi, radius * np.sqrt(rng.random(1500))
        points += [
            (cx + d * math.cos(a), cy + d * math.sin(a), 1)
            for a, d in zip(angle, distance, strict=True)
        ]
    for px, py, dark in points:
        row, column = int(py * width / 8), int(px * width / 8)
        if not (0 <= row < tissue.shape[0] and 0 <= column < tissue.shape[1]):
            continue
        if not tissue[row, column]:
            continue
        r = rng.uniform(5, 8) if dark else rng.uniform(3, 5)
        x, y, squeeze = px * width, py * width, rng.uniform(0.6, 1)
        colour = (84, 44, 122) if dark else (118, 84, 156)
        draw.ellipse((x - r, y - r * squeeze, x + r, y + r * squeeze), fill=colour)


def _tissue_grid(picture: Image.Image, cell: int) -> NDArray[np.bool_]:
    small = picture.resize(
        (math.ceil(picture.width / cell), math.ceil(picture.height / cell)), Image.Resampling.BOX
    )
    array = np.asarray(small).astype(int)
    return np.asarray(array.max(axis=2) - array.min(axis=2) > 12)
