"""Raters whose reliability is planted and must be found again."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from wsi.cli.main import main
from wsi.data.raters import dawid_skene, describe, read_ratings, write_raters
from wsi.errors import DatasetError


def plant(
    slides: int, confusions_rkk: np.ndarray, seen: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and the ratings of raters with these confusions; each sees a share of the slides."""
    rng = np.random.default_rng(seed)
    classes = confusions_rkk.shape[1]
    truth = rng.choice(classes, slides)
    labels = np.stack(
        [[rng.choice(classes, p=rater[t]) for t in truth] for rater in confusions_rkk], axis=1
    )
    labels[rng.random(labels.shape) > seen] = -1
    return truth, labels


def binary(sensitivity: float, specificity: float) -> list[list[float]]:
    return [[specificity, 1 - specificity], [1 - sensitivity, sensitivity]]


PLANTED = np.array([binary(0.95, 0.9), binary(0.85, 0.95), binary(0.6, 0.7), binary(0.75, 0.8)])


def test_planted_reliabilities_are_recovered() -> None:
    truth, labels = plant(3000, PLANTED)
    found = dawid_skene(labels, 2)
    assert found.converged
    np.testing.assert_allclose(found.confusion_rkk, PLANTED, atol=0.05)
    np.testing.assert_allclose(
        found.reliability_r, np.diagonal(PLANTED, axis1=1, axis2=2).mean(1), atol=0.04
    )
    assert (found.posterior_nk.argmax(1) == truth).mean() > 0.95


def test_soft_labels_beat_the_majority_where_raters_differ() -> None:
    # One expert against two who toss coins: the majority follows the coins.
    truth, labels = plant(2000, np.array([binary(0.97, 0.97), binary(0.6, 0.6), binary(0.6, 0.6)]))
    majority = labels.mean(1) > 0.5
    soft = dawid_skene(labels, 2).posterior_nk.argmax(1)
    assert (soft == truth).mean() > (majority == truth).mean() + 0.1


def test_soft_labels_mean_what_they_say() -> None:
    truth, labels = plant(6000, PLANTED[1:].repeat(2, axis=0))
    sure = dawid_skene(labels, 2).posterior_nk[:, 1]
    unsure = (sure > 0.2) & (sure < 0.8)
    assert unsure.sum() > 200
    assert truth[unsure].mean() == pytest.approx(sure[unsure].mean(), abs=0.08)


def test_raters_who_saw_a_part_of_the_slides_are_judged_on_that_part() -> None:
    _, labels = plant(4000, np.concatenate([PLANTED, PLANTED]), seen=0.5)
    labels = labels[(labels >= 0).any(1)]
    found = dawid_skene(labels, 2)
    np.testing.assert_allclose(found.confusion_rkk, np.concatenate([PLANTED] * 2), atol=0.07)


def test_three_classes_with_a_rater_who_mixes_up_two() -> None:
    good = np.full((3, 3), 0.05) + np.eye(3) * 0.85
    mixes = np.array([[0.9, 0.05, 0.05], [0.05, 0.5, 0.45], [0.05, 0.45, 0.5]])
    planted = np.stack([good, good, good, mixes])
    _, labels = plant(4000, planted)
    np.testing.assert_allclose(dawid_skene(labels, 3).confusion_rkk, planted, atol=0.05)


def test_unanimous_ratings_are_near_certain_and_one_rating_alone_is_followed() -> None:
    found = dawid_skene(np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 1], [1, -1, -1]]), 2)
    assert (found.posterior_nk.argmax(1) == [0, 1, 0, 1, 1]).all()
    np.testing.assert_allclose(found.posterior_nk.sum(1), 1)
    assert (found.posterior_nk > 0).all()


def test_a_class_that_nobody_gave_gets_nothing() -> None:
    found = dawid_skene(np.array([[0, 0], [1, 1], [0, 1]]), 3)
    assert (found.posterior_nk[:, 2] == 0).all()
    assert np.isfinite(found.posterior_nk).all()


def test_a_slide_without_rating_is_refused() -> None:
    with pytest.raises(DatasetError, match="1 of 2 slides"):
        dawid_skene(np.array([[0, 1], [-1, -1]]), 2)


def test_a_table_of_ratings_becomes_a_report(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("slide,rater,label\na,x,1\na,y,benign\nb,x,0\nb,y,benign\nc,x,cancer\nc,y,1\n")
    ratings = read_ratings(path, ("benign", "cancer"))
    np.testing.assert_array_equal(ratings.labels_nr, [[1, 0], [0, 0], [1, 1]])
    told = describe(ratings, dawid_skene(ratings.labels_nr, 2))
    assert told["raters"]["x"]["rated"] == 3
    # Two of three agree; by chance one half: (2/3 - 1/2) / (1/2).
    assert told["fleiss_kappa"] == pytest.approx(1 / 3)


def test_a_rater_who_rates_a_slide_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("slide,rater,label\na,x,1\na,x,0\n")
    with pytest.raises(DatasetError, match="line 3: x has rated a already"):
        read_ratings(path, ("benign", "cancer"))


def test_the_command_writes_soft_labels_and_the_kappa_of_each_pair(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    lines = [f"s{i},{who},{i % 2}" for i in range(6) for who in ("x", "y")]
    path.write_text("\n".join(["slide,rater,label", *lines, "s9,z,1"]) + "\n")
    out = tmp_path / "out"
    asked = ["evaluate", "raters", str(path), "--classes", "benign,cancer", "--out", str(out)]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert "x and y: kappa 1.000, 6 slides" in done.output
    assert "x and z: kappa not available, 0 slides" in done.output
    assert len((out / "soft_labels.csv").read_text().splitlines()) == 8
    assert json.loads((out / "raters.json").read_text())["raters"]["z"]["rated"] == 1


def test_grades_that_are_near_each_other_agree_more_than_those_far_apart(tmp_path: Path) -> None:
    kappas = []
    for far in (1, 2):
        lines = [f"s{i},{who},{(i % 3)}" for i in range(9) for who in "xy"]
        lines += [f"t{i},x,0" for i in range(3)] + [f"t{i},y,{far}" for i in range(3)]
        (tmp_path / "r.csv").write_text("\n".join(["slide,rater,label", *lines]) + "\n")
        ratings = read_ratings(tmp_path / "r.csv", ("g1", "g2", "g3"))
        kappas.append(write_raters(ratings, tmp_path, ordinal=True)["pairs"][0]["kappa"])
    assert kappas[0] > kappas[1]
