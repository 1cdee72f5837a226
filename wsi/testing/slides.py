"""Synthetic slides whose tissue and cancer are known, and collages of real patches.

Nothing here is a picture of a patient. The drawings are plain enough for a small network to learn
in a minute and rich enough that it must look at nuclei, not at the mean colour alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from wsi import annotations
from wsi.errors import ConfigError
from wsi.geometry import Size
from wsi.slides.reader import RGB
from wsi.testing.textures import Tissue, palette
from wsi.testing.tiff_writer import Flavour, Tile, corrupt_tiles, write_slide, write_tiles

__all__ = [
    "SyntheticSlide",
    "collage_slide",
    "corrupt_tiles",
    "synthetic_patches",
    "synthetic_slide",
    "write_geojson",
    "write_slide",
]

_PLAN_PX = 512
"""Outlines are planned on a canvas of this many pixels along the longer side."""

_SAMPLES = (Tissue.BACKGROUND, Tissue.BENIGN, Tissue.CANCER)


@dataclass(frozen=True)
class SyntheticSlide:
    """A slide on disk and the truth about it.

    Attributes:
        path: the file.
        size: level-0 size.
        mpp: micrometres per pixel.
        tissue_polygons: outlines of all tissue, level-0 px.
        cancer_polygons: outlines of the cancer in it, level-0 px.
        tissue_mask: (rows, cols) bool, one cell for ``mask_px`` level-0 px each way.
        cancer_mask: the same grid.
        mask_px: level-0 px a cell.
    """

    path: Path
    size: Size
    mpp: float
    tissue_polygons: tuple[Polygon, ...]
    cancer_polygons: tuple[Polygon, ...]
    tissue_mask: NDArray[np.bool_]
    cancer_mask: NDArray[np.bool_]
    mask_px: int


def synthetic_slide(
    path: Path | str,
    size_px: int | Size = 4096,
    mpp: float = 0.5,
    seed: int = 0,
    *,
    cancer: bool | float = True,
    tissue_share: float = 0.45,
    stain: str = "he",
    mask_px: int = 16,
    geojson: bool = False,
    tile_px: int = 256,
    jpeg_quality: int = 85,
    levels: int | None = None,
    level_factor: int = 4,
    format: Flavour = "tiff",
) -> SyntheticSlide:
    """Draw a stained section on glass.

    Benign tissue has sparse round nuclei and gland-like rings; cancer dense, larger, irregular and
    darker ones. Equal arguments give equal bytes.

    Args:
        path: the file to write.
        size_px: one side of a square slide, or a size.
        mpp: micrometres per pixel; 0.25 to 4 look right.
        seed: what varies: outlines, textures, a little colour.
        cancer: share of the tissue that is cancer; ``True`` is 0.3, ``False`` none.
        tissue_share: share of the slide that is tissue; 0 is blank glass.
        stain: ``he``, ``faint`` or ``ihc``.
        mask_px: level-0 px a cell of the known masks.
        geojson: write the cancer beside it as QuPath GeoJSON (``PATH.geojson``).
        tile_px, jpeg_quality, levels, level_factor, format: as ``write_slide``.
    """
    size = size_px if isinstance(size_px, Size) else Size(size_px, size_px)
    share = (0.3 if cancer else 0.0) if isinstance(cancer, bool) else cancer
    if not (0 <= share <= 1 and 0 <= tissue_share <= 0.9):
        raise ConfigError("synthetic_slide: cancer must be in 0..1 and tissue_share in 0..0.9")
    rng = np.random.default_rng([seed, 0])
    tissue, tumour = _plan(size, tissue_share, share, rng)
    rows = _rows(size, tile_px, tissue, tumour, palette(mpp, tile_px, seed, stain=stain), seed)
    path = write_tiles(
        path,
        rows,
        mpp,
        size=size,
        tile_px=tile_px,
        jpeg_quality=jpeg_quality,
        levels=levels,
        level_factor=level_factor,
        format=format,
    )
    if geojson:
        write_geojson(path.with_suffix(".geojson"), [("cancer", shape) for shape in tumour])
    tissue_mask = _mask(size, tissue, mask_px)
    return SyntheticSlide(
        path=path,
        size=size,
        mpp=mpp,
        tissue_polygons=tissue,
        cancer_polygons=tumour,
        tissue_mask=tissue_mask,
        cancer_mask=_mask(size, tumour, mask_px) & tissue_mask,
        mask_px=mask_px,
    )


def synthetic_patches(
    count: int, size_px: int = 64, mpp: float = 1.0, seed: int = 0, *, slides: int = 4
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Patches of the same tissue as ``synthetic_slide`` draws, without writing a slide.

    Args:
        count: how many; the classes background, benign, cancer take turns.
        size_px, mpp: of the patches.
        seed: equal seeds give equal patches.
        slides: how many stainings they come from.

    Returns:
        (count, size_px, size_px, 3) uint8, and (count,) labels: 0 background, 1 benign, 2 cancer.
    """
    rng = np.random.default_rng([seed, 2])
    side = max(256, -(-size_px // 16) * 16)
    palettes = [palette(mpp, side, seed * 1000 + i, variants=6) for i in range(slides)]
    labels = np.arange(count) % len(_SAMPLES)
    patches = np.empty((count, size_px, size_px, 3), np.uint8)
    for i, label in enumerate(labels):
        tiles = palettes[int(rng.integers(slides))][_SAMPLES[label]]
        picks = rng.integers(len(tiles), size=4)
        block = np.vstack(
            [
                np.hstack([tiles[picks[0]], tiles[picks[1]]]),
                np.hstack([tiles[p] for p in picks[2:]]),
            ]
        )
        x, y = rng.integers(0, 2 * side - size_px + 1, 2)
        patches[i] = np.rot90(block[y : y + size_px, x : x + size_px], int(rng.integers(4)))
    return patches, labels.astype(np.int64)


def collage_slide(
    path: Path | str,
    patches: Sequence[RGB] | NDArray[np.uint8],
    mpp: float,
    seed: int = 0,
    *,
    columns: int | None = None,
    gap_share: float = 0.15,
    margin: int = 1,
    jpeg_quality: int = 92,
    format: Flavour = "tiff",
) -> NDArray[np.int64]:
    """A slide made of one patient's patches on white, each used once, in random order.

    Args:
        path: the file to write.
        patches: equal squares, (side, side, 3) uint8 each.
        mpp: what the slide states.
        seed: fixes the order.
        columns: patches a row; about a square by default.
        gap_share: share of the places that stay white.
        margin: patches' widths of glass all round, as a section never touches the slide's border.
        jpeg_quality, format: as ``write_slide``.

    Returns:
        (rows, columns) the index of the patch at each place, -1 where it is white.
    """
    if not len(patches):
        raise ConfigError("collage_slide: no patches")
    side = patches[0].shape[0]
    places = int(np.ceil(len(patches) / (1 - gap_share)))
    columns = columns or int(np.ceil(np.sqrt(places)))
    rows = -(-places // columns)
    order = np.full(rows * columns, -1, np.int64)
    rng = np.random.default_rng([seed, 3])
    order[rng.permutation(rows * columns)[: len(patches)]] = np.arange(len(patches))
    grid = order.reshape(rows, columns)
    height, width = (rows + 2 * margin) * side, (columns + 2 * margin) * side
    canvas = np.full((height, width, 3), 255, np.uint8)
    for row, column in np.argwhere(grid >= 0):
        y, x = (row + margin) * side, (column + margin) * side
        canvas[y : y + side, x : x + side] = patches[grid[row, column]]
    write_slide(path, canvas, mpp, jpeg_quality=jpeg_quality, format=format)
    return grid


def write_geojson(path: Path | str, shapes: Sequence[tuple[str, BaseGeometry]]) -> None:
    """QuPath GeoJSON of (class name, geometry in level-0 px)."""
    items = tuple(annotations.Annotation(name, shape) for name, shape in shapes)
    annotations.write_geojson(annotations.Annotations(Path(path).name, items), path)


def _plan(
    size: Size, tissue_share: float, cancer_share: float, rng: np.random.Generator
) -> tuple[tuple[Polygon, ...], tuple[Polygon, ...]]:
    """Outlines of tissue and of the cancer inside it, of the shares asked."""
    if tissue_share <= 0:
        return (), ()
    frame = shapely.box(0, 0, size.width, size.height).buffer(-0.02 * min(size.width, size.height))
    pieces = int(rng.integers(1, 4))
    seeds = [
        (_blob(rng, wobble=0.16), rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75))
        for _ in range(pieces)
    ]

    def tissue_at(scale: float) -> BaseGeometry:
        side = scale * min(size.width, size.height)
        placed = [
            Polygon(blob * side + (x * size.width, y * size.height)).buffer(0)
            for blob, x, y in seeds
        ]
        return shapely.union_all(placed).intersection(frame)

    tissue = _of_area(tissue_at, tissue_share * size.area, 1.5)
    if cancer_share <= 0:
        return _polygons(tissue), ()
    if cancer_share >= 1:
        return _polygons(tissue), _polygons(tissue)
    inside = _polygons(tissue)
    weights = np.array([part.area for part in inside])
    spots = []
    for _ in range(int(rng.integers(1, 4))):
        part = inside[int(rng.choice(len(inside), p=weights / weights.sum()))]
        spots.append((_blob(rng, wobble=0.12), _point_in(part, rng)))

    def cancer_at(scale: float) -> BaseGeometry:
        side = scale * min(size.width, size.height)
        placed = [Polygon(blob * side + spot).buffer(0) for blob, spot in spots]
        return shapely.union_all(placed).intersection(tissue)

    return inside, _polygons(_of_area(cancer_at, cancer_share * tissue.area, 2.0))


def _of_area(shape_at: Callable[[float], BaseGeometry], area: float, most: float) -> BaseGeometry:
    """The shape whose scale gives the area, by bisection."""
    low, high = 0.0, most
    for _ in range(24):
        middle = (low + high) / 2
        if shape_at(middle).area < area:
            low = middle
        else:
            high = middle
    return shape_at(high)


def _blob(rng: np.random.Generator, wobble: float) -> NDArray[np.float64]:
    """A smooth closed outline around the origin, about 1 in radius, (96, 2)."""
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = np.ones_like(angles)
    for wave in range(2, 7):
        radius += wobble / wave * 2 * rng.normal() * np.cos(wave * angles + rng.uniform(0, 6.28))
    radius = np.clip(radius, 0.35, None)
    flat = rng.uniform(0.75, 1.0)
    return np.stack([radius * np.cos(angles), flat * radius * np.sin(angles)], axis=1)


def _point_in(part: Polygon, rng: np.random.Generator) -> tuple[float, float]:
    left, top, right, bottom = part.bounds
    for _ in range(200):
        x, y = rng.uniform(left, right), rng.uniform(top, bottom)
        if part.contains(shapely.Point(x, y)):
            return float(x), float(y)
    centre = part.representative_point()
    return centre.x, centre.y


def _polygons(shape: BaseGeometry) -> tuple[Polygon, ...]:
    parts = shape.geoms if hasattr(shape, "geoms") else [shape]
    return tuple(part for part in parts if isinstance(part, Polygon) and part.area > 1)


def _fill(
    mask: NDArray[np.uint8], shapes: Sequence[Polygon], x: float, y: float, scale: float
) -> None:
    """Paint 1 where a shape covers a pixel's centre; (x, y) is the mask's origin."""
    for shape in shapes:
        rings = [shape.exterior, *shape.interiors]
        points = [
            np.rint(((np.asarray(ring.coords) - (x, y)) / scale - 0.5) * 16).astype(np.int32)
            for ring in rings
        ]
        cv2.fillPoly(mask, points, 1, shift=4)


def _mask(size: Size, shapes: Sequence[Polygon], cell_px: int) -> NDArray[np.bool_]:
    mask = np.zeros((-(-size.height // cell_px), -(-size.width // cell_px)), np.uint8)
    _fill(mask, shapes, 0, 0, cell_px)
    return mask.astype(bool)


def _rows(
    size: Size,
    tile_px: int,
    tissue: Sequence[Polygon],
    cancer: Sequence[Polygon],
    tiles: dict[Tissue, list[RGB]],
    seed: int,
) -> Iterator[list[Tile]]:
    """The slide row by row: whole tiles from the palette, mixed ones only along outlines."""
    columns = -(-size.width // tile_px)
    for row in range(-(-size.height // tile_px)):
        y = row * tile_px
        in_tissue = np.zeros((tile_px, columns * tile_px), np.uint8)
        in_cancer = np.zeros_like(in_tissue)
        _fill(in_tissue, tissue, 0, y, 1)
        _fill(in_cancer, cancer, 0, y, 1)
        in_cancer &= in_tissue
        rng = np.random.default_rng([seed, 4, row])
        picks = {kind: rng.integers(len(of), size=columns) for kind, of in tiles.items()}
        line = []
        for column in range(columns):
            span = slice(column * tile_px, (column + 1) * tile_px)
            layers = {kind: (int(picks[kind][column]), of) for kind, of in tiles.items()}
            line.append(_tile(in_tissue[:, span], in_cancer[:, span], layers))
        yield line


def _tile(
    in_tissue: NDArray[np.uint8],
    in_cancer: NDArray[np.uint8],
    layers: dict[Tissue, tuple[int, list[RGB]]],
) -> Tile:
    share, sick = in_tissue.mean(), in_cancer.mean()
    whole = {(0.0, 0.0): Tissue.BACKGROUND, (1.0, 0.0): Tissue.BENIGN, (1.0, 1.0): Tissue.CANCER}
    kind = whole.get((float(share), float(sick)))
    if kind is not None:
        pick, of = layers[kind]
        return Tile(of[pick], key=(kind, pick))
    pixels = {kind: of[pick] for kind, (pick, of) in layers.items()}
    tissue = np.where(in_cancer[..., None] > 0, pixels[Tissue.CANCER], pixels[Tissue.BENIGN])
    return Tile(np.where(in_tissue[..., None] > 0, tissue, pixels[Tissue.BACKGROUND]))
