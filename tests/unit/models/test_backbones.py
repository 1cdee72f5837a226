"""Backbones by name, and the two halves of a classifier."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from wsi.errors import ConfigError, ModelError
from wsi.models.backbones import build_backbone
from wsi.models.split import split_classifier

ARCHITECTURES = [
    "resnet10",
    "resnet18",
    "densenet121",
    "efficientnet_b0",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "convnext_tiny",
    "timm:resnet10t",
    "squeezenet1_1",
]


@pytest.mark.parametrize("name", ARCHITECTURES[:-1])
def test_trunk_and_head_together_are_the_network(name: str) -> None:
    torch.manual_seed(0)
    network = build_backbone(name, 3).eval()
    parts = split_classifier(network, 64)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = parts.trunk(images)
        assert features.ndim == 4
        torch.testing.assert_close(parts.head(features), network(images))


def test_a_vision_transformer_is_refused_for_having_no_feature_map() -> None:
    with pytest.raises(ConfigError, match="feature map"):
        split_classifier(build_backbone("vit_b_32", 2), 224)


def test_a_head_that_is_no_linear_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="linear classification head"):
        build_backbone("squeezenet1_1", 3)


@pytest.mark.parametrize("name", ["no_such_network", "timm:no_such"])
def test_an_unknown_architecture_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match="no_such"):
        build_backbone(name, 2)


def test_an_unknown_weights_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="NONSENSE"):
        build_backbone("resnet18", 2, weights="NONSENSE")
    with pytest.raises(ConfigError, match="no weights by name"):
        build_backbone("resnet10", 2, weights="DEFAULT")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_local_weights_are_loaded_all_but_the_head(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(5)
    source = build_backbone("resnet10", 7)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": source.state_dict()}, path)
    else:
        save_file(source.state_dict(), path)
    loaded = build_backbone("resnet10", 2, weights=str(path)).state_dict()
    for key, value in source.state_dict().items():
        if not key.startswith("fc."):
            assert torch.equal(loaded[key], value), key
    assert loaded["fc.weight"].shape == (2, 512)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(build_backbone("resnet18", 2).state_dict(), path)
    with pytest.raises(ModelError, match="another architecture"):
        build_backbone("resnet10", 2, weights=str(path))


@pytest.mark.parametrize("name", ["missing.pth", "text.safetensors"])
def test_a_bad_weights_file_is_refused(tmp_path: Path, name: str) -> None:
    if name.startswith("text"):
        (tmp_path / name).write_text("no weights")
    with pytest.raises(ModelError, match="not a usable weights file"):
        build_backbone("resnet10", 2, weights=str(tmp_path / name))
