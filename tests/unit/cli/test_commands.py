"""The command line: what it prints, and how it fails."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from wsi.cli import main
from wsi.testing.fakes import ArraySlide
from wsi.testing.models import untrained_patch_bundle, untrained_whole_slide_bundle
from wsi.testing.slides import synthetic_slide, write_slide


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_slide(
        tmp_path_factory.mktemp("slides") / "s.svs", 1536, 0.5, seed=2, format="svs"
    ).path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    untrained_patch_bundle(folder / "p")
    untrained_whole_slide_bundle(folder / "w")
    return folder


def wsi(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_every_command_explains_itself() -> None:
    top = wsi("--help")
    assert "not a medical device" in top.output
    for name in main.commands:
        answer = wsi(name, "--help")
        assert answer.exit_code == 0
        assert len(answer.output.splitlines()) > 4, name


def test_info_prints_what_the_slide_states(slide: Path) -> None:
    output = wsi("info", slide).output
    assert "aperio" in output
    assert "1536 x 1536 px" in output
    assert "0.5 x 0.5 um/px" in output
    facts = json.loads(wsi("info", slide, "--json").output)
    assert facts["size"] == [1536, 1536]
    assert facts["mpp"] == [0.5, 0.5]
    assert facts["levels"][0] == [1536, 1536, 1.0]
    assert facts["warnings"] == []


def test_info_prints_what_opening_has_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ("one page was left out", "another one, too")
    glass = ArraySlide(np.full((60, 80, 3), 245, np.uint8), warnings=said)
    monkeypatch.setattr("wsi.cli.inspect.open_slide", lambda *_, **__: glass)
    assert "one page was left out; another one, too" in wsi("info", "s.tif").output
    assert json.loads(wsi("info", "s.tif", "--json").output)["warnings"] == list(said)


def test_an_error_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "notes.svs").write_text("no slide")
    answer = wsi("info", tmp_path / "notes.svs")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("wsi: notes.svs: not a slide")
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""


def test_tissue_is_drawn(slide: Path, tmp_path: Path) -> None:
    answer = wsi("tissue", slide, "--out", tmp_path / "t.png")
    assert answer.exit_code == 0
    assert "of the slide is tissue" in answer.output
    assert (tmp_path / "t.png").stat().st_size > 1000


def test_models_are_listed_with_their_pipeline(models: Path, tmp_path: Path) -> None:
    output = wsi("models", "--dir", models).output
    assert "p  patch  resnet10" in output
    assert "w  whole-slide" in output
    assert "no models" in wsi("models", "--dir", tmp_path).output
    assert len(json.loads(wsi("models", "--dir", models, "--json").output)) == 2


@pytest.mark.parametrize(("pipeline", "model"), [("patch", "p"), ("whole-slide", "w")])
def test_analyze_writes_json_pictures_geojson_and_ome_zarr(
    slide: Path, models: Path, tmp_path: Path, pipeline: str, model: str
) -> None:
    answer = wsi(
        "analyze", slide, "--pipeline", pipeline, "--model", models / model, "--out", tmp_path
    )
    assert answer.exit_code == 0, answer.output
    folder = tmp_path / "s"
    result = json.loads((folder / f"{pipeline}.json").read_text())
    assert sum(result["probabilities"].values()) == pytest.approx(1)
    assert "medical device" in result["notice"]
    for name in result["classes"]:
        assert (folder / f"{pipeline}-probability-{name}.png").exists()
        assert (folder / f"{pipeline}-gradcam-{name}.png").exists()
    shapes = json.loads((folder / f"{pipeline}.geojson").read_text())
    assert shapes["type"] == "FeatureCollection"
    assert len(shapes["features"]) == len(result["hotspots"])
    assert (folder / "store.zarr" / "heatmaps").is_dir()


def test_one_bad_slide_does_not_stop_the_others(slide: Path, models: Path, tmp_path: Path) -> None:
    bad = tmp_path / "empty.svs"
    bad.touch()
    out = tmp_path / "out"
    answer = wsi(
        "analyze", bad, slide, "--pipeline", "patch", "--model", models / "p", "--out", out
    )
    assert answer.exit_code == 2
    assert "wsi: empty.svs: the file is empty" in answer.stderr
    assert "1 of 2 slides scored" in answer.stdout
    assert (out / "s" / "patch.json").exists()


def test_a_slide_for_a_person_is_counted_apart_and_ends_with_code_3(
    slide: Path, models: Path, tmp_path: Path
) -> None:
    pixels = np.full((600, 800, 3), 245, np.uint8)
    blank = write_slide(tmp_path / "blank.tif", pixels, 1.0)
    pixels[200:360, 300:460] = 120
    grey = write_slide(tmp_path / "grey.tif", pixels, 1.0)
    with_model = ("--pipeline", "patch", "--model", models / "p", "--out", tmp_path / "out")
    ended = wsi("analyze", slide, blank, grey, *with_model)
    assert ended.exit_code == 3
    assert "NOT SCORED, a person must look" in ended.output
    assert ended.output.splitlines()[-1] == (
        "1 of 3 slides scored; 1 without tissue; 1 need a person: no tissue was recognized"
    )
    assert wsi("analyze", blank, *with_model).exit_code == 0


def test_two_slides_of_one_name_are_refused_before_one_overwrites_the_other(
    slide: Path, models: Path, tmp_path: Path
) -> None:
    answer = wsi(
        *("analyze", slide, tmp_path / slide.name, "--pipeline", "patch"),
        *("--model", models / "p", "--out", tmp_path / "out"),
    )
    assert answer.exit_code == 2
    assert "would both be written" in answer.stderr
    assert not (tmp_path / "out").exists()


def test_a_slide_without_mpp_is_scored_once_it_is_given(
    real_data: Path, models: Path, tmp_path: Path
) -> None:
    path = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
    arguments = ["analyze", path, "--pipeline", "patch", "--model", models / "p", "--out", tmp_path]
    refused = wsi(*arguments)
    assert refused.exit_code == 2
    assert "--mpp 0.5" in refused.stderr
    assert wsi(*arguments, "--mpp", 0.5).exit_code == 0


def test_training_needs_a_resolution(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label,split\n")
    answer = wsi("train", "whole-slide", "--table", tmp_path / "t.csv", "--out", tmp_path / "m")
    assert answer.exit_code == 2
    assert "--fit-px" in answer.stderr


def test_patches_in_a_zip_become_a_model(real_data: Path, tmp_path: Path) -> None:
    patches = real_data / "idc_patches"
    lines = (patches / "idc_patches.csv").read_text().splitlines()
    table = tmp_path / "table.csv"
    table.write_text("\n".join([lines[0], *lines[1::40]]))
    answer = wsi(
        *("train", "patch", "--table", table, "--images", patches / "idc_patches.zip"),
        *("--classes", "benign,cancer", "--mpp", 4, "--patch-px", 50, "--epochs", 1),
        *("--architecture", "resnet10", "--batch-size", 16, "--out", tmp_path / "m"),
    )
    assert answer.exit_code == 0, answer.output
    assert "validation_auc" in answer.output
    assert "m  patch  resnet10" in wsi("models", "--dir", tmp_path).output


def test_a_class_map_is_refused_where_it_is_no_map(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,split\ns.tif,train\n")
    answer = wsi(
        *("train", "patch", "--table", tmp_path / "t.csv", "--mpp", 1, "--out", tmp_path / "m"),
        *("--class-map", "Tumour"),
    )
    assert answer.exit_code == 2
    assert "NAME=CLASS" in answer.stderr


def test_a_result_says_where_qupath_crops_its_slide(models: Path, tmp_path: Path) -> None:
    from tests.unit.annotations.scanned_slide import write_scn

    path = write_scn(tmp_path / "a.scn")
    asked = ["analyze", path, "--pipeline", "patch", "--model", models / "p", "--out", tmp_path]
    wsi(*asked)
    (report,) = tmp_path.glob("**/patch.json")
    assert json.loads(report.read_text())["scanned_bounds_level0"] == [300, 200, 256, 256]
    hotspots = json.loads(report.with_name("patch.geojson").read_text())
    assert hotspots["wholeslide"] == {"frame": "qupath-bounds", "x": 300, "y": 200}
