"""Result sets: what ``wsi analyze`` left of many slides, with the slides' labels."""

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsi.errors import DatasetError
from wsi.evaluation.score_table import YES_OR_NO, ScoreTable, negatives_of, truth_of
from wsi.identifiers import NOT_GIVEN, identifiers_of
from wsi.slide_names import slide_stem
from wsi.tables import need_columns, read_lines


@dataclass(frozen=True, kw_only=True)
class StoredResult:
    """One slide's result on disk.

    Attributes:
        name: the slide's folder in the set: its file name without the ending.
        data: what ``result_to_json`` wrote.
        folder: where pictures lie: ``PIPELINE-LAYER-CLASS.png``.
    """

    name: str
    data: Mapping[str, Any]
    folder: Path

    @property
    def scored(self) -> bool:
        """Whether there are probabilities."""
        return bool(self.data["outcome"] == "scored")

    @property
    def seconds(self) -> float:
        """Wall-clock time of the analysis."""
        return float(sum(self.data["timings_s"].values()))

    def picture(self, layer: str, class_name: str) -> Path | None:
        """The overlay of a layer, where it was drawn."""
        path = self.folder / f"{self.data['pipeline']}-{layer}-{class_name}.png"
        return path if path.is_file() else None


@dataclass(frozen=True, kw_only=True)
class ResultSet:
    """One model's results on many slides.

    Attributes:
        title: how reports call it.
        pipeline, model: whose results they are.
        results: by the slide's name.
    """

    title: str
    pipeline: str
    model: str
    results: Mapping[str, StoredResult]


def read_results(folder: Path, pipeline: str, *, title: str | None = None) -> ResultSet:
    """Every result of a pipeline below a folder that ``wsi analyze --out`` wrote.

    Raises:
        DatasetError: there is none, one is damaged, or they are of several models.
    """
    found = {}
    for path in sorted(folder.glob(f"*/{pipeline}.json")):
        try:
            data = json.loads(path.read_text())
            result = StoredResult(name=path.parent.name, data=data, folder=path.parent)
            _ = (result.scored, result.seconds, data["probabilities"], data["model_digest"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(f"{path}: not a result of wsi analyze: {error}") from error
        found[result.name] = result
    if not found:
        raise DatasetError(f"{folder}: no results of pipeline {pipeline!r} (SLIDE/{pipeline}.json)")
    models = {(r.data["model"], r.data["model_digest"]) for r in found.values()}
    if len(models) > 1:
        raise DatasetError(
            f"{folder}: results of {len(models)} different models "
            f"({', '.join(sorted({name for name, _ in models}))}); analyze all slides with one"
        )
    model = next(iter(models))[0]
    return ResultSet(
        title=title or f"{pipeline} ({model})", pipeline=pipeline, model=model, results=found
    )


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Slides that every set has scored and that have a label.

    Attributes:
        names: of the slides, in the order of ``table``.
        table: truth and a score column a set, named by its title.
        left_out: slide to the reason why it is not among them.
    """

    names: tuple[str, ...]
    table: ScoreTable
    left_out: Mapping[str, str]


def match_results(
    sets: tuple[ResultSet, ...],
    labels: Path,
    *,
    positive: str,
    negative: Collection[str] = (),
    slide: str = "slide",
    label: str = "label",
    patient: str | None = None,
    split: str | None = None,
) -> Matched:
    """Put result sets beside the truth.

    Args:
        sets: with different titles.
        labels: CSV with a line a slide; the slide by file name, with or without its ending.
        positive: class whose probability is the score; labels are its name, another, or 1 and 0.
        negative: labels of negative slides, where there are others than the models' classes.
        slide, label, patient: columns.
        split: of a training table, the lines to take; its column is called ``split``.

    Raises:
        DatasetError: a column is missing, no slide is in all sets, a set lacks the class, a label
            is unknown, or two patients look alike.
    """
    lines = read_lines(labels)
    need_columns(lines, [slide, label, *([patient] if patient else [])], str(labels))
    places = list(enumerate(lines, start=2))
    if split is not None:
        need_columns(lines, ["split"], str(labels))
        wanted = _split(split)
        places = [(n, line) for n, line in places if _split(line["split"]) == wanted]
    said = {line[label].strip() for line in lines}
    by_name = not {text.lower() for text in said} <= YES_OR_NO | {""}
    classes = {name for one in sets for r in one.results.values() for name in r.data["classes"]}
    others: Collection[str] = ()
    if by_name:
        several = len({text for text in said if text.casefold() not in NOT_GIVEN}) > 2
        named = negative or (classes - {positive} if several else ())
        others = negatives_of(said, positive, str(labels), named)
    first = places[0][0] if places else 2
    told = [line for _, line in places]
    people = identifiers_of(told, patient, str(labels), first_line=first) if patient else None
    if patient and people is None:
        raise DatasetError(f"{labels}: {patient} is empty in every line")
    left_out, names, truths, patients = {}, [], [], []
    scores: dict[str, list[float]] = {one.title: [] for one in sets}
    seen = set()
    for at, (number, line) in enumerate(places):
        where = f"{labels}, line {number}"
        name = _name_in(line[slide], sets)
        if name in seen:
            raise DatasetError(f"{where}: {name} has a label already")
        seen.add(name)
        if reason := _why_not(name, sets):
            left_out[name] = reason
            continue
        names.append(name)
        truths.append(truth_of(line[label], positive if by_name else None, where, others))
        patients.append(people[at] if people else name)
        for one in sets:
            scores[one.title].append(_score(one, name, positive))
    for name in sorted({n for one in sets for n in one.results} - seen):
        left_out[name] = "no label"
    if not names:
        raise DatasetError(f"{labels}: no slide has a label and a score of each set")
    table = ScoreTable(
        source=labels.name,
        labels_n=np.array(truths),
        scores={title: np.array(values) for title, values in scores.items()},
        patients_n=np.array(patients, np.str_),
        by_patient=patient is not None,
        groups={},
    )
    return Matched(names=tuple(names), table=table, left_out=left_out)


def _split(text: str) -> str:
    """A split by the name that it has here; see ``wsi.data.tables``."""
    name = text.strip().lower()
    return {"training": "train", "valid": "val", "validation": "val"}.get(name, name)


def _name_in(text: str, sets: tuple[ResultSet, ...]) -> str:
    """A slide's name in the sets: as written, or without its ending."""
    text = text.strip()
    if any(text in one.results for one in sets):
        return text
    return slide_stem(text)


def _why_not(name: str, sets: tuple[ResultSet, ...]) -> str:
    missing = [one.title for one in sets if name not in one.results]
    if missing:
        return f"no result of {', '.join(missing)}"
    empty = [one.title for one in sets if not one.results[name].scored]
    outcomes = {str(one.results[name].data["outcome"]) for one in sets if one.title in empty}
    return f"{', '.join(sorted(outcomes))} by {', '.join(empty)}" if empty else ""


def _score(one: ResultSet, name: str, positive: str) -> float:
    probabilities = one.results[name].data["probabilities"]
    if positive not in probabilities:
        raise DatasetError(
            f"{one.title}: no class {positive!r}; choose from: {', '.join(probabilities)}"
        )
    value = float(probabilities[positive])
    if not math.isfinite(value):
        raise DatasetError(
            f"{one.title}: the probability of {name} is {value}: analyze the slide again"
        )
    return value
