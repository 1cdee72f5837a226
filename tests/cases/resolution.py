"""Resolution."""

from pathlib import Path

import numpy as np
import tifffile
from click.testing import CliRunner

from tests.cases import Case
from wsi.cli import main
from wsi.errors import WsiError
from wsi.geometry import Size
from wsi.models.card import ModelCard
from wsi.models.detail import detail_warnings
from wsi.patches import PatchSpec, resolve_grid
from wsi.slides import open_slide

_CM = "CENTIMETER"


def _slide(
    folder: Path,
    dots: float | tuple[float, float] = 1,
    unit: str = "NONE",
    *,
    size: Size = Size(1000, 800),  # noqa: B008 - frozen
    name: str = "slide.tif",
    **more: object,
) -> Path:
    """A tiled TIFF whose resolution tags state so many dots a unit."""
    path = folder / name
    y, x = np.mgrid[: size.height, : size.width]
    tissue = (abs(x - size.width / 2) < size.width / 4) & (abs(y - size.height / 2) < 200)
    pixels = np.where(tissue[..., None], (200, 130, 180), (243, 241, 244)).astype(np.uint8)
    xy = dots if isinstance(dots, tuple) else (dots, dots)
    asked = {"metadata": None, **more}
    tifffile.imwrite(
        path, pixels, tile=(256, 256), photometric="rgb", compression="jpeg", resolution=xy,
        resolutionunit=unit, **asked,  # type: ignore[arg-type]
    )  # fmt: skip
    return path


def _told(*arguments: object) -> str:
    """What ``wsi tissue`` says: it needs a resolution as every pipeline does."""
    answer = CliRunner().invoke(main, ["tissue", *map(str, arguments)])
    lines = [line for line in answer.output.splitlines() if "poor quality" not in line]
    return lines[0].removeprefix("wsi: ")


def _tissue(folder: Path, slide: Path, *more: str) -> str:
    return _told(slide, "--out", folder / "out.png", *more)


def _used(slide: Path, **given: object) -> str:
    """Which resolution counts, and what is said of it."""
    try:
        with open_slide(slide, **given) as reader:  # type: ignore[arg-type]
            mpp = reader.resolution.require(reader.name)
            told = "; ".join(reader.warnings) or "no warning"
            return f"{mpp.x:.4g} x {mpp.y:.4g} um/px is used; {told}"
    except WsiError as error:
        return str(error)


def _scored_by(slide: Path, mpp: float, input_px: int = 224) -> str:
    card = ModelCard(
        name="model", pipeline="patch", architecture="resnet18", classes=("benign", "cancer"),
        mpp=mpp, input_px=input_px,
    )  # fmt: skip
    try:
        with open_slide(slide) as reader:
            return "; ".join(detail_warnings(card, reader)) or "scored without a warning"
    except WsiError as error:
        return str(error)


def _aperio(folder: Path, header: str) -> Path:
    description = f"Aperio Image Library v12.0.5\r\n1000x800 (256x256) JPEG/RGB Q=70|{header}"
    return _slide(folder, name="slide.svs", description=description)


def _ome(folder: Path, unit: str, value: float, dots: float = 1, of: str = "NONE") -> Path:
    about = {"axes": "YXS"} | {f"PhysicalSize{axis}": value for axis in "XY"}
    about |= {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    return _slide(folder, dots, of, name="slide.ome.tif", metadata=about, ome=True)


def _grid(slide: Path) -> str:
    try:
        with open_slide(slide) as reader:
            grid = resolve_grid(reader, PatchSpec(mpp=0.5, size_px=64), None)
            return f"{len(grid)} patches"
    except WsiError as error:
        return str(error)


CASES = (
    Case(input="no resolution", run=lambda f: _tissue(f, _slide(f))),
    Case(
        input="300 dpi, a printer's resolution, in the tags",
        run=lambda f: _tissue(f, _slide(f, 300, "INCH", size=Size(3000, 2400))),
    ),
    Case(input="1200 dpi in the tags", run=lambda f: _tissue(f, _slide(f, 1200, "INCH"))),
    Case(
        input="72 dpi in the tags, and `--mpp 0.5`",
        run=lambda f: _used(_slide(f, 72, "INCH"), mpp=0.5),
    ),
    Case(
        input="4 um/px on 60,000 px: plausible for a pixel, not for the slide",
        run=lambda f: _used(_slide(f, 2500, _CM, size=Size(60_000, 16))),
    ),
    Case(
        input="0.00025 um/px: millimetres written as micrometres",
        run=lambda f: _used(_slide(f, 4e7, _CM)),
    ),
    Case(
        input="0.25 um/px stated, `--mpp 0.5`",
        run=lambda f: _tissue(f, _slide(f, 40_000, _CM), "--mpp", "0.5"),
    ),
    Case(
        input="0.25 um/px stated, `--mpp 0.5 --force-mpp`",
        run=lambda f: _used(_slide(f, 40_000, _CM), mpp=0.5, force_mpp=True),
    ),
    Case(
        input="0.2501 um/px stated, `--mpp 0.25`: the same, rounded",
        run=lambda f: _used(_slide(f, 39_984, _CM), mpp=0.25),
    ),
    Case(
        input="pixels of 0.25 x 0.5 um",
        run=lambda f: _used(_slide(f, (40_000, 20_000), _CM)),
    ),
    Case(
        input="pixels of 0.25 x 0.5 um, `--mpp 0.5 --force-mpp`",
        run=lambda f: _used(_slide(f, (40_000, 20_000), _CM), mpp=0.5, force_mpp=True),
    ),
    Case(
        input="no resolution, `--mpp 300`",
        run=lambda f: _used(_slide(f), mpp=300.0),
    ),
    Case(
        input="OME-TIFF of 500 nm, and 0.25 um/px in the tags",
        run=lambda f: _used(_ome(f, "nm", 500, 40_000, _CM)),
    ),
    Case(
        input="OME-TIFF whose pixels measure 1 'pixel', no unit in the tags",
        run=lambda f: _used(_ome(f, "pixel", 1)),
    ),
    Case(
        input="Aperio: 0.5 um/px at 40x",
        run=lambda f: _used(_aperio(f, "AppMag = 40|MPP = 0.5")),
    ),
    Case(
        input="4 um/px, and a model of 2 um/px",
        run=lambda f: _scored_by(_slide(f, 2500, _CM), 2.0),
    ),
    Case(
        input="30 um/px, an exported overview, and a model of 0.5 um/px",
        run=lambda f: _scored_by(_slide(f, 1e4 / 30, _CM), 0.5),
    ),
    Case(
        input="0.6 um/px, and a model of 0.5 um/px",
        run=lambda f: _scored_by(_slide(f, 1e4 / 0.6, _CM), 0.5),
    ),
    Case(
        input="30 um/px on 1,000 px, and a model that slides are fitted to 10,000 px for",
        run=lambda f: _scored_by(_slide(f, 1e4 / 30, _CM), 0.0, 10_000),
    ),
    Case(
        input="30 um/px in a training with patches of 0.5 um/px",
        run=lambda f: _grid(_slide(f, 1e4 / 30, _CM)),
    ),
)
