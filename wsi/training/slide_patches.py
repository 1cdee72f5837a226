"""Training patches out of annotated slides, read live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi.annotations import Annotations, AnnotationSpec, overlaps, read_annotations
from wsi.errors import ConfigError, DatasetError
from wsi.models.aggregators import BACKGROUND
from wsi.patches import PatchGrid, PatchSpec, resolve_grid
from wsi.progress import Progress, no_progress
from wsi.slides import SlideReader, open_slide
from wsi.tissue import TissueSpec, find_tissue
from wsi.training.loop import mix_seed
from wsi.training.tables import Row, Split, read_table


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """How a patch gets its label from the areas drawn on its slide.

    Attributes:
        min_share: least share of a patch that lies in a class's areas to be of that class.
        max_other: most share of annotated area that an unannotated patch may hold; those between
            lie on an outline and are left out.
        min_tissue: least share of tissue of an unannotated patch.
        unlabelled: class of tissue outside every area; ``None`` leaves it out.
        background_per_slide: most patches of bare glass taken from a slide.
    """

    min_share: float = 0.5
    max_other: float = 0.02
    min_tissue: float = 0.3
    unlabelled: str | None = None
    background_per_slide: int = 40


class SlidePatches:
    """A PatchSource over slides; pixels are read when asked for.

    Args:
        slides: one open slide, its row and grid each.
        labels: label of each grid's patches, in the grid's order.
    """

    def __init__(
        self,
        slides: Sequence[tuple[SlideReader, Row, PatchGrid]],
        labels: Sequence[NDArray[np.int64]],
    ) -> None:
        self._slides = tuple(slides)
        self._which_n = np.repeat(np.arange(len(slides)), [len(part) for part in labels])
        self._cells_n2 = np.concatenate([grid.cells_n2 for _, _, grid in slides])
        self.labels_n = np.concatenate(list(labels))
        patients = np.array([row.patient for _, row, _ in slides], np.str_)
        self.patients_n = patients[self._which_n]

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([self._one(int(index)) for index in indices])

    def _one(self, index: int) -> NDArray[np.uint8]:
        slide, _, grid = self._slides[int(self._which_n[index])]
        row, column = self._cells_n2[index]
        return slide.read_region(grid.region(int(row), int(column)), grid.size)

    def describe(self, index: int) -> str:
        slide, row, grid = self._slides[int(self._which_n[index])]
        origin = grid.origin(*self._cells_n2[index])
        return f"{slide.name} x={origin.x:.0f} y={origin.y:.0f} (patient {row.patient})"


def annotated_patches(
    table: Path,
    classes: tuple[str, ...],
    *,
    mpp: float,
    size_px: int,
    unlabelled: str | None = None,
    class_map: Mapping[str, str | None] | None = None,
    root: Path | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> tuple[SlidePatches, SlidePatches]:
    """Training and validation patches of a table of annotated slides.

    Args:
        table: CSV with slide, annotations, patient and split; paths are relative to ``root``.
        classes: of the classifier. ``background`` is taken from bare glass by itself.
        mpp, size_px: of the patches.
        unlabelled: see ``LabelRules``.
        class_map: names in the annotation files to classes; ``None`` as a value leaves such
            areas out. The classes' own names need no entry.
        root: the table's folder unless given.
        seed: which patches of glass are taken.
        progress: told about each slide.

    Raises:
        DatasetError: a split without slides or a class without patches.
        AnnotationError: an annotation file is wrong.
        SlideError: a slide cannot be read.
    """
    if unlabelled is not None and unlabelled not in classes:
        raise ConfigError(f"unlabelled tissue cannot be {unlabelled!r}: not among the classes")
    table_rows = read_table(table, classes, needs_label=False)
    rows = [row for row in table_rows if row.split != "test"]
    rules = LabelRules(unlabelled=unlabelled)
    spec = PatchSpec(mpp=mpp, size_px=size_px)
    found: dict[Split, list[tuple[tuple[SlideReader, Row, PatchGrid], NDArray[np.int64]]]] = {}
    names = AnnotationSpec(classes={**{name: name for name in classes}, **(class_map or {})})
    folder = root or table.parent
    for number, row in enumerate(rows):
        slide = open_slide(folder / row.path, mpp=row.mpp)
        drawn = (
            read_annotations(folder / row.annotations, slide.size, names)
            if row.annotations
            else Annotations(row.path, ())
        )
        grid, labels = label_grid(slide, spec, drawn, classes, rules, seed=mix_seed(seed, number))
        found.setdefault(row.split, []).append(((slide, row, grid), labels))
        progress("labelling slides", (number + 1) / len(rows))
    return _source(found, "train", table), _source(found, "val", table)


def _source(
    found: dict[Split, list[tuple[tuple[SlideReader, Row, PatchGrid], NDArray[np.int64]]]],
    split: Split,
    table: Path,
) -> SlidePatches:
    parts = found.get(split, [])
    if not sum(len(labels) for _, labels in parts):
        raise DatasetError(f"{table}: split {split} has no labelled patches")
    return SlidePatches([slide for slide, _ in parts], [labels for _, labels in parts])


def label_grid(
    slide: SlideReader,
    spec: PatchSpec,
    drawn: Annotations,
    classes: tuple[str, ...],
    rules: LabelRules,
    *,
    seed: int,
) -> tuple[PatchGrid, NDArray[np.int64]]:
    """The labelled patches of one slide.

    Args:
        slide: open slide.
        spec: which patches.
        drawn: the slide's annotations.
        classes: of the classifier.
        rules: how areas make labels.
        seed: which patches of glass are taken.

    Returns:
        A grid with the N patches that have a label, and (N,) their labels.
    """
    grid = resolve_grid(slide, spec, None)
    rows, columns = grid.cells_n2.T
    origins_n2 = np.stack([columns * grid.stride_level0[0], rows * grid.stride_level0[1]], axis=1)
    width, height = grid.patch_level0
    shares_nc = overlaps(drawn, origins_n2, width, height, classes)
    tissue_n = find_tissue(slide, TissueSpec()).shares(origins_n2, width, height)
    labels = np.full(len(grid), -1, np.int64)
    covered = shares_nc.max(1) >= rules.min_share
    labels[covered] = shares_nc[covered].argmax(1)
    bare = shares_nc.sum(1) <= rules.max_other
    if rules.unlabelled is not None:
        labels[bare & (tissue_n >= rules.min_tissue)] = classes.index(rules.unlabelled)
    if BACKGROUND in classes:
        glass = np.flatnonzero(bare & (tissue_n == 0))
        taken = np.random.default_rng(seed).permutation(glass)[: rules.background_per_slide]
        labels[taken] = classes.index(BACKGROUND)
    kept = labels >= 0
    thinned = PatchGrid(
        spec=grid.spec,
        patch_level0=grid.patch_level0,
        stride_level0=grid.stride_level0,
        shape=grid.shape,
        cells_n2=grid.cells_n2[kept],
    )
    return thinned, labels[kept]
