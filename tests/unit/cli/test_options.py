"""The options: their choices and defaults are the library's own, and wrong ones are one line."""

from pathlib import Path
from typing import get_args

import click
import pytest
from click.testing import CliRunner, Result

from wsi.cli import main, options
from wsi.models.engines import ENGINES
from wsi.networks.norms import NormKind
from wsi.networks.pooling import PoolingKind
from wsi.streaming import MODES
from wsi.training.aggregator import TreeTraining
from wsi.training.tasks.attention import AttentionTraining
from wsi.training.tasks.patch_config import PatchTraining
from wsi.training.tasks.whole_slide_config import WholeSlideTraining


def wsi(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def every_command(command: click.Command = main) -> list[click.Command]:
    if not isinstance(command, click.Group):
        return [command]
    return [leaf for child in command.commands.values() for leaf in every_command(child)]


def test_choices_are_the_librarys() -> None:
    assert set(options.NORMS) == set(get_args(NormKind))
    assert set(options.POOLINGS) == set(get_args(PoolingKind))
    assert set(options.MODES) == set(MODES)
    assert set(options.ENGINES) == set(ENGINES)


@pytest.mark.parametrize(
    ("command", "config"), [("patch", PatchTraining), ("whole-slide", WholeSlideTraining)]
)
def test_help_names_the_defaults_of_the_config(command: str, config: type) -> None:
    said = " ".join(wsi("train", command, "--help").output.split())
    for field in ("architecture", "epochs", "learning_rate", "precision"):
        default = config.__dataclass_fields__[field].default  # type: ignore[attr-defined]
        assert f"[default: {default}]" in said, field


def test_help_of_the_aggregator_names_both_learning_rates() -> None:
    rates = [
        kind.__dataclass_fields__["learning_rate"].default
        for kind in (TreeTraining, AttentionTraining)
    ]
    said = " ".join(wsi("train", "aggregator", "--help").output.split())
    assert "[default: {} and {}]".format(*rates) in said


def test_every_option_with_a_number_or_a_path_says_what_it_is() -> None:
    plain = {"--epochs", "--learning-rate", "--weight-decay"}  # the field's own words
    for command in every_command():
        for one in command.params:
            if isinstance(one, click.Option) and not set(one.opts) & plain:
                named = one.help or isinstance(one.type, click.Choice)
                assert named, f"{command.name} {one.opts[0]} has no help"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("plan --size 10000 --norm zebra", "frozen"),
        ("plan --size 0", "32"),
        ("plan --size 100000000", "1000000"),
        ("doctor --fast --device gpu", "auto, cpu, cuda or cuda:1"),
        ("train patch --table t.csv --mpp 1 --patch-px 0 --out m", "16"),
        ("train patch --table t.csv --mpp 1 --classes a,a --out m", "different names"),
        ("train whole-slide --table t.csv --mpp 1 --classes a --out m", "different names"),
        ("train patch --table t.csv --mpp 1 --out m", "t.csv: cannot be read: No such file"),
        ("study resolution --table t.csv --pipeline patch --mpp 2 --seeds 0 --out s", "x>=1"),
        ("tissue s.svs --out t.xyz", "ends with .png"),
        ("evaluate scores scores.csv --label truth --score ours --threshold nan --out e", "number"),
        ("evaluate scores latin.csv --label truth --score ours --out e", "save it as CSV UTF-8"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_do(
    arguments: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("scores.csv").write_text("truth,ours\n0,0.1\n1,0.9\n")
    Path("latin.csv").write_bytes("truth,ours\nä,1\n".encode("latin-1"))
    answer = wsi(*arguments.split())
    assert answer.exit_code == 2
    assert said in " ".join(answer.stderr.split())
    assert "Traceback" not in answer.output


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    table = tmp_path / "t.csv"
    table.write_text("path,label,patient\n" + "".join(f"{n},a,{n}\n" for n in range(9)))
    answer = wsi("dataset", "split", "--table", table, "--out", tmp_path / "taken" / "s.csv")
    assert answer.exit_code == 2
    assert answer.stderr.count("\n") == 1
    assert answer.stderr.startswith("wsi: ")
    assert "taken" in answer.stderr
