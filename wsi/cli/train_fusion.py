"""``wsi train fusion``: two trained models combined, fitted on slides that neither has seen."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wsi.cli.console import errors_in_one_line, progress_bar
from wsi.cli.malignant import malignant_of, malignant_option
from wsi.cli.options import (
    PATH,
    device_option,
    force_mpp_option,
    of_config,
    replicates_option,
    root_option,
    seed_option,
    table_option,
)
from wsi.errors import ConfigError, DatasetError
from wsi.tables import of_split

if TYPE_CHECKING:
    from wsi.data.tables import Row
    from wsi.models.card import ModelCard
    from wsi.training.fusion import FusionOutcome, HeldOut

_option = of_config("wsi.training.fusion:FusionTraining")


@click.command("fusion")
@table_option()
@root_option
@force_mpp_option()
@click.option(
    "--split", default="val", show_default=True, help="Split of held-out slides to fit on."
)
@click.option("--patch", type=PATH, required=True, help="Folder of the patch model's bundle.")
@click.option(
    "--whole-slide", type=PATH, required=True, help="Folder of the whole-slide model's bundle."
)
@click.option(
    "--out",
    type=PATH,
    required=True,
    help="Bundle; in one folder with the two others, which it names by digest.",
)
@click.option(
    "--scores",
    type=PATH,
    help="Folder of slide stores, such as --out of wsi analyze: results in it are used. "
    "[default: .NAME.scores beside OUT, removed at the end]",
)
@_option("--strength", type=float, help="Inverse of the penalty on the weights.")
@_option("--folds", type=int, help="Of the cross-validation that the figures come from.")
@malignant_option
@seed_option
@click.option(
    "--trust-unseen",
    is_flag=True,
    help="Assume that a model whose card lists no training subjects has seen none of them.",
)
@replicates_option
@device_option
@errors_in_one_line
def train_fusion(
    table: Path,
    root: Path | None,
    force_mpp: bool,
    split: str,
    patch: Path,
    whole_slide: Path,
    out: Path,
    scores: Path | None,
    trust_unseen: bool,
    replicates: int,
    device: str,
    malignant: str | None,
    **options: Any,
) -> None:
    """Combine a patch and a whole-slide model by logistic regression on held-out slides.

    OUT also gets predictions.csv and an evaluation that includes each model alone; the fusion's
    figures are cross-validated by patient.
    """
    from wsi.models.card import read_card
    from wsi.pipelines.fusion_scores import held_out_of
    from wsi.training.fusion import (
        FusionTraining,
        check_unseen,
        common_classes,
        common_malignant,
    )
    from wsi.training.fusion import train_fusion as fit

    cards = [read_card(bundle) for bundle in (patch, whole_slide)]
    _check_members(cards, (patch, whole_slide), out)
    classes = common_classes(cards)
    config = FusionTraining(
        classes=classes,
        malignant=malignant_of(malignant, classes)
        if malignant is not None
        else common_malignant(cards),
        **{k: v for k, v in options.items() if v is not None},
    )
    rows = _rows(table, root, split, config.classes, force_mpp=force_mpp)
    check_unseen(rows, cards, trust=trust_unseen)
    outcomes = _score(
        (patch, whole_slide),
        rows,
        root or table.parent,
        scores or _own_scores(out),
        device,
    )
    held_out = held_out_of(outcomes, config.classes)
    left_out = len(outcomes) - len(held_out.names)
    about = {"table": table.name, "split": split, "left_out": left_out}
    outcome = fit(held_out, cards, config, out, about_data=about)
    told = ", ".join(f"{name} {value:.4f}" for name, value in outcome.card.metrics.items())
    click.echo(f"{out}: {told}")
    _report(out, held_out, cards, outcome, replicates)
    if scores is None:  # as with a checkpoint: of use only until the end
        shutil.rmtree(_own_scores(out), ignore_errors=True)


def _own_scores(out: Path) -> Path:
    return out.with_name(f".{out.name}.scores")


def _check_members(cards: "list[ModelCard]", bundles: tuple[Path, Path], out: Path) -> None:
    for card, bundle, wanted in zip(cards, bundles, ("patch", "whole-slide"), strict=True):
        if card.pipeline != wanted:
            raise ConfigError(f"{bundle}: a model of pipeline {card.pipeline}, not {wanted}")
        if bundle.resolve().parent != out.resolve().parent:
            raise ConfigError(
                f"{bundle} and {out} must be in one folder: the fusion looks for its members "
                "next to itself"
            )
        if bundle.resolve() == out.resolve():
            raise ConfigError(f"{out}: would replace the {wanted} model that it needs")


def _rows(
    table: Path, root: Path | None, split: str, classes: tuple[str, ...], *, force_mpp: bool
) -> "list[Row]":
    from wsi.data.tables import read_table

    read = read_table(table, classes, root=root, needs_label=False, force_mpp=force_mpp)
    rows = of_split(read, split, table)
    if bare := next((row for row in rows if row.label is None), None):
        raise DatasetError(f"{table}: {bare.path} has no label")
    return rows


def _score(
    bundles: tuple[Path, Path], rows: "list[Row]", root: Path, folder: Path, device: str
) -> Any:
    from wsi.models.card import read_card
    from wsi.pipelines.base import load_pipeline
    from wsi.pipelines.fusion_scores import ScoredSlide, score_slides
    from wsi.pipelines.members import Member

    members = []
    for bundle in bundles:
        card = read_card(bundle)
        pipeline = load_pipeline(card.pipeline, bundle, device)
        members.append(Member(pipeline, card.weights_sha256))

    def tell(scored: ScoredSlide) -> None:
        if scored.problem:
            click.echo(f"wsi: left out: {scored.problem}", err=True)
        for warning in dict.fromkeys(w for result in scored.results for w in result.warnings):
            click.echo(f"wsi: {scored.row.path}: {warning}", err=True)

    with progress_bar("fusion") as progress:
        return score_slides(members, rows, root, folder, progress=progress, on_slide=tell)


def _report(
    out: Path,
    held_out: "HeldOut",
    cards: "list[ModelCard]",
    outcome: "FusionOutcome",
    replicates: int,
) -> None:
    """Predictions, and each class that is not normal against the rest: alone and fused."""
    from wsi.cli.evaluate_common import report, write_predictions
    from wsi.evaluation.score_table import ScoreTable

    classes = outcome.card.classes
    fused = outcome.probabilities_nk
    write_predictions(out / "predictions.csv", held_out.names, held_out.labels_n, fused, classes)
    for index, name in enumerate(classes[1:], start=1):
        alone = {
            f"{card.pipeline} alone": values_nk[:, index]
            for card, values_nk in zip(cards, held_out.members_mnk, strict=True)
        }
        scores = ScoreTable(
            source=f"{out.name}: {name}, held-out slides",
            labels_n=held_out.labels_n == index,
            scores={**alone, "fusion (cross-validated)": fused[:, index]},
            patients_n=held_out.patients_n,
            by_patient=True,
            groups={},
        )
        folder = out / "evaluation" if len(classes) == 2 else out / f"evaluation-{name}"
        report(
            scores,
            folder,
            specificity=0.95,
            sensitivity=0.95,
            threshold=0.5,
            replicates=replicates,
            seed=0,
            more={"model": outcome.card.name, "positive": name},
        )
