"""Plots of an evaluation, as figures: SVG for the report, PDF for a paper."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wsi.evaluation.binary import GRID, ScoreEvaluation
from wsi.evaluation.froc import FROC_RATES, Froc

# Okabe & Ito 2008: told apart by the colour-blind too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SIZE = (4.8, 4.4)


@dataclass(frozen=True)
class Drawing:
    """A figure, and in words what it shows."""

    figure: Figure
    words: str


def draw(figure: Figure) -> str:
    """A figure as SVG text, the same for the same figure."""
    FigureCanvasSVG(figure)  # binds itself to the figure
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "wholeslide"}):
        figure.savefig(text, format="svg", metadata={"Date": None}, bbox_inches="tight")
    return text.getvalue()


def draw_pdf(figure: Figure) -> bytes:
    """A figure as PDF, with its text as text; the same for the same figure."""
    FigureCanvasPdf(figure)
    data = io.BytesIO()
    with mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(data, format="pdf", metadata={"CreationDate": None}, bbox_inches="tight")
    return data.getvalue()


def _axes(title: str, x: str, y: str, *, unit: bool = True) -> tuple[Figure, Any]:
    figure = Figure(figsize=_SIZE)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if unit:
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    return figure, axes


def colour(index: int) -> str:
    """The colour of the n-th score in every plot."""
    return _COLOURS[index % len(_COLOURS)]


def roc_plot(scores: Sequence[ScoreEvaluation]) -> Figure:
    """ROC curves with their bands."""
    figure, axes = _axes("ROC", "1 - specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for index, score in enumerate(scores):
        if score.roc is None:
            continue
        label = f"{score.name}: AUC {score.auc.value:.3f}"
        axes.plot(score.roc.x_t, score.roc.y_t, color=colour(index), label=label)
        if len(score.roc.low_g):
            axes.fill_between(
                GRID, score.roc.low_g, score.roc.high_g, color=colour(index), alpha=0.12
            )
    return _with_legend(figure, axes, "lower right")


def precision_recall_plot(scores: Sequence[ScoreEvaluation]) -> Figure:
    """Precision-recall curves with their bands."""
    figure, axes = _axes("Precision and recall", "recall (sensitivity)", "precision")
    for index, score in enumerate(scores):
        curve = score.precision_recall
        if curve is None:
            continue
        label = f"{score.name}: AP {score.average_precision.value:.3f}"
        axes.step(curve.x_t, curve.y_t, where="pre", color=colour(index), label=label)
        if len(curve.low_g):
            axes.fill_between(
                GRID, curve.low_g, curve.high_g, step="pre", color=colour(index), alpha=0.12
            )
    if scores:
        share = scores[0].positives / scores[0].cases
        axes.axhline(share, color="grey", linewidth=0.8, linestyle="--")
    return _with_legend(figure, axes, "lower left")


def counts_plot(scores: Sequence[ScoreEvaluation]) -> Figure:
    """True against false positives, in cases."""
    figure, axes = _axes(
        "True and false positives", "false positives", "true positives", unit=False
    )
    for index, score in enumerate(scores):
        if score.roc is None:
            continue
        axes.plot(
            score.roc.x_t * (score.cases - score.positives),
            score.roc.y_t * score.positives,
            color=colour(index),
            label=score.name,
        )
    return _with_legend(figure, axes, "lower right")


def reliability_plot(scores: Sequence[ScoreEvaluation]) -> Figure:
    """Observed share of positives against what the scores said."""
    figure, axes = _axes("Reliability", "mean score", "observed share of positives")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for index, score in enumerate(scores):
        if score.calibration is None:
            continue
        bins = score.calibration.bins
        observed = np.array([b.observed for b in bins])
        # A rounding error may put an end of the interval on the wrong side of its point.
        reach = np.maximum(
            [
                observed - [b.observed_low for b in bins],
                np.array([b.observed_high for b in bins]) - observed,
            ],
            0,
        )
        axes.errorbar(
            [b.mean_score for b in bins],
            observed,
            yerr=reach,
            color=colour(index),
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1.2,
            elinewidth=0.6,
            label=f"{score.name}: ECE {score.calibration.ece:.3f}",
        )
    if any(score.calibration for score in scores):  # below: points lie everywhere
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize="small")
    return figure


def histogram_plot(
    name: str, labels_n: NDArray[np.bool_], scores_n: NDArray[np.float64], index: int = 0
) -> Figure:
    """How the scores of positive and negative cases lie."""
    figure, axes = _axes(f"{name}: scores by truth", "score", "cases", unit=False)
    # Probabilities on one scale, so that the plots of several models can be held side by side.
    unit = bool(((scores_n >= 0) & (scores_n <= 1)).all())
    edges = np.histogram_bin_edges(scores_n, bins=20, range=(0, 1) if unit else None)
    for wanted, label, shade in ((False, "negative", "#999999"), (True, "positive", colour(index))):
        axes.hist(scores_n[labels_n == wanted], bins=edges, color=shade, alpha=0.6, label=label)
    axes.margins(y=0.2)  # room for the legend
    return _with_legend(figure, axes, "upper right")


def agreement_plot(
    first: tuple[str, NDArray[np.float64]],
    second: tuple[str, NDArray[np.float64]],
    labels_n: NDArray[np.bool_],
) -> Figure:
    """Two probabilities of the same cases against each other; each a name and (N,) values."""
    figure, axes = _axes("The same cases by two", first[0], second[0])
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for wanted, label, shade, marker in (
        (False, "negative", "#777777", "o"),
        (True, "positive", _COLOURS[1], "^"),
    ):
        chosen = labels_n == wanted
        axes.scatter(
            first[1][chosen], second[1][chosen], s=18, alpha=0.7, color=shade, marker=marker,
            label=label,
        )  # fmt: skip
    return _with_legend(figure, axes, "best")


def froc_plot(curves: dict[str, Froc]) -> Figure:
    """FROC curves."""
    figure, axes = _axes("FROC", "false positives per slide", "sensitivity (lesions)", unit=False)
    for index, (name, curve) in enumerate(curves.items()):
        if curve.score is None:
            continue
        axes.step(
            curve.false_positives_t,
            curve.sensitivity_t,
            where="post",
            color=colour(index),
            label=f"{name}: {curve.score:.3f}",
        )
    axes.set(xlim=(0, max(FROC_RATES)), ylim=(-0.01, 1.01))
    return _with_legend(figure, axes, "lower right")


def _with_legend(figure: Figure, axes: Any, place: str) -> Figure:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc=place, fontsize="small")
    return figure
