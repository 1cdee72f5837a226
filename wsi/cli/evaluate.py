"""``wsi evaluate ...``: how good scores are, and a report that says so."""

from pathlib import Path
from typing import Any

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.evaluate_aggregator import evaluate_aggregator
from wsi.cli.evaluate_bags import evaluate_bags
from wsi.cli.evaluate_common import asked, negative_option, report
from wsi.cli.evaluate_compare import evaluate_compare
from wsi.cli.options import PATH, class_names, out_option


@click.group()
def evaluate() -> None:
    """Evaluate scores or models against the truth."""


for _command in (evaluate_aggregator, evaluate_bags, evaluate_compare):
    evaluate.add_command(_command)


@evaluate.command("scores")
@click.argument("table", type=PATH)
@click.option("--label", required=True, help="Column of the truth.")
@click.option(
    "--score", "scores", multiple=True, required=True, help="Column of scores; may be repeated."
)
@click.option("--by", "groups", multiple=True, help="Column to make subgroups by; may be repeated.")
@click.option("--per-patient", is_flag=True, help="A patient counts by the worst slide.")
@asked
@negative_option
@errors_in_one_line
def evaluate_scores(
    table: Path,
    label: str,
    scores: tuple[str, ...],
    patient: str | None,
    positive: str | None,
    negative: tuple[str, ...],
    out: Path,
    groups: tuple[str, ...],
    per_patient: bool,
    **options: Any,
) -> None:
    """Evaluate score columns of TABLE (CSV): curves, operating points, calibration, tests."""
    from wsi.evaluation.score_table import read_scores

    read = read_scores(
        table,
        label=label,
        scores=scores,
        patient=patient,
        positive=positive,
        negative=negative,
        groups=groups,
    )
    report(read.per_patient() if per_patient else read, out, **options)


@evaluate.command("raters")
@click.argument("ratings", type=PATH)
@click.option("--classes", required=True, help="Class names in order, such as normal,tumor.")
@click.option("--ordinal", is_flag=True, help="Classes are grades: kappa weighs by distance.")
@out_option()
@errors_in_one_line
def evaluate_raters(ratings: Path, classes: str, ordinal: bool, out: Path) -> None:
    """Agreement and reliability of the raters in RATINGS (CSV: slide, rater, label).

    OUT gets raters.json and soft_labels.csv (Dawid-Skene).
    """
    from wsi.data.raters import read_ratings, write_raters

    names = class_names(classes)
    told = write_raters(read_ratings(ratings, names), out, ordinal=ordinal)
    for name, rater in told["raters"].items():
        click.echo(f"{name}: {rater['rated']} slides, reliability {rater['reliability']:.3f}")
    for pair in told["pairs"]:
        value = "not available" if pair["kappa"] is None else f"{pair['kappa']:.3f}"
        click.echo(f"{pair['first']} and {pair['second']}: kappa {value}, {pair['slides']} slides")
    click.echo(str(out / "soft_labels.csv"))


@evaluate.command("froc")
@click.option(
    "--results",
    type=(PATH, str),
    required=True,
    metavar="DIR PIPELINE",
    help="A folder of wsi analyze and the pipeline in it.",
)
@click.option(
    "--annotations",
    type=PATH,
    required=True,
    help="Folder of GeoJSON or XML files, named like the slides.",
)
@click.option(
    "--lesion",
    "lesions",
    multiple=True,
    required=True,
    help="Class of lesions in them; may be repeated.",
)
@click.option(
    "--hole",
    "holes",
    multiple=True,
    help="Class to cut out of lesions, in addition to Camelyon's _2; may be repeated.",
)
@click.option("--positive", default="cancer", show_default=True, help="Class of hotspots.")
@out_option()
@errors_in_one_line
def evaluate_froc(
    results: tuple[Path, str],
    annotations: Path,
    lesions: tuple[str, ...],
    holes: tuple[str, ...],
    positive: str,
    out: Path,
) -> None:
    """Evaluate hotspots against annotated lesions: FROC by Camelyon16's definition."""
    from wsi.evaluation.localization import localize
    from wsi.evaluation.result_set import read_results
    from wsi.evaluation.write import write_localization

    read = read_results(*results)
    found = localize(read, annotations, positive=positive, lesions=lesions, holes=holes)
    written = write_localization(out, found, read.title)
    click.echo(f"{read.title}: FROC {found.score}, {found.lesions} lesions, {found.slides} slides")
    for note in found.notes:
        click.echo(note, err=True)
    if found.unannotated:
        few = ", ".join(found.unannotated[:5])
        count = len(found.unannotated)
        click.echo(f"{count} slides have no annotation and count as lesion-free: {few}", err=True)
    click.echo(str(written))
