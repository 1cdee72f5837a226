"""``wsi evaluate compare``: result sets of the same slides side by side."""

from pathlib import Path

import click

from wsi.cli.console import errors_in_one_line
from wsi.cli.evaluate_common import negative_option
from wsi.cli.options import PATH, out_option, replicates_option
from wsi.errors import ConfigError


@click.command("compare")
@click.option(
    "--results",
    type=(PATH, str),
    multiple=True,
    required=True,
    metavar="DIR PIPELINE",
    help="A folder of wsi analyze and the pipeline in it; give it two or three times.",
)
@click.option("--title", "titles", multiple=True, help="How to call each, in the same order.")
@click.option("--labels", type=PATH, required=True, help="CSV of the truth.")
@click.option("--slide", default="slide", show_default=True, help="Its column of slides.")
@click.option("--label", default="label", show_default=True, help="Its column of classes.")
@click.option("--patient", help="Its column of patients; intervals resample patients.")
@click.option("--split", help="Of a training table: the lines of one split, such as test.")
@click.option("--positive", default="cancer", show_default=True, help="Class to score by.")
@negative_option
@click.option("--model", "models", type=PATH, multiple=True,
              help="Model bundles, in the same order: what training took.")  # fmt: skip
@click.option(
    "--show", type=int, default=6, show_default=True, help="Slides whose heatmaps are shown."
)
@replicates_option
@out_option()
@errors_in_one_line
def evaluate_compare(
    results: tuple[tuple[Path, str], ...],
    titles: tuple[str, ...],
    labels: Path,
    slide: str,
    label: str,
    patient: str | None,
    split: str | None,
    positive: str,
    negative: tuple[str, ...],
    models: tuple[Path, ...],
    show: int,
    replicates: int,
    out: Path,
) -> None:
    """Compare result sets on the same slides: curves, tests, costs, heatmaps side by side.

    OUT gets comparison.html, comparison.json, and each figure as SVG and PDF.
    """
    from wsi.evaluation.binary import EvaluationSpec
    from wsi.evaluation.bootstrap import Bootstrap
    from wsi.evaluation.comparison import compare, write_comparison
    from wsi.evaluation.costs import training_cost
    from wsi.evaluation.result_set import match_results, read_results

    count = len(results)
    if count not in (2, 3) or len(titles) not in (0, count) or len(models) not in (0, count):
        raise ConfigError(
            "--results is given two or three times; --title and --model as often or not at all"
        )
    names = titles or (None,) * count
    sets = tuple(
        read_results(folder, pipeline, title=title)
        for (folder, pipeline), title in zip(results, names, strict=True)
    )
    matched = match_results(
        sets,
        labels,
        positive=positive,
        negative=negative,
        slide=slide,
        label=label,
        patient=patient,
        split=split,
    )
    spec = EvaluationSpec(bootstrap=Bootstrap(replicates=replicates))
    comparison = compare(sets, matched, spec)
    training = {one.title: training_cost(model) for one, model in zip(sets, models, strict=False)}
    written = write_comparison(out, comparison, positive, training=training, slides=show)
    for score in comparison.evaluation.scores:
        click.echo(f"{score.name}: AUC {score.auc}")
    for name, reason in matched.left_out.items():
        click.echo(f"{name}: left out: {reason}", err=True)
    click.echo(str(written))
