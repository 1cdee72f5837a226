"""What a result set and its model cost: annotation, time and memory to train and to score."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsi.evaluation.result_set import ResultSet
from wsi.models.card import CARD_FILE, ModelCard, read_card
from wsi.system import format_bytes

ANNOTATION_NEEDED = {
    "patch": "patches with a class, or slides with outlined areas",
    "whole-slide": "one label per slide",
    "fusion": "one label per slide, besides what its two parts need",
}
_COUNTED = ("slides", "patches", "patients", "bags")


@dataclass(frozen=True, kw_only=True)
class ScoringCost:
    """Of the analyses.

    Attributes:
        seconds_median, seconds_total: of a slide, of all.
        peak_host_bytes: most that the process ever had; ``None`` where results do not say.
        peak_device_bytes: likewise on a GPU; ``None`` where none was used.
    """

    seconds_median: float
    seconds_total: float
    peak_host_bytes: int | None
    peak_device_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """Of a model; a fusion's members are counted in.

    Attributes:
        seconds: wall time; ``None`` where the card, or that of a member, does not say.
        peak_host_bytes, peak_device_bytes: the highest; ``None`` where nobody says.
        labels: what was learned from, in words: ``slides: train 40, validation 10``.
        epochs: how many; ``None`` where it does not apply.
        besides: other trainings that it stands on, whose time is not counted, and what they need.
    """

    seconds: float | None = None
    peak_host_bytes: int | None = None
    peak_device_bytes: int | None = None
    labels: tuple[str, ...] = field(default_factory=tuple)
    epochs: int | None = None
    besides: tuple[str, ...] = ()


def scoring_cost(results: ResultSet, names: Sequence[str]) -> ScoringCost:
    """What the analyses of these slides took."""
    chosen = [results.results[name] for name in names]
    seconds = [one.seconds for one in chosen]
    details = [one.data.get("details", {}) for one in chosen]
    return ScoringCost(
        seconds_median=round(statistics.median(seconds), 3),
        seconds_total=round(sum(seconds), 3),
        peak_host_bytes=_highest(details, "peak_host_bytes"),
        peak_device_bytes=_highest(details, "peak_device_bytes"),
    )


def training_cost(bundle: Path) -> TrainingCost:
    """What a model's card says of its training.

    Raises:
        ModelError: the card is missing or damaged.
    """
    card = read_card(bundle)
    cards = [card, *_members(card, bundle.parent)]
    costs = [one.training.get("cost", {}) for one in cards if one.pipeline != "fusion"]
    wanted = len(card.settings.get("members", [card]))
    seconds = [cost["seconds"] for cost in costs if "seconds" in cost]
    history = card.training.get("history")
    return TrainingCost(
        seconds=sum(seconds) if len(seconds) == wanted else None,
        peak_host_bytes=_highest(costs, "peak_host_bytes"),
        peak_device_bytes=_highest(costs, "peak_device_bytes"),
        labels=tuple(
            f"{key}: {_in_words(card.training[key])}" for key in _COUNTED if key in card.training
        ),
        epochs=len(history) if history else None,
        besides=_besides(card),
    )


def _besides(card: ModelCard) -> tuple[str, ...]:
    """Other trainings behind a model, in words."""
    found = []
    if "aggregator" in card.training:
        found.append("one label per slide for its aggregator")
    if card.training.get("options", {}).get("start"):
        found.append("what the patch classifier that it started from needed")
    return tuple(found)


def _members(card: ModelCard, folder: Path) -> list[ModelCard]:
    """Cards of a fusion's members that lie beside it, by their digests."""
    wanted = {one["digest"] for one in card.settings.get("members", [])}
    if not wanted:
        return []
    there = [read_card(path.parent) for path in sorted(folder.glob(f"*/{CARD_FILE}"))]
    found = {one.weights_sha256: one for one in there if one.weights_sha256 in wanted}
    return list(found.values())


def _in_words(counts: Any) -> str:
    if isinstance(counts, Mapping):
        return ", ".join(f"{name} {number}" for name, number in counts.items())
    return str(counts)


def _highest(records: Sequence[Mapping[str, Any]], key: str) -> int | None:
    known = [int(one[key]) for one in records if one.get(key)]
    return max(known) if known else None


def recorded_bytes(size: int | None) -> str:
    """Bytes for people, where they were recorded."""
    return format_bytes(size, unknown="not recorded")


def duration(seconds: float | None) -> str:
    """Seconds for people."""
    if seconds is None:
        return "not recorded"
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
