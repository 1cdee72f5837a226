"""Labels that are likely wrong."""

from pathlib import Path

import numpy as np
import pytest

from wsi.data.raters import read_ratings
from wsi.datasets.noise import confident_joint, noise_by_ratings, noise_by_scores
from wsi.datasets.table import Entry
from wsi.errors import DatasetError

CLASSES = ("benign", "cancer")


def entry(name: str, label: str, line: int = 2) -> Entry:
    return Entry(
        line=line, path=f"slides/{name}.svs", label=label, patient=name, split="train",
        site="", annotations="", mpp="",
    )  # fmt: skip


def test_the_confident_joint_by_hand() -> None:
    # Thresholds: mean probability of 0 among those labelled 0: (0.9 + 0.7 + 0.2) / 3 = 0.6;
    # of 1 among those labelled 1: (0.8 + 0.4) / 2 = 0.6.
    labels = np.array([0, 0, 0, 1, 1])
    values = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.2, 0.8], [0.6, 0.4]])
    joint, likely = confident_joint(labels, values)
    assert likely.tolist() == [0, 0, 1, 1, 0]
    np.testing.assert_allclose(joint, [[0.4, 0.2], [0.2, 0.2]])


def test_a_case_below_every_threshold_is_confidently_of_no_class() -> None:
    labels = np.array([0, 1, 1])
    values = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    assert confident_joint(labels, values)[1].tolist() == [0, 1, -1]


def test_flipped_labels_are_found_and_their_share_is_estimated() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(600) % 3
    flipped = np.zeros(600, bool)
    flipped[rng.choice(600, 60, replace=False)] = True
    labels = np.where(flipped, (truth + 1) % 3, truth)
    logits = rng.normal(0, 0.7, (600, 3))
    logits[np.arange(600), truth] += 4
    values = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    joint, likely = confident_joint(labels, values)
    assert 1 - np.trace(joint) == pytest.approx(0.1, abs=0.02)
    suspects = (likely >= 0) & (likely != labels)
    assert (suspects & flipped).sum() >= 55
    assert (suspects & ~flipped).sum() <= 3


def test_predictions_name_the_lines_to_look_at_again(tmp_path: Path) -> None:
    entries = [
        entry("a", "benign"),
        entry("b", "benign", 3),
        entry("c", "cancer", 4),
        entry("d", "cancer", 5),
        entry("e", "cancer", 6),
    ]
    path = tmp_path / "predictions.csv"
    path.write_text(
        "name,label,p_benign,p_cancer\n"
        "a,benign,0.9,0.1\nb.svs,benign,0.02,0.98\nc,cancer,0.1,0.9\nd,cancer,0.2,0.8\n"
    )
    found = noise_by_scores(entries, path)
    assert (found.cases, found.unmatched) == (4, 1)
    assert [(one.entry.line, one.likely) for one in found.issues] == [(3, "cancer")]
    assert found.issues[0].likely_probability == 0.98
    with pytest.raises(DatasetError, match="no column p_grade 3, a label of the table"):
        noise_by_scores([entry("a", "grade 3")], path)
    with pytest.raises(DatasetError, match="none of its slides is in the table"):
        noise_by_scores([entry("z", "benign")], path)
    path.write_text("name,score\na,0.5\n")
    with pytest.raises(DatasetError, match="need a column name and p_CLASS"):
        noise_by_scores(entries, path)


def test_raters_name_the_labels_that_they_contradict(tmp_path: Path) -> None:
    lines = ["slide,rater,label"]
    for name, truth in (("a", "benign"), ("b", "cancer"), ("c", "cancer"), ("d", "benign")):
        lines += [f"{name},r{i},{truth}" for i in range(3)]
    (tmp_path / "ratings.csv").write_text("\n".join(lines) + "\n")
    ratings = read_ratings(tmp_path / "ratings.csv", CLASSES)
    entries = [entry("a", "benign"), entry("b", "benign", 3), entry("c", "cancer", 4)]
    found = noise_by_ratings(entries, ratings)
    assert [(one.entry.name, one.likely) for one in found.issues] == [("b", "cancer")]
    assert found.noise_share == pytest.approx(1 / 3, abs=0.05)
    with pytest.raises(DatasetError, match="no rated slide has a label"):
        noise_by_ratings([entry("z", "benign")], ratings)
