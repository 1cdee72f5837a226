"""Model bundles: whole or not at all, and what they say they are."""

import json
import os
from pathlib import Path

import pytest
import torch

from wsi.errors import ModelError
from wsi.models.bundle import load_bundle, save_bundle
from wsi.models.card import CARD_FILE, WEIGHTS_FILE, ModelCard, list_cards, read_card

CARD = ModelCard(
    name="m", pipeline="patch", architecture="resnet10", classes=("a", "b"), mpp=1.0, input_px=8
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    save_bundle(tmp_path / "m", CARD, {"w": torch.arange(6.0).view(2, 3)})
    return tmp_path / "m"


def test_a_bundle_is_read_back_as_it_was_written(bundle: Path) -> None:
    card, state = load_bundle(bundle)
    assert torch.equal(state["w"], torch.arange(6.0).view(2, 3))
    assert (card.classes, card.mpp, card.pipeline) == (("a", "b"), 1.0, "patch")
    assert len(card.weights_sha256) == 64
    assert card.created_at
    assert card.code_version


def test_weights_that_were_changed_are_refused(bundle: Path) -> None:
    weights = bundle / WEIGHTS_FILE
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_bundle(bundle)


def test_a_folder_without_a_card_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model bundle"):
        read_card(tmp_path)


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_damaged_card_is_refused(bundle: Path, text: str) -> None:
    (bundle / CARD_FILE).write_text(text)
    with pytest.raises(ModelError):
        read_card(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"malignant": ["c"]}, "malignant class 'c' is not one of the classes: a, b"),
        ({"malignant": "b"}, '"malignant" must be a list of class names'),
        ({"operating_point": 0}, '"operating_point" must lie in'),
        ({"operating_point": "high"}, '"operating_point" must lie in'),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused(
    bundle: Path, changes: dict[str, object], message: str
) -> None:
    data = json.loads((bundle / CARD_FILE).read_text())
    (bundle / CARD_FILE).write_text(json.dumps(data | changes))
    with pytest.raises(ModelError, match=message):
        read_card(bundle)


def test_a_card_names_its_malignant_classes_and_an_old_one_is_read_by_name(bundle: Path) -> None:
    data = json.loads((bundle / CARD_FILE).read_text())
    data |= {"classes": ["benign", "cancer", "x"], "malignant": ["x", "cancer"]}
    (bundle / CARD_FILE).write_text(json.dumps(data))
    assert read_card(bundle).malignant_classes == ("x", "cancer")
    del data["malignant"], data["operating_point"]
    (bundle / CARD_FILE).write_text(json.dumps(data))
    assert read_card(bundle).malignant_classes == ("cancer",)
    assert read_card(bundle).operating_point is None


def test_saving_again_replaces_the_bundle_and_leaves_nothing_behind(bundle: Path) -> None:
    save_bundle(bundle, CARD, {"w": torch.zeros(1)})
    assert load_bundle(bundle)[1]["w"].shape == (1,)
    assert [path.name for path in bundle.parent.iterdir()] == ["m"]


def test_a_bundle_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="not written"):
        save_bundle(tmp_path / "file" / "m", CARD, {"w": torch.zeros(1)})


def test_models_are_listed_newest_first(tmp_path: Path) -> None:
    for name in ("old", "new"):
        save_bundle(tmp_path / name, CARD, {"w": torch.zeros(1)})
    data = json.loads((tmp_path / "old" / CARD_FILE).read_text())
    data["created_at"] = "2001-01-01T00:00:00"
    (tmp_path / "old" / CARD_FILE).write_text(json.dumps(data))
    (tmp_path / "notes").mkdir()
    assert [card.name for card in list_cards(tmp_path)] == ["new", "old"]
    assert list_cards(tmp_path / "nowhere") == []


def test_a_damaged_bundle_is_named_and_the_rest_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("good", "bad"):
        save_bundle(tmp_path / name, CARD, {"w": torch.zeros(1)})
    (tmp_path / "bad" / CARD_FILE).write_text("{")
    assert [card.name for card in list_cards(tmp_path)] == ["good"]
    assert str(tmp_path / "bad") in caplog.text


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_every_user_may_read_a_bundle_and_only_its_owner_may_change_it(
    mask: int, tmp_path: Path
) -> None:
    before = os.umask(mask)
    try:
        save_bundle(tmp_path / "m", CARD, {"w": torch.zeros(2)})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "m").iterdir()}
    assert modes == {WEIGHTS_FILE: 0o644, CARD_FILE: 0o644}
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o755
