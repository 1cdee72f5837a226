"""What a fusion is fitted on: its members' scores of held-out slides. No pipeline of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsi.data.tables import Row
from wsi.errors import DatasetError, WsiError
from wsi.pipelines.members import Member
from wsi.progress import Progress, no_progress
from wsi.slide_names import slide_stem
from wsi.slides import open_slide
from wsi.slides.identity import slide_digest
from wsi.storage import SlideResult, SlideStore
from wsi.training.fusion import HeldOut


@dataclass(frozen=True, kw_only=True)
class ScoredSlide:
    """How it went with one slide.

    Attributes:
        row: its line in the table.
        results: of each member; empty where it was left out.
        problem: why it was left out, or empty.
    """

    row: Row
    results: tuple[SlideResult, ...] = ()
    problem: str = ""


def score_slides(
    members: Sequence[Member],
    rows: Sequence[Row],
    root: Path,
    folder: Path,
    *,
    progress: Progress = no_progress,
    on_slide: Callable[[ScoredSlide], None] = lambda scored: None,
) -> list[ScoredSlide]:
    """Every member on every slide; a slide that fails is left out and the others go on.

    Args:
        rows: slides with their labels.
        root: what their paths are relative to.
        folder: slide stores, ``NAME/store.zarr``, as ``wsi analyze --out`` leaves them; what is
            there already is not computed again.

    Raises:
        DatasetError: two slides have one name.
    """
    names = [slide_stem(row.path) for row in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DatasetError(f"two slides are called {twice[0]}: their stores would be one")
    outcomes = []
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        outcome = _one(members, row, root, folder / name, progress)
        outcomes.append(outcome)
        on_slide(outcome)
        progress("scoring", (number + 1) / len(rows))
    return outcomes


def _one(
    members: Sequence[Member], row: Row, root: Path, folder: Path, progress: Progress
) -> ScoredSlide:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open_slide(root / row.path, mpp=row.mpp, force_mpp=row.force_mpp) as slide:
            store = SlideStore(str(folder / "store.zarr"))
            store.claim(slide_digest(slide), slide.name)
            results = tuple(member.result(slide, store, progress)[0] for member in members)
    except WsiError as error:
        return ScoredSlide(row=row, problem=str(error))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be made: {error}") from error
    if any(result.outcome != "scored" for result in results):
        return ScoredSlide(row=row, problem=f"{row.path}: no tissue was found on this slide")
    return ScoredSlide(row=row, results=results)


def held_out_of(outcomes: Sequence[ScoredSlide], classes: tuple[str, ...]) -> HeldOut:
    """The scores of the slides that were scored.

    Raises:
        DatasetError: there is none.
    """
    scored = [one for one in outcomes if one.results]
    if not scored:
        raise DatasetError("none of the slides could be scored by all members")
    values = [
        [[result.probabilities[name] for name in classes] for result in one.results]
        for one in scored
    ]
    return HeldOut(
        names=tuple(slide_stem(one.row.path) for one in scored),
        patients_n=np.array([one.row.patient for one in scored], np.str_),
        labels_n=np.array([one.row.label for one in scored], np.int64),
        members_mnk=np.array(values, np.float64).transpose(1, 0, 2),
    )
