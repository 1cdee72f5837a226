"""Resolution in every pipeline: too coarse is refused, a little is warned of, both sides named."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from wsi.data.annotated_patches import annotated_patches
from wsi.data.resolutions import check_resolutions
from wsi.data.tables import Row
from wsi.errors import MppError
from wsi.models.bundle import load_bundle, save_bundle
from wsi.models.detail import DRAWN_MPP
from wsi.patches import PatchSpec, resolve_grid
from wsi.pipelines.aggregator_inputs import write_inputs
from wsi.pipelines.base import load_pipeline
from wsi.pipelines.fusion_scores import score_slides
from wsi.pipelines.members import Member
from wsi.pipelines.patch import PatchPipeline
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore
from wsi.testing.fakes import ArraySlide
from wsi.testing.fusions import fusion_bundle
from wsi.testing.models import untrained_patch_bundle, untrained_whole_slide_bundle
from wsi.testing.slides import synthetic_slide

PIPELINES = ("patch", "whole-slide", "fusion", "fitted")
BOTH = r"the slide has {} um/px, and the model '.*' needs {} um/px"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of 2 um/px, and one that slides are fitted to."""
    folder = tmp_path_factory.mktemp("models")
    untrained_patch_bundle(folder / "patch")
    untrained_whole_slide_bundle(folder / "whole-slide")
    fusion_bundle(folder / "fusion")
    card, state = load_bundle(folder / "whole-slide")
    fitted = dataclasses.replace(card, mpp=0.0, input_px=512, training={DRAWN_MPP: 2.0})
    save_bundle(folder / "fitted", fitted, state)
    return folder


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for name, mpp in (("fine", 1.0), ("close", 2.5), ("coarse", 4.0), ("overview", 30.0)):
        synthetic_slide(folder / f"{name}.tif", 256, mpp, seed=4, geojson=True)
    return folder


def analyze(bundles: Path, model: str, slide: ArraySlide | Path, store: Path, **given: object):  # type: ignore[no-untyped-def]
    pipeline = load_pipeline("whole-slide" if model == "fitted" else model, bundles / model)
    with open_slide(slide, **given) if isinstance(slide, Path) else slide as opened:  # type: ignore[arg-type]
        return pipeline.analyze(opened, SlideStore(str(store)), no_progress)


@pytest.mark.parametrize("model", PIPELINES)
@pytest.mark.parametrize(("name", "mpp"), [("coarse", 4), ("overview", 30)])
def test_every_pipeline_refuses_a_slide_that_is_too_coarse_before_it_computes(
    bundles: Path, slides: Path, model: str, name: str, mpp: int, tmp_path: Path
) -> None:
    wanted = max(2.0, 256 * mpp / 512) if model == "fitted" else 2
    with pytest.raises(MppError, match=BOTH.format(mpp, f"{wanted:g}")):
        analyze(bundles, model, slides / f"{name}.tif", tmp_path / "s")
    assert not SlideStore(str(tmp_path / "s")).digests("tissue")


@pytest.mark.parametrize("model", PIPELINES)
def test_every_pipeline_warns_of_a_slide_that_is_a_little_too_coarse(
    bundles: Path, slides: Path, model: str, tmp_path: Path
) -> None:
    result = analyze(bundles, model, slides / "close.tif", tmp_path / "s")
    assert result.outcome == "scored"
    assert any("coarse slide: the slide has 2.5 um/px" in text for text in result.warnings)
    fine = analyze(bundles, model, slides / "fine.tif", tmp_path / "t")
    assert not any("coarse" in text for text in fine.warnings)


@pytest.mark.parametrize("model", ["patch", "whole-slide", "fusion"])
def test_a_result_names_the_stated_and_the_given_resolution(
    bundles: Path, slides: Path, model: str, tmp_path: Path
) -> None:
    given = {"mpp": 2.0, "force_mpp": True}
    result = analyze(bundles, model, slides / "fine.tif", tmp_path / "s", **given)
    assert "resolution 2 um/px given by the user; the file states 1 um/px" in result.warnings
    assert result.details["slide_mpp"] == pytest.approx([2.0, 2.0])
    assert result.details["stated_mpp"] == pytest.approx([1.0, 1.0])
    assert result.details["given_mpp"] == 2.0
    plain = analyze(bundles, model, slides / "fine.tif", tmp_path / "t")
    assert plain.details["given_mpp"] is None


@pytest.mark.parametrize("model", ["patch", "whole-slide"])
def test_a_slide_without_tissue_names_its_resolution_too(
    bundles: Path, model: str, tmp_path: Path
) -> None:
    glass = ArraySlide(np.full((300, 300, 3), 245, np.uint8), 1.0)
    result = analyze(bundles, model, glass, tmp_path / "s")
    assert result.outcome != "scored"
    assert result.details["slide_mpp"] == [1.0, 1.0]


def test_a_patch_grid_finer_than_the_slide_is_refused(slides: Path) -> None:
    with (
        open_slide(slides / "coarse.tif") as slide,
        pytest.raises(MppError, match=r"4 um/px, and the patch grid needs 2 um/px"),
    ):
        resolve_grid(slide, PatchSpec(mpp=2.0, size_px=64), None)


def test_inputs_of_aggregators_and_scores_of_fusions_leave_coarse_slides_out_with_the_reason(
    bundles: Path, slides: Path, tmp_path: Path
) -> None:
    rows = [
        Row(path=f"{name}.tif", label=index, patient=name, split="val")
        for index, name in enumerate(("close", "coarse"))
    ]
    pipeline = load_pipeline("patch", bundles / "patch")
    assert isinstance(pipeline, PatchPipeline)
    close, coarse = write_inputs(pipeline, rows, slides, tmp_path / "inputs")
    assert not close.problem
    assert "coarse slide" in close.warnings[0]
    assert "coarse.tif: the slide has 4 um/px" in coarse.problem
    member = Member(pipeline, pipeline.card.weights_sha256)
    _, left_out = score_slides([member], rows, slides, tmp_path / "scores")
    assert "the slide has 4 um/px" in left_out.problem


def test_training_of_patches_refuses_coarse_slides_and_tells_of_close_ones(
    slides: Path, tmp_path: Path
) -> None:
    table = slides / "patches.csv"

    def train(first: str, mpp: float, told: list[str]) -> None:
        table.write_text(
            "slide,annotations,patient,split\n"
            f"{first}.tif,{first}.geojson,p1,train\nfine.tif,fine.geojson,p2,val\n"
        )
        annotated_patches(
            table, ("benign", "cancer"), mpp=mpp, size_px=16, unlabelled="benign",
            tell=told.append,
        )  # fmt: skip

    told: list[str] = []
    train("close", 2.0, told)
    assert told == ["close.tif: coarse slide: the slide has 2.5 um/px, and the training needs "
                    "2 um/px: it is 1.25 times too coarse"]  # fmt: skip
    with pytest.raises(MppError, match=r"coarse\.tif: the slide has 4 um/px, and the training"):
        train("coarse", 2.0, told)


def rows_of(*names: str, mpp: float | None = None, force: bool = False) -> list[Row]:
    return [
        Row(path=f"{name}.tif", label=0, patient=name, split="train", mpp=mpp, force_mpp=force)
        for name in names
    ]


def test_training_of_whole_slides_looks_at_every_resolution_first(slides: Path) -> None:
    with pytest.raises(MppError, match=r"coarse\.tif: the slide has 4 um/px, and the training"):
        check_resolutions(rows_of("fine", "coarse"), slides, mpp=2.0, input_px=0)
    found = check_resolutions(rows_of("fine", "close"), slides, mpp=2.0, input_px=0)
    assert found.coarsest_mpp == 2.0
    assert found.warnings[0].startswith("close.tif: coarse slide")


def test_fitted_slides_are_compared_with_the_others(slides: Path) -> None:
    found = check_resolutions(rows_of("fine", "fine", "close"), slides, mpp=0.0, input_px=240)
    assert found.coarsest_mpp == pytest.approx(2.5 * 256 / 240)
    with pytest.raises(MppError, match=r"overview\.tif: the slide has 30 um/px"):
        check_resolutions(rows_of("fine", "fine", "overview"), slides, mpp=0.0, input_px=1024)


def test_the_resolution_of_a_table_contradicts_a_slide_only_where_it_is_forced(
    slides: Path,
) -> None:
    with pytest.raises(MppError, match="but the file states 1 um/px"):
        check_resolutions(rows_of("fine", mpp=0.5), slides, mpp=2.0, input_px=0)
    rows = rows_of("fine", mpp=0.5, force=True)
    (told,) = check_resolutions(rows, slides, mpp=2.0, input_px=0).warnings
    assert told == "fine.tif: resolution 0.5 um/px given by the user; the file states 1 um/px"
