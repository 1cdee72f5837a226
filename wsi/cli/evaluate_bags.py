"""``wsi evaluate bags``: a trained attention aggregator on bags it has not seen."""

from pathlib import Path
from typing import Any

import click

from wsi.cli.console import errors_in_one_line
from wsi.errors import ConfigError, DatasetError


@click.command("bags")
@click.option("--table", type=click.Path(path_type=Path), required=True, help="CSV of bags.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the table's bags.")
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@click.option("--model", type=click.Path(path_type=Path), required=True, help="Bundle.")
@click.option("--positive", help="Class to score by; the second one unless given.")
@click.option("--replicates", type=int, default=2000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder.")
@errors_in_one_line
def evaluate_bags(
    table: Path,
    root: Path | None,
    split: str,
    model: Path,
    positive: str | None,
    replicates: int,
    out: Path,
) -> None:
    """Score bags of patch embeddings with attention, and evaluate the scores."""
    import numpy as np

    from wsi.cli.evaluate import report, write_predictions
    from wsi.evaluation.score_table import ScoreTable
    from wsi.models.aggregators.attention import AttentionAggregator
    from wsi.models.aggregators.stored import load_aggregator
    from wsi.training.bags import read_bags

    card, aggregator = load_aggregator(model)
    if not isinstance(aggregator, AttentionAggregator):
        raise ConfigError(f"{model}: this aggregator does not read bags of embeddings")
    classes = aggregator.classes
    wanted = positive or classes[1]
    if wanted not in classes:
        raise ConfigError(f"--positive {wanted}: the classes are {', '.join(classes)}")
    bags = [bag for bag in read_bags(table, root or table.parent, classes) if bag.split == split]
    if not bags:
        raise DatasetError(f"{table}: no bag is of the split {split}")
    calls = [aggregator.score_bag(bag.read()).probabilities for bag in bags]
    values_nk = np.array([[call[name] for name in classes] for call in calls])
    labels_n = np.array([bag.label for bag in bags])
    names = [bag.name for bag in bags]
    write_predictions(out / "predictions.csv", names, labels_n, values_nk, classes)
    scores = ScoreTable(
        source=f"{table.name}, {split}",
        labels_n=labels_n == classes.index(wanted),
        scores={f"{card.name} ({wanted})": values_nk[:, classes.index(wanted)]},
        patients_n=np.array([bag.patient for bag in bags], np.str_),
        by_patient=True,
        groups={},
    )
    more: dict[str, Any] = {
        "model": card.name,
        "model_digest": card.weights_sha256,
        "positive": wanted,
    }
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
