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
from wsi.evaluation.costs import training_cost
from wsi.evaluation.result_set import match_results, read_results
from wsi.geometry import Point
from wsi.models.card import ModelCard
from wsi.storage import HeatmapGrid, HeatmapLayer, SlideResult, result_to_json

SLIDES = [f"s{i}" for i in range(8)]
TRUTH = [i % 2 for i in range(8)]
GRID = HeatmapGrid(origin_level0=Point(0, 0), cell_level0=(8, 8), shape=(2, 2), mpp=4)
LAYERS = tuple(
    HeatmapLayer(kind=kind, values_chw=np.zeros((2, 2, 2), np.float32))
    for kind in ("probability", "gradcam")
)


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
            grid=GRID if png else None,
            layers=LAYERS if png else (),
        )
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{pipeline}.json").write_text(json.dumps(result_to_json(result)))
        if png:
            pixels = np.zeros((600, 300, 3), np.uint8)
            for layer in ("probability", "gradcam"):
                Image.fromarray(pixels).save(folder / name / f"{pipeline}-{layer}-cancer.png")
            Image.fromarray(pixels).save(folder / name / "thumbnail.jpg")


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
    kappa = comparison.evaluation.pairs[0].kappa
    assert kappa is not None
    assert kappa.value == pytest.approx(4 / 25)
    text = write_comparison(made / "out", comparison, "cancer", slides=2).read_text()
    assert "not a medical device" in text
    assert "<h3>s7: cancer</h3>" in text
    assert "<h3>s3: cancer</h3>" in text
    assert "<h3>s0: not cancer</h3>" not in text
    # Two slides: the slide itself, and two layers of the patch set.
    assert text.count("data:image/png;base64,") == 6
    scoring = json.loads((made / "out" / "comparison.json").read_text())["costs"]["patch (m)"]
    assert scoring["scoring"]["seconds_median"] == 1.5
    assert scoring["scoring"]["peak_host_bytes"] == 2**30
    for name in ("roc", "counts", "precision_recall", "agreement_1", "slides"):
        assert (made / "out" / "figures" / f"{name}.svg").read_text().startswith("<?xml")
        assert (made / "out" / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_figures_are_the_same_in_every_run(made: Path) -> None:
    first, second = (read_results(made / "results", name) for name in ("patch", "whole-slide"))
    matched = match_results((first, second), made / "labels.csv", positive="cancer")
    spec = EvaluationSpec(bootstrap=Bootstrap(replicates=20))
    for run in ("a", "b"):
        write_comparison(made / run, compare((first, second), matched, spec), "cancer")
    for path in (made / "a" / "figures").iterdir():
        assert path.read_bytes() == (made / "b" / "figures" / path.name).read_bytes(), path.name


def test_three_sets_are_compared_in_pairs_and_a_member_s_maps_are_shown_once(made: Path) -> None:
    write_set(made / "results", "fusion", [0.1, 0.9, 0.2, 0.9, 0.2, 0.7, None, 0.8])
    for path in (made / "results").glob("*/fusion.json"):
        data = json.loads(path.read_text())
        data["layers"] = ["patch-gradcam", "whole-slide-gradcam"]
        path.write_text(json.dumps(data))
        for layer in data["layers"]:
            Image.new("RGB", (8, 8)).save(path.parent / f"fusion-{layer}-cancer.png")
    sets = tuple(read_results(made / "results", n) for n in ("patch", "whole-slide", "fusion"))
    matched = match_results(sets, made / "labels.csv", positive="cancer")
    spec = EvaluationSpec(bootstrap=Bootstrap(replicates=20))
    comparison = compare(sets, matched, spec)
    assert len(comparison.evaluation.pairs) == 3
    text = write_comparison(made / "out", comparison, "cancer", slides=1).read_text()
    assert text.count("data:image/png;base64,") == 3
    alone = compare(sets[1:], matched, spec)
    text = write_comparison(made / "less", alone, "cancer", slides=1).read_text()
    assert "fusion (m): patch-Grad-CAM of cancer" in text
    assert "fusion (m): whole-slide-Grad-CAM of cancer" not in text
    with pytest.raises(DatasetError, match=r"two result sets are called patch \(m\)"):
        compare((sets[0], sets[0]), matched, spec)


def write_card(folder: Path, pipeline: str, digest: str, **more: object) -> Path:
    card = ModelCard(
        name=folder.name, pipeline=pipeline, architecture="x", classes=("benign", "cancer"),
        mpp=1.0, input_px=64, weights_sha256=digest, **more,  # type: ignore[arg-type]
    )  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(card.to_json())
    return folder


def test_a_fusion_costs_what_its_members_cost(tmp_path: Path) -> None:
    patch = {"cost": {"seconds": 100.0, "peak_host_bytes": 7}, "patches": {"train": 9}}
    write_card(tmp_path / "p", "patch", "a", training={**patch, "history": [{}, {}]})
    whole = write_card(tmp_path / "w", "whole-slide", "b", training={"cost": {"seconds": 50.0}})
    settings = {"members": [{"digest": "a"}, {"digest": "b"}]}
    both = write_card(tmp_path / "both", "fusion", "c", settings=settings)
    found = training_cost(both)
    assert (found.seconds, found.peak_host_bytes, found.peak_device_bytes) == (150.0, 7, None)
    found = training_cost(tmp_path / "p")
    assert (found.labels, found.epochs) == (("patches: train 9",), 2)
    (whole / "model.json").unlink()
    assert training_cost(both).seconds is None, "half of the truth is not told"


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
    with pytest.raises(DatasetError, match=r"patch\.json: not a result"):
        read_results(made / "results", "patch")


def test_a_class_that_the_models_do_not_know_is_refused(made: Path) -> None:
    sets = (read_results(made / "results", "patch"),)
    with pytest.raises(DatasetError, match="no class 'benigne'; choose from: benign, cancer"):
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


def test_a_label_that_is_no_class_of_the_models_is_refused(made: Path) -> None:
    labels = made / "labels.csv"
    sets = tuple(read_results(made / "results", name) for name in ("patch", "whole-slide"))
    text = labels.read_text()
    for wrong, message in (
        ("Cancer", "'Cancer' looks like 'cancer'"),
        ("canser", "'canser' is neither"),
        ("NA", "nothing is known about this case"),
    ):
        labels.write_text(text.replace("s3.svs,cancer", f"s3.svs,{wrong}"))
        with pytest.raises(DatasetError, match=message):
            match_results(sets, labels, positive="cancer")


def test_a_probability_that_is_no_number_is_refused(made: Path) -> None:
    path = made / "results" / "s1" / "patch.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"probabilities": {"benign": 0.5, "cancer": float("nan")}}))
    sets = tuple(read_results(made / "results", name) for name in ("patch", "whole-slide"))
    with pytest.raises(DatasetError, match="the probability of s1 is nan"):
        match_results(sets, labels_of(made), positive="cancer")


def test_spaces_and_other_names_of_a_split_make_no_difference(made: Path) -> None:
    path = made / "splits.csv"
    path.write_text("slide,label,split\ns0 ,0,Validation \ns1,1,val\ns2,0,train\n")
    sets = tuple(read_results(made / "results", name) for name in ("patch", "whole-slide"))
    matched = match_results(sets, path, positive="cancer", split="valid")
    assert matched.names == ("s0", "s1")
