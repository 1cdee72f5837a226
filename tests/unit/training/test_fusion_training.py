"""Fitting a fusion: on held-out slides alone, calibrated, and better than a member by itself."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression

from wsi.cli.main import main
from wsi.data.tables import Row
from wsi.errors import ConfigError, DatasetError, ModelError
from wsi.models.card import ModelCard, read_card
from wsi.models.stacking import Stacking, stacking_features
from wsi.pipelines.base import load_pipeline
from wsi.testing.models import untrained_patch_bundle, untrained_whole_slide_bundle
from wsi.testing.slides import synthetic_slide
from wsi.training.fusion import (
    FusionTraining,
    HeldOut,
    check_unseen,
    common_classes,
    cross_validated,
    fit_stacking,
    train_fusion,
)
from wsi.training.provenance import (
    describe_subjects,
    similar_subjects_digest,
    subject_digest,
    training_subjects,
)

CLASSES = ("benign", "cancer")


def card(pipeline: str, classes: tuple[str, ...] = CLASSES, **training: object) -> ModelCard:
    return ModelCard(
        name=f"m-{pipeline}",
        pipeline=pipeline,
        architecture="x",
        classes=classes,
        mpp=1.0,
        input_px=64,
        training=training,
        weights_sha256="ab" * 32,
    )


def held_out(classes: int = 2, slides: int = 240, seed: int = 0) -> HeldOut:
    """Two members that see different, noisy sides of the truth; two slides a patient."""
    rng = np.random.default_rng(seed)
    patients = np.arange(slides) // 2
    labels = patients % classes
    members = []
    for sure in (1.0, 3.0):  # the second is too sure of itself
        logits = rng.normal(0, 1, (slides, classes))
        logits[np.arange(slides), labels] += 1.2
        raised = np.exp(sure * logits)
        members.append(raised / raised.sum(1, keepdims=True))
    return HeldOut(
        names=tuple(f"s{i}" for i in range(slides)),
        patients_n=patients.astype(str),
        labels_n=labels,
        members_mnk=np.stack(members),
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_the_combination_is_scikit_learns_on_log_odds(classes: int) -> None:
    made = held_out(classes)
    config = FusionTraining(classes=("a", "b", "c")[:classes], strength=1e6)
    stacking = fit_stacking(made.members_mnk, made.labels_n, config)
    features = stacking_features(list(made.members_mnk))
    assert features.shape == (240, 2 * (classes - 1))
    model = LogisticRegression(C=1e6, max_iter=5000, tol=1e-9).fit(features, made.labels_n)
    np.testing.assert_allclose(
        stacking.probabilities_nk(list(made.members_mnk)),
        model.predict_proba(features),
        atol=2e-3,
    )
    assert stacking.models == 2


@pytest.mark.parametrize("classes", [2, 3])
def test_the_fusion_beats_each_member_on_patients_it_was_not_fitted_on(
    classes: int, tmp_path: Path
) -> None:
    names = ("a", "b", "c")[:classes]
    cards = [card("patch", names), card("whole-slide", names)]
    outcome = train_fusion(
        held_out(classes), cards, FusionTraining(classes=names), tmp_path / "both"
    )
    figures = outcome.card.metrics
    for alone in ("patch_alone", "whole_slide_alone"):
        assert figures["cross_validated_auc"] > figures[f"{alone}_auc"] + 0.02
        assert figures["cross_validated_log_loss"] < figures[f"{alone}_log_loss"]
    assert outcome.card.training["patients"] == 120
    assert [one["digest"] for one in outcome.card.settings["members"]] == ["ab" * 32] * 2


def test_a_useless_member_gets_almost_no_weight() -> None:
    made = held_out()
    noise = np.random.default_rng(3).uniform(0.05, 0.95, len(made.labels_n))
    members = np.stack([made.members_mnk[0], np.stack([1 - noise, noise], axis=1)])
    stacking = fit_stacking(members, made.labels_n, FusionTraining(classes=CLASSES))
    useful, useless = np.abs(stacking.weights_kf[1])
    assert useless < 0.25 * useful


def test_a_probability_of_nought_is_no_infinity() -> None:
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    stacking = Stacking(np.array([[0.0, 0.0], [1.0, 1.0]]), np.zeros(2))
    values = stacking.probabilities_nk([sure, sure[::-1]])
    np.testing.assert_allclose(values, 0.5)


def test_weights_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot have weights"):
        Stacking(np.zeros((3, 3)), np.zeros(3))
    with pytest.raises(ModelError, match="not finite"):
        Stacking(np.full((2, 2), np.nan), np.zeros(2))


def test_slides_of_patients_that_a_member_learned_from_are_refused() -> None:
    rows = [Row(path=f"{p}.tif", label=0, patient=p, split="val") for p in ("p1", "p2", "p3")]
    told = describe_subjects(["p2", "p9"], ["p1"])
    check_unseen(rows[::2], [card("patch", **told)])  # p1 chose the epoch, no more
    with pytest.raises(DatasetError, match=r"m-patch was trained on 1 of these patients \(p2\)"):
        check_unseen(rows, [card("patch", **told)])
    # A table that names no patients is seen through: the slide is known too.
    bare = [Row(path="x/slide7.tif", label=0, patient="x/slide7.tif", split="val")]
    with pytest.raises(DatasetError, match=r"1 of these patients \(x/slide7.tif\)"):
        check_unseen(bare, [card("patch", **describe_subjects(["p2", "y/slide7.tif"]))])
    # What its aggregator learned from counts as well.
    with_trees = card("patch", **describe_subjects(["p8"]), aggregator=describe_subjects(["p3"]))
    with pytest.raises(DatasetError, match=r"1 of these patients \(p3\)"):
        check_unseen(rows, [with_trees])


@pytest.mark.parametrize("written", ["P-001", "p1", "P 1"])
def test_patients_who_look_like_those_that_a_member_learned_from_are_refused(written: str) -> None:
    told = describe_subjects(["P1", "q2"])
    rows = [Row(path="a.tif", label=0, patient=written, split="val")]
    with pytest.raises(DatasetError, match=f"identifiers look like {written}, but for case"):
        check_unseen(rows, [card("patch", **told)])
    check_unseen([dataclasses.replace(rows[0], patient="P11")], [card("patch", **told)])


def test_a_member_that_does_not_say_what_it_learned_from_is_refused_unless_trusted() -> None:
    rows = [Row(path="a.tif", label=0, patient="p1", split="val")]
    for silent in (card("patch"), card("patch", **describe_subjects(["p8"]), aggregator={})):
        with pytest.raises(ModelError, match="m-patch: its card does not say which patients"):
            check_unseen(rows, [silent])
        check_unseen(rows, [silent], trust=True)


def test_a_patient_is_known_again_and_a_path_by_its_file_name() -> None:
    assert subject_digest("slides/a.svs") == subject_digest(" other\\a.SVS") == subject_digest("a")
    assert subject_digest("site1/12") != subject_digest("site2/12")
    assert subject_digest("P.12") != subject_digest("P.13")
    # A start that does not say what it learned from leaves what follows without a claim.
    assert describe_subjects(["p"], inherited=None) == {}
    assert training_subjects(describe_subjects(["p"], inherited=frozenset({"x"}))) == {
        "x",
        subject_digest("p"),
        similar_subjects_digest("p"),
    }


def test_members_must_know_the_same_slide_classes_and_be_of_different_pipelines() -> None:
    patch = card("patch", ("background", *CLASSES))
    assert common_classes([patch, card("whole-slide", CLASSES[::-1])]) == CLASSES
    with pytest.raises(ConfigError, match="knows the slide classes benign, cancer, m-whole-slide"):
        common_classes([patch, card("whole-slide", ("benign", "grade 1"))])
    with pytest.raises(ConfigError, match="different pipelines"):
        common_classes([patch, patch])


def test_too_few_patients_of_a_class_are_refused() -> None:
    made = held_out(slides=6)
    labels = np.array([0, 0, 0, 0, 1, 1])
    with pytest.raises(DatasetError, match=r"'cancer' has 1 held-out patient\(s\)"):
        cross_validated(
            HeldOut(
                names=made.names,
                patients_n=made.patients_n,
                labels_n=labels,
                members_mnk=made.members_mnk,
            ),
            FusionTraining(classes=CLASSES),
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fusion")
    untrained_patch_bundle(folder / "models" / "p")
    untrained_whole_slide_bundle(folder / "models" / "w")
    lines = ["path,label,patient,split"]
    for i in range(6):
        synthetic_slide(folder / f"s{i}.tif", 512, 0.5, seed=i, cancer=i % 2 == 1)
        lines.append(f"s{i}.tif,{CLASSES[i % 2]},p{i},val")
    lines.append("lost.tif,cancer,p9,val")
    (folder / "slides.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(made: Path, *more: str) -> tuple[int, str]:
    models = made / "models"
    asked = ["--table", str(made / "slides.csv"), "--replicates", "20", "--device", "cpu"]
    asked += ["--patch", str(models / "p"), "--whole-slide", str(models / "w")]
    done = CliRunner().invoke(main, ["train", "fusion", *asked, *more], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_command_makes_a_model_that_scores_and_a_report(made: Path) -> None:
    out = made / "models" / "both"
    code, output = run(made, "--out", str(out))
    assert (code, "does not say which patients" in output) == (2, True), output
    code, output = run(made, "--out", str(out), "--trust-unseen")
    assert code == 0, output
    assert "left out: " in output
    assert "lost.tif" in output
    assert "fusion (cross-validated): AUC" in output
    assert (out / "evaluation" / "report.html").is_file()
    assert len((out / "predictions.csv").read_text().splitlines()) == 7
    assert read_card(out).training["left_out"] == 1
    assert load_pipeline("fusion", out).name == "fusion"


def test_what_cannot_work_is_refused_before_anything_is_scored(made: Path) -> None:
    code, output = run(made, "--out", str(made / "elsewhere" / "both"), "--trust-unseen")
    assert (code, "must be in one folder" in output) == (2, True)
    both = str(made / "models" / "x")
    code, output = run(made, "--out", both, "--trust-unseen", "--split", "test")
    assert (code, "no slide is in the split test" in output) == (2, True)
    code, output = run(made, "--out", both, "--patch", str(made / "models" / "w"))
    assert (code, "a model of pipeline whole-slide, not patch" in output) == (2, True)
