"""Which slide it is, and results that belong to another."""

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import tifffile
from click.testing import CliRunner

from tests.cases import Case
from wsi.cli import main
from wsi.data.tables import Row
from wsi.errors import WsiError
from wsi.pipelines.aggregator_inputs import write_inputs
from wsi.pipelines.base import load_pipeline
from wsi.pipelines.patch import PatchPipeline
from wsi.slides import open_slide
from wsi.slides.identity import require_unchanged, slide_digest, slide_stamp
from wsi.slides.registered import Registered, content_sha256, require_registered
from wsi.storage import SlideStore, find_result, get_result
from wsi.testing.models import untrained_patch_bundle

_OLD = Path(__file__).parents[1] / "unit" / "storage" / "data" / "store_without_owner.zip"


def slide_with_disc(path: Path, x: int) -> Path:
    """512 px at 2 um/px: round tissue, its centre ``x`` from the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:512, :512]
    rng = np.random.default_rng(x)
    pixels = np.full((512, 512, 3), (243, 241, 244), np.float64)
    inside = np.hypot(columns - x, rows - 256) < 110
    nuclei = np.kron(rng.random((64, 64)) > 0.8, np.ones((8, 8), bool))
    pixels[inside] = (214, 150, 190)
    pixels[inside & nuclei] = (95, 55, 140)
    pixels = np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        compression="jpeg",
        resolution=(5000, 5000),
        resolutionunit="CENTIMETER",
    )
    return path


def _analyze(folder: Path, *slides: Path) -> str:
    if not (folder / "model").exists():
        untrained_patch_bundle(folder / "model")
    asked = ["--pipeline", "patch", "--model", str(folder / "model"), "--out", str(folder / "out")]
    done = CliRunner().invoke(main, ["analyze", *map(str, slides), *asked])
    return done.stderr.strip().splitlines()[-1] if done.exit_code else ""


def _without_digests(text: str) -> str:
    return re.sub(r"[0-9a-f]{12}", "...", text)


def _same_name_later(folder: Path) -> str:
    assert not _analyze(folder, slide_with_disc(folder / "a" / "case.tif", 150))
    return _without_digests(_analyze(folder, slide_with_disc(folder / "b" / "case.tif", 360)))


def _same_name_at_once(folder: Path) -> str:
    first = slide_with_disc(folder / "a" / "case.tif", 150)
    return _analyze(folder, first, slide_with_disc(folder / "b" / "case.tif", 360))


def _dots(folder: Path) -> str:
    slides = [slide_with_disc(folder / name, 150) for name in ("1.2.3.4", "1.2.3.5", "a.b.tif")]
    assert not _analyze(folder, *slides)
    return f"scored into {', '.join(sorted(path.name for path in (folder / 'out').iterdir()))}"


def _replaced_inputs(folder: Path) -> str:
    untrained_patch_bundle(folder / "model")
    pipeline = load_pipeline("patch", folder / "model")
    assert isinstance(pipeline, PatchPipeline)
    row = Row(path="case.tif", label=0, patient="p", split="train")
    bags = []
    for x in (150, 360):
        slide_with_disc(folder / "case.tif", x)
        (outcome,) = write_inputs(pipeline, [row], folder, folder / "out")
        bags.append(outcome.bag)
    stores = len(list((folder / "out" / "stores").iterdir()))
    return f"embedded anew, in a store of its own: {stores} stores" if bags[0] != bags[1] else ""


def _registered(folder: Path) -> str:
    path = slide_with_disc(folder / "case.tif", 150)
    known = Registered(content_sha256(path)[0], slide_digest(path), slide_stamp(path))
    slide_with_disc(path, 360)
    try:
        require_registered(path, known, "case.tif")
    except WsiError as error:
        return str(error)
    return "scored"


def _while_read(folder: Path) -> str:
    path = slide_with_disc(folder / "case.tif", 150)
    with open_slide(path) as slide:
        slide_digest(slide)
        slide_with_disc(folder / "new.tif", 360).replace(path)
        try:
            require_unchanged(slide)
        except WsiError as error:
            return str(error)
    return "scored"


def _touched(folder: Path) -> str:
    path = slide_with_disc(folder / "case.tif", 150)
    known = Registered(content_sha256(path)[0], slide_digest(path), slide_stamp(path))
    os.utime(path, ns=(1, 1))
    require_registered(path, known, "case.tif")
    return "scored, after it was read whole once"


def _renamed(folder: Path) -> str:
    slide = slide_with_disc(folder / "case.tif", 150)
    assert not _analyze(folder, slide)
    (folder / "a").mkdir()
    slide.rename(folder / "a" / "case.tif")
    assert not _analyze(folder, folder / "a" / "case.tif")
    return "scored into the store that it had: its content is the same"


def _lost_chunk(folder: Path) -> str:
    assert not _analyze(folder, slide_with_disc(folder / "case.tif", 150))
    store = SlideStore(str(folder / "out" / "case" / "store.zarr"))
    (result_id,) = store.digests("results")
    for chunk in Path(store.url, f"heatmaps/{result_id}-probability/0/c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    try:
        get_result(store, result_id)
    except WsiError as error:
        return re.sub(r"[0-9a-f]{16}", "...", str(error))
    return "read as 0"


def _old_store(folder: Path) -> str:
    with zipfile.ZipFile(_OLD) as zipped:
        zipped.extractall(folder)
    store = SlideStore(str(folder / "store.zarr"))
    (result_id,) = store.digests("results")
    shown = get_result(store, result_id).probabilities
    path = slide_with_disc(folder / "case.tif", 150)
    with open_slide(path, mpp=2.0) as slide:
        assert find_result(store, slide, slide_digest(slide), "patch", "abc") is None
    return f"its result is shown ({len(shown)} classes) and never used for another analysis"


CASES = (
    Case(
        input="two slides of one name, size and resolution, one after the other into one `--out`",
        run=_same_name_later,
    ),
    Case(input="two slides of one name in one command", run=_same_name_at_once),
    Case(input="slides called `1.2.3.4`, `1.2.3.5` and `a.b.tif`", run=_dots),
    Case(input="a slide that was moved to another folder, scored again", run=_renamed),
    Case(
        input="a slide replaced by another of its name between two `wsi train inputs`",
        run=_replaced_inputs,
    ),
    Case(input="a registered file that was replaced", run=_registered),
    Case(input="a registered file that was only touched or copied back", run=_touched),
    Case(input="a file that is replaced while it is scored", run=_while_read),
    Case(input="a stored heatmap of which a chunk is missing", run=_lost_chunk),
    Case(input="a store of an earlier version, which names no slide", run=_old_store),
)
