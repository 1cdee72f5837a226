"""``wsi train aggregator``: from patches to a slide, learned."""

import sys
from pathlib import Path
from typing import Any

import click

from wsi.cli.console import errors_in_one_line, in_words, progress_bar
from wsi.cli.options import PATH, class_names, of_config, out_option, patient_joining, seed_option
from wsi.errors import ConfigError

_TREES = ("random-forest", "gradient-boosting")
_ATTENTION = ("gated-attention", "clam")
_ONLY_TREES = (
    "trees", "max_depth", "min_samples_leaf", "folds", "repeats", "heatmap_mpp", "pooling",
)  # fmt: skip
_ONLY_ATTENTION = (
    "epochs", "hidden", "attention", "dropout", "patience", "label_smoothing", "batch_size",
)  # fmt: skip
_trees = of_config("wsi.training.aggregator:TreeTraining")
_bags = of_config("wsi.training.tasks.attention:AttentionTraining")


@click.command("aggregator")
@click.option("--kind", type=click.Choice([*_TREES, *_ATTENTION]), required=True)
@out_option("Folder of the model bundle to write.")
@click.option(
    "--classes", default="normal,tumor", show_default=True, help="Of slides, normal first."
)
@click.option(
    "--patch-model",
    type=PATH,
    help="Patch model's bundle to join with: --out then is a patch model that uses the aggregator.",
)
@seed_option
@click.option(
    "--learning-rate", type=float, help="Of boosting and attention.  [default: 0.05 and 0.0002]"
)
@click.option("--features", type=PATH, multiple=True, help="Trees: CSV.")
@click.argument("more_features", nargs=-1, type=PATH)
@click.option("--label", default="tumor", show_default=True, help="Trees: column of the class.")
@click.option("--patient", help="Trees: column of the patient.")
@_trees("--trees", type=int, help="Trees: how many; with boosting, steps.")
@click.option(
    "--max-depth",
    type=int,
    help="Trees: of each.  [default: unbounded; boosting 3]",
)
@_trees("--min-samples-leaf", type=int, help="Trees: fewest slides in a leaf.")
@click.option(
    "--heatmap-mpp", type=float, help="Trees: micrometres per cell of the maps behind the features."
)
@_trees("--folds", type=int, help="Trees: of the cross-validation for the model card.")
@_trees("--repeats", type=int, help="Trees: of the cross-validation; 0 leaves it out.")
@click.option(
    "--table",
    type=PATH,
    help="Attention: CSV of bags: path, label, patient, split.",
)
@click.option(
    "--root",
    type=PATH,
    help="Attention: folder that the table's paths start from.  [default: the table's]",
)
@click.option("--ratings", type=PATH, help="Attention: CSV slide, rater, label.")
@click.option("--ordinal", is_flag=True, help="Classes are grades, lowest first.")
@patient_joining
@click.option(
    "--pooling",
    type=click.Choice(["max", "mean"]),
    help="Trees, with --per-patient: of each feature over the slides.  [default: max]",
)
@_bags("--epochs", type=int, help="Attention.")
@_bags("--batch-size", type=int, help="Attention: bags in one update.")
@_bags("--hidden", type=int, help="Attention: width of a patch's hidden features.")
@_bags("--attention", type=int, help="Attention: width of the attention's own layer.")
@_bags("--dropout", type=float, help="Attention: share of features dropped.")
@_bags("--label-smoothing", type=float, help="Attention: share given to the other classes.")
@_bags(
    "--patience",
    type=int,
    help="Attention: stop after this many epochs without improvement; 0 disables.",
)
@click.option("--resume", is_flag=True, help="Attention: continue from the last checkpoint.")
@errors_in_one_line
def train_aggregator(
    kind: str,
    out: Path,
    classes: str,
    patch_model: Path | None,
    features: tuple[Path, ...],
    more_features: tuple[Path, ...],
    label: str,
    patient: str | None,
    table: Path | None,
    root: Path | None,
    ratings: Path | None,
    resume: bool,
    **options: Any,
) -> None:
    """Train a slide-level aggregator.

    Random forest and gradient boosting learn from tables of heatmap features (--features A.csv
    B.csv), gated attention and CLAM from bags of patch embeddings (--table).
    """
    features = (*features, *more_features)
    names = class_names(classes)
    given = {k: value for k, value in options.items() if value is not None and value is not False}
    of_trees = kind in _TREES
    strange = [key for key in (_ONLY_ATTENTION if of_trees else _ONLY_TREES) if key in given]
    if strange:
        raise ConfigError(f"{kind} has no option --{strange[0].replace('_', '-')}")
    # Joined in a last step: the aggregator alone is kept beside it until then.
    alone = out.with_name(f".{out.name}.aggregator") if patch_model else out
    if features and not of_trees:
        raise ConfigError(f"{kind} learns from bags of embeddings, not from feature tables")
    if of_trees:
        if not features:
            raise ConfigError(f"{kind} learns from feature tables: give --features A.csv")
        metrics = _train_trees(kind, alone, names, features, label, patient, given)
    else:
        if not table:
            raise ConfigError(f"{kind} learns from bags of embeddings: give --table BAGS.csv")
        metrics = _train_attention(kind, alone, names, table, root, ratings, resume, given)
    if patch_model:
        _join(patch_model, alone, out)
    click.echo(f"{out}: {in_words(metrics)}")


def _train_trees(
    kind: str,
    out: Path,
    names: tuple[str, ...],
    features: tuple[Path, ...],
    label: str,
    patient: str | None,
    given: dict[str, Any],
) -> dict[str, float | None]:
    from wsi.data.heatmap_features import columns_of, pool_patients, read_features
    from wsi.training.aggregator import TreeTraining, train_trees

    per_patient, worst = _of_patients(given)
    pooling = given.pop("pooling", None)
    if pooling and not per_patient:
        raise ConfigError("--pooling says how slides are joined: give --per-patient too")
    config = TreeTraining(name=out.name, kind=kind, classes=names, **given)  # type: ignore[arg-type]
    columns = columns_of(features, names)
    if len(names) > 2 and not any(":" in column for column in columns):
        click.echo("wsi: the tables describe all diseases in one map, not each one's own", err=True)
    read = read_features(features, names, label=label, patient=patient, features=columns)
    if per_patient:
        read = pool_patients(read, names, pooling=pooling or "max", worst=worst or config.ordinal)
    return dict(train_trees(read, config, out).metrics)


def _of_patients(given: dict[str, Any]) -> tuple[bool, bool]:
    """Takes ``per_patient`` and ``worst`` out of the options."""
    per_patient, worst = given.pop("per_patient", False), given.pop("worst", False)
    if worst and not per_patient:
        raise ConfigError("--worst says which slide of a patient counts: give --per-patient too")
    return per_patient, worst


def _train_attention(
    kind: str,
    out: Path,
    names: tuple[str, ...],
    table: Path,
    root: Path | None,
    ratings: Path | None,
    resume: bool,
    given: dict[str, Any],
) -> dict[str, float | None]:
    from wsi.data.bags import read_bags, soft_labels
    from wsi.data.patient_bags import join_patients
    from wsi.training.loop import TrainingStopped
    from wsi.training.tasks.attention import AttentionTask, AttentionTraining
    from wsi.training.trainer import Trainer

    per_patient, worst = _of_patients(given)
    config = AttentionTraining(name=out.name, kind=kind, classes=names, **given)  # type: ignore[arg-type]
    bags = read_bags(table, root or table.parent, names)
    reliability = None
    if ratings:
        bags, reliability = soft_labels(bags, ratings, names)
    if per_patient:
        bags = list(join_patients(bags, names, worst=worst or config.ordinal))
    with progress_bar(out.name) as tell:
        task = AttentionTask(config, bags, about_labels=reliability)
        trainer = Trainer(task, out, progress=tell)
        try:
            return dict(trainer.run(resume=resume).metrics)
        except TrainingStopped as stopped:
            click.echo(f"wsi: {stopped}", err=True)
            sys.exit(143)


def _join(patch_model: Path, alone: Path, out: Path) -> None:
    import shutil

    from wsi.models.aggregators.stored import join_bundles

    join_bundles(patch_model, alone, out)
    shutil.rmtree(alone)
