"""Writing an evaluation: ``evaluation.json``, ``report.html``, each plot as SVG and PDF."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from wsi.evaluation import plots
from wsi.evaluation.binary import ScoreEvaluation
from wsi.evaluation.froc import FROC_RATES
from wsi.evaluation.localization import Localization
from wsi.evaluation.page import heading, page, paragraph, plot, table
from wsi.evaluation.page import plots as side_by_side
from wsi.evaluation.plots import Drawing
from wsi.evaluation.report import NOTICE, Evaluation, to_json
from wsi.evaluation.score_table import ScoreTable
from wsi.files import write_bytes, write_text

REPORT_FILE = "report.html"
JSON_FILE = "evaluation.json"


def write_figures(folder: Path, drawn: Mapping[str, Drawing]) -> list[Markup]:
    """Write each figure as SVG and PDF into ``folder/figures``.

    Returns:
        The figures as HTML.

    Raises:
        DatasetError: a file cannot be written.
    """
    parts = []
    for name, one in drawn.items():
        svg = plots.draw(one.figure)
        write_text(folder / "figures" / f"{name}.svg", svg)
        write_bytes(folder / "figures" / f"{name}.pdf", plots.draw_pdf(one.figure))
        parts.append(plot(svg, one.words))
    return parts


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    scores: ScoreTable,
    *,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write report, figures and JSON into a folder.

    Args:
        folder: made where it is missing.
        evaluation: of ``scores``.
        scores: for the histograms.
        more: further entries of the JSON, such as the model.

    Returns:
        The report.

    Raises:
        DatasetError: a file cannot be written.
    """
    shown = write_figures(folder, draw_all(evaluation, scores))
    data = {"notice": NOTICE, **(more or {}), **to_json(evaluation)}
    write_text(folder / JSON_FILE, json.dumps(data, indent=1, allow_nan=False) + "\n")
    report = folder / REPORT_FILE
    parts = [
        side_by_side(shown),
        *tables(evaluation),
    ]
    write_text(report, page(f"Evaluation of {evaluation.source}", [_preface(evaluation), *parts]))
    return report


def write_localization(folder: Path, found: Localization, title: str) -> Path:
    """Write ``froc.json``, ``froc.html`` and the curve as SVG and PDF.

    Returns:
        The page.

    Raises:
        DatasetError: a file cannot be written.
    """
    curve = Drawing(plots.froc_plot({title: found.curve}), f"FROC curve of {title}")
    shown = write_figures(folder, {"froc": curve})
    data = {"notice": NOTICE, "title": title, **to_json(found)}
    write_text(folder / "froc.json", json.dumps(data, indent=1, allow_nan=False) + "\n")
    rates = [f"{rate:g}" for rate in FROC_RATES]
    at_rates = [f"{value:.4f}" for value in found.curve.at_rates]
    parts = [
        paragraph(
            f"{found.lesions} lesions on {found.slides} slides. Score: {found.score} (mean "
            "sensitivity at the six rates; interval by slide)."
        ),
        paragraph(
            f"{len(found.unannotated)} slides have no annotation and count as free of lesions; "
            f"{len(found.left_out)} have no heatmap and were left out."
        ),
        side_by_side(shown),
        table("Sensitivity by false positives per slide", rates, [at_rates] if at_rates else []),
    ]
    written = folder / "froc.html"
    write_text(written, page(f"Localization by {title}", parts))
    return written


def draw_all(evaluation: Evaluation, scores: ScoreTable) -> dict[str, Drawing]:
    """Every plot that is defined, by name."""
    ranked = [score for score in evaluation.scores if score.roc]
    calibrated = [score for score in evaluation.scores if score.calibration]
    drawn = {}
    if ranked:
        areas = "; ".join(f"{score.name} AUC {score.auc}" for score in ranked)
        drawn["roc"] = Drawing(plots.roc_plot(ranked), f"ROC curves: {areas}")
        drawn["precision_recall"] = Drawing(
            plots.precision_recall_plot(ranked), "Precision-recall curves"
        )
        drawn["counts"] = Drawing(
            plots.counts_plot(ranked), "True against false positives, in cases"
        )
    if calibrated:
        drawn["reliability"] = Drawing(
            plots.reliability_plot(calibrated), "Reliability of the scores"
        )
    for index, score in enumerate(evaluation.scores):
        drawn[f"scores_{index + 1}"] = Drawing(
            plots.histogram_plot(score.name, scores.labels_n, scores.scores[score.name], index),
            f"Histogram of {score.name} by truth",
        )
    return drawn


def _preface(evaluation: Evaluation) -> Markup:
    first = evaluation.scores[0]
    spec = evaluation.spec.bootstrap
    of, unit = (
        (f" of {first.patients} patients", "patients")
        if evaluation.by_patient
        else ("", "cases (the table names no patients)")
    )
    lines = [
        f"{first.cases} cases{of}: {first.positives} positive, "
        f"{first.cases - first.positives} negative. Intervals: {spec.confidence:.0%}, "
        f"percentile bootstrap over {unit}, {spec.replicates} replicates."
    ]
    for note in dict.fromkeys(note for score in evaluation.scores for note in score.notes):
        names = [score.name for score in evaluation.scores if note in score.notes]
        lines.append(f"{', '.join(names)}: {note}.")
    return Markup("").join(paragraph(line) for line in lines)


def tables(evaluation: Evaluation) -> list[Markup]:
    """The report's tables as HTML."""
    spec = evaluation.spec
    parts = [
        heading("Figures"),
        table(
            "Discrimination",
            [
                "score",
                "AUC",
                "average precision",
                f"sensitivity at specificity {spec.specificity:g}",
                f"specificity at sensitivity {spec.sensitivity:g}",
            ],
            [
                [
                    s.name,
                    s.auc,
                    s.average_precision,
                    s.sensitivity_at_specificity,
                    s.specificity_at_sensitivity,
                ]
                for s in evaluation.scores
            ],
        ),
        table(
            "Calibration",
            ["score", "Brier score", "expected calibration error"],
            [
                [s.name, f"{s.calibration.brier:.4f}", f"{s.calibration.ece:.4f}"]
                if s.calibration
                else [s.name, "not a probability", "not a probability"]
                for s in evaluation.scores
            ],
        ),
    ]
    parts += [_operating_points(score) for score in evaluation.scores if score.operating_points]
    if evaluation.pairs:
        parts.append(_pairs(evaluation))
    if evaluation.subgroups:
        parts.append(_subgroups(evaluation))
    return parts


def _operating_points(score: ScoreEvaluation) -> Markup:
    rows = [
        [
            point.name,
            f"{point.threshold:.4f}",
            point.true_positive,
            point.false_positive,
            point.true_negative,
            point.false_negative,
            point.sensitivity,
            point.specificity,
            point.kappa,
            "not available" if point.ppv is None else f"{point.ppv:.4f}",
            "not available" if point.npv is None else f"{point.npv:.4f}",
        ]
        for point in score.operating_points
    ]
    caption = (
        f"{score.name}: operating points (a threshold chosen on these very cases flatters the "
        "figures beside it)"
    )
    header = ["chosen by", "threshold", "TP", "FP", "TN", "FN", "sensitivity", "specificity"]
    return table(caption, [*header, "kappa with the truth", "PPV", "NPV"], rows)


def _pairs(evaluation: Evaluation) -> Markup:
    rows = [
        [
            f"{pair.first} - {pair.second}",
            pair.difference,
            f"{pair.delong.z:.3f}" if pair.delong else "not available",
            f"{pair.delong.p_value:.3g}" if pair.delong else "not available",
            "no threshold" if pair.kappa is None else pair.kappa,
        ]
        for pair in evaluation.pairs
    ]
    header = ["scores", "difference of AUC (bootstrap interval)", "z", "p (DeLong, two-sided)",
              "kappa of their calls"]  # fmt: skip
    return table("Scores compared; DeLong's test takes cases as independent", header, rows)


def _subgroups(evaluation: Evaluation) -> Markup:
    rows = [
        [
            f"{group.column} = {group.value}",
            score.name,
            score.cases,
            score.positives,
            score.auc,
            *_at_threshold(score, evaluation.spec.threshold),
            f"{score.calibration.ece:.4f}" if score.calibration else "not a probability",
        ]
        for group in evaluation.subgroups
        for score in group.scores
    ]
    header = ["subgroup", "score", "cases", "positive", "AUC", "sensitivity", "specificity",
              "calibration error"]  # fmt: skip
    at = evaluation.spec.threshold
    return table("Subgroups" + (f"; called at {at:g}" if at is not None else ""), header, rows)


def _at_threshold(score: ScoreEvaluation, threshold: float | None) -> list[object]:
    """Sensitivity and specificity where the table's own threshold calls."""
    if threshold is None or not score.operating_points:
        return ["not available"] * 2
    # The threshold that was asked for comes first.
    point = score.operating_points[0]
    return [point.sensitivity, point.specificity]
