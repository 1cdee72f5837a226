"""Attention aggregators trained on bags made so that one patch decides."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file

from wsi.cli.main import main
from wsi.data.bags import Bag, read_bags, read_embeddings, soft_labels
from wsi.errors import ConfigError, DatasetError
from wsi.models.aggregators.attention import KINDS, AttentionAggregator
from wsi.models.aggregators.stored import load_aggregator
from wsi.models.bundle import load_bundle
from wsi.storage import SlideStore
from wsi.training.loop import TrainingStopped
from wsi.training.tasks.attention import AttentionTask, AttentionTraining
from wsi.training.trainer import Trainer

CLASSES = ("normal", "tumor")
D = 5


def make_bags(folder: Path, slides: int = 24) -> Path:
    """Bags of noise; in a tumour's one patch of eight to twenty stands out."""
    rng = np.random.default_rng(0)
    lines = ["path,label,patient,split"]
    for i in range(slides):
        values = rng.normal(0, 1, (int(rng.integers(8, 20)), D)).astype(np.float32)
        if i % 2:
            values[int(rng.integers(len(values))), 0] += 6
        name = f"s{i}.{'npz' if i % 3 else 'safetensors'}"
        if i % 3:
            np.savez(folder / name, embeddings=values)
        else:
            save_file({"embeddings": values}, folder / name)
        split = "val" if i >= slides * 2 // 3 else "train"
        lines.append(f"{name},{CLASSES[i % 2]},p{i},{split}")
    table = folder / "bags.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Bag]:
    table = make_bags(tmp_path_factory.mktemp("bags"))
    return read_bags(table, table.parent, CLASSES)


def training(kind: str, **more: object) -> AttentionTraining:
    given = {"epochs": 3, "hidden": 16, "attention": 8, "learning_rate": 5e-3, **more}
    return AttentionTraining(name="m", kind=kind, classes=CLASSES, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_it_finds_the_patch_that_decides(kind: str, bags: list[Bag], tmp_path: Path) -> None:
    card = Trainer(AttentionTask(training(kind, epochs=25), bags), tmp_path / "m").run()
    assert card.metrics["validation_auc"] > 0.9
    _, loaded = load_aggregator(tmp_path / "m")
    assert isinstance(loaded, AttentionAggregator)
    for bag in bags:
        if bag.split == "val" and bag.label == 1:
            call = loaded.score_bag(bag.read())
            assert call.attention_nk is not None
            assert call.attention_nk[:, 1].argmax() == bag.read()[:, 0].argmax()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop_at", [0.2, 1 / 3, 0.5])
def test_a_stopped_run_continues_to_the_same_weights(
    kind: str, stop_at: float, bags: list[Bag], tmp_path: Path
) -> None:
    config = training(kind, batch_size=2, max_patches=6)
    Trainer(AttentionTask(config, bags), tmp_path / "straight").run()

    def stop(stage: str, share: float) -> None:
        if share >= stop_at:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingStopped):
        Trainer(AttentionTask(config, bags), tmp_path / "broken", progress=stop).run()
    card = Trainer(AttentionTask(config, bags), tmp_path / "broken").run(resume=True)
    expected, straight = load_bundle(tmp_path / "straight")
    _, broken = load_bundle(tmp_path / "broken")
    assert broken.keys() == straight.keys()
    assert all(torch.equal(broken[key], straight[key]) for key in straight)
    assert card.training["history"] == expected.training["history"]
    assert not list(tmp_path.glob(".broken.checkpoint*"))


def test_resuming_with_other_bags_is_refused(bags: list[Bag], tmp_path: Path) -> None:
    def stop(stage: str, share: float) -> None:
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingStopped):
        Trainer(AttentionTask(training("clam"), bags), tmp_path / "m", progress=stop).run()
    with pytest.raises(ConfigError, match="the table or its bags have changed"):
        Trainer(AttentionTask(training("clam"), bags[2:]), tmp_path / "m").run(resume=True)


def test_bags_come_from_a_slide_store_too(tmp_path: Path) -> None:
    values = np.ones((4, D), np.float32)
    store = SlideStore(str(tmp_path / "s.zarr"))
    store.put("embeddings", "abc", {"embeddings": values}, {})
    np.testing.assert_array_equal(read_embeddings(tmp_path / "s.zarr"), values)
    store.put("embeddings", "def", {"embeddings": values}, {})
    with pytest.raises(DatasetError, match="holds 2 embeddings"):
        read_embeddings(tmp_path / "s.zarr")
    one = tmp_path / "s.zarr" / "embeddings" / "abc"
    np.testing.assert_array_equal(read_embeddings(one), values)
    unfinished = tmp_path / "s.zarr" / "embeddings" / "ghi"
    unfinished.mkdir()
    with pytest.raises(DatasetError, match="no complete"):
        read_embeddings(unfinished)


def bag_at(path: Path) -> Bag:
    return Bag(path, path.name, 0, np.array([1, 0], np.float32), "p", "train")


def test_bags_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", features=np.ones((2, D)))
    np.savez(tmp_path / "pickled.npz", embeddings=np.array([{}], dtype=object))
    np.savez(tmp_path / "nan.npz", embeddings=np.full((2, D), np.nan))
    np.savez(tmp_path / "empty.npz", embeddings=np.ones((0, D)))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    (tmp_path / "bag.txt").write_text("1")
    for name, message in {
        "other.npz": "no array 'embeddings'",
        "pickled.npz": "cannot be read",
        "nan.npz": "not finite",
        "empty.npz": "shape",
        "torn.safetensors": "cannot be read",
        "bag.txt": "come as",
    }.items():
        with pytest.raises(DatasetError, match=f"{name}.*{message}"):
            bag_at(tmp_path / name).read()


def test_bags_of_two_encoders_are_refused(bags: list[Bag], tmp_path: Path) -> None:
    save_file({"embeddings": np.ones((4, D + 1), np.float32)}, tmp_path / "wide.safetensors")
    with pytest.raises(DatasetError, match="one encoder"):
        AttentionTask(training("clam"), [*bags, bag_at(tmp_path / "wide.safetensors")])


def test_missing_bags_and_a_missing_split_are_refused(bags: list[Bag], tmp_path: Path) -> None:
    table = make_bags(tmp_path)
    (tmp_path / "s4.npz").unlink()
    with pytest.raises(DatasetError, match=r"1 of 24 bags are missing .* s4\.npz"):
        read_bags(table, tmp_path, CLASSES)
    with pytest.raises(DatasetError, match="train and val"):
        AttentionTask(training("clam"), [bag for bag in bags if bag.split == "train"])


def write_ratings(folder: Path, bags: list[Bag]) -> Path:
    """Two raters who know, one who says "tumor" to everything."""
    lines = ["slide,rater,label"]
    for bag in bags:
        if bag.split == "train":
            lines += [f"{bag.name},{who},{CLASSES[bag.label]}" for who in ("ann", "bob")]
            lines.append(f"{bag.name},carl,tumor")
    path = folder / "ratings.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_raters_give_soft_labels_to_training_bags_alone(bags: list[Bag], tmp_path: Path) -> None:
    told, about = soft_labels(bags, write_ratings(tmp_path, bags), CLASSES)
    for before, after in zip(bags, told, strict=True):
        if before.split == "train":
            assert after.target_k[before.label] > 0.9
            assert 0 < after.target_k[1 - before.label] < 0.1
        else:
            assert after is before
    raters = about["raters"]
    assert raters["ann"]["reliability"] > 0.9
    assert raters["carl"]["reliability"] == pytest.approx(0.5, abs=0.05)


def test_the_command_trains_from_a_table_and_ratings(bags: list[Bag], tmp_path: Path) -> None:
    table = make_bags(tmp_path)
    asked = ["--table", str(table), "--ratings", str(write_ratings(tmp_path, bags))]
    small = ["--epochs", "1", "--hidden", "8", "--attention", "4", "--out", str(tmp_path / "m")]
    done = CliRunner().invoke(
        main, ["train", "aggregator", "--kind", "gated-attention", *asked, *small]
    )
    assert done.exit_code == 0, done.output
    card, _ = load_aggregator(tmp_path / "m")
    assert set(card.training["labels"]["raters"]) == {"ann", "bob", "carl"}


def test_the_command_judges_a_model_on_bags_of_a_split(bags: list[Bag], tmp_path: Path) -> None:
    table = make_bags(tmp_path)
    Trainer(AttentionTask(training("clam", epochs=25), bags), tmp_path / "m").run()
    asked = ["--table", str(table), "--model", str(tmp_path / "m"), "--replicates", "50"]
    out = str(tmp_path / "out")
    done = CliRunner().invoke(main, ["evaluate", "bags", *asked, "--split", "val", "--out", out])
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == 9
    area = float(done.output.split("AUC ")[1].split()[0])
    assert area > 0.9
    none = CliRunner().invoke(main, ["evaluate", "bags", *asked, "--out", out])
    assert none.exit_code == 2
    assert "no bag is in the split test" in none.output


def test_a_table_to_judge_by_needs_no_training_bags(bags: list[Bag], tmp_path: Path) -> None:
    lines = make_bags(tmp_path).read_text().replace(",train", ",test").splitlines()
    table = tmp_path / "test.csv"
    table.write_text("\n".join(line for line in lines if not line.endswith(",val")) + "\n")
    with pytest.raises(DatasetError, match="0 training example"):
        read_bags(table, tmp_path, CLASSES)
    Trainer(AttentionTask(training("clam"), bags), tmp_path / "m").run()
    asked = ["--table", str(table), "--model", str(tmp_path / "m"), "--replicates", "20"]
    out = str(tmp_path / "out")
    done = CliRunner().invoke(main, ["evaluate", "bags", *asked, "--out", out])
    assert done.exit_code == 0, done.output
    table.write_text(table.read_text().replace("s1.npz,tumor", "s1.npz,"))
    none = CliRunner().invoke(main, ["evaluate", "bags", *asked, "--out", out])
    assert none.exit_code == 2
    assert "s1.npz has no label" in none.output
