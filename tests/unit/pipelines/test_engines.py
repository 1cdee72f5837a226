"""Both pipelines score with an engine what they score with torch."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from wsi.cli import main
from wsi.errors import ConfigError, DatasetError, ModelError
from wsi.models.bundle import load_bundle
from wsi.models.card import read_card
from wsi.models.engines import Engine, feature_error
from wsi.models.openvino import conversion_folder
from wsi.networks import Stage
from wsi.pipelines._staged_engine import stage_runner_of
from wsi.pipelines.base import load_pipeline
from wsi.pipelines.whole_slide import build_network
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideResult, SlideStore
from wsi.streaming import RunOptions, TensorSource, make_mode
from wsi.streaming.api import Forward
from wsi.testing.models import untrained_patch_bundle, untrained_whole_slide_bundle
from wsi.testing.slides import synthetic_slide


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    untrained_patch_bundle(folder / "patch")
    untrained_whole_slide_bundle(folder / "whole-slide")
    synthetic_slide(folder / "slide.tif", 2048, 0.5, seed=4)
    return folder


def _score(folder: Path, name: str, engine: str, tmp_path: Path) -> SlideResult:
    pipeline = load_pipeline(name, folder / name, "cpu", engine)
    with open_slide(folder / "slide.tif") as slide:
        return pipeline.analyze(slide, SlideStore(str(tmp_path / engine)), no_progress)


@pytest.mark.parametrize("name", ["patch", "whole-slide"])
def test_openvino_scores_a_slide_as_torch_does(name: str, folder: Path, tmp_path: Path) -> None:
    plain = _score(folder, name, "torch", tmp_path)
    fast = _score(folder, name, "openvino", tmp_path)
    assert (plain.details["engine"], fast.details["engine"]) == ("torch", "openvino")
    assert fast.probabilities == pytest.approx(dict(plain.probabilities), abs=0.02)
    for one, other in zip(plain.layers, fast.layers, strict=True):
        assert np.array_equal(np.isnan(one.values_chw), np.isnan(other.values_chw))
        # bfloat16 moves single cells of a scaled Grad-CAM more than it moves the map.
        assert float(np.nanmean(np.abs(one.values_chw - other.values_chw))) < 0.02


_SIGNALLED = """
import signal, sys, torch
from wsi.models.openvino import convert, load_openvino, run_model
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
network = torch.nn.Conv2d(3, 8, 3)
first, second = (run_model(convert(load_openvino(), network)) for _ in range(2))
del first, second
signal.raise_signal(signal.SIGTERM)
sys.exit(not asked)
"""


def test_a_process_with_openvino_still_handles_a_signal() -> None:
    # It was killed: OpenVINO leaves a signal stack behind, in memory that it has given back.
    done = subprocess.run([sys.executable, "-c", _SIGNALLED], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def test_int8_is_calibrated_judged_and_used(folder: Path, tmp_path: Path) -> None:
    said = CliRunner().invoke(
        main,
        ["quantize", str(folder / "slide.tif"), "--model", str(folder / "patch"), "--patches=64"],
    )
    assert said.exit_code == 0, said.output
    assert "int8 against torch on 20 other patches" in said.output
    plain = _score(folder, "patch", "torch", tmp_path)
    fast = _score(folder, "patch", "openvino-int8", tmp_path)
    assert fast.probabilities == pytest.approx(dict(plain.probabilities), abs=0.05)


def test_the_command_line_takes_an_engine(folder: Path, tmp_path: Path) -> None:
    command = ["analyze", str(folder / "slide.tif"), "--pipeline=patch", "--engine=openvino"]
    where = ["--model", str(folder / "patch"), "--out", str(tmp_path)]
    said = CliRunner().invoke(main, [*command, *where])
    assert said.exit_code == 0, said.output
    assert '"engine": "openvino"' in (tmp_path / "slide" / "patch.json").read_text()


def test_int8_that_is_not_accurate_is_not_kept(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsi.pipelines import quantize

    untrained_patch_bundle(tmp_path / "patch")
    monkeypatch.setattr(quantize, "MEAN_TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="int8 is not accurate enough"):
        quantize.quantize_patch_model(tmp_path / "patch", [folder / "slide.tif"], patches=64)
    digest = read_card(tmp_path / "patch").weights_sha256
    assert not conversion_folder(tmp_path / "patch", digest, "trunk", int8=True).exists()


def test_int8_needs_enough_patches(folder: Path) -> None:
    from wsi.pipelines.quantize import quantize_patch_model

    with pytest.raises(DatasetError, match="give more slides"):
        quantize_patch_model(folder / "patch", [folder / "slide.tif"], patches=4)


def test_int8_is_not_for_whole_slides(folder: Path) -> None:
    with pytest.raises(ConfigError, match="does not run on engine 'openvino-int8'"):
        load_pipeline("whole-slide", folder / "whole-slide", "cpu", "openvino-int8")


def test_a_pipeline_without_engines_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain:
        @classmethod
        def load(cls, bundle: Path, device: str) -> "Plain":
            return cls()

    monkeypatch.setattr("wsi.pipelines.base._kind_of", lambda name: Plain)
    assert isinstance(load_pipeline("plain", folder), Plain)
    with pytest.raises(ConfigError, match="does not run on engine 'openvino'; use torch"):
        load_pipeline("plain", folder, engine="openvino")


@pytest.mark.parametrize(("mode", "options"), [("in_core", {}), ("tiled", {"tile_px": 128})])
def test_every_mode_that_scores_runs_its_stages_through_the_engine(
    mode: str, options: dict[str, int], folder: Path
) -> None:
    card, state = load_bundle(folder / "whole-slide")
    network = build_network(card, state).eval()
    image = TensorSource(torch.randn(1, 3, 320, 352, generator=torch.Generator().manual_seed(3)))
    stage_runner = stage_runner_of(Engine(name="openvino"), card)
    assert stage_runner is not None
    ran: list[str] = []

    def watched(stages: Sequence[Stage]) -> Forward:
        forward = stage_runner(stages)

        def run(cells: torch.Tensor) -> torch.Tensor:
            ran.extend(stage.label for stage in stages)
            return forward(cells)

        return run

    plain = make_mode(mode, RunOptions(), **options).infer(network, image)
    fast = make_mode(mode, RunOptions(stage_runner=watched), **options).infer(network, image)
    assert set(ran) == {stage.label for stage in network.stage_list}
    assert fast.embedding is not None
    assert plain.embedding is not None
    assert feature_error(plain.embedding, fast.embedding) < 0.05
    assert fast.logits_nc == pytest.approx(plain.logits_nc, abs=0.05)


def test_training_steps_never_run_through_an_engine(folder: Path) -> None:
    card, state = load_bundle(folder / "whole-slide")
    network = build_network(card, state)
    image = TensorSource(torch.randn(1, 3, 256, 256))

    def refuse(stages: Sequence[Stage]) -> Forward:
        raise AssertionError("an engine has no gradients")

    for mode in ("in_core", "tiled"):
        step = make_mode(mode, RunOptions(stage_runner=refuse)).step(
            network, image, lambda x: x.sum()
        )
        assert step.loss == step.loss
