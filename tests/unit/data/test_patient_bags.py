"""Several slides a patient: joined, learned from and judged as one."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file

from wsi.cli.main import main
from wsi.data.bags import Bag, bags_digest, read_bags, soft_labels
from wsi.data.patient_bags import PatientBag, join_patients
from wsi.errors import ConfigError, DatasetError
from wsi.models.aggregators.attention import AttentionAggregator
from wsi.models.aggregators.stored import load_aggregator
from wsi.models.bundle import load_bundle
from wsi.training.tasks.attention import AttentionTask, AttentionTraining
from wsi.training.trainer import Trainer

CLASSES = ("normal", "tumor")
D = 4
SMALL = ["--epochs", "2", "--hidden", "8", "--attention", "4", "--classes", "normal,tumor"]


def make_table(
    folder: Path, patients: int = 12, slides: int = 3, *, same_label: bool = True
) -> Path:
    """Only one slide of a diseased patient shows the disease, and only in one patch."""
    rng = np.random.default_rng(0)
    lines = ["path,label,patient,split"]
    for patient in range(patients):
        split = "val" if patient >= patients * 2 // 3 else "train"
        for slide in range(slides):
            values = rng.normal(0, 0.5, (int(rng.integers(3, 7)), D)).astype(np.float32)
            shows = patient % 2 and slide == patient % slides
            values[0, 0] += 6 * bool(shows)
            name = f"p{patient}s{slide}.safetensors"
            save_file({"embeddings": values}, folder / name)
            label = CLASSES[patient % 2] if same_label else CLASSES[bool(shows)]
            lines.append(f"{name},{label},p{patient},{split}")
    table = folder / "bags.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def training(**more: object) -> AttentionTraining:
    given = {"epochs": 2, "hidden": 16, "attention": 8, "learning_rate": 5e-3, **more}
    return AttentionTraining(name="m", kind="gated-attention", classes=CLASSES, **given)  # type: ignore[arg-type]


def load(bundle: Path) -> AttentionAggregator:
    _, loaded = load_aggregator(bundle)
    assert isinstance(loaded, AttentionAggregator)
    return loaded


def test_a_patient_is_all_patches_of_all_slides(tmp_path: Path) -> None:
    bags = read_bags(make_table(tmp_path), tmp_path, CLASSES)
    joined = join_patients(bags, CLASSES, worst=False)
    assert [bag.name for bag in joined] == [f"p{i}" for i in range(12)]
    assert [bag.label for bag in joined] == [0, 1] * 6
    expected = np.concatenate([bag.read() for bag in bags[:3]])
    np.testing.assert_array_equal(joined[0].read(), expected)
    assert {bag.split for bag in joined[:8]} == {"train"}


def test_the_order_of_slides_does_not_matter(tmp_path: Path) -> None:
    bags = read_bags(make_table(tmp_path), tmp_path, CLASSES)
    joined = join_patients(bags, CLASSES, worst=False)
    Trainer(AttentionTask(training(), joined), tmp_path / "m").run()
    loaded, of_patient = load(tmp_path / "m"), bags[3:6]
    expected = loaded.score_bag(joined[1].read()).probabilities
    for order in itertools.permutations(of_patient):
        (one,) = join_patients(order, CLASSES, worst=False)
        assert loaded.score_bag(one.read()).probabilities == expected
        assert bags_digest([one]) == bags_digest([joined[1]])
        # Not for the sake of a fixed order alone: the network itself does not see one.
        loose = loaded.score_bag(np.concatenate([bag.read() for bag in order])).probabilities
        assert loose == pytest.approx(expected, rel=1e-5)


def test_patients_of_one_slide_are_learned_as_slides_are(tmp_path: Path) -> None:
    bags = read_bags(make_table(tmp_path, slides=1), tmp_path, CLASSES)
    joined = join_patients(bags, CLASSES, worst=True)
    slides = Trainer(AttentionTask(training(), bags), tmp_path / "s").run()
    patients = Trainer(AttentionTask(training(), joined), tmp_path / "p").run()
    by_slide, by_patient = (load_bundle(tmp_path / name)[1] for name in "sp")
    assert all(torch.equal(by_slide[key], by_patient[key]) for key in by_slide)
    assert slides.metrics == patients.metrics
    assert (slides.training["bag_is"], patients.training["bag_is"]) == ("slide", "patient")
    loaded = load(tmp_path / "s")
    for one, other in zip(bags, joined, strict=True):
        assert (
            loaded.score_bag(one.read()).probabilities
            == loaded.score_bag(other.read()).probabilities
        )


def test_it_finds_the_one_slide_that_shows_the_disease(tmp_path: Path) -> None:
    bags = read_bags(make_table(tmp_path, patients=24), tmp_path, CLASSES)
    joined = join_patients(bags, CLASSES, worst=False)
    card = Trainer(AttentionTask(training(epochs=25), joined), tmp_path / "m").run()
    assert card.metrics["validation_auc"] > 0.9
    assert card.training["bags"] == {"train": 16, "validation": 8}
    assert card.training["slides"] == 72


def test_labels_that_differ_are_refused_by_the_patients_name(tmp_path: Path) -> None:
    bags = read_bags(make_table(tmp_path, same_label=False), tmp_path, CLASSES)
    with pytest.raises(DatasetError, match=r"patient p1: .*p1s1\.safetensors tumor"):
        join_patients(bags, CLASSES, worst=False)
    joined = join_patients(bags, CLASSES, worst=True)
    assert [bag.label for bag in joined] == [0, 1] * 6
    assert joined[1].target_k.tolist() == [0, 1]


def bag(name: str, target_k: list[float], label: int = 0, split: str = "train") -> Bag:
    return Bag(Path(name), name, label, np.array(target_k, np.float32), "p", split)  # type: ignore[arg-type]


def test_soft_labels_of_slides_become_those_of_the_patient() -> None:
    slides = [bag("a", [0.5, 0.3, 0.2]), bag("b", [0.6, 0.4, 0.0])]
    grades = ("g0", "g1", "g2")
    (mean,) = join_patients(slides, grades, worst=False)
    np.testing.assert_allclose(mean.target_k, [0.55, 0.35, 0.1], rtol=1e-6)
    (worst,) = join_patients(slides, grades, worst=True)
    # Both at grade 0; both at most at grade 1, less that; the rest.
    np.testing.assert_allclose(worst.target_k, [0.3, 0.8 - 0.3, 0.2], rtol=1e-6)


def test_raters_speak_of_slides_and_patients_learn_from_them(tmp_path: Path) -> None:
    bags = read_bags(make_table(tmp_path), tmp_path, CLASSES)
    lines = [
        f"{one.name},{who},{one.label}" for one in bags for who in ("ann", "bob")
        if one.split == "train"
    ]  # fmt: skip
    (tmp_path / "ratings.csv").write_text("\n".join(["slide,rater,label", *lines]) + "\n")
    told, _ = soft_labels(bags, tmp_path / "ratings.csv", CLASSES)
    joined = join_patients(told, CLASSES, worst=False)
    assert all(one.target_k[one.label] > 0.9 for one in joined)
    assert all(one.target_k.sum() == pytest.approx(1) for one in joined)


def test_a_patient_in_two_splits_and_slides_of_two_encoders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="patient p: slides are in more than one split"):
        join_patients([bag("a", [1, 0]), bag("b", [1, 0], split="val")], CLASSES, worst=False)
    for name, width in (("a", 3), ("b", 4)):
        save_file({"embeddings": np.ones((2, width), np.float32)}, tmp_path / f"{name}.safetensors")
    slides = [bag(str(tmp_path / f"{name}.safetensors"), [1, 0]) for name in "ab"]
    (joined,) = join_patients(slides, CLASSES, worst=False)
    with pytest.raises(DatasetError, match=r"patient p: .*one encoder"):
        joined.read()


def test_a_class_that_no_patient_keeps_is_refused(tmp_path: Path) -> None:
    table = make_table(tmp_path, same_label=False)
    bags = [b for b in read_bags(table, tmp_path, CLASSES) if int(b.patient[1:]) % 2]
    with pytest.raises(DatasetError, match="no training bag is of the class 'normal'"):
        AttentionTask(training(), join_patients(bags, CLASSES, worst=True))


def test_resuming_with_other_slides_of_the_same_patients_is_refused(tmp_path: Path) -> None:
    bags = read_bags(make_table(tmp_path), tmp_path, CLASSES)
    whole = Trainer(
        AttentionTask(training(), join_patients(bags, CLASSES, worst=False)), tmp_path / "m"
    )
    whole._save()
    fewer = [one for one in bags if one.name != "p0s2.safetensors"]
    other = Trainer(
        AttentionTask(training(), join_patients(fewer, CLASSES, worst=False)), tmp_path / "m"
    )
    with pytest.raises(ConfigError, match="the table or its bags have changed"):
        other.run(resume=True)


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


def test_commands_train_and_judge_patients(tmp_path: Path) -> None:
    table, model = make_table(tmp_path, same_label=False), tmp_path / "m"
    train = ["train", "aggregator", "--kind", "clam", "--table", table, *SMALL, "--out", model]
    code, output = run(*train, "--per-patient")
    assert code == 2
    assert "patient p1: slides have different labels" in output
    code, output = run(*train, "--worst")
    assert code == 2
    assert "--per-patient too" in output
    code, output = run(*train, "--per-patient", "--worst")
    assert code == 0, output
    judge = ["evaluate", "bags", "--table", table, "--split", "val", "--model", model]
    judge += ["--replicates", "20", "--out", tmp_path / "out"]
    code, output = run(*judge, "--per-patient", "--worst")
    assert code == 0, output
    assert "judged on" not in output
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [
        [f"p{i}", CLASSES[i % 2]] for i in range(8, 12)
    ]
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["bag_is"] == "patient"
    code, output = run(*judge, "--per-patient")
    assert code == 2
    assert "patient p9: slides have different labels" in output
    code, output = run(*judge)
    assert code == 0, output
    assert "trained on bags of a patient, evaluated on bags of a slide" in output


def test_grades_of_a_patients_slides_may_differ(tmp_path: Path) -> None:
    table, model = make_table(tmp_path, same_label=False), tmp_path / "m"
    train = ["train", "aggregator", "--kind", "gated-attention", "--table", table, *SMALL]
    code, output = run(*train, "--ordinal", "--per-patient", "--out", model)
    assert code == 0, output
    judge = ["evaluate", "bags", "--table", table, "--split", "val", "--model", model]
    code, output = run(*judge, "--per-patient", "--replicates", "20", "--out", tmp_path / "out")
    assert code == 0, output
    assert "grades: mean absolute error" in output


def test_a_patient_bag_says_which_slides_it_is(tmp_path: Path) -> None:
    bags = read_bags(make_table(tmp_path), tmp_path, CLASSES)
    joined = join_patients(bags[::-1], CLASSES, worst=False)
    assert all(isinstance(one, PatientBag) for one in joined)
    names = [[slide.name for slide in one.members] for one in joined]
    assert names[-1] == [f"p0s{i}.safetensors" for i in range(3)]
