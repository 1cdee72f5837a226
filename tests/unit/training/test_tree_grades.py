"""Trees on ordinal grades, and on patients with several slides."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from wsi.cli.main import main
from wsi.data.heatmap_features import FeatureTable, pool_patients
from wsi.errors import DatasetError, ModelError
from wsi.evaluation.bootstrap import Bootstrap
from wsi.evaluation.grades import median_grade
from wsi.models.aggregators import FEATURES
from wsi.models.aggregators.ordinal_trees import OrdinalTrees
from wsi.models.aggregators.stored import load_aggregator
from wsi.models.aggregators.trees import KINDS, HeatmapTrees, Trees
from wsi.training.aggregator import TreeTraining, cross_validate, fit_trees, train_trees

GRADES = ("none", "low", "middle", "high")


def graded(slides: int = 120, noise: float = 0.3) -> FeatureTable:
    """Slides whose features rise with their grade; three slides a patient."""
    rng = np.random.default_rng(0)
    patients = np.arange(slides) // 3
    labels = patients % len(GRADES)
    values = rng.normal(0, noise, (slides, len(FEATURES)))
    values[:, :5] += labels[:, None]
    return FeatureTable(
        source="made",
        names_n=np.array([f"s{i}" for i in range(slides)]),
        patients_n=np.array([f"p{i:02d}" for i in patients]),
        by_patient=True,
        labels_n=labels,
        features=FEATURES,
        values_nf=values,
    )


def config(kind: str = "random-forest", **more: object) -> TreeTraining:
    asked = {"name": "m", "classes": GRADES, "ordinal": True, "trees": 20, "repeats": 0, **more}
    return TreeTraining(kind=kind, **asked)  # type: ignore[arg-type]


def constant(above: float) -> Trees:
    """A model that says the same of every case."""
    return Trees(
        feature=np.array([-1]),
        threshold=np.zeros(1),
        left=np.zeros(1, np.int64),
        right=np.zeros(1, np.int64),
        value=np.array([[1 - above, above]]),
        roots=np.zeros(1, np.int64),
        outputs=np.zeros(1, np.int64),
        start=np.empty(0),
    )


def test_grades_are_what_lies_between_the_steps() -> None:
    steps = OrdinalTrees(tuple(constant(above) for above in (0.9, 0.6, 0.2)))
    np.testing.assert_allclose(steps.probabilities_nk(np.zeros((1, 3))), [[0.1, 0.3, 0.4, 0.2]])


def test_steps_that_contradict_each_other_make_no_negative_probability() -> None:
    steps = OrdinalTrees(tuple(constant(above) for above in (0.5, 0.7, 0.2)))
    np.testing.assert_allclose(
        steps.probabilities_nk(np.zeros((1, 3))), [[0.5, 0.0, 0.3, 0.2]], atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_of_grades_scores_as_the_trees_that_were_fitted(kind: str, tmp_path: Path) -> None:
    table = graded()
    assert table.labels_n is not None
    train_trees(table, config(kind), tmp_path / "m")
    _, loaded = load_aggregator(tmp_path / "m")
    assert isinstance(loaded, HeatmapTrees)
    assert isinstance(loaded.trees, OrdinalTrees)
    values = loaded.trees.probabilities_nk(table.values_nf)
    fitted = fit_trees(table.values_nf, table.labels_n, config(kind), 0)
    np.testing.assert_allclose(values, fitted.probabilities_nk(table.values_nf), rtol=1e-12)
    np.testing.assert_allclose(values.sum(1), 1)
    assert values.min() >= 0
    assert (median_grade(values) == table.labels_n).mean() > 0.95


def test_cross_validated_grades_are_near_where_grades_can_be_learned() -> None:
    found = cross_validate(graded(noise=0.6), config(repeats=1), bootstrap=Bootstrap(replicates=50))
    error, kappa = found.grades["mean_absolute_error"], found.grades["quadratic_kappa"]
    assert error.value is not None
    assert error.value < 0.35
    assert kappa.value is not None
    assert kappa.value > 0.85
    shuffled = graded()
    assert shuffled.labels_n is not None
    labels = np.random.default_rng(1).permutation(np.arange(40) % 4).repeat(3)
    lost = cross_validate(
        FeatureTable(**{**vars(shuffled), "labels_n": labels}),
        config(repeats=1),
        bootstrap=Bootstrap(replicates=50),
    )
    assert lost.grades["quadratic_kappa"].value is not None
    assert lost.grades["quadratic_kappa"].value < 0.4


def test_a_bundle_with_a_step_missing_is_refused() -> None:
    arrays = OrdinalTrees((constant(0.5), constant(0.2))).arrays()
    with pytest.raises(ModelError, match="4 grades need 3 steps, here are 2"):
        OrdinalTrees.from_arrays(arrays, 30, 4)


@pytest.mark.parametrize(("pooling", "expected"), [("max", [3.0, 5.0]), ("mean", [2.0, 5.0])])
def test_a_patients_slides_become_one_case(pooling: str, expected: list[float]) -> None:
    table = FeatureTable(
        source="made",
        names_n=np.array(["a", "b", "c"]),
        patients_n=np.array(["p1", "p2", "p1"]),
        by_patient=True,
        labels_n=np.array([0, 1, 2]),
        features=("x",),
        values_nf=np.array([[1.0], [5.0], [3.0]]),
    )
    with pytest.raises(DatasetError, match=r"patient p1: slides have different labels \(a none"):
        pool_patients(table, GRADES, pooling=pooling, worst=False)  # type: ignore[arg-type]
    pooled = pool_patients(table, GRADES, pooling=pooling, worst=True)  # type: ignore[arg-type]
    assert pooled.values_nf[:, 0].tolist() == expected
    assert pooled.labels_n is not None
    assert pooled.labels_n.tolist() == [2, 1]
    assert (pooled.names_n.tolist(), pooled.pooled) == (["p1", "p2"], pooling)
    assert pooled.digest() != table.digest()


def test_cases_per_patient_need_patients() -> None:
    table = FeatureTable(**{**vars(graded()), "by_patient": False})
    with pytest.raises(DatasetError, match="need a column of patients"):
        pool_patients(table, GRADES, pooling="max", worst=True)


def run(*asked: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(asked))
    return done.exit_code, done.output


def test_the_commands_train_and_judge_grades_of_patients(tmp_path: Path) -> None:
    table, path = graded(), tmp_path / "t.csv"
    assert table.labels_n is not None
    lines = [",".join(["name", "tumor", "patient", *FEATURES])]
    for name, label, patient, values in zip(
        table.names_n, table.labels_n, table.patients_n, table.values_nf, strict=True
    ):
        lines.append(",".join([name, GRADES[label], patient, *(repr(float(v)) for v in values)]))
    path.write_text("\n".join(lines) + "\n")
    given = ["--features", str(path), "--patient", "patient", "--per-patient"]
    train = ["train", "aggregator", "--kind", "random-forest", "--classes", ",".join(GRADES)]
    model = str(tmp_path / "m")
    code, output = run(*train, *given, "--ordinal", "--pooling", "mean", "--trees", "10",
                       "--out", model)  # fmt: skip
    assert code == 0, output
    assert "cross_validated_quadratic_kappa" in output
    card = load_aggregator(Path(model))[0]
    assert (card.training["bag_is"], card.training["pooling"]) == ("patient", "mean")
    judge = ["evaluate", "aggregator", "--model", model, "--replicates", "20"]
    code, output = run(*judge, *given, "--out", str(tmp_path / "out"))
    assert code == 0, output
    assert "these are the slides that the model was trained on" in output
    assert "grades: quadratic kappa" in output
    data = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert data["scores"][0]["cases"] == 40
    assert data["grades"]["mean_absolute_error"]["value"] < 0.2
    code, output = run(*judge, *given[:-1], "--out", str(tmp_path / "slides"))
    assert "trained on patients (mean of their slides), evaluated on slides" in output
    code, output = run(*judge, *given[:-1], "--pooling", "max", "--out", "x")
    assert (code, "give --per-patient too" in output) == (2, True)
    code, output = run(*train, "--features", str(path), "--worst", "--out", "x")
    assert (code, "give --per-patient too" in output) == (2, True)
