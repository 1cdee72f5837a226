"""Engines compute what torch computes, or are refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from wsi.errors import ConfigError, MissingExtraError, ModelError
from wsi.models.backbones import build_backbone
from wsi.models.engines import (
    ENGINES,
    Engine,
    check_images,
    feature_error,
    require_features,
    require_probabilities,
)
from wsi.models.openvino import convert, keep, load_openvino
from wsi.models.runtime import to_input
from wsi.models.split import SplitClassifier, split_classifier

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def parts() -> SplitClassifier:
    torch.manual_seed(0)
    return split_classifier(build_backbone("resnet10", 3).eval(), 64)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return to_input(check_images(4, 64), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), CPU)


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no engine 'tensorrt'; choose from: torch, compile"):
        Engine(name="tensorrt")


@pytest.mark.parametrize("name", ENGINES[1:])
def test_engines_of_a_cpu_are_refused_on_a_gpu(name: str) -> None:
    with pytest.raises(ConfigError, match="runs on a CPU; on cuda:1 use torch"):
        Engine(name=name, device=torch.device("cuda:1"))


def test_openvino_agrees_with_torch_at_any_size_and_batch(
    parts: SplitClassifier, images: torch.Tensor
) -> None:
    engine = Engine(name="openvino")
    forward = engine.forward(parts.trunk)
    assert require_probabilities(engine, parts.trunk, parts.head, forward, images) < 0.02
    for piece in (images[:1], images[:, :, :40, :56]):
        assert forward(piece).shape == parts.trunk(piece).shape
        assert require_features(engine, parts.trunk, forward, piece) < 0.05


def test_a_conversion_is_kept_and_used_again(
    parts: SplitClassifier,
    images: torch.Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(name="openvino", bundle=tmp_path, digest="0123456789abcdef0123")
    first = engine.forward(parts.trunk)(images)
    kept = tmp_path / "engines" / "0123456789abcdef-trunk"
    assert sorted(path.name for path in kept.iterdir()) == ["model.bin", "model.xml"]
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    monkeypatch.setattr("wsi.models.openvino.convert", lambda *_: pytest.fail("converted again"))
    again = engine.forward(parts.trunk)(images)
    assert torch.equal(first, again)


def test_a_bundle_that_cannot_be_written_is_converted_each_time(
    parts: SplitClassifier, images: torch.Tensor, tmp_path: Path
) -> None:
    (tmp_path / "engines").write_text("not a folder")
    engine = Engine(name="openvino", bundle=tmp_path, digest="0" * 64)
    assert engine.forward(parts.trunk)(images).shape[0] == len(images)


def test_of_two_processes_that_convert_at_once_one_is_kept(
    parts: SplitClassifier, tmp_path: Path
) -> None:
    library = load_openvino()
    model = convert(library, parts.trunk)
    folder = tmp_path / "engines" / "digest-trunk"
    keep(library, model, folder)
    first = (folder / "model.bin").stat().st_mtime_ns
    keep(library, model, folder)
    assert (folder / "model.bin").stat().st_mtime_ns == first
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_int8_that_was_not_prepared_says_how(parts: SplitClassifier, tmp_path: Path) -> None:
    engine = Engine(name="openvino-int8", bundle=tmp_path, digest="0" * 64)
    with pytest.raises(ModelError, match="not prepared for int8; run: wsi quantize"):
        engine.forward(parts.trunk)


def test_an_engine_that_computes_something_else_is_refused(
    parts: SplitClassifier, images: torch.Tensor
) -> None:
    def wrong(batch: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = parts.trunk(batch).flip(1) * 3
        return features.detach()

    engine = Engine(name="openvino")
    with pytest.raises(ModelError, match=r"feature maps differ by .* use the engine torch"):
        require_features(engine, parts.trunk, wrong, images)
    with pytest.raises(ModelError, match=r"a probability differs by .*\(0.02 is allowed\)"):
        require_probabilities(engine, parts.trunk, parts.head, wrong, images)


def test_an_engine_that_gives_no_numbers_is_refused(
    parts: SplitClassifier, images: torch.Tensor
) -> None:
    def broken(batch: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = parts.trunk(batch) * float("nan")
        return features.detach()

    with pytest.raises(ModelError, match="differ by nan"):
        require_features(Engine(name="compile"), parts.trunk, broken, images)


def test_without_openvino_the_extra_is_named(
    parts: SplitClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"wholeslide\[openvino\]"):
        Engine(name="openvino").forward(parts.trunk)


def test_openvino_reports_nothing_to_its_makers() -> None:
    load_openvino()
    from openvino_telemetry.utils.opt_in_checker import ConsentCheckResult, OptInChecker

    assert OptInChecker().check(enable_opt_in_dialog=False) == ConsentCheckResult.DECLINED


def test_a_network_that_openvino_does_not_know_is_refused() -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no tracing through me")

    with pytest.raises(ModelError, match="OpenVINO cannot convert the network"):
        Engine(name="openvino").forward(Strange())


def test_check_images_are_the_same_each_time() -> None:
    first, again = check_images(3, 32), check_images(3, 32)
    assert first.shape == (3, 32, 32, 3)
    assert np.array_equal(first, again)
    assert np.ptp(first) > 60


def test_the_feature_error_is_a_share_of_the_norm() -> None:
    expected = torch.ones(1, 2, 3, 3)
    assert feature_error(expected, expected * 1.1) == pytest.approx(0.1, rel=1e-5)


def test_compile_gives_what_torch_gives_for_full_and_short_batches() -> None:
    # A network of one layer: what is tested is the padding, and that it compiles here at all.
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()).eval()
    engine = Engine(name="compile", batch=4)
    forward = engine.forward(layer)
    images = torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last)
    for count in (4, 3):
        assert len(forward(images[:count])) == count
        assert require_features(engine, layer, forward, images[:count]) < 0.05
