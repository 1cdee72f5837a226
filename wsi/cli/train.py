"""``wsi train patch`` and ``wsi train whole-slide``."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wsi.cli.console import errors_in_one_line, in_words, is_main_process, progress_bar
from wsi.cli.malignant import malignant_of, malignant_option
from wsi.cli.options import (
    MODES,
    NORMS,
    OPTIMIZERS,
    PATH,
    POOLINGS,
    annotation_options,
    class_names,
    device_option,
    force_mpp_option,
    of_config,
    out_option,
    root_option,
    seed_option,
    table_option,
)
from wsi.cli.train_aggregator import train_aggregator
from wsi.cli.train_fusion import train_fusion
from wsi.cli.train_inputs import train_inputs
from wsi.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from wsi.training.trainer import Trainer

_PATCH = "wsi.training.tasks.patch_config:PatchTraining"
_WHOLE = "wsi.training.tasks.whole_slide_config:WholeSlideTraining"
_patch_option, _whole_option = of_config(_PATCH), of_config(_WHOLE)
_MEMORIES = ("host_memory", "device_memory")
_CLASSES = "background,benign,cancer"


def _shared(config: str) -> Callable[[Any], Any]:
    """Options of both trainers, with the defaults of this config."""
    option = of_config(config)

    def decorate(command: Any) -> Any:
        for one in reversed(
            [
                out_option("Folder of the model bundle to write."),
                option("--architecture", help="A torchvision model, resnet10, or timm:NAME."),
                click.option(
                    "--weights",
                    help="To start from: a torchvision weights name, such as IMAGENET1K_V1, or "
                    "a local file.",
                ),
                option("--epochs", type=int),
                option("--learning-rate", type=float),
                option("--label-smoothing", type=float, help="Share given to the other classes."),
                option(
                    "--patience",
                    type=int,
                    help="Stop after this many epochs without improvement; 0 disables.",
                ),
                malignant_option,
                seed_option,
                option(
                    "--precision",
                    type=click.Choice(["auto", "float32", "bfloat16"]),
                    help="auto takes bfloat16 where the hardware has it.",
                ),
                device_option,
                force_mpp_option(),
                click.option(
                    "--tensorboard",
                    type=PATH,
                    help="Folder for a TensorBoard log (needs the tensorboard extra).",
                ),
                click.option("--resume", is_flag=True, help="Continue from the last checkpoint."),
            ]
        ):
            command = one(command)
        return command

    return decorate


@click.group()
def train() -> None:
    """Train a model on your own slides."""


train.add_command(train_aggregator)
train.add_command(train_inputs)
train.add_command(train_fusion)


@train.command("patch")
@table_option("CSV: path, label, patient, split (train, val, test).", required=False)
@click.option(
    "--from-reviews",
    help="Instead of --table: a folder that `wsi remote reviews` wrote, or a service's address.",
)
@click.option(
    "--slides",
    type=PATH,
    help="With --from-reviews and an address: where the slides' files are looked for.",
)
@_shared(_PATCH)
@click.option("--classes", default=_CLASSES, show_default=True, help="In the order of labels.")
@click.option(
    "--images",
    type=PATH,
    help="Folder or zip of ready patches that the table names; without it, the table names "
    "slides with an annotations column.",
)
@click.option("--mpp", type=float, required=True, help="Micrometres per pixel to see patches at.")
@click.option(
    "--patch-px",
    type=click.IntRange(min=16),
    default=224,
    show_default=True,
    help="Side of a patch, at that --mpp.",
)
@_patch_option("--overlap-px", type=int, help="Overlap of patches when scoring a slide.")
@_patch_option("--batch-size", type=int, help="Patches in one update.")
@_patch_option(
    "--balance",
    type=click.Choice(["none", "loss", "sampler"]),
    help="Against unequal classes: weights in the loss, or a weighted sampler.",
)
@click.option(
    "--stain-normalization",
    type=click.Choice(["none", "macenko"]),
    default="none",
    show_default=True,
    help="Of slides; macenko needs torchstain.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that read patches; 0 reads in a thread.  [default: one per free core, up to "
    "8; none for few patches]",
)
@click.option("--compile", is_flag=True, default=None, help="Use torch.compile.")
@click.option("--hard-negatives", type=float, help="Extra weight of false positives, such as 3.")
@click.option("--average", type=float, help="Polyak averaging of the weights, such as 0.99.")
@click.option(
    "--unlabelled",
    help="Class of tissue outside every annotation; it is left out unless given.",
)
@click.option(
    "--class-map",
    "class_map",
    multiple=True,
    metavar="NAME=CLASS",
    help="A class name in annotation files, and ours for it; nothing after = leaves it out.",
)
@annotation_options
@errors_in_one_line
def train_patch(
    table: Path | None,
    from_reviews: str | None,
    slides: Path | None,
    out: Path,
    resume: bool,
    classes: str,
    images: Path | None,
    mpp: float,
    patch_px: int,
    unlabelled: str | None,
    class_map: tuple[str, ...],
    exclusions: tuple[str, ...],
    outside: Literal["error", "drop"],
    frame: Literal["auto", "level0", "qupath-bounds"],
    force_mpp: bool,
    tensorboard: Path | None,
    workers: int | None,
    **options: Any,
) -> None:
    """Train the patch classifier from ready patches, annotated slides or reviews."""
    from wsi.data.loader import default_workers
    from wsi.data.patches import PatchSource, TablePatches
    from wsi.data.tables import read_table
    from wsi.training.distributed import leave_world
    from wsi.training.report import write_training_report
    from wsi.training.tasks.patch import PatchTask
    from wsi.training.tasks.patch_config import PatchTraining
    from wsi.training.trainer import Trainer

    names = class_names(classes)
    options["malignant"] = malignant_of(options["malignant"], names)
    given = {key: value for key, value in options.items() if value is not None}
    config = PatchTraining(name=out.name, classes=names, mpp=mpp, input_px=patch_px, **given)
    if images and config.stain_normalization != "none":
        raise ConfigError(
            "--stain-normalization needs slides: a patch alone shows too little stain"
        )
    table = _reviewed(table, from_reviews, slides, out)
    train_set: PatchSource
    val_set: PatchSource
    with progress_bar(out.name) as tell:
        if images:
            rows = read_table(table, names, root=images)
            train_set, val_set = (
                TablePatches([r for r in rows if r.split == split], images, patch_px)
                for split in ("train", "val")
            )
        else:
            from wsi.annotations import AnnotationSpec
            from wsi.data.annotated_patches import annotated_patches

            train_set, val_set = annotated_patches(
                table,
                names,
                mpp=mpp,
                size_px=patch_px,
                unlabelled=unlabelled,
                class_map=_class_map(class_map),
                annotation_spec=AnnotationSpec(exclusions=exclusions, outside=outside, frame=frame),
                stain_normalization=config.stain_normalization,
                progress=tell,
                tell=_to_stderr,
                force_mpp=force_mpp,
            )
        with _epoch_log(tensorboard) as on_epoch:
            patches = len(train_set.labels_n)
            count = default_workers(patches) if workers is None else workers
            task = PatchTask(config, train_set, val_set, workers=count)
            trainer = Trainer(task, out, progress=tell, on_epoch=on_epoch)
            _run(trainer, out, resume)
        probabilities = task.predict(trainer.best_weights)
    if is_main_process():
        report = out / "report.html"
        write_training_report(report, out.name, val_set, probabilities, names, trainer.history)
        click.echo(report)
    leave_world()


@train.command("whole-slide")
@table_option()
@_shared(_WHOLE)
@click.option(
    "--classes",
    default="benign,cancer",
    show_default=True,
    help="In the order of labels, normal first.",
)
@root_option
@click.option("--mpp", type=float, default=0.0, help="Micrometres per pixel to see slides at.")
@click.option(
    "--fit-px",
    "input_px",
    type=int,
    help="Or: fit every slide to this longer side.",
)
@click.option(
    "--start", help="Patch classifier's bundle to start from; gives the architecture too."
)
@_whole_option(
    "--norm",
    type=click.Choice(NORMS),
    help="frozen, cell and none are exact in tiles; batch and group need the whole slide at once.",
)
@_whole_option(
    "--pooling",
    type=click.Choice(POOLINGS),
    help="From feature-map positions to the slide; lse is log-sum-exp.",
)
@_whole_option(
    "--memory", type=click.Choice(["auto", *MODES]), help="auto plans: the fastest that fits."
)
@click.option(
    "--host-memory", help="What auto may plan with, such as 8GB.  [default: what is free]"
)
@click.option("--device-memory", help="Of the GPU, likewise.  [default: what is free]")
@_whole_option("--optimizer", type=click.Choice(OPTIMIZERS))
@_whole_option("--accumulate", type=int, help="Slides in one update.")
@_whole_option("--warmup", type=int, help="Updates until the full learning rate.")
@_whole_option("--weight-decay", type=float)
@errors_in_one_line
def train_whole_slide(
    table: Path,
    out: Path,
    resume: bool,
    classes: str,
    root: Path | None,
    force_mpp: bool,
    tensorboard: Path | None,
    **options: Any,
) -> None:
    """Train the whole-slide network from slide labels alone."""
    from wsi.data.tables import read_table
    from wsi.models.card import read_card
    from wsi.system import parse_bytes
    from wsi.training.distributed import leave_world
    from wsi.training.tasks.whole_slide import WholeSlideTask
    from wsi.training.tasks.whole_slide_config import WholeSlideTraining
    from wsi.training.trainer import Trainer

    names = class_names(classes)
    options["malignant"] = malignant_of(options["malignant"], names)
    given = {key: value for key, value in options.items() if value is not None}
    given |= {key: parse_bytes(given[key]) for key in _MEMORIES if key in given}
    if "start" in given:
        given.setdefault("architecture", read_card(Path(given["start"])).architecture)
    if not given.get("mpp") and not given.get("input_px"):
        raise ConfigError("give the resolution: --mpp 2, or --fit-px 10000")
    config = WholeSlideTraining(name=out.name, classes=names, **given)
    rows = read_table(table, names, root=root, force_mpp=force_mpp)
    with progress_bar(out.name) as tell, _epoch_log(tensorboard) as on_epoch:
        task = WholeSlideTask(
            config,
            rows,
            root or table.parent,
            on_plan=lambda text: click.echo(f"memory plan\n{text}\n", err=True),
            on_warning=_to_stderr,
        )
        _run(Trainer(task, out, progress=tell, on_epoch=on_epoch), out, resume)
    leave_world()


def _reviewed(table: Path | None, from_reviews: str | None, slides: Path | None, out: Path) -> Path:
    """The table to train from; that of reviews is fetched where their service is named."""
    if table is not None and from_reviews is None:
        return table
    if from_reviews is None or table is not None:
        raise ConfigError("give one of --table and --from-reviews")
    if "://" not in from_reviews:
        return Path(from_reviews) / "table.csv"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("with several processes, run `wsi remote reviews` first; name its folder")
    from wsi.cli.remote import service_of
    from wsi.cli.reviews import export_reviews

    with service_of((from_reviews, os.environ.get("WSI_REMOTE_KEY"))) as client:
        return export_reviews(client, out.with_name(f"{out.name}-reviews"), slides)


def _to_stderr(text: str) -> None:
    if is_main_process():
        click.echo(text, err=True)


def _class_map(entries: tuple[str, ...]) -> dict[str, str | None]:
    """``NAME=CLASS`` entries as a map."""
    pairs = [entry.partition("=") for entry in entries]
    if any(not name or not equals for name, equals, _ in pairs):
        raise ConfigError(f"--class-map takes NAME=CLASS, got {', '.join(entries)}")
    return {name: target or None for name, _, target in pairs}


def _run(trainer: "Trainer", out: Path, resume: bool) -> None:
    """Train; a stop by signal exits with 143, as the shell would say of SIGTERM."""
    from wsi.training.loop import TrainingStopped

    try:
        card = trainer.run(resume=resume)
    except TrainingStopped as stopped:
        click.echo(f"wsi: {stopped}", err=True)
        sys.exit(143)
    if is_main_process():
        click.echo(f"{out}: {in_words(card.metrics)}")


@contextmanager
def _epoch_log(folder: Path | None) -> Iterator[Callable[[dict[str, float]], None]]:
    """Prints each epoch's figures, and writes them for TensorBoard where a folder is given."""
    if folder is None or not is_main_process():
        yield _epoch
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("--tensorboard needs TensorBoard, which", "tensorboard") from None
    with SummaryWriter(str(folder)) as writer:

        def on_epoch(figures: dict[str, float]) -> None:
            _epoch(figures)
            for name, value in figures.items():
                if name != "epoch":
                    writer.add_scalar(name, value, int(figures["epoch"]))

        yield on_epoch


def _epoch(figures: dict[str, float]) -> None:
    rest = {key: value for key, value in figures.items() if key != "epoch"}
    click.echo(f"epoch {figures['epoch']:.0f}: {in_words(rest)}", err=True)
