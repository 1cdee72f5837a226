"""``wsi evaluate ...``: how good scores are, and a report that says so."""

from pathlib import Path
from typing import Any

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.evaluate_bags import evaluate_bags
from wsi.errors import ConfigError


def _asked(command: Any) -> Any:
    """Options that every evaluation takes."""
    for option in reversed(
        [
            click.option("--patient", help="Column of the patient; intervals resample patients."),
            click.option("--positive", help="Label of positive cases, where labels are not 0, 1."),
            click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder."),
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


evaluate.add_command(evaluate_bags)


@evaluate.command("scores")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--label", required=True, help="Column of the truth.")
@click.option("--score", "scores", multiple=True, required=True, help="Column of scores.")
@click.option("--by", "groups", multiple=True, help="Column to make subgroups by.")
@click.option("--per-patient", is_flag=True, help="A patient is as positive as the worst slide.")
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
    per_patient: bool,
    **options: Any,
) -> None:
    """Evaluate score columns of TABLE (CSV): curves, operating points, calibration, tests."""
    from wsi.evaluation.score_table import read_scores

    read = read_scores(
        table, label=label, scores=scores, patient=patient, positive=positive, groups=groups
    )
    report(read.per_patient() if per_patient else read, out, **options)


@evaluate.command("raters")
@click.argument("ratings", type=click.Path(path_type=Path))
@click.option("--classes", required=True, help="Names, in order: normal,tumor.")
@click.option("--ordinal", is_flag=True, help="Classes are grades: kappa weighs by distance.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder.")
@errors_in_one_line
def evaluate_raters(ratings: Path, classes: str, ordinal: bool, out: Path) -> None:
    """Agreement and reliability of the raters in RATINGS (CSV: slide, rater, label).

    OUT gets raters.json and soft_labels.csv (Dawid-Skene).
    """
    from wsi.training.raters import read_ratings, write_raters

    names = tuple(name.strip() for name in classes.split(","))
    told = write_raters(read_ratings(ratings, names), out, ordinal=ordinal)
    for name, rater in told["raters"].items():
        click.echo(f"{name}: {rater['rated']} slides, reliability {rater['reliability']:.3f}")
    for pair in told["pairs"]:
        value = "not available" if pair["kappa"] is None else f"{pair['kappa']:.3f}"
        click.echo(f"{pair['first']} and {pair['second']}: kappa {value}, {pair['slides']} slides")
    click.echo(str(out / "soft_labels.csv"))


@evaluate.command("compare")
@click.option(
    "--results",
    type=(click.Path(path_type=Path), str),
    multiple=True,
    required=True,
    metavar="DIR PIPELINE",
    help="A folder of wsi analyze and the pipeline in it; give it twice.",
)
@click.option("--title", "titles", multiple=True, help="How to call each, in the same order.")
@click.option("--labels", type=click.Path(path_type=Path), required=True, help="CSV of the truth.")
@click.option("--slide", default="slide", show_default=True, help="Its column of slides.")
@click.option("--label", default="label", show_default=True, help="Its column of classes.")
@click.option("--patient", help="Its column of patients; intervals resample patients.")
@click.option("--positive", default="cancer", show_default=True, help="Class to score by.")
@click.option("--model", "models", type=click.Path(path_type=Path), multiple=True,
              help="Model bundles, in the same order: what training took.")  # fmt: skip
@click.option("--show", type=int, default=6, show_default=True, help="Slides to show.")
@click.option("--replicates", type=int, default=2000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder.")
@errors_in_one_line
def evaluate_compare(
    results: tuple[tuple[Path, str], ...],
    titles: tuple[str, ...],
    labels: Path,
    slide: str,
    label: str,
    patient: str | None,
    positive: str,
    models: tuple[Path, ...],
    show: int,
    replicates: int,
    out: Path,
) -> None:
    """Compare two result sets on the same slides: curves, tests, costs, heatmaps side by side."""
    from wsi.evaluation.binary import EvaluationSpec
    from wsi.evaluation.bootstrap import Bootstrap
    from wsi.evaluation.comparison import compare, write_comparison
    from wsi.evaluation.result_set import match_results, read_results

    if len(results) != 2 or len(titles) not in (0, 2) or len(models) not in (0, 2):
        raise ConfigError("--results is given twice; --title and --model twice or not at all")
    names = titles or (None, None)
    first, second = (
        read_results(folder, pipeline, title=title)
        for (folder, pipeline), title in zip(results, names, strict=True)
    )
    matched = match_results(
        (first, second), labels, positive=positive, slide=slide, label=label, patient=patient
    )
    spec = EvaluationSpec(bootstrap=Bootstrap(replicates=replicates))
    comparison = compare((first, second), matched, spec)
    training = {
        one.title: _training(model) for one, model in zip((first, second), models, strict=False)
    }
    written = write_comparison(out, comparison, positive, training=training, slides=show)
    for score in comparison.evaluation.scores:
        click.echo(f"{score.name}: AUC {score.auc}")
    for name, reason in matched.left_out.items():
        click.echo(f"{name}: left out: {reason}", err=True)
    click.echo(str(written))


def _training(bundle: Path) -> dict[str, Any]:
    """What a model card says of the training's size."""
    from wsi.models.card import read_card

    training = read_card(bundle).training
    told = {key: training[key] for key in ("slides", "patches", "patients") if key in training}
    if "history" in training:
        told["epochs"] = len(training["history"])
    return told


@evaluate.command("froc")
@click.option(
    "--results",
    type=(click.Path(path_type=Path), str),
    required=True,
    metavar="DIR PIPELINE",
    help="A folder of wsi analyze and the pipeline in it.",
)
@click.option("--annotations", type=click.Path(path_type=Path), required=True, help="Folder.")
@click.option("--lesion", "lesions", multiple=True, required=True, help="Class of annotations.")
@click.option("--hole", "holes", multiple=True, help="Class of annotations to cut out.")
@click.option("--positive", default="cancer", show_default=True, help="Class of hotspots.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder.")
@errors_in_one_line
def evaluate_froc(
    results: tuple[Path, str],
    annotations: Path,
    lesions: tuple[str, ...],
    holes: tuple[str, ...],
    positive: str,
    out: Path,
) -> None:
    """Judge hotspots by annotated lesions: FROC by Camelyon16's definition."""
    from wsi.evaluation.localization import localize
    from wsi.evaluation.result_set import read_results
    from wsi.evaluation.write import write_localization

    read = read_results(*results)
    found = localize(read, annotations, positive=positive, lesions=lesions, holes=holes)
    written = write_localization(out, found, read.title)
    click.echo(f"{read.title}: FROC {found.score}, {found.lesions} lesions, {found.slides} slides")
    if found.unannotated:
        few = ", ".join(found.unannotated[:5])
        count = len(found.unannotated)
        click.echo(f"{count} slides have no annotation and count as lesion-free: {few}", err=True)
    click.echo(str(written))


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


@evaluate.command("aggregator")
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="CSV of heatmap features.",
)
@click.argument("more_features", nargs=-1, type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), required=True, help="Bundle.")
@click.option("--label", default="tumor", show_default=True, help="Column of the class.")
@click.option("--no-labels", is_flag=True, help="The table has no labels: only score its slides.")
@_asked
@errors_in_one_line
def evaluate_aggregator(
    features: tuple[Path, ...],
    more_features: tuple[Path, ...],
    model: Path,
    label: str,
    no_labels: bool,
    patient: str | None,
    positive: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Score a table of heatmap features with a trained aggregator, and evaluate the scores.

    OUT gets predictions.csv and, where the table has labels, the report.
    """
    from wsi.evaluation.score_table import ScoreTable
    from wsi.models.aggregators.stored import load_aggregator
    from wsi.models.aggregators.trees import HeatmapTrees
    from wsi.training.features import read_features

    card, aggregator = load_aggregator(model)
    if not isinstance(aggregator, HeatmapTrees):
        raise ConfigError(f"{model}: this aggregator does not read heatmap features")
    classes = aggregator.classes
    wanted = positive or classes[1]
    if wanted not in classes:
        raise ConfigError(f"--positive {wanted}: the classes are {', '.join(classes)}")
    table = read_features(
        (*features, *more_features),
        classes,
        label=None if no_labels else label,
        patient=patient,
        features=aggregator.features,
    )
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
    if card.training.get("data_digest") == table.digest():
        click.echo("wsi: these are the slides that the model was trained on", err=True)
    more = {"model": card.name, "model_digest": card.weights_sha256, "positive": wanted}
    report(scores, out, more=more, **options)


def write_predictions(
    path: Path, names_n: Any, labels_n: Any, values_nk: Any, classes: tuple[str, ...]
) -> None:
    """A line a slide: name, class where known, probability of each class."""
    import csv
    import io

    from wsi.evaluation.write import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "label", *(f"p_{name}" for name in classes)])
    for index, (name, values) in enumerate(zip(names_n, values_nk, strict=True)):
        label = "" if labels_n is None else classes[labels_n[index]]
        writer.writerow([name, label, *(f"{value:.6f}" for value in values)])
    write_text(path, text.getvalue())
