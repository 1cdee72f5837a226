"""Forests and boosting on heatmap features: trained, stored, walked, judged."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from wsi.cli.main import main
from wsi.data.heatmap_features import FeatureTable, read_features
from wsi.errors import ConfigError, DatasetError, ModelError
from wsi.evaluation.bootstrap import Bootstrap
from wsi.models.aggregators import FEATURES, SlideFeatures, TopK, heatmap_features
from wsi.models.aggregators.stored import join_bundles, load_aggregator, split_state
from wsi.models.aggregators.trees import KINDS, HeatmapTrees, Trees
from wsi.models.bundle import load_bundle
from wsi.testing.models import untrained_patch_bundle
from wsi.training.aggregator import (
    TreeTraining,
    cross_validate,
    export_trees,
    fit_classifier,
    train_trees,
)

CLASSES = ("benign", "cancer")


def made_table(slides: int = 60, classes: int = 2, noise: float = 1.0) -> FeatureTable:
    """Slides whose features follow their class, more or less; three slides a patient."""
    rng = np.random.default_rng(0)
    patients = np.arange(slides) // 3
    labels = patients % classes
    values = rng.normal(0, noise, (slides, len(FEATURES)))
    values[:, 0] += labels
    values[:, 5] -= labels
    return FeatureTable(
        source="made",
        names_n=np.array([f"s{i}" for i in range(slides)]),
        patients_n=patients.astype(str),
        by_patient=True,
        labels_n=labels,
        features=FEATURES,
        values_nf=values,
    )


def config(kind: str, classes: tuple[str, ...] = CLASSES, **more: object) -> TreeTraining:
    return TreeTraining(name="m", kind=kind, classes=classes, **{"trees": 20, "repeats": 0, **more})  # type: ignore[arg-type]


def write_csv(path: Path, table: FeatureTable) -> Path:
    assert table.labels_n is not None
    lines = [
        ",".join([name, str(label), patient, *(repr(float(v)) for v in values)])
        for name, label, patient, values in zip(
            table.names_n, table.labels_n, table.patients_n, table.values_nf, strict=True
        )
    ]
    path.write_text("\n".join([",".join(["name", "tumor", "patient", *FEATURES]), *lines]) + "\n")
    return path


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_exported_trees_say_what_scikit_learn_says(kind: str, classes: int) -> None:
    table = made_table(classes=classes)
    names = ("a", "b", "c")[:classes]
    model = fit_classifier(table.values_nf, table.labels_n, config(kind, names), 0)  # type: ignore[arg-type]
    trees = export_trees(model)
    # On thresholds too: there float32 decides, as in scikit-learn.
    edge = table.values_nf[:20].copy()
    inner = np.flatnonzero(trees.feature >= 0)[:20]
    edge[np.arange(len(inner)), trees.feature[inner]] = trees.threshold[inner]
    for values in (table.values_nf, edge, np.random.default_rng(1).normal(0, 3, (200, 30))):
        np.testing.assert_allclose(
            trees.probabilities_nk(values), model.predict_proba(values), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_scores_as_the_model_that_was_trained(kind: str, tmp_path: Path) -> None:
    table = made_table()
    train_trees(table, config(kind), tmp_path / "m")
    _, loaded = load_aggregator(tmp_path / "m")
    assert isinstance(loaded, HeatmapTrees)
    expected = fit_classifier(table.values_nf, table.labels_n, config(kind), 0)  # type: ignore[arg-type]
    np.testing.assert_allclose(
        loaded.trees.probabilities_nk(table.values_nf),
        expected.predict_proba(table.values_nf),
        rtol=1e-12,
    )
    assert {p.name for p in (tmp_path / "m").iterdir()} == {"weights.safetensors", "model.json"}


def test_training_twice_gives_the_same_weights(tmp_path: Path) -> None:
    first, second = (
        train_trees(made_table(), config("random-forest"), tmp_path / name) for name in "ab"
    )
    assert first.weights_sha256 == second.weights_sha256


def test_damaged_trees_are_refused() -> None:
    table = made_table()
    arrays = export_trees(
        fit_classifier(table.values_nf, table.labels_n, config("random-forest"), 0)  # type: ignore[arg-type]
    ).arrays()
    endless = {**arrays, "left": np.zeros_like(arrays["left"])}
    with pytest.raises(ModelError, match="do not make trees"):
        Trees.from_arrays(endless, 30)
    with pytest.raises(ModelError, match="do not make trees"):
        Trees.from_arrays(arrays, 2)
    with pytest.raises(ModelError, match="lacks value"):
        Trees.from_arrays({k: v for k, v in arrays.items() if k != "value"}, 30)


def evidence(mpp: float = 8.0) -> SlideFeatures:
    rng = np.random.default_rng(3)
    chw = rng.dirichlet(np.ones(3), (12, 12)).transpose(2, 0, 1).astype(np.float32)
    return SlideFeatures(
        classes=("background", *CLASSES),
        probabilities_nc=chw.reshape(3, -1).T,
        probability_chw=chw,
        heatmap_mpp=mpp,
    )


def test_a_slide_is_scored_by_the_features_of_its_disease_map(tmp_path: Path) -> None:
    train_trees(made_table(), config("random-forest", heatmap_mpp=8.0), tmp_path / "m")
    _, loaded = load_aggregator(tmp_path / "m")
    given = evidence()
    assert given.probability_chw is not None
    features = heatmap_features(given.probability_chw[2])
    assert isinstance(loaded, HeatmapTrees)
    call = loaded.aggregate(given)
    assert call.probabilities == loaded.score([features])[0]
    assert sum(call.probabilities.values()) == pytest.approx(1)


def test_a_map_of_another_resolution_is_refused(tmp_path: Path) -> None:
    train_trees(made_table(), config("random-forest", heatmap_mpp=8.0), tmp_path / "m")
    _, loaded = load_aggregator(tmp_path / "m")
    with pytest.raises(ModelError, match="8 um per cell, not 16"):
        loaded.aggregate(evidence(mpp=16.0))


def test_a_patch_bundle_can_carry_its_aggregator(tmp_path: Path) -> None:
    untrained_patch_bundle(tmp_path / "patch")
    train_trees(made_table(), config("random-forest"), tmp_path / "forest")
    card = join_bundles(tmp_path / "patch", tmp_path / "forest", tmp_path / "both")
    assert card.pipeline == "patch"
    _, state = load_bundle(tmp_path / "both")
    network, own = split_state(state)
    original = load_bundle(tmp_path / "patch")[1]
    assert network.keys() == original.keys()
    assert all(torch.equal(network[key], original[key]) for key in original)
    assert own
    alone, joined = (load_aggregator(tmp_path / n)[1] for n in ("forest", "both"))
    assert alone.aggregate(evidence()) == joined.aggregate(evidence())


def test_an_aggregator_of_other_classes_does_not_join(tmp_path: Path) -> None:
    untrained_patch_bundle(tmp_path / "patch")
    train_trees(made_table(), config("random-forest", ("normal", "tumor")), tmp_path / "forest")
    with pytest.raises(ModelError, match="normal, tumor"):
        join_bundles(tmp_path / "patch", tmp_path / "forest", tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_a_model_without_aggregator_says_so(tmp_path: Path) -> None:
    untrained_patch_bundle(tmp_path / "patch")
    with pytest.raises(ModelError, match="no trained aggregator"):
        load_aggregator(tmp_path / "patch")
    assert isinstance(TopK(3), TopK)


def test_cross_validation_judges_each_patient_by_a_model_that_never_saw_it() -> None:
    # The label is a coin toss a patient and the only useful feature is the patient's number: a
    # model that saw the patient knows the answer, one that did not cannot.
    rng = np.random.default_rng(2)
    patients = np.arange(120) // 4
    labels = rng.permutation(np.arange(30) % 2)[patients]
    values = np.zeros((120, len(FEATURES)))
    values[:, 0] = rng.permutation(30)[patients]
    table = FeatureTable(
        source="made",
        names_n=np.arange(120).astype(str),
        patients_n=patients.astype(str),
        by_patient=True,
        labels_n=labels,
        features=FEATURES,
        values_nf=values,
    )
    asked = config("random-forest", repeats=2, min_samples_leaf=1)
    found = cross_validate(table, asked, bootstrap=Bootstrap(replicates=50))
    seen = fit_classifier(values, labels, asked, 0).predict_proba(values)[:, 1]
    assert ((seen > 0.5) == labels).all()
    assert found.auc.value is not None
    assert found.auc.value < 0.75


def test_cross_validation_of_learnable_classes_has_an_interval_around_its_mean() -> None:
    found = cross_validate(
        made_table(noise=0.3),
        config("random-forest", repeats=2),
        bootstrap=Bootstrap(replicates=50),
    )
    assert found.auc.value == pytest.approx(found.auc_r.mean())
    assert found.auc.value > 0.8
    assert found.auc.low is not None
    assert found.auc.high is not None
    assert found.auc.low < found.auc.value < found.auc.high
    np.testing.assert_allclose(found.probabilities_rnk.sum(2), 1)


def test_more_folds_than_patients_of_a_class_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"class 'benign' has 2 patient\(s\)"):
        cross_validate(made_table(slides=12), config("random-forest"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "forest"}, "no trees"),
        ({"trees": 0}, "positive"),
        ({"classes": ("a",)}, "classes"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TreeTraining(**{"name": "m", "kind": "random-forest", "classes": CLASSES, **change})  # type: ignore[arg-type]


def test_a_slide_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", made_table(6))
    with pytest.raises(DatasetError, match="s0 was there already"):
        read_features([path, path], CLASSES)


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    table = made_table(6)
    path = write_csv(tmp_path / "t.csv", table)
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text(
        "\n".join(",".join(reversed(line.split(","))) for line in path.read_text().splitlines())
    )
    np.testing.assert_array_equal(
        read_features([shuffled], CLASSES).values_nf, read_features([path], CLASSES).values_nf
    )


def test_commands_train_on_tables_and_score_a_table(tmp_path: Path) -> None:
    table = str(write_csv(tmp_path / "t.csv", made_table()))
    model, out = str(tmp_path / "m"), tmp_path / "out"
    asked = ["--features", table, "--classes", "benign,cancer", "--patient", "patient"]
    trained = CliRunner().invoke(
        main,
        ["train", "aggregator", "--kind", "random-forest", *asked, "--trees", "20", "--out", model],
    )
    assert trained.exit_code == 0, trained.output
    assert "cross_validated_auc" in trained.output
    more = ["--patient", "patient", "--replicates", "50", "--out", str(out)]
    scored = CliRunner().invoke(
        main,
        ["evaluate", "aggregator", "--features", table, "--model", model, *more],
    )
    assert scored.exit_code == 0, scored.output
    assert "trained on" in scored.output
    data = json.loads((out / "evaluation.json").read_text())
    assert data["positive"] == "cancer"
    assert data["scores"][0]["patients"] == 20
    assert len((out / "predictions.csv").read_text().splitlines()) == 61


def test_a_table_without_labels_is_scored_all_the_same(tmp_path: Path) -> None:
    table = made_table()
    train_trees(table, config("gradient-boosting"), tmp_path / "m")
    lines = write_csv(tmp_path / "t.csv", table).read_text().splitlines()
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(",".join(x.split(",")[:1] + x.split(",")[3:]) for x in lines))
    asked = ["--model", str(tmp_path / "m"), "--no-labels", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(
        main,
        ["evaluate", "aggregator", "--features", str(bare), *asked],
    )
    assert done.exit_code == 0, done.output
    assert "60 slides scored" in done.output


def test_an_option_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main,
        ["train", "aggregator", "--kind", "random-forest", "--epochs", "3", "--out", "x"],
    )
    assert done.exit_code == 2
    assert "no option --epochs" in done.output


def test_tables_may_follow_each_other(tmp_path: Path) -> None:
    lines = write_csv(tmp_path / "all.csv", made_table()).read_text().splitlines()
    parts = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for part, start in zip(parts, (1, 31), strict=True):
        part.write_text("\n".join([lines[0], *lines[start : start + 30]]))
    asked = ["--kind", "random-forest", "--classes", "benign,cancer", "--trees", "3"]
    files = ["--features", *(str(part) for part in parts), "--repeats", "0"]
    done = CliRunner().invoke(
        main, ["train", "aggregator", *asked, *files, "--out", str(tmp_path / "m")]
    )
    assert done.exit_code == 0, done.output
    assert sum(load_aggregator(tmp_path / "m")[0].training["slides"].values()) == 60
