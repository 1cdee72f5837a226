"""Options that several commands take, written once."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import click

from wsi.errors import ConfigError

Decorator: TypeAlias = Callable[[Any], Any]

PATH = click.Path(path_type=Path)

# The library's own names, which a test compares: importing them would load torch for every command.
ENGINES = ("torch", "compile", "openvino", "openvino-int8")
MODES = ("in_core", "tiled", "offload", "unified")
NORMS = ("frozen", "batch", "group", "cell", "none")
POOLINGS = ("average", "max", "lse", "attention")
OPTIMIZERS = ("adamw", "sgd")

SLIDES = "CSV of slides: path, label, patient, split (train, val, test), mpp."


class OfConfig(click.Option):
    """An option whose default is that of a config's field, which the help names.

    Args:
        config: ``module:Class``; imported for the help alone.
    """

    def __init__(self, *names: Any, config: str, **more: Any) -> None:
        self._config = config
        super().__init__(*names, **more)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        module, _, kind = self._config.partition(":")
        fields = getattr(import_module(module), kind).__dataclass_fields__
        default = fields[self.name].default
        if record is None or default in (None, False):
            return record
        return record[0], f"{record[1]}  [default: {default}]".strip()


def of_config(config: str) -> Callable[..., Decorator]:
    """``click.option`` for fields of this config."""

    def option(*names: str, **more: Any) -> Decorator:
        return click.option(*names, cls=OfConfig, config=config, **more)

    return option


def table_option(meaning: str = SLIDES, *, required: bool = True) -> Decorator:
    return click.option("--table", type=PATH, required=required, help=meaning)


def out_option(meaning: str = "Folder to write.") -> Decorator:
    return click.option("--out", type=PATH, required=True, help=meaning)


def model_option(meaning: str = "Folder of the model bundle.") -> Decorator:
    return click.option("--model", type=PATH, required=True, help=meaning)


def patient_joining(command: Any) -> Any:
    """``--per-patient`` and ``--worst`` of commands over slides."""
    for option in (
        click.option(
            "--worst",
            is_flag=True,
            help="With --per-patient: of differing labels the last class counts, as it always "
            "does with grades.",
        ),
        click.option("--per-patient", is_flag=True, help="Join a patient's slides into one case."),
    ):
        command = option(command)
    return command


def class_names(text: str) -> tuple[str, ...]:
    """The names in ``--classes``.

    Raises:
        ConfigError: there are fewer than two, or one is there twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise ConfigError(f"--classes takes two or more different names, such as a,b: {text!r}")
    return names


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise click.BadParameter(f"{name!r} is not a device; write auto, cpu, cuda or cuda:1")
    return name


def mpp_options(command: Any) -> Any:
    """``--mpp`` and ``--force-mpp`` of commands that open slides."""
    for option in (
        force_mpp_option("Take --mpp also where a file states another resolution."),
        click.option(
            "--mpp",
            type=float,
            help="Micrometres per pixel of level 0, if a file has none, or one that cannot "
            "be true.",
        ),
    ):
        command = option(command)
    return command


def force_mpp_option(
    meaning: str = "Take the table's column mpp also where a slide states another resolution.",
) -> Decorator:
    return click.option("--force-mpp", is_flag=True, help=meaning)


root_option = click.option(
    "--root", type=PATH, help="Folder that the table's paths start from.  [default: the table's]"
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    callback=lambda context, option, value: _device(value),
    help="auto, cpu, cuda, cuda:1.",
)
seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of all random draws."
)
replicates_option = click.option(
    "--replicates",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="Bootstrap draws behind each interval.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def annotation_options(command: Any) -> Any:
    """How annotation files are taken: ``exclusions``, ``outside`` and ``frame``."""
    for option in reversed(
        (
            click.option(
                "--exclusion",
                "exclusions",
                multiple=True,
                metavar="NAME",
                help="A class name in annotation files that is cut out of the areas around it, as "
                "Camelyon's _2 and negative regions always are; may be repeated.",
            ),
            click.option(
                "--outside",
                type=click.Choice(["error", "drop"]),
                default="error",
                show_default=True,
                help="How to handle annotated shapes outside their slide.",
            ),
            click.option(
                "--annotation-frame",
                "frame",
                type=click.Choice(["auto", "level0", "qupath-bounds"]),
                default="auto",
                show_default=True,
                help="Where annotation files count from, on slides that QuPath crops.",
            ),
        )
    ):
        command = option(command)
    return command
