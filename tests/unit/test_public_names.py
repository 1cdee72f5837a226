"""``import wsi`` is instant and offers what a notebook wants."""

import subprocess
import sys
from pathlib import Path

import pytest

import wsi
from wsi.errors import ConfigError
from wsi.testing.models import untrained_patch_bundle
from wsi.testing.slides import synthetic_slide


def test_importing_wsi_loads_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import wsi\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert loaded - sys.stdlib_module_names == {'wsi'}, loaded\n"
        "ours = [name for name in sys.modules if name.startswith('wsi')]\n"
        "assert ours == ['wsi'], ours"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_reading_a_slide_loads_no_torch() -> None:
    code = "import sys, wsi; wsi.open_slide; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", wsi.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(wsi, name)
    assert name in dir(wsi)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'wsi' has no attribute 'analyse'"):
        wsi.analyse  # type: ignore[attr-defined]  # noqa: B018


def test_a_slide_is_scored_by_path_and_by_open_slide_alike(tmp_path: Path) -> None:
    path = synthetic_slide(tmp_path / "slide.tif", 1024, 1.0, seed=1, cancer=0.3).path
    bundle = tmp_path / "model"
    untrained_patch_bundle(bundle)
    by_path = wsi.analyze(path, bundle, device="cpu")
    model = wsi.load_pipeline("patch", bundle)
    with wsi.open_slide(path) as slide:
        by_slide = wsi.analyze(slide, model, store=tmp_path / "store.zarr")
    assert by_path.outcome == "scored"
    assert by_path.probabilities == by_slide.probabilities
    assert (tmp_path / "store.zarr").is_dir()


def test_a_plan_needs_only_a_size_and_memory() -> None:
    planned = wsi.plan(4000, device_memory="8GB", host_memory=8 * 10**9, architecture="resnet10")
    assert planned.device_bytes <= 8 * 10**9
    scoring = wsi.plan((2000, 4000), host_memory="8GB", architecture="resnet10", training=False)
    assert scoring.size == (2000, 4000)
    assert not scoring.training


@pytest.mark.parametrize("wrong", [{"optimizer": "lion"}, {"precision": "fp16"}])
def test_a_plan_refuses_a_choice_that_it_does_not_know(wrong: dict[str, str]) -> None:
    ((option, value),) = wrong.items()
    with pytest.raises(ConfigError, match=f"no {option} '{value}'; choose from: "):
        wsi.plan(4000, host_memory="8GB", **wrong)


def test_a_resolution_for_an_open_slide_is_refused_and_not_ignored(tmp_path: Path) -> None:
    path = synthetic_slide(tmp_path / "slide.tif", 1024, 1.0, seed=1).path
    with (
        wsi.open_slide(path) as slide,
        pytest.raises(ConfigError, match=r"slide\.tif: mpp is for a slide given by path"),
    ):
        wsi.analyze(slide, tmp_path / "model", mpp=0.5)
