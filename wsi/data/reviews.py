"""From reviewed slides to a training table: what was drawn, and what was said of hotspots."""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import shapely
from shapely.geometry.base import BaseGeometry

from wsi.annotations import Annotation, Annotations, write_geojson
from wsi.annotations.annotation import polygonal
from wsi.errors import DatasetError
from wsi.files import atomic_write

TABLE = "table.csv"
_COLUMNS = ("slide", "annotations", "patient", "split", "mpp", "diagnosis", "slide_id")
_FILLED_IN = ("slide", "patient", "split")
"""Columns that people correct: a later export keeps them."""


@dataclass(frozen=True, kw_only=True)
class DecidedHotspot:
    """A hotspot that a reader agreed or disagreed with.

    Attributes:
        class_name: what the model took it for.
        polygon: level-0 px.
        decision: the reader's word.
    """

    class_name: str
    polygon: BaseGeometry
    decision: Literal["agree", "disagree"]


@dataclass(frozen=True, kw_only=True)
class ReviewedSlide:
    """A slide that somebody has reviewed.

    Attributes:
        id, name: of the slide.
        path: where its file lies, as the table shall say; its name alone where that is not known.
        mpp: micrometres per level-0 pixel.
        diagnosis: of the review, for people.
        regions: what training learns from.
    """

    id: str
    name: str
    path: str
    mpp: float | None
    diagnosis: str
    regions: Annotations


def training_regions(
    source: str, drawn: Iterable[Annotation], spots: Sequence[DecidedHotspot], negative: str
) -> Annotations:
    """Labelled regions that do not contradict each other.

    What was drawn counts as it is. A hotspot that was agreed with is of its class, one that was
    disagreed with is of class ``negative``: an example that the model got wrong. Where they lie
    over each other, what was drawn wins, then what was agreed with. Points and measurements have
    no area and are left out.

    Args:
        source: name of the slide, for messages.
        drawn: annotations, level-0 px.
        spots: hotspots with the reader's word.
        negative: class of what the model took wrongly for disease.
    """
    regions = [
        Annotation(item.class_name, area)
        for item in drawn
        if not (area := polygonal(item.geometry)).is_empty
    ]
    for decision in ("agree", "disagree"):
        taken = shapely.union_all([region.geometry for region in regions])
        for spot in spots:
            if spot.decision != decision:
                continue
            rest = polygonal(shapely.make_valid(spot.polygon).difference(taken))
            if rest.area > 0:
                name = spot.class_name if decision == "agree" else negative
                regions.append(Annotation(name, rest, "hotspot"))
    return Annotations(source, tuple(regions))


def write_training_set(
    folder: Path, slides: Sequence[ReviewedSlide], *, val_share: float = 0.2
) -> Path:
    """Write ``table.csv`` and a GeoJSON file a slide; the table's path.

    Patients are not known here: each slide counts as a patient of its own until somebody writes
    otherwise. What was written into the columns slide, patient and split stays at the next export.

    Args:
        folder: is made.
        slides: at least one.
        val_share: share of the patients for validation.

    Raises:
        DatasetError: there is no slide, or the folder cannot be written.
    """
    if not slides:
        raise DatasetError("no reviewed slide has a region to train from")
    table = folder / TABLE
    kept = _read_kept(table)
    splits = _splits([slide.name for slide in slides], val_share)
    rows = []
    for slide in slides:
        safe_name = re.sub(r"[^\w.-]", "_", slide.name)
        file = f"annotations/{safe_name}-{slide.id[:8]}.geojson"
        row = {
            "slide": slide.path,
            "annotations": file,
            "patient": slide.name,
            "split": splits[slide.name],
            "mpp": "" if slide.mpp is None else repr(slide.mpp),
            "diagnosis": slide.diagnosis,
            "slide_id": slide.id,
        }
        row |= {name: text for name, text in kept.get(slide.id, {}).items() if text}
        # A file that was found now is better than the mere name that was written before.
        if row["slide"] == slide.name:
            row["slide"] = slide.path
        rows.append(row)
    try:
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        for row, slide in zip(rows, slides, strict=True):
            write_geojson(slide.regions, folder / row["annotations"])
        with atomic_write(table) as scratch, scratch.open("w", newline="", encoding="utf-8") as out:
            writer = csv.DictWriter(out, _COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise DatasetError(f"{folder}: not written: {error.strerror or error}") from error
    return table


def _read_kept(table: Path) -> dict[str, dict[str, str]]:
    """What people wrote into an earlier table, by slide id."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8-sig") as file:
        return {
            line["slide_id"]: {name: line.get(name) or "" for name in _FILLED_IN}
            for line in csv.DictReader(file)
            if line.get("slide_id")
        }


def _splits(patients: Sequence[str], val_share: float) -> dict[str, Literal["train", "val"]]:
    """A patient stays on its side when others come; neither side is empty if that can be."""
    draws = {name: int(sha256(name.encode()).hexdigest()[:8], 16) / 16**8 for name in patients}
    splits: dict[str, Literal["train", "val"]] = {
        name: "val" if draw < val_share else "train" for name, draw in draws.items()
    }
    if len(splits) > 1 and len(set(splits.values())) == 1:
        lonely: Literal["train", "val"] = "val" if "train" in splits.values() else "train"
        pick = min if lonely == "val" else max
        splits[pick(draws, key=lambda name: draws[name])] = lonely
    return splits
