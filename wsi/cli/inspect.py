"""``wsi info``, ``wsi tissue``, ``wsi models``: looking at slides and models."""

import json
import sys
from pathlib import Path
from typing import Any

import click
from PIL import Image

from wsi.cli.console import errors_in_one_line, in_words, print_pairs
from wsi.cli.options import PATH, json_option, mpp_options, out_option
from wsi.errors import ConfigError, WsiError
from wsi.models.card import list_cards
from wsi.slides import SlideReader, open_slide
from wsi.slides.folder import each_slide
from wsi.slides.resolution import Resolution
from wsi.tissue import TissueSpec, find_quality, find_tissue, tissue_picture
from wsi.tissue.mask import METHODS, Method


@click.command()
@click.argument("slide", type=PATH)
@mpp_options
@json_option
@errors_in_one_line
def info(slide: Path, mpp: float | None, force_mpp: bool, as_json: bool) -> None:
    """What a slide is: vendor, size, levels, resolution, associated images.

    Of a folder that holds several slides each is shown, as JSON in a list.
    """
    found = each_slide(slide)
    shown: list[tuple[dict[str, Any], Resolution]] = []
    failed = False
    for one in found:
        try:
            with open_slide(one.path, mpp=mpp, force_mpp=force_mpp, name=one.name) as reader:
                shown.append((_facts(reader), reader.resolution))
        except WsiError as error:
            if len(found) == 1:
                raise
            failed = True
            click.echo(f"wsi: {error}", err=True)
    if as_json:
        told = [facts for facts, _ in shown]
        click.echo(json.dumps(told if len(found) > 1 else told[0], indent=2))
    else:
        for facts, resolution in shown:
            _print(facts, resolution)
    if failed:
        sys.exit(2)


def _print(facts: dict[str, Any], resolution: Resolution) -> None:
    levels = [f"{w} x {h} (1/{d:.4g})" for w, h, d in facts.pop("levels")]
    facts = {name: value for name, value in facts.items() if "mpp" not in name}
    print_pairs(
        {
            **{name: value or "not stated" for name, value in facts.items()},
            "size": "{} x {} px".format(*facts["size"]),
            "mpp": _told_mpp(resolution),
            "levels": ", ".join(levels),
            "associated_images": ", ".join(facts["associated_images"]) or "none",
            "warnings": "; ".join(facts["warnings"]) or "none",
        }
    )


def _told_mpp(known: Resolution) -> str:
    """The resolution, or why there is none."""
    if known.used:
        return f"{known.used.x:g} x {known.used.y:g} um/px"
    if known.stated:
        return (
            f"{known.stated.x:.4g} x {known.stated.y:.4g} um/px stated, implausible: "
            f"{known.doubt} (give --mpp)"
        )
    return "not stated (give --mpp)"


def _facts(reader: SlideReader) -> dict[str, Any]:
    stated = reader.resolution.stated
    return {
        "slide": reader.name,
        "vendor": reader.vendor,
        "size": [reader.size.width, reader.size.height],
        "mpp": [reader.mpp.x, reader.mpp.y] if reader.mpp else None,
        "stated_mpp": [stated.x, stated.y] if stated else None,
        "given_mpp": reader.resolution.given,
        "mpp_doubt": reader.resolution.doubt,
        "magnification": reader.magnification,
        "levels": [[lv.size.width, lv.size.height, lv.downsample] for lv in reader.levels],
        "associated_images": list(reader.associated_images),
        "warnings": list(reader.warnings),
    }


@click.command()
@click.argument("slide", type=PATH)
@out_option("PNG to write.")
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="otsu",
    show_default=True,
    help="How the threshold of tissue is found.",
)
@mpp_options
@errors_in_one_line
def tissue(slide: Path, out: Path, method: Method, mpp: float | None, force_mpp: bool) -> None:
    """Draw the tissue mask and quality problems of a slide as one picture."""
    if out.suffix.lower() != ".png":
        raise ConfigError(f"{out}: the picture is a PNG; give it a name that ends with .png")
    with open_slide(slide, mpp=mpp, force_mpp=force_mpp) as reader:
        mask = find_tissue(reader, TissueSpec(method=method))
        quality = find_quality(reader, mask)
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tissue_picture(reader, mask, quality)).save(out)
        click.echo(f"{reader.name}: {mask.mask.mean():.1%} of the slide is tissue; {out}")
        for warning in mask.warnings:
            click.echo(f"{reader.name}: {warning}")
        for reason in quality.reasons if not mask.unclear else ():
            click.echo(f"{reader.name}: poor quality: {reason}")


@click.command()
@click.option(
    "--dir",
    "folder",
    type=PATH,
    default=Path("data/models"),
    show_default=True,
    help="Folder of model bundles.",
)
@json_option
@errors_in_one_line
def models(folder: Path, as_json: bool) -> None:
    """List the model bundles of a folder, newest first."""
    cards = list_cards(folder)
    if as_json:
        click.echo(json.dumps([json.loads(card.to_json()) for card in cards], indent=2))
        return
    if not cards:
        click.echo(f"no models in {folder}; train one with: wsi train patch --help")
    for card in cards:
        figures = in_words(card.metrics, digits=3)
        fitted = f"fitted to {card.input_px} px" if card.input_px else "no fixed input"
        where = f"{card.mpp:g} um/px" if card.mpp else fitted
        click.echo(
            f"{card.name}  {card.pipeline}  {card.architecture}  {where}  "
            f"classes: {', '.join(card.classes)}  "
            f"malignant: {', '.join(card.malignant_classes) or 'unknown'}  {figures}"
        )
