"""``wsi quantize``: prepare a patch model for int8 on a CPU."""

from pathlib import Path

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.options import PATH, model_option, mpp_options


@click.command()
@click.argument("slides", nargs=-1, required=True, type=PATH)
@model_option("Folder of the patch model's bundle.")
@click.option(
    "--patches",
    type=int,
    default=320,
    show_default=True,
    help="Drawn from SLIDES: half for calibration, half for evaluation.",
)
@mpp_options
@errors_in_one_line
def quantize(
    slides: tuple[Path, ...], model: Path, patches: int, mpp: float | None, force_mpp: bool
) -> None:
    """Calibrate int8 of a patch model on SLIDES, for the engine openvino-int8.

    It is written into the bundle, unless patches held out from calibration show that it is not
    accurate enough. Needs the extra openvino.
    """
    from wsi.pipelines.quantize import quantize_patch_model

    found = quantize_patch_model(model, slides, mpp=mpp, force_mpp=force_mpp, patches=patches)
    for warning in found.warnings:
        click.echo(f"wsi: {warning}", err=True)
    click.echo(
        f"{model}: int8 against torch on {found.patches} other patches: probabilities differ by "
        f"{found.mean:.4f} on average, {found.largest:.4f} at most; "
        f"{found.same_class:.1%} get the same class"
    )
