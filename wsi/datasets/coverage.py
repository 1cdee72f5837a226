"""How much of the tissue is annotated, class by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsi.annotations import (
    NO_LABEL,
    Annotations,
    describe_overlaps,
    label_areas,
    rasterize,
    read_slide_annotations,
)
from wsi.datasets.table import Entry, Problem, few
from wsi.errors import WsiError
from wsi.geometry import Mpp
from wsi.progress import Progress, no_progress
from wsi.slides import open_slide
from wsi.tissue import TissueMask, TissueSpec, find_tissue

_ON_GLASS = 0.5
"""Above this share beside the tissue, an annotation is likely shifted or of another slide."""


@dataclass(frozen=True, kw_only=True)
class SlideCoverage:
    """One annotated slide.

    Attributes:
        entry: its line.
        shares: class to the share of the slide's tissue that is annotated so. Where areas lie
            over each other, the class that counts by ``wsi.annotations.rule``.
        any_share: share of the tissue that is annotated at all.
        on_glass: share of the annotated area that lies beside the tissue.
        notes: what was cut, ignored, assumed or decided when the annotations were read.
    """

    entry: Entry
    shares: dict[str, float]
    any_share: float
    on_glass: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """All annotated slides.

    Attributes:
        slides: those that could be looked at.
        annotated, unannotated: how many lines name annotations and how many do not.
        problems: what went wrong, and what looks wrong.
    """

    slides: tuple[SlideCoverage, ...]
    annotated: int
    unannotated: int
    problems: tuple[Problem, ...]

    def by_class(self) -> dict[str, tuple[int, float]]:
        """Class to the number of slides that have it and its mean share of their tissue."""
        names = sorted({name for slide in self.slides for name in slide.shares})
        found = {
            name: [slide.shares[name] for slide in self.slides if name in slide.shares]
            for name in names
        }
        return {name: (len(shares), float(np.mean(shares))) for name, shares in found.items()}


def measure_coverage(
    entries: Sequence[Entry],
    root: Path,
    *,
    spec: TissueSpec | None = None,
    progress: Progress = no_progress,
) -> Coverage:
    """Look at every slide that has annotations; one that fails is a problem, and the rest go on.

    Args:
        root: folder that slides and annotations are relative to.
        spec: of the tissue.
        progress: told about each slide.
    """
    named = [entry for entry in entries if entry.annotations]
    slides, problems = [], []
    for number, entry in enumerate(named):
        try:
            slides.append(_one(entry, root, spec or TissueSpec()))
        except WsiError as error:
            message = f"{entry.path}: its annotations cannot be used: {error}"
            problems.append(Problem(severity="error", kind="annotation", message=message))
        progress("measuring annotations", (number + 1) / len(named))
    shifted = [one.entry.path for one in slides if one.on_glass > _ON_GLASS]
    if shifted:
        message = (
            f"{len(shifted)} slide(s) with more than half of the annotated area outside the "
            f"tissue: {few(shifted)}; the annotations may be shifted or of another slide"
        )
        problems.append(Problem(severity="warning", kind="annotation_on_glass", message=message))
    problems += [
        Problem(
            severity="warning",
            kind="annotation_note",
            message=f"{one.entry.path}: {'; '.join(one.notes)}",
        )
        for one in slides
        if one.notes
    ]
    bare = [entry for entry in entries if not entry.annotations]
    return Coverage(
        slides=tuple(slides),
        annotated=len(named),
        unannotated=len(bare),
        problems=tuple(problems),
    )


def _one(entry: Entry, root: Path, spec: TissueSpec) -> SlideCoverage:
    with open_slide(root / entry.path, mpp=entry.given_mpp) as slide:
        drawn = read_slide_annotations(root / entry.annotations, slide)
        tissue, mpp = find_tissue(slide, spec), slide.mpp
    return coverage_of(entry, drawn, tissue, mpp)


def coverage_of(
    entry: Entry, drawn: Annotations, tissue: TissueMask, mpp: Mpp | None = None
) -> SlideCoverage:
    """The coverage of one slide, on the grid of its tissue mask; ``mpp`` makes px mm2 in notes."""
    whole = max(1, int(tissue.mask.sum()))
    areas = label_areas(drawn)
    grid = rasterize(areas, tissue.size, tissue.mask.shape, drawn.classes)
    anywhere = grid != NO_LABEL
    shares = {
        name: float(((grid == number) & tissue.mask).sum() / whole)
        for number, name in enumerate(drawn.classes)
    }
    return SlideCoverage(
        entry=entry,
        shares=shares,
        any_share=float((anywhere & tissue.mask).sum() / whole),
        on_glass=float((anywhere & ~tissue.mask).sum() / max(1, int(anywhere.sum()))),
        notes=(*drawn.warnings, *describe_overlaps(areas.overlaps, mpp)),
    )
