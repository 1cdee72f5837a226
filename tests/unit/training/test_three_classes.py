"""Slides of three classes: from slides or maps to a bundle, and to probabilities of all three."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from wsi.cli.main import main
from wsi.models.aggregators import FEATURES, SlideFeatures, class_features, feature_names
from wsi.models.aggregators.stored import load_aggregator
from wsi.models.aggregators.trees import KINDS, HeatmapTrees
from wsi.models.bundle import load_bundle
from wsi.pipelines.base import load_pipeline
from wsi.progress import no_progress
from wsi.slides import open_slide
from wsi.storage import SlideStore
from wsi.testing.models import untrained_patch_bundle
from wsi.testing.slides import synthetic_slide

CLASSES = ("benign", "ductal", "lobular")
PATCH_CLASSES = ("background", *CLASSES)


def made_map(label: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Both diseases make the same spot in the map of all diseases; only whose it is differs."""
    maps = np.zeros((4, 12, 12), np.float32)
    noise = rng.uniform(0, 0.1, (2, 12, 12))
    maps[2:] = noise
    if label:
        row, column = rng.integers(0, 8, 2)
        maps[1 + label, row : row + 4, column : column + 4] += 0.8
    maps[1] = 1 - maps[2:].sum(0)
    return maps


def evidence_of(maps: NDArray[np.float32]) -> SlideFeatures:
    return SlideFeatures(
        classes=PATCH_CLASSES, probabilities_nc=maps.reshape(4, -1).T, probability_chw=maps
    )


def write_features(path: Path, columns: tuple[str, ...], slides: int = 36, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "tumor", "patient", *columns])
        for i in range(slides):
            found = class_features(made_map(i % 3, rng), PATCH_CLASSES)
            writer.writerow([f"s{i}", CLASSES[i % 3], f"p{i}", *(found[key] for key in columns)])
    return path


def run(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_several_diseases_have_features_each_and_one_disease_has_none_more() -> None:
    assert feature_names(("background", "benign", "cancer")) == FEATURES
    names = feature_names(PATCH_CLASSES)
    assert names == feature_names(CLASSES)
    assert len(names) == 3 * len(FEATURES)
    maps = made_map(2, np.random.default_rng(0))
    found = class_features(maps, PATCH_CLASSES)
    assert tuple(found) == names
    assert found["ratio_cancer_tissue50"] == pytest.approx(16 / 144)
    assert found["lobular:ratio_cancer_tissue50"] == pytest.approx(16 / 144)
    assert found["ductal:ratio_cancer_tissue50"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_trees_tell_two_diseases_apart(kind: str, tmp_path: Path) -> None:
    table, model = write_features(tmp_path / "t.csv", feature_names(CLASSES)), tmp_path / "m"
    asked = ["--kind", kind, "--classes", ",".join(CLASSES), "--features", table, "--trees", 20]
    told = run("train", "aggregator", *asked, "--patient", "patient", "--out", model)
    assert "all diseases in one map" not in told
    _, loaded = load_aggregator(model)
    assert isinstance(loaded, HeatmapTrees)
    rng = np.random.default_rng(7)
    for i in range(12):
        call = loaded.aggregate(evidence_of(made_map(i % 3, rng)))
        assert tuple(call.probabilities) == CLASSES
        assert sum(call.probabilities.values()) == pytest.approx(1)
        assert max(call.probabilities, key=call.probabilities.__getitem__) == CLASSES[i % 3]
    unseen = write_features(tmp_path / "unseen.csv", feature_names(CLASSES), seed=3)
    judge = ["evaluate", "aggregator", "--features", unseen, "--model", model, "--replicates", 20]
    told = run(*judge, "--positive", "lobular", "--out", tmp_path / "out")
    assert float(told.split("AUC ")[1].split()[0]) > 0.95
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "name,label,p_benign,p_ductal,p_lobular"
    values = np.array([[float(cell) for cell in line.split(",")[2:]] for line in lines[1:]])
    np.testing.assert_allclose(values.sum(1), 1, atol=2e-6)


def test_tables_of_one_map_are_learned_from_with_a_warning(tmp_path: Path) -> None:
    table = write_features(tmp_path / "t.csv", FEATURES)
    asked = ["--classes", ",".join(CLASSES), "--features", table, "--trees", 5, "--repeats", 0]
    told = run("train", "aggregator", "--kind", "random-forest", *asked, "--out", tmp_path / "m")
    assert "all diseases in one map" in told
    _, loaded = load_aggregator(tmp_path / "m")
    call = loaded.aggregate(evidence_of(made_map(1, np.random.default_rng(1))))
    assert sum(call.probabilities.values()) == pytest.approx(1)
    assert tuple(call.probabilities) == CLASSES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patch model of three slide classes, and what it makes of slides for aggregators."""
    folder = tmp_path_factory.mktemp("inputs")
    untrained_patch_bundle(folder / "patch", classes=PATCH_CLASSES)
    lines = ["path,label,patient,split"]
    for i in range(9):
        synthetic_slide(folder / f"s{i}.tif", 512, 0.5, seed=i)
        lines.append(f"s{i}.tif,{CLASSES[i % 3]},p{i},{'train' if i < 6 else 'val'}")
    (folder / "slides.csv").write_text("\n".join(lines) + "\n")
    asked = ["--model", folder / "patch", "--table", folder / "slides.csv"]
    run("train", "inputs", *asked, "--out", folder / "out")
    return folder


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("random-forest", ["--features", "features_train.csv", "--trees", 3, "--repeats", 0]),
        ("gradient-boosting", ["--features", "features_train.csv", "--trees", 3, "--repeats", 0]),
        ("gated-attention", ["--table", "bags.csv", "--epochs", 1, "--hidden", 8]),
        ("clam", ["--table", "bags.csv", "--epochs", 1, "--hidden", 8]),
        ("clam", ["--table", "bags.csv", "--epochs", 1, "--hidden", 8, "--ordinal"]),
        ("gated-attention", ["--table", "bags.csv", "--epochs", 1, "--ordinal", "--per-patient"]),
    ],
)
def test_from_slides_to_the_probabilities_of_three_classes(
    made: Path, tmp_path: Path, kind: str, options: list[object]
) -> None:
    options = [made / "out" / str(o) if str(o).endswith(".csv") else o for o in options]
    asked = ["--kind", kind, "--classes", ",".join(CLASSES), "--patch-model", made / "patch"]
    run("train", "aggregator", *asked, *options, "--out", tmp_path / "both")
    card, _ = load_bundle(tmp_path / "both")
    assert card.settings["aggregator"]["classes"] == list(CLASSES)
    if "--features" in options:
        assert card.settings["aggregator"]["features"] == list(feature_names(CLASSES))
    pipeline = load_pipeline("patch", tmp_path / "both")
    with open_slide(made / "s1.tif") as slide:
        result = pipeline.analyze(slide, SlideStore(str(tmp_path / "s.zarr")), no_progress)
    assert result.probabilities is not None
    assert tuple(result.probabilities) == CLASSES
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert (result.layer("attention") is not None) == ("--table" in options)
