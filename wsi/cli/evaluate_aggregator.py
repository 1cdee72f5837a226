"""``wsi evaluate aggregator``: trained trees on heatmap features they have not seen."""

from pathlib import Path
from typing import Any

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.evaluate_common import (
    asked,
    grade_figures,
    positive_class,
    report,
    tell_of_seen,
    write_predictions,
)
from wsi.cli.options import PATH, model_option, patient_joining
from wsi.errors import ConfigError


@click.command("aggregator")
@click.option(
    "--features",
    type=PATH,
    multiple=True,
    required=True,
    help="CSV of heatmap features.",
)
@click.argument("more_features", nargs=-1, type=PATH)
@model_option()
@click.option("--label", default="tumor", show_default=True, help="Column of the class.")
@click.option("--no-labels", is_flag=True, help="The table has no labels: only score its slides.")
@patient_joining
@click.option(
    "--pooling",
    type=click.Choice(["max", "mean"]),
    help="With --per-patient: of each feature.  [default: as trained, else max]",
)
@asked
@errors_in_one_line
def evaluate_aggregator(
    features: tuple[Path, ...],
    more_features: tuple[Path, ...],
    model: Path,
    label: str,
    no_labels: bool,
    per_patient: bool,
    pooling: Any,
    worst: bool,
    patient: str | None,
    positive: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Score a table of heatmap features with a trained aggregator, and evaluate the scores.

    OUT gets predictions.csv and, where the table has labels, the report. A model of ordinal grades
    is also evaluated by its grades: mean absolute error, quadratic kappa.
    """
    from wsi.data.heatmap_features import pool_patients, read_features
    from wsi.evaluation.score_table import ScoreTable
    from wsi.models.aggregators.stored import load_aggregator
    from wsi.models.aggregators.trees import HeatmapTrees

    if (worst or pooling) and not per_patient:
        raise ConfigError("--worst and --pooling say how slides are joined: give --per-patient too")
    card, aggregator = load_aggregator(model)
    if not isinstance(aggregator, HeatmapTrees):
        raise ConfigError(f"{model}: this aggregator does not read heatmap features")
    classes = aggregator.classes
    wanted = positive_class(positive, classes)
    table = read_features(
        (*features, *more_features),
        classes,
        label=None if no_labels else label,
        patient=patient,
        features=aggregator.features,
    )
    # A patch model keeps its aggregator's training apart from its own.
    trained = card.training.get("aggregator", card.training)
    ordinal = bool(card.settings["aggregator"].get("ordinal"))
    if per_patient:
        joined: Any = pooling or trained.get("pooling") or "max"
        table = pool_patients(table, classes, pooling=joined, worst=worst or ordinal)
    judged, learned = (_cases(pooled) for pooled in (table.pooled, trained.get("pooling")))
    if judged != learned:
        click.echo(f"wsi: trained on {learned}, evaluated on {judged}", err=True)
    values_nk = aggregator.trees.probabilities_nk(table.values_nf)
    write_predictions(out / "predictions.csv", table.names_n, table.labels_n, values_nk, classes)
    if table.labels_n is None:
        click.echo(f"{len(values_nk)} slides scored: {out / 'predictions.csv'}")
        return
    scores = ScoreTable(
        source=table.source,
        labels_n=table.labels_n == classes.index(wanted),
        scores={f"{card.name} ({wanted})": values_nk[:, classes.index(wanted)]},
        patients_n=table.patients_n,
        by_patient=table.by_patient,
        groups={},
    )
    if trained.get("data_digest") == table.digest():
        click.echo("wsi: these are the slides that the model was trained on", err=True)
    else:
        tell_of_seen(card.training, table.patients_n.tolist())
    more: dict[str, Any] = {
        "model": card.name,
        "model_digest": card.weights_sha256,
        "positive": wanted,
        "pooling": table.pooled,
    }
    if ordinal:
        more["grades"] = grade_figures(
            table.labels_n, values_nk, table.patients_n, options["replicates"]
        )
    report(scores, out, more=more, **options)


def _cases(pooled: str | None) -> str:
    return f"patients ({pooled} of their slides)" if pooled else "slides"
