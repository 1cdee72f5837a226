"""Training patches out of annotated slides, read live."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi.annotations import (
    Annotations,
    AnnotationSpec,
    LabelAreas,
    describe_overlaps,
    label_areas,
    largest_share,
    overlaps,
    rasterize,
    read_slide_annotations,
    shares_of,
)
from wsi.data.tables import Row, Split, read_table
from wsi.errors import ConfigError, DatasetError
from wsi.models.aggregators import BACKGROUND
from wsi.models.stain import StainNormalization, change_density, macenko_matrix
from wsi.patches import PatchGrid, PatchSpec, resolve_grid
from wsi.progress import Progress, no_progress
from wsi.seeding import mix_seed
from wsi.slides import SlideReader, open_slide, require_mpp
from wsi.slides.resolution import require_detail
from wsi.tissue import TissueMask, TissueSpec, find_tissue

_OPEN_SLIDES = 64
_ON_GLASS = 0.5
"""Above this share beside the tissue, annotations are likely shifted or of another slide."""


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """How a patch gets its label from the areas drawn on its slide.

    Where areas lie over each other, ``wsi.annotations.rule`` says which class counts.

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


@dataclass(frozen=True)
class LabelledSlide:
    """One slide's labelled patches.

    Attributes:
        row: its line in the table.
        path: its file.
        grid: the N patches that have a label.
        labels_n: (N,) index of the class.
        stain_33: matrix that normalizes its stain, or ``None``; see ``wsi.models.stain``.
    """

    row: Row
    path: Path
    grid: PatchGrid
    labels_n: NDArray[np.int64]
    stain_33: NDArray[np.float32] | None = None


class SlidePatches:
    """A PatchSource over slides; pixels are read when asked for.

    Args:
        slides: where the patches lie and what they are.
    """

    def __init__(self, slides: Sequence[LabelledSlide]) -> None:
        self._slides = tuple(slides)
        counts = [len(slide.labels_n) for slide in slides]
        self._which_n = np.repeat(np.arange(len(slides)), counts)
        self._cells_n2 = np.concatenate([slide.grid.cells_n2 for slide in slides])
        self.labels_n = np.concatenate([slide.labels_n for slide in slides])
        patients = np.array([slide.row.patient for slide in slides], np.str_)
        self.patients_n = patients[self._which_n]
        self.slides = tuple(slide.row.path for slide in slides)
        self._close_slides()

    def _close_slides(self) -> None:
        # Thousands of slides do not fit into a process's open files.
        self._open = lru_cache(maxsize=_OPEN_SLIDES)(self._open_slide)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._close_slides()

    def _open_slide(self, index: int) -> SlideReader:
        slide = self._slides[index]
        return open_slide(slide.path, mpp=slide.row.mpp, force_mpp=slide.row.force_mpp)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([self._one(int(index)) for index in indices])

    def _one(self, index: int) -> NDArray[np.uint8]:
        which = int(self._which_n[index])
        row, column = self._cells_n2[index]
        grid, stain_33 = self._slides[which].grid, self._slides[which].stain_33
        pixels = self._open(which).read_region(grid.region(int(row), int(column)), grid.size)
        return pixels if stain_33 is None else change_density(pixels, stain_33)

    def describe(self, index: int) -> str:
        slide = self._slides[int(self._which_n[index])]
        origin = slide.grid.origin(*self._cells_n2[index])
        return f"{slide.row.path} x={origin.x:.0f} y={origin.y:.0f} (patient {slide.row.patient})"


def annotated_patches(
    table: Path,
    classes: tuple[str, ...],
    *,
    mpp: float,
    size_px: int,
    unlabelled: str | None = None,
    class_map: Mapping[str, str | None] | None = None,
    annotation_spec: AnnotationSpec | None = None,
    stain_normalization: StainNormalization = "none",
    root: Path | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
    force_mpp: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[SlidePatches, SlidePatches]:
    """Training and validation patches of a table of annotated slides.

    Args:
        table: CSV with slide, annotations, patient and split; paths are relative to ``root``.
        classes: of the classifier. ``background`` is taken from bare glass automatically.
        mpp, size_px: of the patches.
        unlabelled: see ``LabelRules``.
        class_map: names in the annotation files to classes; ``None`` as a value leaves such
            areas out: the covered places get no label. The classes' own names need no entry.
        annotation_spec: the rest of how annotation files are taken; its classes are set here.
        stain_normalization: ``macenko`` brings every slide's stain to the reference's.
        root: the table's folder unless given.
        seed: which patches of glass are taken.
        progress: told about each slide.
        force_mpp: the table's resolutions count also where a slide states another one.
        tell: gets a sentence about what was cut, left out, ignored or decided on a slide.

    Raises:
        ConfigError: ``unlabelled`` or the class map names something that is not a class.
        MppError: a slide has no usable resolution, or is too coarse for the patches.
        DatasetError: a split without slides or a class without patches.
        AnnotationError: an annotation file is wrong.
        SlideError: a slide cannot be read.
    """
    if unlabelled is not None and unlabelled not in classes:
        raise ConfigError(
            f"unlabelled tissue cannot be of class {unlabelled!r}: not among the classes"
        )
    unknown = {name for name in (class_map or {}).values() if name is not None} - set(classes)
    if unknown:
        raise ConfigError(
            f"the class map names {', '.join(sorted(unknown))}: not among the classes"
        )
    table_rows = read_table(table, classes, root=root, needs_label=False, force_mpp=force_mpp)
    rows = [row for row in table_rows if row.split != "test"]
    rules = LabelRules(unlabelled=unlabelled)
    spec = PatchSpec(mpp=mpp, size_px=size_px)
    found: list[LabelledSlide] = []
    names = {**{name: name for name in classes}, **(class_map or {})}
    taken = replace(annotation_spec or AnnotationSpec(), classes=names)
    folder = root or table.parent
    for number, row in enumerate(rows):
        path = folder / row.path
        with open_slide(path, mpp=row.mpp, force_mpp=row.force_mpp) as slide:
            for text in (
                *slide.warnings,
                *require_detail(row.path, require_mpp(slide), mpp, "the training"),
            ):
                tell(f"{row.path}: {text}")
            areas = _areas(slide, folder, row, taken, tell)
            tissue = find_tissue(slide, TissueSpec())
            _tell_on_glass(areas, tissue, classes, row, tell)
            grid, labels_n = label_grid(
                slide, spec, tissue, areas, classes, rules, seed=mix_seed(seed, number)
            )
            macenko = stain_normalization == "macenko"
            stain_33 = macenko_matrix(slide, tissue) if macenko else None
        found.append(LabelledSlide(row, path, grid, labels_n, stain_33))
        progress("labelling slides", (number + 1) / len(rows))
    return _of_split(found, "train", table), _of_split(found, "val", table)


def _areas(
    slide: SlideReader,
    folder: Path,
    row: Row,
    spec: AnnotationSpec,
    tell: Callable[[str], None],
) -> LabelAreas:
    """What each class covers on a slide; tells what was cut, ignored or decided."""
    if not row.annotations:
        return label_areas(Annotations(row.path, ()))
    drawn = read_slide_annotations(folder / row.annotations, slide, spec)
    areas = label_areas(drawn)
    lines = [*drawn.warnings, *describe_overlaps(areas.overlaps, slide.mpp)]
    without = sum(int(shapely.get_dimensions(item.geometry)) < 2 for item in drawn)
    if without:
        lines.append(f"points and lines without an area, which give no label: {without}")
    for line in lines:
        tell(f"{row.path}: {line}")
    return areas


def _tell_on_glass(
    areas: LabelAreas,
    tissue: TissueMask,
    classes: tuple[str, ...],
    row: Row,
    tell: Callable[[str], None],
) -> None:
    """Annotations of another slide lie where there is no tissue."""
    names = [name for name in classes if name != BACKGROUND]
    drawn = rasterize(areas, tissue.size, tissue.mask.shape, names) >= 0
    share = float((drawn & ~tissue.mask).sum() / max(1, int(drawn.sum())))
    if share > _ON_GLASS:
        tell(
            f"{row.path}: {share:.0%} of the annotated area is outside the tissue; the "
            "annotations may be shifted or of another slide"
        )


def _of_split(found: Sequence[LabelledSlide], split: Split, table: Path) -> SlidePatches:
    slides = [slide for slide in found if slide.row.split == split]
    if not sum(len(slide.labels_n) for slide in slides):
        raise DatasetError(
            f"{table}: split {split} has no labelled patches; name annotation files in its column "
            "annotations, or give --unlabelled a class"
        )
    return SlidePatches(slides)


def label_grid(
    slide: SlideReader,
    spec: PatchSpec,
    tissue: TissueMask,
    areas: LabelAreas,
    classes: tuple[str, ...],
    rules: LabelRules,
    *,
    seed: int,
) -> tuple[PatchGrid, NDArray[np.int64]]:
    """The labelled patches of one slide.

    Args:
        slide: open slide.
        spec: which patches.
        tissue: the slide's tissue.
        areas: what each class covers on the slide.
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
    shares_nc = overlaps(areas, origins_n2, width, height, classes)
    left_out_n = shares_of(areas.left_out, origins_n2, width, height)
    tissue_n = tissue.shares(origins_n2, width, height)
    labels = largest_share(shares_nc, rules.min_share)
    bare = shares_nc.sum(1) + left_out_n <= rules.max_other
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
