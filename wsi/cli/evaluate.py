"""``wsi evaluate ...``: how good scores are, and a report that says so."""

from pathlib import Path
from typing import Any

import click

from wsi.cli.console import errors_in_one_line
from wsi.errors import ConfigError


def _asked(command: Any) -> Any:
    """Options that every evaluation takes."""
    for option in reversed(
        [
            click.option("--patient", help="Column of the patient; intervals resample patients."),
            click.option("--positive", help="Label of positive cases, where labels are not 0, 1."),
            click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder."),
            click.option("--by", "groups", multiple=True, help="Column to make subgroups by."),
            click.option("--specificity", type=float, default=0.95, show_default=True),
            click.option("--sensitivity", type=float, default=0.95, show_default=True),
            click.option("--threshold", type=float, default=0.5, show_default=True),
            click.option("--replicates", type=int, default=2000, show_default=True),
            click.option("--seed", type=int, default=0, show_default=True),
        ]
    ):
        command = option(command)
    return command


@click.group()
def evaluate() -> None:
    """Evaluate scores or models against the truth."""


@evaluate.command("scores")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--label", required=True, help="Column of the truth.")
@click.option("--score", "scores", multiple=True, required=True, help="Column of scores.")
@_asked
@errors_in_one_line
def evaluate_scores(
    table: Path,
    label: str,
    scores: tuple[str, ...],
    patient: str | None,
    positive: str | None,
    out: Path,
    groups: tuple[str, ...],
    **options: Any,
) -> None:
    """Evaluate score columns of TABLE (CSV): curves, operating points, calibration, tests."""
    from wsi.evaluation.score_table import read_scores

    read = read_scores(
        table, label=label, scores=scores, patient=patient, positive=positive, groups=groups
    )
    report(read, out, **options)


def report(
    scores: Any,
    out: Path,
    *,
    specificity: float,
    sensitivity: float,
    threshold: float,
    replicates: int,
    seed: int,
    more: dict[str, Any] | None = None,
) -> None:
    """Evaluate a ``ScoreTable``, write the report, print the figures."""
    from wsi.evaluation.binary import EvaluationSpec
    from wsi.evaluation.bootstrap import Bootstrap
    from wsi.evaluation.report import evaluate_table
    from wsi.evaluation.write import write_evaluation

    for name, share in (("--specificity", specificity), ("--sensitivity", sensitivity)):
        if not 0 < share <= 1:
            raise ConfigError(f"{name} must lie above 0 and at most at 1, got {share}")
    spec = EvaluationSpec(
        specificity=specificity,
        sensitivity=sensitivity,
        threshold=threshold,
        bootstrap=Bootstrap(replicates=replicates, seed=seed),
    )
    evaluation = evaluate_table(scores, spec)
    written = write_evaluation(out, evaluation, scores, more=more)
    for score in evaluation.scores:
        click.echo(f"{score.name}: AUC {score.auc}")
        for note in score.notes:
            click.echo(f"{score.name}: {note}", err=True)
    for pair in evaluation.pairs:
        if pair.delong:
            click.echo(
                f"{pair.first} - {pair.second}: {pair.difference}, "
                f"DeLong p {pair.delong.p_value:.3g}"
            )
    click.echo(str(written))
