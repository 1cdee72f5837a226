"""Two result sets side by side: figures, costs, and the same slides through both."""

import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsi.errors import DatasetError
from wsi.evaluation.agreement import cohen_kappa
from wsi.evaluation.binary import EvaluationSpec
from wsi.evaluation.bootstrap import Estimate
from wsi.evaluation.page import heading, page, paragraph, picture, plot, plots, table
from wsi.evaluation.report import NOTICE, Evaluation, evaluate_table, to_json
from wsi.evaluation.result_set import Matched, ResultSet, StoredResult
from wsi.evaluation.write import draw_all, tables, write_text

COMPARISON_JSON = "comparison.json"
COMPARISON_PAGE = "comparison.html"
LAYERS = ("probability", "gradcam", "attention")
ANNOTATION_NEEDED = {
    "patch": "patches with a class, or slides with outlined areas",
    "whole-slide": "one label a slide",
    "fusion": "one label a slide, besides what its two parts need",
}
_PICTURE_PX = 480


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two result sets say of the same slides.

    Attributes:
        sets: the two.
        matched: slides and scores.
        evaluation: of both scores, with the test between them.
        kappa: agreement of their calls at the threshold.
    """

    sets: tuple[ResultSet, ResultSet]
    matched: Matched
    evaluation: Evaluation
    kappa: Estimate


def compare(
    sets: tuple[ResultSet, ResultSet], matched: Matched, spec: EvaluationSpec | None = None
) -> Comparison:
    """Evaluate both on the slides that both have scored.

    Raises:
        DatasetError: the sets have one title.
    """
    if sets[0].title == sets[1].title:
        raise DatasetError(f"both result sets are called {sets[0].title}; title them apart")
    spec = spec or EvaluationSpec()
    threshold = 0.5 if spec.threshold is None else spec.threshold
    calls = [(matched.table.scores[one.title] >= threshold).astype(np.int64) for one in sets]
    return Comparison(
        sets=sets,
        matched=matched,
        evaluation=evaluate_table(matched.table, spec),
        kappa=cohen_kappa(
            calls[0],
            calls[1],
            2,
            patients_n=matched.table.patients_n,
            bootstrap=spec.bootstrap,
        ),
    )


def write_comparison(
    folder: Path,
    comparison: Comparison,
    positive: str,
    *,
    training: Mapping[str, Mapping[str, Any]] | None = None,
    slides: int = 6,
) -> Path:
    """Write ``comparison.html``, ``comparison.json`` and the figures as SVG.

    Args:
        positive: the class of the scores, whose heatmaps are shown.
        training: title of a set to what is known of how its model was trained.
        slides: how many slides to show, those that the two judge most differently first.

    Returns:
        The page.

    Raises:
        DatasetError: a file cannot be written.
    """
    matched, evaluation = comparison.matched, comparison.evaluation
    drawn = draw_all(evaluation, matched.table)
    for name, (svg, _) in drawn.items():
        write_text(folder / "figures" / f"{name}.svg", svg)
    costs = {one.title: _costs(one, matched.names) for one in comparison.sets}
    data = {
        "notice": NOTICE,
        "positive": positive,
        "slides": list(matched.names),
        "left_out": dict(matched.left_out),
        "costs": costs,
        "training": dict(training or {}),
        "agreement_kappa": to_json(comparison.kappa),
        **to_json(evaluation),
    }
    write_text(folder / COMPARISON_JSON, json.dumps(data, indent=1, allow_nan=False) + "\n")
    first, second = comparison.sets
    parts = [
        paragraph(
            f"{len(matched.names)} slides that both have scored; the score is the probability of "
            f"{positive}. Agreement of the two calls (Cohen's kappa): {comparison.kappa}."
        ),
        plots([plot(svg, words) for svg, words in drawn.values()]),
        *tables(evaluation),
        _cost_table(comparison.sets, costs, training or {}),
        *_left_out(matched),
        heading("The same slides through both"),
        *_slides(comparison, positive, slides),
    ]
    written = folder / COMPARISON_PAGE
    write_text(written, page(f"{first.title} and {second.title}", parts))
    return written


def _costs(one: ResultSet, names: Sequence[str]) -> dict[str, Any]:
    """Time and memory of scoring."""
    results = [one.results[name] for name in names]
    seconds = [result.seconds for result in results]
    peaks = [result.data.get("details", {}).get("peak_host_bytes") for result in results]
    known = [peak for peak in peaks if peak]
    return {
        "pipeline": one.pipeline,
        "model": one.model,
        "seconds_median": round(statistics.median(seconds), 3),
        "seconds_total": round(sum(seconds), 3),
        "peak_host_bytes": max(known) if known else None,
        "annotation": ANNOTATION_NEEDED.get(one.pipeline),
    }


def _cost_table(
    sets: Sequence[ResultSet],
    costs: Mapping[str, Mapping[str, Any]],
    training: Mapping[str, Mapping[str, Any]],
) -> str:
    rows = []
    for one in sets:
        cost = costs[one.title]
        peak = cost["peak_host_bytes"]
        told = "; ".join(f"{k}: {v}" for k, v in training.get(one.title, {}).items())
        rows.append(
            [
                one.title,
                cost["annotation"] or "not known",
                f"{cost['seconds_median']:.1f} s",
                f"{cost['seconds_total']:.0f} s",
                f"{peak / 2**30:.2f} GiB" if peak else "not recorded",
                told or "not given",
            ]
        )
    header = ["", "annotation needed", "median a slide", "all slides", "peak memory", "training"]
    return table("Cost of scoring and of training", header, rows)


def _left_out(matched: Matched) -> list[str]:
    if not matched.left_out:
        return []
    rows = list(matched.left_out.items())
    return [table(f"Left out: {len(rows)} slides", ["slide", "why"], rows)]


def _slides(comparison: Comparison, positive: str, count: int) -> list[str]:
    scores = [comparison.matched.table.scores[one.title] for one in comparison.sets]
    order = np.argsort(-np.abs(scores[0] - scores[1]), kind="stable")[:count]
    parts = []
    for index in order:
        name = comparison.matched.names[index]
        truth = "positive" if comparison.matched.table.labels_n[index] else "negative"
        figures = [
            _figure(one.results[name], one.title, float(score[index]), positive)
            for one, score in zip(comparison.sets, scores, strict=True)
        ]
        parts.append(paragraph(f"{name}: {truth}"))
        parts.append(plots([part for figure in figures for part in figure]))
    return parts


def _figure(result: StoredResult, title: str, score: float, positive: str) -> list[str]:
    """The pictures of one set, each with its words."""
    found = []
    for layer in LAYERS:
        path = result.picture(layer, positive)
        if path is None:
            continue
        words = f"{title}, {layer} of {positive}; the slide's score is {score:.3f}"
        shown = picture(_small(path), "png", words, css="side")
        found.append(f"<figure>{shown}{paragraph(words)}</figure>")
    return found or [paragraph(f"{title}: score {score:.3f}, no pictures beside the result")]


def _small(path: Path) -> bytes:
    """A picture of a size for a page.

    Raises:
        DatasetError: it does not decode.
    """
    data = io.BytesIO()
    try:
        with Image.open(path) as image:
            image.thumbnail((_PICTURE_PX, _PICTURE_PX))
            image.save(data, format="PNG")
    except OSError as error:
        raise DatasetError(f"{path}: the picture cannot be read: {error}") from error
    return data.getvalue()
