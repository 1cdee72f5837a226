"""Valid slide files drawn at random, each with the truth of what is on it: a fuzz of meaning.

Where ``wsi.testing.mutations`` damages bytes, this draws files that other software could well have
written: any resolution, tint, scanned area, orientation, layout of channels, shape of levels, label
among the pages, a tile that breaks off. Whoever reads one must give its truth, or refuse it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

TILE_PX = 256
DOT_UM = 100.0
_LIGHT = np.array((243.0, 241.0, 244.0), np.float32)
_TISSUE, _NUCLEI, _DOT = (214.0, 150.0, 190.0), (150.0, 95.0, 160.0), (70.0, 35.0, 105.0)


@dataclass(frozen=True, kw_only=True)
class DrawnSlide:
    """A file and its truth.

    Attributes:
        path: of the file.
        tissue_hw: (height, width) bool at level 0, the scanned area.
        origin: x and y of the scanned area on the slide, level-0 px.
        size: width and height of the slide, level-0 px.
        mpp: micrometres per level-0 pixel; ``None`` where the file states none that can be true.
        dots: (x, y) of dark dots in the tissue, level-0 px of the slide.
        odd: what is unusual about it, in words; a reader may refuse any of it.
        drawn: what else was drawn, in words.
    """

    path: Path
    tissue_hw: NDArray[np.bool_]
    origin: tuple[int, int]
    size: tuple[int, int]
    mpp: float | None
    dots: tuple[tuple[float, float], ...]
    odd: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()


@dataclass
class _Draft:
    """What is being drawn of one slide."""

    rng: np.random.Generator
    pixels: NDArray[np.uint8]
    mpp: float | None
    compression: str
    factor: int
    levels: int
    tags: dict[str, Any] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)


def drawn_slides(folder: Path, count: int, seed: int) -> Iterator[DrawnSlide]:
    """Draw ``count`` slides, one after another into ``folder``; the same ones for every seed."""
    for number in range(count):
        yield draw_slide(folder / f"{number:04d}.tif", np.random.default_rng([seed, number]))


def draw_slide(path: Path, rng: np.random.Generator) -> DrawnSlide:
    """Draw one slide; a Leica-like one gets the ending ``.scn``."""
    width, height = (int(v) for v in rng.integers(1000, 1700, 2))
    mpp = float(np.exp(rng.uniform(np.log(1.8), np.log(3.5))))
    scanned = rng.random() < 0.1
    if scanned:
        mpp = round(mpp * 1000) / 1000
    pixels, tissue, dots, words = _picture(width, height, mpp, rng)
    draft = _Draft(
        rng=rng,
        pixels=pixels,
        mpp=mpp,
        compression=str(rng.choice(["jpeg", "jpeg", "jpeg", "lzw", "adobe_deflate"])),
        factor=int(rng.choice([2, 4])),
        levels=int(rng.integers(1, 4)),
        drawn=words,
    )
    if scanned:
        path = path.with_suffix(".scn")
        origin = (int(rng.integers(0, 3000)), int(rng.integers(0, 3000)))
        size = (origin[0] + width + int(rng.integers(0, 500)), origin[1] + height + 400)
        _write_scn(path, draft, origin, size)
    else:
        origin, size = (0, 0), (width, height)
        _write_tiff(path, draft)
    x0, y0 = origin
    return DrawnSlide(
        path=path,
        tissue_hw=tissue,
        origin=origin,
        size=size,
        mpp=draft.mpp,
        dots=tuple((x + x0, y + y0) for x, y in dots),
        odd=tuple(draft.odd),
        drawn=(*draft.drawn, draft.compression, f"{draft.levels} level(s) by {draft.factor}"),
    )


def _picture(
    width: int, height: int, mpp: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], list[tuple[float, float]], list[str]]:
    """Pieces of tissue on glass of some tint, with dark dots in them.

    Pieces measure 0.7 mm and more: a mask takes in the cells that hold a little tissue, and one of
    8 um all around a smaller piece is more than a twentieth of it.
    """
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    tissue = np.zeros((height, width), bool)
    short = min(width, height)
    centres = []
    for _ in range(int(rng.integers(1, 4))):
        cx, cy = rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height
        rx, ry = rng.uniform(0.2, 0.28, 2) * short
        tissue |= ((xx - cx) / rx) ** 2 + ((yy - cy) / ry) ** 2 < 1
        centres.append((float(round(cx)), float(round(cy))))
    image = np.full((height, width, 3), _LIGHT, np.float32)
    image[tissue] = _TISSUE
    cells = rng.random((height // 6 + 1, width // 6 + 1)) > 0.8
    image[np.kron(cells, np.ones((6, 6), bool))[:height, :width] & tissue] = _NUCLEI
    dots: list[tuple[float, float]] = []
    for x, y in centres:
        if all(np.hypot(x - a, y - b) * mpp > 5 * DOT_UM for a, b in dots):
            image[np.hypot(xx + 0.5 - x, yy + 0.5 - y) * mpp < DOT_UM / 2] = _DOT
            dots.append((x, y))
    glass = rng.uniform(226, 250) - np.array([*rng.uniform(0, 6, 2), rng.uniform(0, 18)])
    image *= (glass / _LIGHT).astype(np.float32)
    image += rng.uniform(1, 4) * rng.standard_normal((height, width, 1), np.float32)
    words = [f"glass {', '.join(f'{v:.0f}' for v in glass)}", f"{mpp:.3g} um/px"]
    return np.clip(image, 0, 255).astype(np.uint8), tissue, dots, words


def _write_tiff(path: Path, draft: _Draft) -> None:
    """A tiled TIFF; at most one thing about it is odd."""
    oddity = draft.rng.choice(list(_ODDITIES)) if draft.rng.random() < 0.6 else None
    assert draft.mpp is not None
    draft.tags |= {"resolution": (1e4 / draft.mpp,) * 2, "resolutionunit": "CENTIMETER"}
    more = _ODDITIES[oddity](draft) if oddity is not None else _Pages()
    if oddity is not None:
        draft.odd.append(str(oddity))
    levels = [] if more.alone else _reduced(draft, more.padded)
    with tifffile.TiffWriter(path) as tiff:
        for page in more.before:
            _page(tiff, page, draft, compression="lzw")
        base = draft.pixels if more.base is None else more.base
        _page(tiff, base, draft, compression=draft.compression, **more.tags)
        for page in more.between:
            _page(tiff, page, draft, compression="jpeg", subfiletype=1)
        for level in levels:
            _page(tiff, level, draft, compression=draft.compression, subfiletype=1)
        for page in more.after:
            _page(tiff, page, draft, compression="lzw")
    if more.breaks_off:
        _break_off_a_tile(path, draft.rng)


@dataclass(frozen=True, kw_only=True)
class _Pages:
    """Pages beside the levels, and how the first level is written."""

    base: NDArray[Any] | None = None
    before: tuple[NDArray[Any], ...] = ()
    between: tuple[NDArray[Any], ...] = ()
    after: tuple[NDArray[Any], ...] = ()
    tags: dict[str, Any] = field(default_factory=dict)
    alone: bool = False
    padded: bool = False
    breaks_off: bool = False


def _page(tiff: tifffile.TiffWriter, pixels: NDArray[Any], draft: _Draft, **more: Any) -> None:
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    wanted = {"photometric": photometric, "tile": (TILE_PX,) * 2, "metadata": None, **draft.tags}
    tiff.write(pixels, **(wanted | more))


def _reduced(draft: _Draft, padded: bool) -> list[NDArray[np.uint8]]:
    """The coarser levels; padded ones are filled up to whole tiles with white."""
    found, pixels, factor = [], draft.pixels, draft.factor
    for _ in range(draft.levels - 1):
        height, width = (side // factor * factor for side in pixels.shape[:2])
        blocks = pixels[:height, :width].reshape(
            height // factor, factor, width // factor, factor, 3
        )
        pixels = blocks.mean((1, 3)).astype(np.uint8)
        level = pixels
        if padded:
            sides = [(0, -side % TILE_PX) for side in pixels.shape[:2]]
            level = np.pad(pixels, (*sides, (0, 0)), constant_values=255)
        found.append(level)
    return found


def _label(draft: _Draft) -> NDArray[np.uint8]:
    """A white label with black bars."""
    label = np.full((400, 520, 3), 250, np.uint8)
    label[60:340:40, 60:460] = 10
    label[60:340, 60:460:60] = 10
    return label


def _no_resolution(draft: _Draft) -> _Pages:
    draft.mpp = None
    draft.tags |= {"resolution": (1, 1), "resolutionunit": "NONE"}
    return _Pages()


def _printers_resolution(draft: _Draft) -> _Pages:
    draft.mpp = None
    dpi = float(draft.rng.choice([72, 96, 150, 300, 600]))
    draft.tags |= {"resolution": (dpi, dpi), "resolutionunit": "INCH"}
    return _Pages()


def _grey(draft: _Draft) -> _Pages:
    draft.compression = "lzw"
    return _Pages(base=draft.pixels.mean(2).astype(np.uint8), alone=True)


def _sixteen_bits(draft: _Draft) -> _Pages:
    draft.compression = "lzw"
    return _Pages(base=draft.pixels.astype(np.uint16) * 16, alone=True)


def _channels_as_pages(draft: _Draft) -> _Pages:
    draft.compression = "lzw"
    red, green, blue = np.moveaxis(draft.pixels, -1, 0)
    return _Pages(base=red, after=(green, blue), alone=True)


def _fourth_sample(draft: _Draft) -> _Pages:
    draft.compression = "lzw"
    base = np.dstack([draft.pixels, np.zeros_like(draft.pixels[..., 0])])
    kind = str(draft.rng.choice(["unspecified", "unassalpha"]))
    return _Pages(base=base, tags={"extrasamples": [kind]}, alone=True)


def _orientation(draft: _Draft) -> _Pages:
    tag = int(draft.rng.integers(2, 9))
    return _Pages(tags={"extratags": [(274, 3, 1, tag, True)]}, alone=True)


def _dark_field(draft: _Draft) -> _Pages:
    return _Pages(base=255 - draft.pixels, alone=True)


def _broken_tile(draft: _Draft) -> _Pages:
    draft.compression = "jpeg"
    return _Pages(breaks_off=True)


_ODDITIES = {
    "no resolution": _no_resolution,
    "a printer's resolution": _printers_resolution,
    "grey": _grey,
    "16 bits": _sixteen_bits,
    "channels as pages": _channels_as_pages,
    "a fourth sample": _fourth_sample,
    "an orientation tag": _orientation,
    "dark field": _dark_field,
    "a label marked as a reduced image": lambda draft: _Pages(between=(_label(draft),)),
    "a label page": lambda draft: _Pages(after=(_label(draft),)),
    "another page of level 0's size": lambda draft: _Pages(
        after=(np.full_like(draft.pixels, 250),)
    ),
    "padded levels": lambda draft: _Pages(padded=True),
    "a tile that breaks off": _broken_tile,
}


def _break_off_a_tile(path: Path, rng: np.random.Generator) -> None:
    """Zero the second half of one JPEG tile's bytes."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[int(rng.integers(0, len(tiff.pages)))]
        index = int(rng.integers(0, len(page.dataoffsets)))
        offset, length = page.dataoffsets[index], page.databytecounts[index]
    with path.open("r+b") as file:
        file.seek(offset + length // 2)
        file.write(bytes(length - length // 2))


_SCN = (
    '<?xml version="1.0"?>'
    '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="u">'
    '<collection name="s" uuid="u" sizeX="{slide_w}" sizeY="{slide_h}"><barcode>MA==</barcode>'
    '<image name="i" uuid="u"><creationDate>2020-01-01</creationDate>'
    '<device model="m" version="1"/><pixels sizeX="{w}" sizeY="{h}">{levels}</pixels>'
    '<view sizeX="{view_w}" sizeY="{view_h}" offsetX="{x}" offsetY="{y}" spacingZ="0"/>'
    "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>"
    "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
    "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>"
    "</image></collection></scn>"
)


def _write_scn(path: Path, draft: _Draft, origin: tuple[int, int], size: tuple[int, int]) -> None:
    """A Leica-like BigTIFF whose scanned area lies somewhere on a larger slide."""
    assert draft.mpp is not None
    nm = round(draft.mpp * 1000)
    draft.compression = "jpeg"
    draft.drawn.append(f"scanned at {origin}")
    levels = [draft.pixels, *_reduced(draft, padded=False)]
    dimensions = "".join(
        f'<dimension sizeX="{level.shape[1]}" sizeY="{level.shape[0]}" r="{i}" ifd="{i}"/>'
        for i, level in enumerate(levels)
    )
    height, width = draft.pixels.shape[:2]
    xml = _SCN.format(
        slide_w=size[0] * nm, slide_h=size[1] * nm, w=width, h=height, levels=dimensions,
        view_w=width * nm, view_h=height * nm, x=origin[0] * nm, y=origin[1] * nm,
    )  # fmt: skip
    draft.tags |= {"resolution": (1e7 / nm, 1e7 / nm), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for number, level in enumerate(levels):
            more = {"description": xml.encode()} if number == 0 else {}
            _page(tiff, level, draft, compression="jpeg", software=False, **more)
