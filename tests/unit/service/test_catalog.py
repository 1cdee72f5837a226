"""Which of the bundles in the models folder score slides."""

import dataclasses
from pathlib import Path

import pytest

from service.models.catalog import ModelCatalog
from wsi.errors import ModelError
from wsi.models.card import AGGREGATOR, CARD_FILE, ModelCard

CARD = ModelCard(
    name="a",
    pipeline="patch",
    architecture="resnet18",
    classes=("benign", "cancer"),
    mpp=0.5,
    input_px=224,
    created_at="2026-01-01T00:00:00+00:00",
)


def put(folder: Path, name: str, **changes: object) -> None:
    (folder / name).mkdir()
    card = dataclasses.replace(CARD, **changes)  # type: ignore[arg-type]
    (folder / name / CARD_FILE).write_text(card.to_json())


def test_the_newest_model_of_a_pipeline_is_chosen_unless_one_is_named(tmp_path: Path) -> None:
    put(tmp_path, "old")
    put(tmp_path, "new", created_at="2026-02-01T00:00:00+00:00")
    put(tmp_path, "other", pipeline="whole-slide", created_at="2026-03-01T00:00:00+00:00")
    catalog = ModelCatalog(tmp_path)
    assert catalog.choose("patch", None).name == "new"
    assert catalog.choose("patch", "old").name == "old"
    with pytest.raises(ModelError, match="no model 'other' for pipeline 'patch'"):
        catalog.choose("patch", "other")


def test_an_aggregator_alone_is_not_offered(tmp_path: Path) -> None:
    put(tmp_path, "aggregator", pipeline=AGGREGATOR)
    put(tmp_path, "patch")
    assert [card.name for card in ModelCatalog(tmp_path).cards()] == ["patch"]


def test_a_damaged_card_does_not_hide_the_others(tmp_path: Path) -> None:
    put(tmp_path, "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / CARD_FILE).write_text("{")
    assert [card.name for card in ModelCatalog(tmp_path).cards()] == ["good"]
