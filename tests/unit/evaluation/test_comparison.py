"""Two result sets side by side."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from wsi.cli.main import main
from wsi.errors import DatasetError
from wsi.evaluation.binary import EvaluationSpec
from wsi.evaluation.bootstrap import Bootstrap
from wsi.evaluation.comparison import compare, write_comparison
from wsi.evaluation.result_set import match_results, read_results
from wsi.storage import SlideResult, result_to_json

SLIDES = [f"s{i}" for i in range(8)]
TRUTH = [i % 2 for i in range(8)]


def write_set(
    folder: Path, pipeline: str, scores: list[float | None], digest: str = "d", png: bool = False
) -> None:
    """Results as ``wsi analyze`` writes them; ``None`` is a slide without tissue."""
    for name, score in zip(SLIDES, scores, strict=True):
        result = SlideResult(
            slide=f"{name}.svs",
            pipeline=pipeline,
            model="m",
            model_digest=digest,
            classes=("benign", "cancer"),
            probabilities={} if score is None else {"benign": 1 - score, "cancer": score},
            outcome="no_tissue" if score is None else "scored",
            timings_s={"a": 1.0, "b": 0.5},
            details={"peak_host_bytes": 2**30},
        )
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{pipeline}.json").write_text(json.dumps(result_to_json(result)))
        if png:
            pixels = np.zeros((600, 300, 3), np.uint8)
            for layer in ("probability", "gradcam"):
                Image.fromarray(pixels).save(folder / name / f"{pipeline}-{layer}-cancer.png")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    write_set(folder, "patch", [0.1, 0.9, 0.3, 0.8, 0.2, 0.6, 0.4, 0.7], png=True)
    write_set(folder, "whole-slide", [0.1, 0.9, 0.6, 0.4, 0.3, 0.8, None, 0.2])
    lines = [
        f"{n}.svs,{('benign', 'cancer')[t]},p{i}"
        for i, (n, t) in enumerate(zip(SLIDES, TRUTH, strict=True))
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["slide,label,patient", *lines, "s99,benign,p"]))
    return tmp_path


def test_only_slides_that_both_have_scored_are_compared_and_the_others_named(made: Path) -> None:
    sets = tuple(read_results(made / "results", name) for name in ("patch", "whole-slide"))
    matched = match_results(sets, made / "labels.csv", positive="cancer", patient="patient")
    assert matched.names == ("s0", "s1", "s2", "s3", "s4", "s5", "s7")
    assert matched.left_out["s6"].startswith("no_tissue by whole-slide")
    assert matched.left_out["s99"].startswith("no result of patch")
    np.testing.assert_array_equal(matched.table.labels_n, [0, 1, 0, 1, 0, 1, 1])
    np.testing.assert_allclose(
        matched.table.scores["patch (m)"], [0.1, 0.9, 0.3, 0.8, 0.2, 0.6, 0.7]
    )


def test_the_page_shows_first_what_the_two_judge_most_differently(made: Path) -> None:
    first, second = (read_results(made / "results", name) for name in ("patch", "whole-slide"))
    matched = match_results((first, second), made / "labels.csv", positive="cancer")
    spec = EvaluationSpec(bootstrap=Bootstrap(replicates=50))
    comparison = compare((first, second), matched, spec)
    assert comparison.evaluation.scores[0].auc.value == 1
    # Calls at 0.5: they differ on s2, s3 and s7; 4 and 3 of 7 are called: (28 - 24) / (49 - 24).
    assert comparison.kappa.value == pytest.approx(4 / 25)
    text = write_comparison(made / "out", comparison, "cancer", slides=2).read_text()
    assert "not a medical device" in text
    assert "<p>s7: positive</p>" in text
    assert "<p>s3: positive</p>" in text
    assert "<p>s0: negative</p>" not in text
    assert text.count("data:image/png;base64,") == 4  # two slides, two layers, of the patch set
    data = json.loads((made / "out" / "comparison.json").read_text())
    assert data["costs"]["patch (m)"]["seconds_median"] == 1.5
    assert data["costs"]["patch (m)"]["peak_host_bytes"] == 2**30


def test_results_of_two_models_in_one_set_are_refused(made: Path) -> None:
    other = made / "results" / "s9"
    other.mkdir()
    data = json.loads((made / "results" / "s0" / "patch.json").read_text())
    (other / "patch.json").write_text(json.dumps({**data, "model_digest": "other"}))
    with pytest.raises(DatasetError, match="2 different models"):
        read_results(made / "results", "patch")


def test_a_folder_without_results_and_a_damaged_one_are_refused(made: Path) -> None:
    with pytest.raises(DatasetError, match="no results of pipeline 'fusion'"):
        read_results(made / "results", "fusion")
    (made / "results" / "s0" / "patch.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"patch\.json: no result"):
        read_results(made / "results", "patch")


def test_a_class_that_the_models_do_not_know_is_refused(made: Path) -> None:
    sets = (read_results(made / "results", "patch"),)
    with pytest.raises(DatasetError, match="no class 'benigne'; there are: benign, cancer"):
        match_results(sets, labels_of(made), positive="benigne")


def labels_of(folder: Path) -> Path:
    path = folder / "numbers.csv"
    path.write_text("slide,label\ns0,0\ns1,1\n")
    return path


def test_the_command_writes_the_page(made: Path) -> None:
    folder = str(made / "results")
    asked = ["--results", folder, "patch", "--results", folder, "whole-slide"]
    more = ["--labels", str(made / "labels.csv"), "--replicates", "50", "--out", str(made / "out")]
    done = CliRunner().invoke(main, ["evaluate", "compare", *asked, *more])
    assert done.exit_code == 0, done.output
    assert "patch (m): AUC 1.0000" in done.output
    assert "s6: left out" in done.output
    assert (made / "out" / "comparison.html").exists()
    assert (made / "out" / "figures" / "counts.svg").exists()
