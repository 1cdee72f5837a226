"""Both pipelines on slides small enough to check by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from wsi.errors import (
    AnalysisCancelledError,
    ConfigError,
    DamagedSlideError,
    ModelError,
    MppError,
)
from wsi.geometry import Region, Size
from wsi.models.bundle import load_bundle
from wsi.models.runtime import to_input
from wsi.pipelines.base import Pipeline, load_pipeline, pipeline_names
from wsi.pipelines.patch import PatchPipeline
from wsi.pipelines.whole_slide import WholeSlidePipeline, build_network
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore, get_result, put_result, result_to_json
from wsi.testing.fakes import ArraySlide
from wsi.testing.models import untrained_patch_bundle, untrained_whole_slide_bundle
from wsi.testing.slides import synthetic_slide

NAMES = ("patch", "whole-slide")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    untrained_patch_bundle(folder / "patch")
    untrained_whole_slide_bundle(folder / "whole-slide")
    return {name: folder / name for name in NAMES}


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_slide(tmp_path_factory.mktemp("slides") / "s.tif", 2048, 0.5, seed=4).path


@pytest.fixture
def store(tmp_path: Path) -> SlideStore:
    return SlideStore(str(tmp_path / "store.zarr"))


@pytest.fixture(params=NAMES)
def pipeline(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> Pipeline:
    return load_pipeline(request.param, bundles[request.param], "cpu")


def test_both_pipelines_are_found_by_name() -> None:
    assert set(NAMES) <= set(pipeline_names())


def test_an_unknown_pipeline_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'nonsense'; choose from: .*patch"):
        load_pipeline("nonsense", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_other_pipeline_is_refused(name: str, bundles: dict[str, Path]) -> None:
    other = next(n for n in NAMES if n != name)
    with pytest.raises(ModelError, match=f"a model of pipeline {other}"):
        load_pipeline(name, bundles[other])


def test_a_result_is_complete_and_its_heatmaps_cover_the_slide(
    pipeline: Pipeline, slide_file: Path, store: SlideStore
) -> None:
    stages: list[str] = []
    with open_slide(slide_file) as slide:
        result = pipeline.analyze(slide, store, lambda stage, share: stages.append(stage))
    assert set(result.probabilities) == {"benign", "cancer"}
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert result.grid is not None
    assert [layer.kind for layer in result.layers] == ["probability", "gradcam"]
    last = result.grid.cell(result.grid.shape[0] - 1, result.grid.shape[1] - 1)
    # The last cell lies around the last position: at most half a cell of the slide is beyond it.
    assert last.right >= 2048 - last.width / 2
    assert last.bottom >= 2048 - last.height / 2
    for layer in result.layers:
        assert layer.values_chw.shape == (len(result.classes), *result.grid.shape)
        assert layer.values_chw.dtype == np.float32
        values = layer.values_chw[np.isfinite(layer.values_chw)]
        assert values.size
        assert values.min() >= 0
        assert values.max() <= 1
        assert np.isnan(layer.values_chw).any(), "glass is not scored"
    summed = result.layers[0].values_chw.sum(0)
    np.testing.assert_allclose(summed[np.isfinite(summed)], 1, atol=1e-5)
    assert set(result.timings_s) > {"tissue"}
    assert "tissue" in stages
    put_result(store, "r", result)
    assert result_to_json(get_result(store, "r")) == result_to_json(result)


def test_the_second_pipeline_reuses_the_tissue_of_the_first(
    bundles: dict[str, Path], slide_file: Path, store: SlideStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(slide_file) as slide:
        load_pipeline("patch", bundles["patch"]).analyze(slide, store, no_progress)
        assert len(store.digests("tissue")) == 1

        def not_again(*args: object) -> None:
            raise AssertionError("tissue was looked for twice")

        monkeypatch.setattr("wsi.storage.tissue_store.find_tissue", not_again)
        load_pipeline("whole-slide", bundles["whole-slide"]).analyze(slide, store, no_progress)


def test_blank_glass_gives_a_result_that_says_so(pipeline: Pipeline, store: SlideStore) -> None:
    slide = ArraySlide(np.full((600, 800, 3), 245, np.uint8), mpp=0.5)
    result = pipeline.analyze(slide, store, no_progress)
    assert result.outcome == "no_tissue"
    assert result.probabilities == {}
    assert "no tissue" in result.warnings[0]


def test_what_is_visible_but_not_recognized_is_unclear_and_not_blank(
    pipeline: Pipeline, store: SlideStore
) -> None:
    pixels = np.full((600, 800, 3), 245, np.uint8)
    pixels[200:360, 300:460] = 120
    result = pipeline.analyze(ArraySlide(pixels, mpp=1.0), store, no_progress)
    assert (result.outcome, result.probabilities) == ("tissue_unclear", {})
    assert result.warnings[0].startswith("nothing was scored: 6")
    assert "a person must look" in result.warnings[0]


def test_a_black_slide_is_unclear(pipeline: Pipeline, store: SlideStore) -> None:
    slide = ArraySlide(np.zeros((600, 800, 3), np.uint8), mpp=1.0)
    result = pipeline.analyze(slide, store, no_progress)
    assert result.outcome == "tissue_unclear"
    assert "dark, as in fluorescence" in result.warnings[0]


def test_a_result_says_where_the_model_cannot_tell_what_is_malignant(
    pipeline: Pipeline, slide_file: Path, store: SlideStore
) -> None:
    names = ("background", "one", "two") if pipeline.name == "patch" else ("one", "two")
    card = dataclasses.replace(pipeline.card, classes=names, malignant=None)  # type: ignore[attr-defined]
    pipeline.card = card  # type: ignore[attr-defined]
    with open_slide(slide_file) as slide:
        result = pipeline.analyze(slide, store, no_progress)
    assert result.suspicion is None
    assert [one for one in result.warnings if "one, two are malignant" in one]


def test_tissue_too_small_for_a_patch_is_unclear_and_says_how_much_there_is(
    bundles: dict[str, Path], store: SlideStore
) -> None:
    pixels = np.full((4000, 4000, 3), 245, np.uint8)
    pixels[1000:1160, 1000:1160] = (210, 130, 180)
    pipeline = PatchPipeline.load(bundles["patch"], "cpu")
    settings = {**pipeline.card.settings, "min_tissue": 1.0}
    pipeline.card = dataclasses.replace(pipeline.card, mpp=8.0, settings=settings)
    result = pipeline.analyze(ArraySlide(pixels, mpp=1.0), store, no_progress)
    assert (result.outcome, result.probabilities) == ("tissue_unclear", {})
    assert result.warnings[0].startswith("nothing was scored: ")
    (told,) = (one for one in result.warnings if "there are 0.0307 mm2" in one)
    assert "is tissue to 100%" in told


def test_a_slide_smaller_than_a_patch_is_scored(
    pipeline: Pipeline, slide_file: Path, store: SlideStore
) -> None:
    with open_slide(slide_file) as slide:
        tissue = slide.read_region(Region(960, 960, 150, 120), Size(150, 120))
    small = ArraySlide(tissue, mpp=2.0)
    result = pipeline.analyze(small, store, no_progress)
    assert result.outcome in ("scored", "tissue_unclear")
    assert result.slide == "array.tif"


def test_a_slide_without_mpp_is_refused(pipeline: Pipeline, store: SlideStore) -> None:
    with pytest.raises(MppError, match="--mpp"):
        pipeline.analyze(ArraySlide(np.zeros((9, 9, 3), np.uint8), None), store, no_progress)


def test_an_analysis_stops_when_its_caller_wants(
    pipeline: Pipeline, slide_file: Path, store: SlideStore
) -> None:
    def stop(stage: str, share: float) -> None:
        if stage != "tissue":
            raise AnalysisCancelledError("enough")

    with open_slide(slide_file) as slide, pytest.raises(AnalysisCancelledError):
        pipeline.analyze(slide, store, stop)


def test_a_patch_scores_what_the_network_says_of_its_pixels(
    bundles: dict[str, Path], slide_file: Path, store: SlideStore
) -> None:
    pipeline = PatchPipeline.load(bundles["patch"], "cpu")
    pipeline._trunk = torch.no_grad()(pipeline.trunk.forward)
    with open_slide(slide_file) as slide:
        result = pipeline.analyze(slide, store, no_progress)
        # 64 px at 2 mpp are 256 level-0 px; the heatmap has four cells along a patch.
        scores = result.layers[0].values_chw
        row, column = np.argwhere(np.isfinite(scores[0]))[0] // 4
        pixels = slide.read_region(Region(column * 256, row * 256, 256, 256), Size(64, 64))
    card, state = load_bundle(bundles["patch"])
    from wsi.models.backbones import build_backbone

    network = build_backbone(card.architecture, 3).eval()
    network.load_state_dict(state)
    with torch.no_grad():
        expected = network(to_input(np.stack([pixels]), card.mean, card.std, torch.device("cpu")))
    np.testing.assert_allclose(
        scores[:, row * 4, column * 4], expected.softmax(1)[0].numpy(), atol=1e-4
    )


def test_the_whole_slide_network_sees_the_slide_with_white_glass(
    bundles: dict[str, Path], slide_file: Path, store: SlideStore
) -> None:
    pipeline = WholeSlidePipeline.load(bundles["whole-slide"], "cpu")
    pipeline._run = type(pipeline._run)(autocast=None)
    with open_slide(slide_file) as slide:
        result = pipeline.analyze(slide, store, no_progress)
        from wsi.data.slide_image import SlideSource
        from wsi.storage.tissue_store import tissue_of
        from wsi.tissue import TissueSpec

        tissue = tissue_of(slide, store, TissueSpec())
        card, state = load_bundle(bundles["whole-slide"])
        source = SlideSource(slide, 2.0, tissue=tissue, mean=card.mean, std=card.std)
        image = source.read(0, 0, *source.size)
    with torch.no_grad():
        expected = build_network(card, state).eval()(image).softmax(1)[0]
    assert result.probabilities["cancer"] == pytest.approx(float(expected[1]), abs=1e-4)


def test_what_opening_a_slide_has_to_say_stands_in_its_result(
    pipeline: Pipeline, slide_file: Path, store: SlideStore, tmp_path: Path
) -> None:
    said = ("a page of 900 x 900 px was left out",)
    with open_slide(slide_file) as slide:
        pixels = slide.read_region(Region.whole(slide.size), slide.size)
    scored = pipeline.analyze(ArraySlide(pixels, 0.5, warnings=said), store, no_progress)
    assert scored.warnings[:1] == said
    glass = ArraySlide(np.full((600, 800, 3), 245, np.uint8), mpp=0.5, warnings=said)
    empty = pipeline.analyze(glass, SlideStore(str(tmp_path / "other.zarr")), no_progress)
    assert empty.warnings[:1] == said


def test_patches_that_do_not_decode_are_left_out_and_reported(
    bundles: dict[str, Path], slide_file: Path, store: SlideStore
) -> None:
    class Damaged(ArraySlide):
        def read_region(self, region: Region, size: Size) -> np.ndarray:
            # Overviews read; only full-resolution patches of the damaged corner fail.
            if region.width < 500 and region.intersection(Region(900, 900, 200, 200)):
                raise DamagedSlideError(self.name, "bad tile")
            return super().read_region(region, size)

    with open_slide(slide_file) as slide:
        pixels = slide.read_region(Region.whole(slide.size), slide.size)
    pipeline = PatchPipeline.load(bundles["patch"], "cpu")
    result = pipeline.analyze(Damaged(pixels, 0.5), store, no_progress)
    assert len(result.damaged) == 4
    assert result.damaged[0].reason == "bad tile"
    assert "4 of" in result.warnings[0]
    assert result.outcome == "scored"


def test_a_slide_of_which_nothing_decodes_fails(
    bundles: dict[str, Path], slide_file: Path, store: SlideStore
) -> None:
    class Broken(ArraySlide):
        def read_region(self, region: Region, size: Size) -> np.ndarray:
            if region.width < 500:
                raise DamagedSlideError(self.name, "bad tile")
            return super().read_region(region, size)

    with open_slide(slide_file) as slide:
        pixels = slide.read_region(Region.whole(slide.size), slide.size)
    pipeline = PatchPipeline.load(bundles["patch"], "cpu")
    with pytest.raises(DamagedSlideError, match="none of its"):
        pipeline.analyze(Broken(pixels, 0.5), store, no_progress)
