"""Collages of real patches as slides: a slide a patient, its patches on white glass."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from benchmarks.idc_patches import CLASSES, STATED_MPP, STATED_PX
from wsi.data.patches import TablePatches
from wsi.data.tables import Row, read_table
from wsi.testing.slides import collage_slide, write_geojson

MOST_PATCHES = 14
LEAST_PATCHES = 4


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A set of collages and the resolutions to train at.

    Attributes:
        enlarge: pixels of a slide for each pixel of a patch, by bilinear interpolation.
        margin: patches' widths of glass around the tissue.
        epochs: of each training.
    """

    enlarge: int
    margin: int
    epochs: int


OWN = Scale(enlarge=1, margin=1, epochs=15)


def draw_slides(data: Path, folder: Path, scale: Scale) -> list[Row]:
    """Write a collage a patient and where its cancer lies; the rows of the training table."""
    archive, table = data / "idc_patches.zip", read_table(data / "idc_patches.csv", CLASSES)
    patients: dict[str, list[Row]] = {}
    for row in table:
        patients.setdefault(row.patient, []).append(row)
    rng = np.random.default_rng(0)
    rows = []
    for patient, own in sorted(patients.items()):
        positive = bool(rng.integers(2))
        chosen = _choose(own, positive, rng)
        if chosen is None:  # too few patches of that kind: the other kind of slide
            positive = not positive
            chosen = _choose(own, positive, rng)
        if chosen is None:
            continue
        side = STATED_PX * scale.enlarge
        source = TablePatches(chosen, archive, side)
        name, drawn = f"{patient}.tif", f"{patient}.geojson"
        grid = collage_slide(
            folder / name,
            source.read(np.arange(len(chosen))),
            STATED_MPP / scale.enlarge,
            seed=int(patient),
            margin=scale.margin,
        )
        cancer = np.argwhere((grid >= 0) & (np.array([row.label for row in chosen])[grid] == 1))
        corners = (cancer[:, ::-1] + scale.margin) * side
        boxes = [shapely.box(x, y, x + side, y + side) for x, y in corners.tolist()]
        write_geojson(folder / drawn, [("cancer", box) for box in boxes])
        rows.append(
            Row(
                path=name,
                label=int(positive),
                patient=patient,
                split=own[0].split,
                annotations=drawn,
            )
        )
    return rows


def draw_only(data: Path, folder: Path) -> None:
    """The slides at the patches' own scale, and ``all.csv``, a training table of them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = draw_slides(data, folder, OWN)
    with (folder / "all.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "patient", "annotations"])
        for row in rows:
            table.writerow([row.path, CLASSES[row.label or 0], row.patient, row.annotations])


def _choose(own: list[Row], positive: bool, rng: np.random.Generator) -> list[Row] | None:
    """The patches of one slide, as many whatever its label; ``None`` where there are too few."""
    kinds = [[row for row in own if row.label == label] for label in (0, 1)]
    for rows in kinds:
        rng.shuffle(rows)  # type: ignore[arg-type]
    half = MOST_PATCHES // 2
    chosen = kinds[1][:half] + kinds[0][:half] if positive else kinds[0][:MOST_PATCHES]
    enough = len(chosen) >= LEAST_PATCHES and (not positive or len(kinds[1]) >= 2)
    return chosen if enough else None
