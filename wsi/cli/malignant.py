"""``--malignant`` of the trainers: which classes the model card calls malignant."""

import click

from wsi.cli.console import is_main_process
from wsi.malignancy import check_malignant, malignant_by_name, why_no_suspicion

malignant_option = click.option(
    "--malignant",
    metavar="A,B",
    help="Malignant classes, most severe first; '' if none is.  [default: by their names]",
)


def malignant_of(text: str | None, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The malignant classes among the model's; prints which those are.

    Raises:
        ConfigError: one is no class, or is named twice.
    """
    if text is None:
        names, how = malignant_by_name(classes), " (by name; --malignant says otherwise)"
    else:
        names, how = tuple(name.strip() for name in text.split(",") if name.strip()), ""
        check_malignant(classes, names)
    if is_main_process():
        from wsi.models.aggregators import slide_classes

        reason = why_no_suspicion(slide_classes(classes), names)
        told = f"malignant, most severe first: {', '.join(names)}{how}" if names else ""
        for line in (told, reason):
            if line:
                click.echo(f"wsi: {line}", err=True)
    return names
