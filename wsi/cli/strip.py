"""``wsi strip-labels``: a copy of a slide without label and macro images."""

from pathlib import Path

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.options import PATH, out_option
from wsi.errors import ConfigError
from wsi.slides.strip import strip_labels as strip


@click.command("strip-labels")
@click.argument("slide", type=PATH)
@out_option("Copy to write.")
@click.option(
    "--uid-key",
    envvar="WSI_STRIP_UID_KEY",
    default="",
    help="DICOM: a secret of your site that new UIDs are made with (or WSI_STRIP_UID_KEY).",
)
@errors_in_one_line
def strip_labels(slide: Path, out: Path, uid_key: str) -> None:
    """Copy a slide without label, macro image and patient information. Its levels stay as they are.

    For Aperio SVS, generic tiled TIFF, and DICOM (a folder), whose copy gets new UIDs.
    """
    try:
        removed = strip(slide, out, uid_key=uid_key)
    except FileExistsError as error:
        raise ConfigError(str(error)) from error
    click.echo(f"{out}: left out {', '.join(removed) or 'no image: it had none'}")
