"""``wsi evaluate bags``: a trained attention aggregator on bags it has not seen."""

from pathlib import Path
from typing import Any

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.options import (
    model_option,
    out_option,
    patient_joining,
    replicates_option,
    root_option,
    table_option,
)
from wsi.errors import ConfigError
from wsi.tables import of_split


@click.command("bags")
@table_option("CSV of bags, as wsi train inputs writes it: path, label, patient, split.")
@root_option
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@model_option()
@click.option("--positive", help="Class to score by.  [default: the second one]")
@patient_joining
@replicates_option
@out_option()
@errors_in_one_line
def evaluate_bags(
    table: Path,
    root: Path | None,
    split: str,
    model: Path,
    positive: str | None,
    per_patient: bool,
    worst: bool,
    replicates: int,
    out: Path,
) -> None:
    """Score bags of patch embeddings with attention, and evaluate the scores.

    A model of ordinal grades is also evaluated by its grades: mean absolute error, quadratic kappa.
    """
    import numpy as np

    from wsi.cli.evaluate_common import (
        grade_figures,
        positive_class,
        report,
        tell_of_seen,
        write_predictions,
    )
    from wsi.data.bags import Bag, read_bags
    from wsi.data.patient_bags import join_patients
    from wsi.evaluation.score_table import ScoreTable
    from wsi.models.aggregators.attention import AttentionAggregator
    from wsi.models.aggregators.stored import load_aggregator

    if worst and not per_patient:
        raise ConfigError("--worst says which slide of a patient counts: give --per-patient too")
    card, aggregator = load_aggregator(model)
    if not isinstance(aggregator, AttentionAggregator):
        raise ConfigError(f"{model}: this aggregator does not read bags of embeddings")
    classes = aggregator.classes
    wanted = positive_class(positive, classes)
    read = read_bags(table, root or table.parent, classes, to_learn=False)
    bags: list[Bag] = of_split(read, split, table, each="bag")
    ordinal = aggregator.network.spec.ordinal
    if per_patient:
        bags = list(join_patients(bags, classes, worst=worst or ordinal))
    judged, learned = "patient" if per_patient else "slide", card.training.get("bag_is", "slide")
    if judged != learned:
        click.echo(
            f"wsi: trained on bags of a {learned}, evaluated on bags of a {judged}", err=True
        )
    calls = [aggregator.score_bag(bag.read()).probabilities for bag in bags]
    values_nk = np.array([[call[name] for name in classes] for call in calls])
    labels_n = np.array([bag.label for bag in bags])
    names = [bag.name for bag in bags]
    patients_n = np.array([bag.patient for bag in bags], np.str_)
    tell_of_seen(card.training, patients_n.tolist())
    write_predictions(out / "predictions.csv", names, labels_n, values_nk, classes)
    scores = ScoreTable(
        source=f"{table.name}, {split}",
        labels_n=labels_n == classes.index(wanted),
        scores={f"{card.name} ({wanted})": values_nk[:, classes.index(wanted)]},
        patients_n=patients_n,
        by_patient=True,
        groups={},
    )
    more: dict[str, Any] = {
        "model": card.name,
        "model_digest": card.weights_sha256,
        "positive": wanted,
        "bag_is": judged,
    }
    if ordinal:
        more["grades"] = grade_figures(labels_n, values_nk, patients_n, replicates)
    report(
        scores,
        out,
        specificity=0.95,
        sensitivity=0.95,
        threshold=0.5,
        replicates=replicates,
        seed=0,
        more=more,
    )
