"""The fusion pipeline on one slide, with weights that are known."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from wsi.errors import AnalysisCancelledError, ModelError
from wsi.geometry import Point
from wsi.models.card import CARD_FILE
from wsi.pipelines.base import load_pipeline, pipeline_names
from wsi.pipelines.fusion import on_grid
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import HeatmapGrid, SlideStore, get_result, put_result, result_to_json
from wsi.testing.fakes import ArraySlide
from wsi.testing.fusions import BIAS, WEIGHTS, fusion_bundle
from wsi.testing.slides import synthetic_slide


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    fusion_bundle(folder / "both")
    return folder


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_slide(tmp_path_factory.mktemp("slides") / "s.tif", 1024, 0.5, seed=4).path


@pytest.fixture
def store(tmp_path: Path) -> SlideStore:
    return SlideStore(str(tmp_path / "store.zarr"))


def log_odds(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def test_it_is_found_by_name_and_its_helpers_are_no_pipelines() -> None:
    assert "fusion" in pipeline_names()
    assert not [name for name in pipeline_names() if "member" in name or "score" in name]


def test_it_says_once_what_opening_the_slide_has_to_say(models: Path, store: SlideStore) -> None:
    said = ("a page of 900 x 900 px was left out",)
    glass = ArraySlide(np.full((600, 800, 3), 245, np.uint8), mpp=0.5, warnings=said)
    result = load_pipeline("fusion", models / "both").analyze(glass, store, no_progress)
    assert result.warnings.count(said[0]) == 1


def test_it_says_what_its_weights_make_of_its_members(
    models: Path, slide_file: Path, store: SlideStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsi.storage import tissue_store

    looked: list[str] = []
    find = tissue_store.find_tissue
    monkeypatch.setattr(tissue_store, "find_tissue", lambda *a: (looked.append("x"), find(*a))[1])
    with open_slide(slide_file) as slide:
        result = load_pipeline("fusion", models / "both").analyze(slide, store, no_progress)
        alone = {
            name: load_pipeline(name, models / name).analyze(slide, store, no_progress)
            for name in ("patch", "whole-slide")
        }
    assert looked == ["x"], "tissue is looked for once"
    odds = [log_odds(alone[name].probabilities["cancer"]) for name in ("patch", "whole-slide")]
    expected = BIAS + float(np.dot(WEIGHTS, odds))
    assert log_odds(result.probabilities["cancer"]) == pytest.approx(expected, abs=1e-6)
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert result.hotspots == alone["patch"].hotspots
    assert result.grid == alone["patch"].grid
    assert [layer.kind for layer in result.layers] == [
        "patch-probability",
        "patch-gradcam",
        "whole-slide-probability",
        "whole-slide-gradcam",
    ]
    # The patch classifier's background is no class of a slide: its row is left out.
    np.testing.assert_array_equal(
        result.layers[0].values_chw, alone["patch"].layers[0].values_chw[1:]
    )
    for layer in result.layers:
        assert layer.values_chw.shape == (2, *result.grid.shape)  # type: ignore[union-attr]
    assert set(result.timings_s) > {"patch: tissue", "whole-slide: network", "fusion"}
    put_result(store, "r", result)
    assert json.dumps(result_to_json(get_result(store, "r"))) == json.dumps(result_to_json(result))


def test_a_members_stored_result_is_not_computed_again(
    models: Path, slide_file: Path, store: SlideStore
) -> None:
    stages: list[str] = []
    fusion = load_pipeline("fusion", models / "both")
    with open_slide(slide_file) as slide:
        put_result(
            store,
            "job-7-1",
            load_pipeline("patch", models / "patch").analyze(slide, store, no_progress),
        )
        first = fusion.analyze(slide, store, lambda stage, share: stages.append(stage))
        again = fusion.analyze(slide, store, no_progress)
    assert not [stage for stage in stages if stage.startswith("patch")]
    kept = [
        [one["from_store"] for one in result.details["members"].values()]
        for result in (first, again)
    ]
    assert kept == [[True, False], [True, True]]
    assert first.probabilities == again.probabilities


def test_a_result_at_another_resolution_is_not_taken(
    models: Path, slide_file: Path, store: SlideStore
) -> None:
    fusion = load_pipeline("fusion", models / "both")
    with open_slide(slide_file) as slide:
        fusion.analyze(slide, store, no_progress)
    with open_slide(slide_file, mpp=0.6, force_mpp=True) as slide:
        result = fusion.analyze(slide, store, no_progress)
    assert [one["from_store"] for one in result.details["members"].values()] == [False, False]


def test_a_result_on_tissue_found_by_another_version_is_not_taken(
    models: Path, slide_file: Path, store: SlideStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fusion = load_pipeline("fusion", models / "both")
    with open_slide(slide_file) as slide:
        with monkeypatch.context() as earlier:
            earlier.setattr("wsi.pipelines.base.METHOD_VERSION", 1)
            fusion.analyze(slide, store, no_progress)
        result = fusion.analyze(slide, store, no_progress)
    assert [one["from_store"] for one in result.details["members"].values()] == [False, False]


def test_a_stopped_analysis_goes_on_with_the_member_that_is_missing(
    models: Path, slide_file: Path, store: SlideStore
) -> None:
    def stop(stage: str, share: float) -> None:
        if stage == "whole-slide: network":
            raise AnalysisCancelledError("enough")

    fusion = load_pipeline("fusion", models / "both")
    with open_slide(slide_file) as slide:
        with pytest.raises(AnalysisCancelledError):
            fusion.analyze(slide, store, stop)
        result = fusion.analyze(slide, store, no_progress)
    assert [one["from_store"] for one in result.details["members"].values()] == [True, False]


def test_blank_glass_is_not_combined_and_says_who_saw_nothing(
    models: Path, store: SlideStore
) -> None:
    slide = ArraySlide(np.full((600, 800, 3), 245, np.uint8), mpp=0.5)
    result = load_pipeline("fusion", models / "both").analyze(slide, store, no_progress)
    assert (result.outcome, result.probabilities) == ("no_tissue", {})
    assert result.warnings[-1].startswith("not combined: patch and whole-slide found no tissue")


def test_what_the_members_cannot_name_is_unclear_and_not_blank(
    models: Path, store: SlideStore
) -> None:
    pixels = np.full((600, 800, 3), 245, np.uint8)
    pixels[200:360, 300:460] = 120
    fusion = load_pipeline("fusion", models / "both")
    result = fusion.analyze(ArraySlide(pixels, mpp=1.0), store, no_progress)
    assert (result.outcome, result.probabilities) == ("tissue_unclear", {})
    assert "a person must look" in result.warnings[0]


def test_a_member_is_known_by_its_digest_and_not_by_its_name(tmp_path: Path) -> None:
    fusion_bundle(tmp_path / "both")
    (tmp_path / "patch").rename(tmp_path / "renamed")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / CARD_FILE).write_text("{")
    assert load_pipeline("fusion", tmp_path / "both").name == "fusion"
    (tmp_path / "renamed").rename(tmp_path.parent / "gone")
    with pytest.raises(ModelError, match=r"combines the patch model 'patch', digest .* no bundle"):
        load_pipeline("fusion", tmp_path / "both")


def test_a_card_that_names_other_members_than_its_weights_is_refused(tmp_path: Path) -> None:
    fusion_bundle(tmp_path / "both")
    path = tmp_path / "both" / CARD_FILE
    data = json.loads(path.read_text())
    data["settings"]["members"][0]["digest"] = "0" * 64
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match="name different members"):
        load_pipeline("fusion", tmp_path / "both")
    del data["settings"]["members"]
    path.write_text(json.dumps(data))
    with pytest.raises(ModelError, match="not a valid fusion model"):
        load_pipeline("fusion", tmp_path / "both")


def test_a_model_of_another_pipeline_is_refused(models: Path) -> None:
    with pytest.raises(ModelError, match="a model of pipeline patch, not fusion"):
        load_pipeline("fusion", models / "patch")


def test_a_map_on_a_finer_grid_has_the_value_under_each_centre() -> None:
    coarse = HeatmapGrid(origin_level0=Point(0, 0), cell_level0=(10, 20), shape=(1, 2), mpp=5.0)
    fine = dataclasses.replace(coarse, cell_level0=(5.0, 10.0), shape=(3, 5), mpp=2.5)
    nan = np.nan
    moved = on_grid(np.array([[[1.0, 2.0]]], np.float32), coarse, fine)
    np.testing.assert_array_equal(
        moved[0], [[1, 1, 2, 2, nan], [1, 1, 2, 2, nan], [nan, nan, nan, nan, nan]]
    )
