"""Slides of one name, size and resolution: each has its own results, or is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.cases.identity import slide_with_disc
from wsi.cli.main import main
from wsi.data.tables import Row
from wsi.pipelines.base import load_pipeline
from wsi.pipelines.fusion_scores import score_slides
from wsi.pipelines.members import Member
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.slides.identity import slide_digest
from wsi.storage import SlideStore, get_result
from wsi.testing.fusions import fusion_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("same")
    fusion_bundle(folder / "models" / "fusion")
    for name, x in (("a", 150), ("b", 360)):
        slide_with_disc(folder / name / "case.tif", x)
    return folder


def analyze(made: Path, slide: str, pipeline: str, out: Path) -> Result:
    asked = ["--pipeline", pipeline, "--model", str(made / "models" / pipeline), "--out", str(out)]
    return CliRunner().invoke(main, ["analyze", str(made / slide / "case.tif"), *asked])


def said(out: Path, pipeline: str) -> dict[str, object]:
    told = json.loads((out / "case" / f"{pipeline}.json").read_text())
    return {key: told[key] for key in ("slide_digest", "probabilities", "hotspots")}


@pytest.mark.parametrize("pipeline", ["patch", "whole-slide", "fusion"])
def test_the_second_slide_is_refused_where_the_first_one_lies_and_right_elsewhere(
    made: Path, tmp_path: Path, pipeline: str
) -> None:
    assert analyze(made, "a", pipeline, tmp_path / "r").exit_code == 0
    before = said(tmp_path / "r", pipeline)
    refused = analyze(made, "b", pipeline, tmp_path / "r")
    assert refused.exit_code == 2
    assert "store.zarr belongs to case.tif (digest" in refused.output
    assert said(tmp_path / "r", pipeline) == before
    assert analyze(made, "b", pipeline, tmp_path / "other").exit_code == 0
    other = said(tmp_path / "other", pipeline)
    assert other["slide_digest"] != before["slide_digest"]
    # Once more over itself: the same slide is not refused.
    assert analyze(made, "a", pipeline, tmp_path / "r").exit_code == 0
    assert said(tmp_path / "r", pipeline) == before


def test_a_store_that_holds_both_answers_for_each_its_own(made: Path, tmp_path: Path) -> None:
    """As after an upgrade, whose stores have no owner: fusion takes no other slide's results."""
    fusion = load_pipeline("fusion", made / "models" / "fusion")
    shared = SlideStore(str(tmp_path / "shared.zarr"))
    for name in ("a", "b", "a"):
        alone = SlideStore(str(tmp_path / f"{name}.zarr"))
        with open_slide(made / name / "case.tif") as slide:
            wanted = fusion.analyze(slide, alone, no_progress)
            found = fusion.analyze(slide, shared, no_progress)
            assert found.slide_digest == slide_digest(slide)
        assert found.probabilities == pytest.approx(wanted.probabilities)
        for mine, theirs in zip(found.layers, wanted.layers, strict=True):
            np.testing.assert_allclose(mine.values_chw, theirs.values_chw, atol=1e-5)
    assert len(shared.digests("tissue")) == 2
    by_slide = [get_result(shared, one).slide_digest for one in shared.digests("results")]
    assert len(set(by_slide)) == 2


def test_scores_for_a_fusion_of_a_replaced_slide_are_left_out(made: Path, tmp_path: Path) -> None:
    bundle = made / "models" / "patch"
    member = Member(load_pipeline("patch", bundle), "digest")
    row = Row(path="case.tif", label=0, patient="p", split="val")
    first, second = (score_slides([member], [row], made / name, tmp_path)[0] for name in ("a", "b"))
    assert first.results
    assert not second.results
    assert "belongs to case.tif" in second.problem
