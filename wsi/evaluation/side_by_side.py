"""The same slides through several pipelines: thumbnail, heatmaps, probability."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from wsi.errors import DatasetError
from wsi.evaluation.page import part
from wsi.evaluation.plots import Drawing
from wsi.evaluation.result_set import Matched, ResultSet

THUMBNAIL = "thumbnail.jpg"
"""The slide itself, as ``wsi analyze`` leaves it beside its results."""
_PICTURE_PX = 480
_IN_FIGURE = 4
"""Slides in the figure for a paper: more do not fit on a page."""


@dataclass(frozen=True, kw_only=True)
class ShownSlide:
    """One slide to show.

    Attributes:
        name: of the slide.
        positive: the truth.
        scores: of each set, in their order.
    """

    name: str
    positive: bool
    scores: tuple[float, ...]


@dataclass(frozen=True)
class _Picture:
    """One picture of a slide: its title, and its file."""

    title: str
    path: Path


def choose_slides(sets: Sequence[ResultSet], matched: Matched, count: int) -> list[ShownSlide]:
    """The slides whose scores lie furthest apart."""
    scores_sn = np.stack([matched.table.scores[one.title] for one in sets])
    order = np.argsort(-np.ptp(scores_sn, axis=0), kind="stable")[:count]
    return [
        ShownSlide(
            name=matched.names[index],
            positive=bool(matched.table.labels_n[index]),
            scores=tuple(float(score) for score in scores_sn[:, index]),
        )
        for index in order
    ]


def slides_as_html(
    sets: Sequence[ResultSet], slides: Sequence[ShownSlide], positive: str
) -> list[Markup]:
    """A section per slide.

    Raises:
        DatasetError: a picture cannot be read.
    """
    return [_section(sets, slide, positive) for slide in slides]


def _section(sets: Sequence[ResultSet], slide: ShownSlide, positive: str) -> Markup:
    titles = [one.title for one in sets]
    return part(
        "slide",
        slide.name,
        positive if slide.positive else f"not {positive}",
        positive,
        list(zip(titles, slide.scores, strict=True)),
        [
            (one.title, base64.b64encode(_small(one.path)).decode())
            for one in _pictures(sets, slide, positive)
        ],
    )


def _pictures(sets: Sequence[ResultSet], slide: ShownSlide, positive: str) -> list[_Picture]:
    """The thumbnail, then every set's layers; what is another set's own layer is not repeated."""
    found = []
    thumbnails = [one.results[slide.name].folder / THUMBNAIL for one in sets]
    if there := [path for path in thumbnails if path.is_file()]:
        found.append(_Picture("slide", there[0]))
    for one in sets:
        others = tuple(f"{other.pipeline}-" for other in sets if other is not one)
        result = one.results[slide.name]
        for layer in result.data["layers"]:
            path = result.picture(layer, positive)
            if path is not None and not layer.startswith(others):
                kind = layer.replace("gradcam", "Grad-CAM")
                found.append(_Picture(f"{one.title}: {kind} of {positive}", path))
    return found


def slide_figure(
    sets: Sequence[ResultSet], slides: Sequence[ShownSlide], positive: str
) -> Drawing | None:
    """The first slides as one figure; ``None`` where there are no pictures.

    Raises:
        DatasetError: a picture cannot be read.
    """
    rows = [(slide, _pictures(sets, slide, positive)) for slide in slides[:_IN_FIGURE]]
    rows = [(slide, pictures) for slide, pictures in rows if pictures]
    if not rows:
        return None
    columns = max(len(pictures) for _, pictures in rows)
    figure = Figure(figsize=(2.3 * columns, 2.7 * len(rows)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for row, (slide, pictures) in zip(parts, rows, strict=True):
        cells = row.subplots(1, columns, squeeze=False)[0]
        for cell in cells:
            cell.axis("off")
        for cell, one in zip(cells, pictures, strict=False):
            cell.imshow(np.asarray(_opened(one.path)))
            cell.set_title(one.title.replace(": ", ":\n"), fontsize=7)
        truth = positive if slide.positive else f"not {positive}"
        scores = ", ".join(
            f"{one.title} {score:.2f}" for one, score in zip(sets, slide.scores, strict=True)
        )
        row.suptitle(f"{slide.name} ({truth}): {scores}", fontsize=8, x=0.01, ha="left")
    return Drawing(figure, "The same slides through each")


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
    except OSError as error:
        raise DatasetError(f"{path}: the picture cannot be read: {error}") from error
    small.thumbnail((_PICTURE_PX, _PICTURE_PX))
    return small


def _small(path: Path) -> bytes:
    data = io.BytesIO()
    _opened(path).save(data, format="PNG")
    return data.getvalue()
