"""Which models are installed: the ``model.json`` of every bundle in the models folder."""

from pathlib import Path

from wsi.errors import ModelError
from wsi.models.card import AGGREGATOR, ModelCard, list_cards


class ModelCatalog:
    """Reads the folder at each call: a model put there is there, without a restart."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cards(self) -> list[ModelCard]:
        """Cards of all models that score slides, newest first.

        A damaged one is logged and does not hide the rest.
        """
        return [card for card in list_cards(self._folder) if card.pipeline != AGGREGATOR]

    def choose(self, pipeline: str, model: str | None) -> ModelCard:
        """The named model, or the newest of this pipeline.

        Raises:
            ModelError: there is none.
        """
        cards = self.cards()
        fitting = [card for card in cards if card.pipeline == pipeline]
        if model is not None:
            fitting = [card for card in fitting if card.name == model]
        if fitting:
            return fitting[0]
        there = ", ".join(f"{card.name} ({card.pipeline})" for card in cards) or "none at all"
        wanted = f"{model!r} for pipeline {pipeline!r}" if model else f"for pipeline {pipeline!r}"
        raise ModelError(f"no model {wanted}; installed: {there}")

    def members(self, card: ModelCard) -> list[ModelCard]:
        """The models that a fusion combines; those that are not installed are ignored."""
        named = card.settings.get("members", ())
        digests = {one.get("digest") for one in named if isinstance(one, dict)}
        return [one for one in self.cards() if one.weights_sha256 in digests]
