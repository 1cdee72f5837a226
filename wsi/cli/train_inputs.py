"""``wsi train inputs``: embeddings and heatmap features of slides, for aggregators."""

from pathlib import Path

import click

from wsi.cli.console import errors_in_one_line, progress_bar
from wsi.cli.options import (
    device_option,
    force_mpp_option,
    model_option,
    out_option,
    root_option,
    table_option,
)
from wsi.errors import ConfigError, DatasetError


@click.command("inputs")
@model_option("Folder of the patch model's bundle.")
@table_option()
@root_option
@force_mpp_option()
@out_option()
@device_option
@errors_in_one_line
def train_inputs(
    model: Path, table: Path, root: Path | None, force_mpp: bool, out: Path, device: str
) -> None:
    """Prepare training data for aggregators: embeddings, bags.csv and features_SPLIT.csv.

    Labels must be slide classes of the model. A slide that fails is reported and left out.
    """
    from wsi.data.tables import read_table
    from wsi.models.aggregators import slide_classes
    from wsi.pipelines.aggregator_inputs import SlideOutcome, write_inputs
    from wsi.pipelines.base import load_pipeline
    from wsi.pipelines.patch import PatchPipeline

    pipeline = load_pipeline("patch", model, device)
    if not isinstance(pipeline, PatchPipeline):
        raise ConfigError(f"{model}: not a patch model")
    rows = read_table(table, slide_classes(pipeline.card.classes), root=root, force_mpp=force_mpp)

    def tell(outcome: SlideOutcome) -> None:
        text = outcome.problem or f"{outcome.row.path}: {outcome.patches} patches"
        click.echo(text, err=bool(outcome.problem))
        for warning in outcome.warnings:
            click.echo(f"wsi: {outcome.row.path}: {warning}", err=True)

    with progress_bar("inputs") as progress:
        outcomes = write_inputs(
            pipeline, rows, root or table.parent, out, progress=progress, on_slide=tell
        )
    done = sum(not outcome.problem for outcome in outcomes)
    click.echo(f"{out}: {done} of {len(outcomes)} slides")
    if done < len(outcomes):
        raise DatasetError(f"{len(outcomes) - done} of {len(outcomes)} slides were left out")
