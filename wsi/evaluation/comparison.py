"""Result sets side by side: figures, costs, and the same slides through each."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from wsi.errors import DatasetError
from wsi.evaluation.binary import EvaluationSpec
from wsi.evaluation.costs import (
    ANNOTATION_NEEDED,
    ScoringCost,
    TrainingCost,
    duration,
    recorded_bytes,
    scoring_cost,
)
from wsi.evaluation.page import heading, page, paragraph, plots, table
from wsi.evaluation.plots import Drawing, agreement_plot
from wsi.evaluation.report import NOTICE, Evaluation, evaluate_table, to_json
from wsi.evaluation.result_set import Matched, ResultSet
from wsi.evaluation.side_by_side import choose_slides, slide_figure, slides_as_html
from wsi.evaluation.write import draw_all, tables, write_figures
from wsi.files import write_text

COMPARISON_JSON = "comparison.json"
COMPARISON_PAGE = "comparison.html"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What result sets say of the same slides.

    Attributes:
        sets: two or three.
        matched: slides and scores.
        evaluation: of each score, with the tests between them.
    """

    sets: tuple[ResultSet, ...]
    matched: Matched
    evaluation: Evaluation


def compare(
    sets: tuple[ResultSet, ...], matched: Matched, spec: EvaluationSpec | None = None
) -> Comparison:
    """Evaluate each on the slides that all have scored.

    Raises:
        DatasetError: two sets have one title.
    """
    titles = [one.title for one in sets]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise DatasetError(f"two result sets are called {twice[0]}; give them different titles")
    return Comparison(sets=sets, matched=matched, evaluation=evaluate_table(matched.table, spec))


def write_comparison(
    folder: Path,
    comparison: Comparison,
    positive: str,
    *,
    training: Mapping[str, TrainingCost] | None = None,
    slides: int = 6,
) -> Path:
    """Write ``comparison.html``, ``comparison.json`` and the figures as SVG and PDF.

    Args:
        positive: the class of the scores, whose heatmaps are shown.
        training: title of a set to what its model's training took.
        slides: how many slides to show, those that are judged most differently first.

    Returns:
        The page.

    Raises:
        DatasetError: a file cannot be written, or a picture not read.
    """
    matched, evaluation = comparison.matched, comparison.evaluation
    training = training or {}
    shown = write_figures(folder, _drawings(comparison))
    chosen = choose_slides(comparison.sets, matched, slides)
    if (drawn := slide_figure(comparison.sets, chosen, positive)) is not None:
        write_figures(folder, {"slides": drawn})
    scoring = {one.title: scoring_cost(one, matched.names) for one in comparison.sets}
    data = {
        "notice": NOTICE,
        "positive": positive,
        "slides": list(matched.names),
        "left_out": dict(matched.left_out),
        "costs": {
            one.title: {
                "pipeline": one.pipeline,
                "model": one.model,
                "annotation": ANNOTATION_NEEDED.get(one.pipeline),
                "scoring": asdict(scoring[one.title]),
                "training": asdict(training[one.title]) if one.title in training else None,
            }
            for one in comparison.sets
        },
        **to_json(evaluation),
    }
    write_text(folder / COMPARISON_JSON, json.dumps(data, indent=1, allow_nan=False) + "\n")
    count = {2: "both", 3: "all three"}.get(len(comparison.sets), "all")
    parts = [
        paragraph(
            f"{len(matched.names)} slides that {count} have scored: "
            f"{int(matched.table.labels_n.sum())} {positive}, "
            f"{int((~matched.table.labels_n).sum())} not. The score is the probability of "
            f"{positive}."
        ),
        plots(shown),
        *tables(evaluation),
        *_costs(comparison, scoring, training),
        *_left_out(matched),
        heading(f"The same slides through {count}"),
        paragraph("Slides with the largest differences come first."),
        *slides_as_html(comparison.sets, chosen, positive),
    ]
    written = folder / COMPARISON_PAGE
    *most, last = (one.title for one in comparison.sets)
    titles = f"{', '.join(most)} and {last}"
    write_text(written, page(titles, parts))
    return written


def _drawings(comparison: Comparison) -> dict[str, Drawing]:
    table_of, evaluation = comparison.matched.table, comparison.evaluation
    drawn = draw_all(evaluation, table_of)
    for number, pair in enumerate(evaluation.pairs, start=1):
        drawn[f"agreement_{number}"] = Drawing(
            agreement_plot(
                (pair.first, table_of.scores[pair.first]),
                (pair.second, table_of.scores[pair.second]),
                table_of.labels_n,
            ),
            f"Scores of {pair.first} against those of {pair.second}",
        )
    return drawn


def _costs(
    comparison: Comparison,
    scoring: Mapping[str, ScoringCost],
    training: Mapping[str, TrainingCost],
) -> list[str]:
    """What each needed: annotation, training, scoring."""
    rows_scoring, rows_training = [], []
    for one in comparison.sets:
        cost, taught = scoring[one.title], training.get(one.title)
        rows_scoring.append(
            [
                one.title,
                duration(cost.seconds_median),
                duration(cost.seconds_total),
                recorded_bytes(cost.peak_host_bytes),
                _device(cost.peak_device_bytes, recorded=cost.peak_host_bytes is not None),
            ]
        )
        annotation = ANNOTATION_NEEDED.get(one.pipeline, "not known")
        if taught and taught.besides:
            annotation += f", besides {' and '.join(taught.besides)}"
        rows_training.append(
            [one.title, annotation]
            + (
                ["model not given"] * 5
                if taught is None
                else [
                    "; ".join(taught.labels) or "not recorded",
                    "-" if taught.epochs is None else taught.epochs,
                    duration(taught.seconds),
                    recorded_bytes(taught.peak_host_bytes),
                    _device(taught.peak_device_bytes, recorded=taught.seconds is not None),
                ]
            )
        )
    return [
        heading("What each needed"),
        table(
            "Annotation and training; time for other required models is not counted",
            ["", "annotation needed", "learned from", "epochs", "time", "peak memory", "on GPU"],
            rows_training,
        ),
        table(
            "Scoring; memory is the process's highest, whichever slide it was",
            ["", "median a slide", "all slides", "peak memory", "on GPU"],
            rows_scoring,
        ),
    ]


def _device(size: int | None, *, recorded: bool) -> str:
    return "none used" if size is None and recorded else recorded_bytes(size)


def _left_out(matched: Matched) -> list[str]:
    if not matched.left_out:
        return []
    rows = list(matched.left_out.items())
    return [table(f"Left out: {len(rows)} slides", ["slide", "why"], rows)]
