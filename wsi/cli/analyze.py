"""``wsi analyze``: score slides from files, without any service."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from PIL import Image

from wsi.annotations import scanned_bounds
from wsi.cli.console import errors_in_one_line, progress_bar
from wsi.cli.options import (
    ENGINES,
    PATH,
    device_option,
    model_option,
    mpp_options,
    out_option,
    root_option,
    table_option,
)
from wsi.errors import ConfigError, DatasetError, WsiError
from wsi.malignancy import probability_text
from wsi.slide_names import slide_stem
from wsi.slides import RGB, SlideReader, open_slide, thumbnail
from wsi.slides.folder import each_slide
from wsi.slides.identity import require_unchanged, slide_digest
from wsi.storage import (
    SlideResult,
    SlideStore,
    analysis_id,
    hotspots_to_geojson,
    put_result,
    render_overlay,
    result_to_json,
)
from wsi.tables import of_split
from wsi.tissue.overview import read_overview

if TYPE_CHECKING:
    from wsi.pipelines.base import Pipeline

_OVERLAY_PX = 2048


@click.command()
@click.argument("slides", nargs=-1, type=PATH)
@table_option("Or: the slides of a CSV: path, split, mpp.", required=False)
@root_option
@click.option("--split", help="Of the table: train, val or test.  [default: all]")
@click.option(
    "--pipeline", required=True, help="patch, whole-slide, fusion, or one that was added."
)
@model_option()
@out_option("Folder of results; each slide gets one below it.")
@device_option
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="torch",
    show_default=True,
    help="What runs the network on a CPU.",
)
@mpp_options
@errors_in_one_line
def analyze(
    slides: tuple[Path, ...],
    table: Path | None,
    root: Path | None,
    split: str | None,
    pipeline: str,
    model: Path,
    out: Path,
    device: str,
    engine: str,
    mpp: float | None,
    force_mpp: bool,
) -> None:
    """Score SLIDES and write, for each, probabilities, heatmaps and hotspots.

    A folder that holds several slides stands for each of them.

    A slide that fails is reported and the others go on; the exit code is then 2. It is 3 if none
    failed, but some show something that was not recognized as tissue: a person must look at those.
    """
    from wsi.pipelines.base import load_pipeline

    if bool(slides) == bool(table) or ((root or split) and not table):
        raise ConfigError("name slides, or give --table, with --root and --split where needed")
    asked = _of_table(table, root, split, mpp) if table else _named(slides, mpp)
    _refuse_equal_names(asked)
    loaded = load_pipeline(pipeline, model, device, engine)
    found: Counter[str] = Counter()
    for one in asked:
        try:
            found[_analyze_one(one, loaded, out, force_mpp).outcome] += 1
        except WsiError as error:
            found["failed"] += 1
            click.echo(f"wsi: {error}", err=True)
    if len(asked) > 1:
        click.echo(_summary(found))
    if found["failed"]:
        sys.exit(2)
    if found["tissue_unclear"]:
        sys.exit(3)


def _summary(found: Counter[str]) -> str:
    """One line: how many slides were scored, and why the others were not."""
    others = {
        "failed": "failed",
        "no_tissue": "without tissue",
        "tissue_unclear": "need a person: no tissue was recognized",
    }
    rest = [f"{found[name]} {text}" for name, text in others.items() if found[name]]
    return "; ".join([f"{found['scored']} of {found.total()} slides scored", *rest])


@dataclass(frozen=True)
class _Asked:
    """A slide to score: its path, what messages call it, the folder of its results, and its mpp."""

    path: Path
    name: str
    stem: str
    mpp: float | None


def _named(paths: Sequence[Path], mpp: float | None) -> list[_Asked]:
    """Slides that were named one by one, and each slide of a folder that holds several."""
    return [
        _Asked(one.path, one.name, slide_stem(one.name), mpp)
        for path in paths
        for one in each_slide(path)
    ]


def _of_table(table: Path, root: Path | None, split: str | None, mpp: float | None) -> list[_Asked]:
    """Slides of a table with their resolution, where one is given."""
    from wsi.datasets.table import read_entries

    entries = read_entries(table)
    if split is not None:
        entries = of_split(entries, split, table)
    for one in entries:
        if one.mpp and one.given_mpp is None:
            raise DatasetError(
                f"{table}, line {one.line}: mpp {one.mpp!r} is not a positive number"
            )
    paths = [((root or table.parent) / one.path, one.given_mpp or mpp) for one in entries]
    return [_Asked(path, path.name, slide_stem(path), given_mpp) for path, given_mpp in paths]


def _refuse_equal_names(slides: Sequence[_Asked]) -> None:
    """Results are told apart by the slides' names."""
    seen: dict[str, Path] = {}
    for one in slides:
        other = seen.setdefault(one.stem, one.path)
        if other is not one.path:
            raise ConfigError(
                f"{other} and {one.path} would both be written to {one.stem}/: score each into a "
                "folder of its own, with another --out"
            )


def _analyze_one(asked: _Asked, pipeline: "Pipeline", out: Path, force_mpp: bool) -> SlideResult:
    from wsi.pipelines.base import of_slide

    with (
        open_slide(asked.path, mpp=asked.mpp, force_mpp=force_mpp, name=asked.name) as slide,
        progress_bar(slide.name) as tell,
    ):
        folder = out / asked.stem
        folder.mkdir(parents=True, exist_ok=True)
        store = SlideStore(str(folder / "store.zarr"))
        digest = slide_digest(slide)
        store.claim(digest, slide.name)
        result = of_slide(pipeline.analyze(slide, store, tell), slide)
        require_unchanged(slide)
        # Once more: two commands that began at once may both have found it free.
        store.claim(digest, slide.name)
        written = write_result(slide, store, result, folder)
    click.echo(f"{result.slide}: {describe(result)}")
    for warning in result.warnings:
        click.echo(f"  {warning}")
    click.echo(f"  {written}")
    return result


def describe(result: SlideResult) -> str:
    """One line: probabilities and time."""
    said = {
        "scored": _probabilities(result),
        "no_tissue": "not scored, no tissue",
        "tissue_unclear": "NOT SCORED, a person must look",
    }[result.outcome]
    return f"{said} ({result.pipeline}, {sum(result.timings_s.values()):.1f} s)"


def _probabilities(result: SlideResult) -> str:
    values = ", ".join(f"{k} {probability_text(p)}" for k, p in result.probabilities.items())
    if result.suspicion is not None and len(result.malignant_classes) > 1:
        values += f"; malignant {probability_text(result.suspicion)}"
    listed, total = len(result.hotspots), result.hotspot_total
    if total is not None and total > listed:
        values += f"; {listed} of {total} hotspots listed"
    return values


def write_result(slide: SlideReader, store: SlideStore, result: SlideResult, folder: Path) -> Path:
    """Write JSON, GeoJSON and PNGs of a result into ``folder``; the OME-Zarr into ``store``.

    Returns:
        The JSON file.
    """
    put_result(store, analysis_id(slide, result), result)
    stem = folder / result.pipeline
    report = Path(f"{stem}.json")
    bounds = scanned_bounds(slide.properties)
    data = result_to_json(result)
    if bounds is not None:
        # Who reads QuPath's annotations of this slide later needs to know.
        data["scanned_bounds_level0"] = [bounds.x, bounds.y, bounds.width, bounds.height]
    report.write_text(json.dumps(data, indent=2) + "\n")
    Path(f"{stem}.geojson").write_text(json.dumps(hotspots_to_geojson(result, bounds)) + "\n")
    if result.grid is not None:
        picture = _picture(slide)
        Image.fromarray(picture).save(folder / "thumbnail.jpg", quality=90)
        for layer in result.layers:
            for name in result.map_names(layer.kind):
                values_hw = result.map_of(layer.kind, name)
                assert values_hw is not None
                overlay = render_overlay(picture, slide.size, result.grid, values_hw)
                Image.fromarray(overlay).save(f"{stem}-{layer.kind}-{name}.png")
    return report


def _picture(slide: SlideReader) -> RGB:
    """The whole slide, white where nothing decodes: what is damaged costs no result."""
    if slide.mpp is None:
        return thumbnail(slide, _OVERLAY_PX)
    longer_um = max(slide.size.width * slide.mpp.x, slide.size.height * slide.mpp.y)
    return read_overview(slide, max(slide.mpp.mean, longer_um / _OVERLAY_PX)).pixels
