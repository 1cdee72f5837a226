"""``model.json``: what a model is, what it was trained on, and how to feed it. Free of torch."""

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsi.errors import ConfigError, ModelError
from wsi.malignancy import check_malignant, malignant_classes
from wsi.plain_json import finite_json

_log = logging.getLogger(__name__)

CARD_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
FORMAT_VERSION = 1

AGGREGATOR = "aggregator"
"""``ModelCard.pipeline`` of a bundle with an aggregator alone, which scores no slide by itself."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The description in a model bundle.

    Attributes:
        name: unique among the models of an installation; the bundle's folder name.
        pipeline: which pipeline runs it.
        architecture: backbone, such as ``resnet50``.
        classes: in the order of the network's outputs.
        malignant: those of ``classes`` that are malignant, most severe first; empty where none is
            known to be; ``None`` in cards written before they said it, which are read by name.
        operating_point: score from which a cell of the heatmap belongs to a hotspot; ``None``
            takes ``wsi.explanations.hotspots.THRESHOLD``.
        mpp: micrometres per pixel of its input; 0 where the input is a slide fitted to
            ``input_px`` whatever its resolution.
        input_px: side of the input in pixels: a patch, or the longer side of a fitted slide.
        mean, std: normalization of RGB in [0, 1].
        settings: what else the pipeline must know (aggregation, pooling, norm).
        training: data digest, split, options and figures of the run that made the weights.
        metrics: name to value, with the split in the name (``validation_auc``); ``None`` where it
            is not known.
        weights_sha256: digest of the weights file.
        created_at: ISO-8601 UTC.
        code_version: version of wholeslide that wrote it.
    """

    name: str
    pipeline: str
    architecture: str
    classes: tuple[str, ...]
    mpp: float
    input_px: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    malignant: tuple[str, ...] | None = None
    operating_point: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    weights_sha256: str = ""
    created_at: str = ""
    code_version: str = ""

    @property
    def malignant_classes(self) -> tuple[str, ...]:
        """What ``malignant`` says, else what the names of the classes do; most severe first."""
        return malignant_classes(self.classes, self.malignant)

    def to_json(self) -> str:
        """The text of ``model.json``; a figure that is not a number is ``null`` in it."""
        card = {"format": FORMAT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(finite_json(card), indent=2, allow_nan=False) + "\n"


def read_card(bundle: Path) -> ModelCard:
    """The card of a bundle folder.

    Raises:
        ModelError: it is missing, no JSON, of a newer format, lacks a field, or calls a class
            malignant that it does not have.
    """
    path = bundle / CARD_FILE
    try:
        data = json.loads(path.read_text(), parse_constant=lambda name: None)
    except FileNotFoundError:
        raise ModelError(f"{bundle}: no model bundle here ({CARD_FILE} is missing)") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT_VERSION:
        raise ModelError(f"{path}: not a model card of format {FORMAT_VERSION}")
    try:
        card = ModelCard(**data)
    except TypeError as error:
        raise ModelError(f"{path}: {error}") from None
    _check(card, path)
    return dataclasses.replace(
        card,
        # A folder may be copied under another name; the folder is what people choose by.
        name=bundle.name,
        classes=tuple(card.classes),
        malignant=None if card.malignant is None else tuple(card.malignant),
        mean=tuple(card.mean),
        std=tuple(card.std),
    )


def _check(card: ModelCard, path: Path) -> None:
    named, point = card.malignant, card.operating_point
    if named is not None and not isinstance(named, list):
        raise ModelError(f'{path}: "malignant" must be a list of class names, got {named!r}')
    try:
        check_malignant(card.classes, named)
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from None
    if point is not None and not (isinstance(point, int | float) and 0 < point <= 1):
        raise ModelError(f'{path}: "operating_point" must lie in (0, 1], got {point!r}')


def list_cards(models_dir: Path) -> list[ModelCard]:
    """Cards of all bundles in a folder, newest first. A folder without a card is passed over.

    A damaged card is logged and does not hide the rest.
    """
    cards = []
    for path in sorted(models_dir.glob(f"*/{CARD_FILE}")):
        if path.parent.name.startswith("."):
            continue
        try:
            cards.append(read_card(path.parent))
        except ModelError as error:
            _log.error("%s", error)
    return sorted(cards, key=lambda card: (card.created_at, card.name), reverse=True)
