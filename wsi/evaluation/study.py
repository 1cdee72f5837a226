"""A resolution study: finished cells read, and drawn as accuracy against cost."""

import csv
import io
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from wsi.errors import DatasetError
from wsi.evaluation.bootstrap import Bootstrap, Estimate
from wsi.evaluation.costs import duration, recorded_bytes
from wsi.evaluation.page import page, paragraph, plots, table
from wsi.evaluation.plots import Drawing, colour
from wsi.evaluation.repeats import repeated_auc
from wsi.evaluation.report import NOTICE, to_json
from wsi.evaluation.write import write_figures
from wsi.files import write_text

CELL_FILE = "cell.json"
STUDY_PAGE = "study.html"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training of a study, and its scores.

    Attributes:
        mpp, seed: which one.
        classes: K names.
        names, patients, labels: of the N slides that were scored; labels as class names.
        probabilities_nk: of each slide.
        training: ``seconds``, ``peak_host_bytes``, ``peak_device_bytes`` on a GPU.
        scoring: ``seconds_median`` of a slide, and the same peaks.
    """

    mpp: float
    seed: int
    classes: tuple[str, ...]
    names: tuple[str, ...]
    patients: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities_nk: tuple[tuple[float, ...], ...]
    training: Mapping[str, float]
    scoring: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """All seeds of one resolution.

    Attributes:
        mpp: micrometres per pixel.
        seeds: which were trained.
        slides: how many were scored by all of them.
        auc: mean over the seeds; the interval resamples patients and holds the models fixed.
        auc_low, auc_high: of the seeds: how much a training's chance does.
        seconds: median of the trainings.
        peak_bytes: highest of the trainings: the GPU's where they used one, else the host's.
        on_gpu: whose it is.
        score_seconds: median of a slide's.
        score_peak_bytes: highest, host.
    """

    mpp: float
    seeds: tuple[int, ...]
    slides: int
    auc: Estimate
    auc_low: float | None
    auc_high: float | None
    seconds: float
    peak_bytes: int
    on_gpu: bool
    score_seconds: float
    score_peak_bytes: int


def write_cell(folder: Path, cell: Cell) -> None:
    """Write a finished cell; its file is what says that it is finished.

    Raises:
        DatasetError: it cannot be written.
    """
    write_text(folder / CELL_FILE, json.dumps(asdict(cell), indent=1) + "\n")


def read_cell(folder: Path) -> Cell | None:
    """A finished cell; ``None`` where it is not finished.

    Raises:
        DatasetError: its file is damaged.
    """
    path = folder / CELL_FILE
    if not path.is_file():
        return None
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        for key in ("classes", "names", "patients", "labels"):
            data[key] = tuple(data[key])
        data["probabilities_nk"] = tuple(tuple(line) for line in data["probabilities_nk"])
        return Cell(**data)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: no finished cell; remove it to run it again: {error}"
        ) from None


def resolutions(cells: Sequence[Cell], spec: Bootstrap | None = None) -> list[Resolution]:
    """The cells by resolution, finest first.

    Raises:
        DatasetError: the cells of one resolution have no slide in common.
    """
    by_mpp: dict[float, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_mpp[cell.mpp].append(cell)
    return [_resolution(found, spec or Bootstrap()) for _, found in sorted(by_mpp.items())]


def _resolution(cells: Sequence[Cell], spec: Bootstrap) -> Resolution:
    first = cells[0]
    common = set(first.names).intersection(*(cell.names for cell in cells[1:]))
    rows = [index for index, name in enumerate(first.names) if name in common]
    if not rows:
        raise DatasetError(f"{first.mpp:g} um/px: no slide was scored by every seed")
    values = []
    for cell in cells:
        of_name = dict(zip(cell.names, cell.probabilities_nk, strict=True))
        values.append([of_name[first.names[index]] for index in rows])
    labels = np.array([first.classes.index(first.labels[index]) for index in rows])
    patients = np.array([first.patients[index] for index in rows], np.str_)
    auc_r, auc = repeated_auc(labels, np.array(values), patients, spec)
    known = auc.value is not None
    on_gpu = all("peak_device_bytes" in cell.training for cell in cells)
    peak = "peak_device_bytes" if on_gpu else "peak_host_bytes"
    return Resolution(
        mpp=first.mpp,
        seeds=tuple(sorted(cell.seed for cell in cells)),
        slides=len(rows),
        auc=auc,
        auc_low=float(auc_r.min()) if known else None,
        auc_high=float(auc_r.max()) if known else None,
        seconds=statistics.median(cell.training["seconds"] for cell in cells),
        peak_bytes=int(max(cell.training[peak] for cell in cells)),
        on_gpu=on_gpu,
        score_seconds=statistics.median(cell.scoring["seconds_median"] for cell in cells),
        score_peak_bytes=int(max(cell.scoring["peak_host_bytes"] for cell in cells)),
    )


def write_study(
    folder: Path, title: str, found: Sequence[Resolution], notes: Sequence[str]
) -> Path:
    """Write ``study.html``, ``study.json``, ``study.csv`` and the figure as SVG and PDF.

    Args:
        title: of the page.
        found: the resolutions.
        notes: sentences for the reader, such as cells that failed.

    Returns:
        The page.

    Raises:
        DatasetError: a file cannot be written.
    """
    shown = write_figures(
        folder,
        {"resolution": Drawing(accuracy_against_cost(found), "AUC against time and memory")},
    )
    data = {"notice": NOTICE, "title": title, "notes": list(notes), "resolutions": to_json(found)}
    write_text(folder / "study.json", json.dumps(data, indent=1, allow_nan=False) + "\n")
    write_text(folder / "study.csv", _csv(found))
    rows = [
        [
            f"{one.mpp:g}",
            len(one.seeds),
            one.slides,
            one.auc,
            "" if one.auc_low is None else f"{one.auc_low:.4f} to {one.auc_high:.4f}",
            duration(one.seconds),
            recorded_bytes(one.peak_bytes) + (" (GPU)" if one.on_gpu else ""),
            duration(one.score_seconds),
            recorded_bytes(one.score_peak_bytes),
        ]
        for one in found
    ]
    header = ["um/px", "seeds", "slides", "mean AUC (95 % by patient)", "AUC of seeds",
              "training", "its peak memory", "scoring a slide", "its peak memory"]  # fmt: skip
    parts = [
        *(paragraph(note) for note in notes),
        plots(shown),
        table("Accuracy and cost by resolution", header, rows),
        paragraph(
            "The interval resamples patients and does not cover retraining; the seeds' "
            "range shows what another training of the same kind may give. Times are medians over "
            "the seeds, on the machine that ran them."
        ),
    ]
    written = folder / STUDY_PAGE
    write_text(written, page(title, parts))
    return written


_LEAST_DRAWN = 0.05
"""Costs are noted to a tenth; a logarithmic axis has no place for zero."""


def accuracy_against_cost(found: Sequence[Resolution]) -> Figure:
    """AUC against seconds and against peak memory of a training, a point a resolution."""
    figure = Figure(figsize=(9.2, 4.2), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2, sharey=True)
    gpu = any(one.on_gpu for one in found)
    panels = (
        (time_axes, "training, seconds", [one.seconds for one in found]),
        (
            memory_axes,
            f"peak memory of training, GB ({'GPU' if gpu else 'host'})",
            [one.peak_bytes / 1e9 for one in found],
        ),
    )
    for axes, label, costs in panels:
        drawn = [max(cost, _LEAST_DRAWN) for cost in costs]
        # Limits of its own: matplotlib finds none around a single cost that is a power of ten.
        limits = (min(drawn) / 1.5, max(drawn) * 1.5)
        axes.set(xlabel=label, xscale="log", xlim=limits)
        axes.grid(alpha=0.3)
        for index, (one, cost) in enumerate(zip(found, drawn, strict=True)):
            if one.auc.value is None:
                continue
            value = one.auc.value
            low, high = (value if end is None else end for end in (one.auc.low, one.auc.high))
            reach = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.errorbar([cost], [value], yerr=reach, color=colour(index), marker="o", capsize=3)
            axes.annotate(
                f"{one.mpp:g} µm/px", (cost, value), xytext=(6, 5), textcoords="offset points",
                fontsize="small",
            )  # fmt: skip
    time_axes.set_ylabel("AUC")
    return figure


def _csv(found: Sequence[Resolution]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["mpp", "seeds", "slides", "auc", "auc_low", "auc_high", "auc_seeds_low", "auc_seeds_high",
         "train_seconds", "train_peak_bytes", "on_gpu", "score_seconds", "score_peak_bytes"]
    )  # fmt: skip
    for one in found:
        writer.writerow(
            [one.mpp, len(one.seeds), one.slides, one.auc.value, one.auc.low, one.auc.high,
             one.auc_low, one.auc_high, one.seconds, one.peak_bytes, int(one.on_gpu),
             one.score_seconds, one.score_peak_bytes]
        )  # fmt: skip
    return text.getvalue()
