"""``wsi train inputs``, and an aggregator trained on what it makes, as a user types them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from wsi.cli.main import main
from wsi.data.bags import read_bags
from wsi.data.heatmap_features import read_features
from wsi.models.aggregators import FEATURES
from wsi.models.aggregators.stored import load_aggregator
from wsi.pipelines.base import load_pipeline, pipeline_names
from wsi.testing.models import untrained_patch_bundle
from wsi.testing.slides import synthetic_slide

CLASSES = ("benign", "cancer")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    untrained_patch_bundle(folder / "patch")
    lines = ["path,label,patient,split"]
    for i in range(8):
        synthetic_slide(folder / f"s{i}.tif", 768, 0.5, seed=i)
        lines.append(f"s{i}.tif,{CLASSES[i % 2]},p{i},{'train' if i < 6 else 'val'}")
    (folder / "torn.tif").write_bytes(b"II*\x00torn")
    lines.append("torn.tif,cancer,p9,train")
    (folder / "slides.csv").write_text("\n".join(lines) + "\n")
    asked = ["--model", str(folder / "patch"), "--table", str(folder / "slides.csv")]
    done = CliRunner().invoke(main, ["train", "inputs", *asked, "--out", str(folder / "out")])
    # One slide is torn: it is named, the others are there, and the exit code says so.
    assert done.exit_code == 2, done.output
    assert "torn" in done.output
    assert "8 of 9 slides" in done.output
    return folder


def test_every_readable_slide_has_a_bag_and_features(made: Path) -> None:
    bags = read_bags(made / "out" / "bags.csv", made / "out", CLASSES)
    assert [bag.label for bag in bags] == [0, 1] * 4
    assert all(bag.read().shape[1] == 512 for bag in bags)
    table = read_features([made / "out" / "features_train.csv"], CLASSES, patient="patient")
    assert table.values_nf.shape == (6, len(FEATURES))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("random-forest", ["--features", "features_train.csv", "--trees", "3", "--repeats", "0"]),
        ("clam", ["--table", "bags.csv", "--epochs", "1", "--hidden", "8", "--attention", "4"]),
    ],
)
def test_a_patch_model_gets_its_aggregator(
    made: Path, tmp_path: Path, kind: str, options: list[str]
) -> None:
    options = [str(made / "out" / one) if one.endswith(".csv") else one for one in options]
    asked = ["--kind", kind, "--classes", "benign,cancer", "--patch-model", str(made / "patch")]
    out = tmp_path / "both"
    done = CliRunner().invoke(main, ["train", "aggregator", *asked, *options, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert load_aggregator(out)[0].settings["aggregator"]["kind"] == kind
    assert load_pipeline("patch", out).name == "patch"
    assert [path.name for path in tmp_path.iterdir()] == ["both"]


def test_the_helper_module_is_no_pipeline() -> None:
    assert not [name for name in pipeline_names() if "inputs" in name]
