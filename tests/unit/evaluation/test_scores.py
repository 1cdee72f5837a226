"""Scores against the truth, on cases small enough to check by hand and on published ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from wsi.errors import DatasetError
from wsi.evaluation.binary import EvaluationSpec, evaluate_score
from wsi.evaluation.bootstrap import Bootstrap, patient_weights
from wsi.evaluation.calibration import calibration
from wsi.evaluation.delong import delong_test
from wsi.evaluation.ranking import cumulate
from wsi.evaluation.report import evaluate_table, to_json
from wsi.evaluation.score_table import read_scores
from wsi.evaluation.write import write_evaluation

SPEC = EvaluationSpec(bootstrap=Bootstrap(replicates=200))
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1], bool)
SCORES = np.array([0.1, 0.2, 0.4, 0.6, 0.4, 0.7, 0.8, 0.9])
EACH_ITS_OWN = np.arange(8).astype(str)


def test_ties_between_classes_count_half() -> None:
    # 16 pairs: 0.4 ties once (half) and loses to 0.6 (nothing); all others are won.
    found = evaluate_score("s", LABELS, SCORES, EACH_ITS_OWN, SPEC)
    assert found.auc.value == pytest.approx(14.5 / 16)


def test_a_constant_score_is_worth_one_half() -> None:
    found = evaluate_score("s", LABELS, np.full(8, 0.3), EACH_ITS_OWN, SPEC)
    assert found.auc.value == 0.5
    assert (found.auc.low, found.auc.high) == (0.5, 0.5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=40
    )
)
def test_weighted_areas_equal_those_of_scikit_learn(cases: list[tuple[bool, int, int]]) -> None:
    labels, scores, weights = (np.array(column) for column in zip(*cases, strict=True))
    counted = labels[weights > 0]
    counts = cumulate(labels, scores.astype(float), weights[None].astype(float))
    if counted.any() and not counted.all():
        assert counts.auc_b()[0] == pytest.approx(
            roc_auc_score(labels, scores, sample_weight=weights)
        )
        assert counts.average_precision_b()[0] == pytest.approx(
            average_precision_score(labels, scores, sample_weight=weights)
        )
    else:
        assert np.isnan(counts.auc_b()[0])


def test_curve_points_are_those_of_scikit_learn() -> None:
    found = evaluate_score("s", LABELS, SCORES, EACH_ITS_OWN, SPEC)
    rate, sensitivity, _ = roc_curve(LABELS, SCORES, drop_intermediate=False)
    assert found.roc is not None
    np.testing.assert_allclose(found.roc.x_t, rate)
    np.testing.assert_allclose(found.roc.y_t, sensitivity)


def test_sensitivity_and_specificity_at_each_other() -> None:
    counts = cumulate(LABELS, SCORES)
    # Without a false positive three of four are found; all four cost the two negatives >= 0.4.
    assert counts.sensitivity_at_b(1.0)[0] == 0.75
    assert counts.specificity_at_b(1.0)[0] == 0.5
    assert counts.sensitivity_at_b(0.5)[0] == 1.0


def test_operating_points_count_cases() -> None:
    points = {
        p.name: p for p in evaluate_score("s", LABELS, SCORES, EACH_ITS_OWN, SPEC).operating_points
    }
    half = points["score at least 0.5"]
    assert (half.true_positive, half.false_positive) == (3, 1)
    assert (half.true_negative, half.false_negative) == (3, 1)
    assert half.ppv == half.npv == 0.75
    kept = points["specificity at least 0.95"]
    assert kept.threshold == 0.7
    assert kept.specificity.value == 1.0


def test_nothing_called_positive_has_no_predictive_value() -> None:
    spec = EvaluationSpec(threshold=2.0, bootstrap=Bootstrap(replicates=20))
    point = evaluate_score("s", LABELS, SCORES, EACH_ITS_OWN, spec).operating_points[0]
    assert point.ppv is None
    assert point.sensitivity.value == 0


@pytest.mark.parametrize("truth", [True, False])
def test_one_class_only_is_said_and_not_a_crash(truth: bool) -> None:
    found = evaluate_score("s", np.full(8, truth), SCORES, EACH_ITS_OWN, SPEC)
    assert found.auc.value is None
    assert found.roc is None
    assert any("not defined" in note for note in found.notes)
    assert found.calibration is not None


def test_one_patient_has_figures_and_no_interval() -> None:
    found = evaluate_score("s", LABELS, SCORES, np.full(8, "p"), SPEC)
    assert found.auc.value == pytest.approx(14.5 / 16)
    assert found.auc.low is None
    assert "one patient" in found.auc.note
    assert any("one patient" in note for note in found.notes)


def test_one_case_is_evaluated_as_far_as_it_goes() -> None:
    found = evaluate_score("s", LABELS[:1], SCORES[:1], EACH_ITS_OWN[:1], SPEC)
    assert found.auc.value is None
    assert found.cases == 1


def test_patients_are_drawn_whole() -> None:
    patients = np.array(["a", "b", "a", "b", "c"])
    weights = np.concatenate(list(patient_weights(patients, Bootstrap(replicates=50))))
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 3])
    np.testing.assert_array_equal(weights[:, [0, 1, 4]].sum(1), 3)


def test_copies_of_a_case_do_not_narrow_the_interval_of_its_patients() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2 == 0
    scores = labels + rng.normal(0, 1, 40)
    patients = np.arange(40).astype(str)
    once = evaluate_score("s", labels, scores, patients, SPEC).auc
    ten = evaluate_score("s", *(np.tile(v, 10) for v in (labels, scores, patients)), SPEC).auc
    assert ten.low == pytest.approx(once.low)
    assert ten.high == pytest.approx(once.high)


def test_intervals_are_the_same_in_every_run_and_cover_the_value() -> None:
    first, second = (evaluate_score("s", LABELS, SCORES, EACH_ITS_OWN, SPEC).auc for _ in "ab")
    assert first == second
    assert first.low is not None
    assert first.high is not None
    assert first.value is not None
    assert first.low <= first.value <= first.high


def test_calibration_of_a_score_that_means_what_it_says_has_no_error() -> None:
    labels = np.array([True] * 3 + [False] * 7 + [True] * 8 + [False] * 2)
    scores = np.array([0.3] * 10 + [0.8] * 10)
    found = calibration(labels, scores)
    assert found is not None
    assert found.ece == pytest.approx(0)
    assert found.brier == pytest.approx((3 * 0.49 + 7 * 0.09 + 8 * 0.04 + 2 * 0.64) / 20)
    assert [one.count for one in found.bins] == [10, 10]


def test_calibration_error_is_the_gap_weighted_by_cases() -> None:
    found = calibration(np.array([True, False, False, False]), np.array([1.0, 1.0, 0.0, 0.0]))
    assert found is not None
    assert found.ece == pytest.approx(0.25)


def test_scores_outside_zero_to_one_have_no_calibration_and_say_so() -> None:
    found = evaluate_score("s", LABELS, SCORES * 10, EACH_ITS_OWN, SPEC)
    assert found.calibration is None
    assert any("not probabilities" in note for note in found.notes)


def test_delong_variance_equals_its_definition_over_all_pairs() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(60) < 0.4
    a = np.round(labels + rng.normal(0, 1, 60), 1)  # with ties
    b = np.round(labels + rng.normal(0, 2, 60), 1)
    kernels = []
    for score in (a, b):
        x, y = score[labels][:, None], score[~labels][None, :]
        kernels.append((x > y) + 0.5 * (x == y))
    apart = kernels[0].astype(float) - kernels[1]
    m, n = apart.shape
    variance = apart.mean(1).var(ddof=1) / m + apart.mean(0).var(ddof=1) / n
    found = delong_test(labels, a, b)
    assert found.difference == pytest.approx(apart.mean())
    assert found.z == pytest.approx(apart.mean() / variance**0.5)


def test_delong_of_a_score_with_itself_finds_nothing() -> None:
    found = delong_test(LABELS, SCORES, SCORES * 3)
    assert (found.difference, found.z, found.p_value) == (0, 0, 1)


def test_delong_needs_two_cases_of_each_class() -> None:
    with pytest.raises(DatasetError, match="1 positive"):
        delong_test(LABELS[:5], SCORES[:5], SCORES[:5])


@pytest.fixture(scope="module")
def published(real_data):  # type: ignore[no-untyped-def]
    return read_scores(
        real_data / "results" / "camelyon16_test_scores.csv",
        label="truth",
        scores=("pred_I", "pred_II", "Method_I"),
        groups=("category_2",),
    )


def test_published_camelyon16_scores_have_their_known_areas(published) -> None:  # type: ignore[no-untyped-def]
    found = evaluate_table(published, SPEC)
    areas = {score.name: round(score.auc.value or 0, 4) for score in found.scores}
    assert areas == {"pred_I": 0.8821, "pred_II": 0.7915, "Method_I": 0.9156}
    # The negative slides all lie in one group, where the area is not defined.
    groups = {group.value: group.scores[0] for group in found.subgroups}
    assert groups["None"].auc.value is None
    # Counted in the file by awk: pred_I of at least 0.5 on 4 of 80 normal and 34 of 49 others.
    point = {name: score.operating_points[0] for name, score in groups.items()}
    assert (point["None"].true_negative, point["None"].false_positive) == (76, 4)
    assert point["None"].specificity.value == pytest.approx(0.95)
    assert point["None"].sensitivity.value is None
    assert point["Macro"].true_positive + point["Micro"].true_positive == 34
    assert point["Macro"].sensitivity.value > point["Micro"].sensitivity.value


def test_calls_agree_with_the_truth_by_kappa() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    scores = np.array([0.9, 0.8, 0.2, 0.7, 0.1, 0.1, 0.1, 0.1])
    found = evaluate_score("s", labels, scores, np.arange(8).astype(str), SPEC)
    # Six of eight agree; by chance 3/8 * 3/8 + 5/8 * 5/8 = 34/64.
    assert found.operating_points[0].kappa.value == pytest.approx((48 - 34) / (64 - 34))


def test_a_report_shows_how_subgroups_are_called(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.csv"
    rows = [f"{i % 2},{0.2 + 0.6 * (i % 2)},{('A', 'B')[i // 4]},p{i}" for i in range(8)]
    path.write_text("\n".join(["y,s,scanner,p", *rows]) + "\n")
    read = read_scores(path, label="y", scores=["s"], patient="p", groups=["scanner"])
    text = write_evaluation(tmp_path / "out", evaluate_table(read, SPEC), read).read_text()
    assert "Subgroups; called at 0.5" in text
    assert "scanner = B" in text
    assert (tmp_path / "out" / "figures" / "roc.pdf").read_bytes().startswith(b"%PDF")


def test_a_report_is_one_file_that_loads_nothing(published, tmp_path) -> None:  # type: ignore[no-untyped-def]
    report = write_evaluation(tmp_path, evaluate_table(published, SPEC), published)
    text = report.read_text()
    assert "not a medical device" in text
    assert text.count("data:image/svg+xml;base64,") >= 7
    assert "http" not in text.replace("http-equiv", "")
    assert "0.9156" in text


def test_what_is_not_finite_is_null_in_json() -> None:
    assert to_json({"a": float("inf"), "b": np.array([1.0, np.nan])}) == {"a": None, "b": [1, None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y,s\n1,0.5\n0,x\n", "line 3, s: 'x' is not a number"),
        ("y,s\n1,0.5\n0,nan\n", "not finite"),
        ("y,s\n1,0.5\nmaybe,0.1\n", "neither 0 nor 1"),
        ("y,t\n1,0.5\n", "column missing: s; it has: y, t"),
        ("y,s\n", "no rows"),
        ("y,s\n1\n", "line 2: 1 cells where the header has 2"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(tmp_path, text: str, message: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_scores(path, label="y", scores=["s"])


def test_a_positive_label_that_no_case_has_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.csv"
    path.write_text("y,s\ncancer,0.5\nbenign,0.1\n")
    with pytest.raises(DatasetError, match="labels there: benign, cancer"):
        read_scores(path, label="y", scores=["s"], positive="Cancer")
    assert read_scores(path, label="y", scores=["s"], positive="cancer").labels_n.tolist() == [
        True,
        False,
    ]


def test_a_patient_is_as_positive_as_the_worst_slide(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.csv"
    path.write_text("y,s,p\n0,0.2,a\n1,0.9,a\n0,0.4,b\n0,0.3,b\n")
    read = read_scores(path, label="y", scores=["s"], patient="p").per_patient()
    assert read.patients_n.tolist() == ["a", "b"]
    assert read.labels_n.tolist() == [True, False]
    assert read.scores["s"].tolist() == [0.9, 0.4]
    with pytest.raises(DatasetError, match="column of patients"):
        read_scores(path, label="y", scores=["s"]).per_patient()


@pytest.mark.parametrize(
    ("labels", "named", "message"),
    [
        ("cancer benign Cancer", (), "'Cancer' looks like 'cancer'"),
        ("cancer benign NA", (), "line 4: the label is 'NA': nothing is known"),
        ("cancer benign normal", (), "say which of them are negative, such as --negative"),
        ("cancer benign canser", ("benign",), "line 4: label 'canser' is neither"),
    ],
)
def test_a_label_that_is_not_known_is_no_negative(
    tmp_path: Path, labels: str, named: tuple[str, ...], message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("y,s\n" + "\n".join(f"{label},0.5" for label in labels.split()))
    with pytest.raises(DatasetError, match=message):
        read_scores(path, label="y", scores=["s"], positive="cancer", negative=named)


def test_several_negative_classes_count_where_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("y;s\ncancer;0,9\nbenign;0,2\nnormal;0,1\n")
    read = read_scores(
        path, label="y", scores=["s"], positive="cancer", negative=("benign", "normal")
    )
    assert read.labels_n.tolist() == [True, False, False]
    assert read.scores["s"].tolist() == [0.9, 0.2, 0.1]


def test_patients_written_in_two_ways_are_one_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("y,s,p\n1,0.5,P1 \n0,0.4,P1\n1,0.3,P2\n")
    read = read_scores(path, label="y", scores=["s"], patient="p")
    assert read.patients_n.tolist() == ["P1", "P1", "P2"]
    path.write_text("y,s,p\n1,0.5,P1\n0,0.4,p1\n")
    with pytest.raises(DatasetError, match="'P1' and 'p1' look like one p"):
        read_scores(path, label="y", scores=["s"], patient="p")
