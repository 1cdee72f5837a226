"""What a patch classifier learned, as one HTML page beside its bundle."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.metrics import confusion_matrix

from wsi.data.patches import PatchSource
from wsi.evaluation.page import heading, page, paragraph, picture, plot, plots, table
from wsi.evaluation.plots import draw
from wsi.evaluation.report import evaluate_table
from wsi.evaluation.score_table import ScoreTable
from wsi.evaluation.write import draw_all, tables
from wsi.files import write_text

_WORST = 24
_TILE_PX = 96
_COLUMNS = 8


def write_training_report(
    path: Path,
    title: str,
    source: PatchSource,
    probabilities_nc: NDArray[np.float32],
    classes: tuple[str, ...],
    history: Sequence[dict[str, float | None]],
) -> Path:
    """Curves, calibration, confusion and the worst mistakes on held-out patches.

    Args:
        path: the HTML file.
        title: of the page.
        source: the held-out patches.
        probabilities_nc: (N, C) of each of them.
        classes: the C names; each but the first is judged against the rest.
        history: figures of each epoch.

    Returns:
        ``path``.

    Raises:
        DatasetError: it cannot be written.
    """
    parts = [
        paragraph(
            f"{len(source.labels_n)} held-out patches of {len(set(source.patients_n))} patients; "
            "the epoch was chosen on the same patches, so expect a little less on new ones."
        ),
        plots([plot(_learning_curve(history), "Loss and validation AUC by epoch")]),
        _confusion(source.labels_n, probabilities_nc, classes),
    ]
    for index, name in enumerate(classes[1:], start=1):
        scores = ScoreTable(
            source=title,
            labels_n=source.labels_n == index,
            scores={name: probabilities_nc[:, index].astype(np.float64)},
            patients_n=source.patients_n,
            by_patient=True,
            groups={},
        )
        evaluation = evaluate_table(scores)
        drawn = draw_all(evaluation, scores)
        parts += [
            heading(f"{name} against the rest"),
            plots([plot(draw(one.figure), one.words) for one in drawn.values()]),
            *tables(evaluation),
        ]
    parts += _worst(source, probabilities_nc, classes)
    write_text(path, page(title, parts))
    return path


def _learning_curve(history: Sequence[dict[str, float | None]]) -> str:
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.add_subplot()
    # A figure that is not known leaves a gap.
    epochs, losses, areas = (
        np.array([entry[name] for entry in history], np.float64)
        for name in ("epoch", "loss", "validation_auc")
    )
    axes.plot(epochs, losses, ".-", color="#777777", label="training loss")
    axes.set(xlabel="epoch", ylabel="training loss")
    right = axes.twinx()
    right.plot(epochs, areas, ".-", label="validation AUC")
    right.set_ylabel("validation AUC")
    figure.legend(loc="outside upper center", ncols=2)
    return draw(figure)


def _confusion(
    labels_n: NDArray[np.int64], probabilities_nc: NDArray[np.float32], classes: tuple[str, ...]
) -> str:
    counts = confusion_matrix(
        labels_n, probabilities_nc.argmax(1), labels=list(range(len(classes)))
    )
    rows = [[name, *map(int, line)] for name, line in zip(classes, counts, strict=True)]
    return table("Confusion: true class by row", ["true", *classes], rows)


def _worst(
    source: PatchSource, probabilities_nc: NDArray[np.float32], classes: tuple[str, ...]
) -> list[str]:
    """The patches whose true class got least, as a contact sheet and a list."""
    labels = source.labels_n
    given = probabilities_nc[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(probabilities_nc.argmax(1) != labels)
    worst = wrong[np.argsort(given[wrong], kind="stable")][:_WORST]
    if not len(worst):
        return [heading("Worst mistakes"), paragraph("None: every patch was called right.")]
    rows = -(-len(worst) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _TILE_PX, rows * _TILE_PX), "white")
    pen = ImageDraw.Draw(sheet)
    for place, pixels in enumerate(source.read(worst)):
        corner = (place % _COLUMNS * _TILE_PX, place // _COLUMNS * _TILE_PX)
        sheet.paste(Image.fromarray(pixels).resize((_TILE_PX - 4, _TILE_PX - 4)), corner)
        pen.text(
            (corner[0] + 3, corner[1] + 2),
            str(place + 1),
            fill="black",
            stroke_width=2,
            stroke_fill="white",
        )
    data = io.BytesIO()
    sheet.save(data, "PNG")
    lines = [
        [
            place + 1,
            source.describe(int(index)),
            classes[labels[index]],
            classes[int(probabilities_nc[index].argmax())],
            f"{given[index]:.3f}",
        ]
        for place, index in enumerate(worst)
    ]
    return [
        heading("Worst mistakes"),
        picture(data.getvalue(), "png", "The patches whose true class got the least probability"),
        table("By number", ["", "patch", "true", "called", "probability of the true"], lines),
    ]
