"""What aggregators are trained on, made from slides by a patch model. No pipeline of its own."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsi.data.tables import Row
from wsi.errors import DatasetError, WsiError
from wsi.files import write_text
from wsi.models.aggregators import (
    SlideFeatures,
    class_features,
    feature_names,
    slide_classes,
)
from wsi.models.detail import detail_warnings
from wsi.pipelines.patch import EMBEDDINGS, PatchPipeline
from wsi.progress import Progress, no_progress
from wsi.slide_names import slide_stem
from wsi.slides import open_slide
from wsi.slides.identity import slide_digest
from wsi.storage import SlideStore

BAGS_TABLE = "bags.csv"
_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class SlideOutcome:
    """How it went with one slide.

    Attributes:
        row: its line in the table.
        patches: how many were embedded; 0 where it was left out.
        problem: why it was left out, or empty.
        bag: of its embeddings, below the folder of inputs.
        warnings: sentences for people, where it was embedded all the same.
    """

    row: Row
    patches: int
    problem: str = ""
    bag: Path = Path()
    warnings: tuple[str, ...] = ()


def write_inputs(
    pipeline: PatchPipeline,
    rows: Sequence[Row],
    root: Path,
    out: Path,
    *,
    progress: Progress = no_progress,
    on_slide: Callable[[SlideOutcome], None] = lambda outcome: None,
) -> list[SlideOutcome]:
    """Embed slides and describe their heatmaps.

    Writes a slide store each, ``stores/NAME-DIGEST.zarr``, then ``bags.csv`` (for attention) and
    ``features_train.csv``, ``_val``, ``_test`` (for trees). A slide that fails is left out of the
    tables, and the others go on. Run again, what is in a store already is not made again; a file
    that was replaced has another digest, and so a store of its own.

    Args:
        rows: labelled slides.
        root: what their paths are relative to.
        out: folder to write into.

    Returns:
        One outcome a slide.

    Raises:
        DatasetError: two slides have one name, or a file cannot be written.
    """
    names = [slide_stem(row.path) for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DatasetError(f"two slides are called {twice[0]}: their stores would be one")
    classes = slide_classes(pipeline.card.classes)
    columns = feature_names(classes)
    outcomes, bags = [], []
    tables: dict[str, list[list[str]]] = {}
    for row, name in zip(rows, names, strict=True):
        assert row.label is not None
        features, outcome = _one(pipeline, row, root, out, progress)
        outcomes.append(outcome)
        on_slide(outcome)
        if features is None or features.probability_chw is None:
            continue
        label = classes[row.label]
        bags.append([outcome.bag.as_posix(), label, row.patient, row.split])
        found = class_features(features.probability_chw, features.classes)
        line = [name, label, row.patient, *(repr(found[key]) for key in columns)]
        tables.setdefault(row.split, []).append(line)
    _write_csv(out / BAGS_TABLE, ["path", "label", "patient", "split"], bags)
    for split, lines in tables.items():
        header = ["name", "tumor", "patient", *columns]
        _write_csv(out / f"features_{split}.csv", header, lines)
    return outcomes


def _one(
    pipeline: PatchPipeline, row: Row, root: Path, out: Path, progress: Progress
) -> tuple[SlideFeatures | None, SlideOutcome]:
    try:
        with open_slide(root / row.path, mpp=row.mpp, force_mpp=row.force_mpp) as slide:
            digest = slide_digest(slide)
            place = Path("stores") / f"{slide_stem(row.path)}-{digest[:_DIGITS]}.zarr"
            store = SlideStore(str(out / place))
            store.claim(digest, slide.name)
            features = pipeline.slide_features(slide, store, progress)
            bag = place / EMBEDDINGS / pipeline.features_digest(slide)
            warnings = (*slide.warnings, *detail_warnings(pipeline.card, slide))
    except WsiError as error:
        return None, SlideOutcome(row=row, patches=0, problem=str(error))
    if features is None:
        problem = f"{row.path}: no tissue was found on this slide"
        return None, SlideOutcome(row=row, patches=0, problem=problem)
    patches = len(features.probabilities_nc)
    return features, SlideOutcome(row=row, patches=patches, bag=bag, warnings=warnings)


def _write_csv(path: Path, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    write_text(path, text.getvalue())
