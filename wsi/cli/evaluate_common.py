"""What the evaluating commands share: options, the report, predictions, figures of grades."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from wsi.cli.options import out_option, replicates_option, seed_option
from wsi.errors import ConfigError

negative_option = click.option(
    "--negative",
    callback=lambda context, option, value: _names_in(value),
    help="Labels of negative cases, such as benign,normal, where there are several.",
)


def _names_in(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def asked(command: Any) -> Any:
    """Options that every evaluation takes."""
    for option in reversed(
        [
            click.option("--patient", help="Column of the patient; intervals resample patients."),
            click.option("--positive", help="Label of positive cases, where labels are not 0, 1."),
            out_option(),
            click.option(
                "--specificity",
                type=float,
                default=0.95,
                show_default=True,
                help="Report the sensitivity at this specificity.",
            ),
            click.option(
                "--sensitivity",
                type=float,
                default=0.95,
                show_default=True,
                help="Report the specificity at this sensitivity.",
            ),
            click.option(
                "--threshold",
                type=float,
                default=0.5,
                show_default=True,
                help="Score from which a case counts as positive.",
            ),
            replicates_option,
            seed_option,
        ]
    ):
        command = option(command)
    return command


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
            raise ConfigError(f"{name} must be above 0 and at most 1, got {share}")
    if not math.isfinite(threshold):
        raise ConfigError(f"--threshold must be a number, got {threshold}")
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


def tell_of_seen(training: Mapping[str, Any], patients: Iterable[str]) -> None:
    """Say so where a model is judged on patients that it learned from."""
    from wsi.training.provenance import similar_subjects_digest, subject_digests, training_subjects

    learned = training_subjects(training) or frozenset()
    known = sorted(
        {p for p in patients if (subject_digests(p) | {similar_subjects_digest(p)}) & learned}
    )
    if known:
        few = ", ".join(known[:3]) + (", ..." if len(known) > 3 else "")
        click.echo(
            f"wsi: the model was trained on {len(known)} of these patients ({few}), or on some "
            "written alike: the figures do not say how it does on others",
            err=True,
        )


def positive_class(given: str | None, classes: tuple[str, ...]) -> str:
    """The class to score by: as given, else the second one.

    Raises:
        ConfigError: the model does not know it.
    """
    wanted = given or classes[1]
    if wanted not in classes:
        raise ConfigError(f"--positive {wanted}: the classes are {', '.join(classes)}")
    return wanted


def write_predictions(
    path: Path, names_n: Any, labels_n: Any, values_nk: Any, classes: tuple[str, ...]
) -> None:
    """A line a slide: name, class where known, probability of each class."""
    import csv
    import io

    from wsi.files import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "label", *(f"p_{name}" for name in classes)])
    for index, (name, values) in enumerate(zip(names_n, values_nk, strict=True)):
        label = "" if labels_n is None else classes[labels_n[index]]
        writer.writerow([name, label, *(f"{value:.6f}" for value in values)])
    write_text(path, text.getvalue())


def grade_figures(
    labels_n: Any, values_nk: Any, patients_n: Any, replicates: int
) -> dict[str, Any]:
    """Figures of the grades, printed, as JSON types."""
    from dataclasses import asdict

    from wsi.evaluation.bootstrap import Bootstrap
    from wsi.evaluation.grades import grade_agreement

    spec = Bootstrap(replicates=replicates)
    found = grade_agreement(labels_n, values_nk, patients_n, spec)
    for name, estimate in found.items():
        click.echo(f"grades: {name.replace('_', ' ')} {estimate}")
    return {name: asdict(estimate) for name, estimate in found.items()}
