"""Which classes a trained model's card calls malignant."""

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

from wsi.cli.analyze import describe
from wsi.cli.main import main
from wsi.cli.malignant import malignant_of
from wsi.errors import ConfigError
from wsi.models.card import ModelCard
from wsi.storage import SlideResult
from wsi.training.fusion import common_malignant

CLASSES = ("normal", "dcis", "invasive carcinoma")
CARD = ModelCard(
    name="a", pipeline="patch", architecture="resnet10", classes=CLASSES, mpp=1.0, input_px=8
)


def test_they_go_by_name_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert malignant_of(None, CLASSES) == ("invasive carcinoma", "dcis")
    told = capsys.readouterr().err
    assert told == (
        "wsi: malignant, most severe first: invasive carcinoma, dcis "
        "(by name; --malignant says otherwise)\n"
    )


def test_they_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert malignant_of("c, b", ("a", "b", "c")) == ("c", "b")
    assert capsys.readouterr().err == "wsi: malignant, most severe first: c, b\n"
    with pytest.raises(ConfigError, match="malignant class 'd' is not one of the classes"):
        malignant_of("d", ("a", "b", "c"))


def test_it_is_said_where_none_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert malignant_of(None, ("background", "a", "b")) == ()
    assert "not known which of the classes a, b are malignant" in capsys.readouterr().err
    assert malignant_of("", ("benign", "cancer")) == ()


def test_a_fusion_takes_what_its_members_agree_on() -> None:
    other = dataclasses.replace(CARD, name="b", malignant=("dcis", "invasive carcinoma"))
    assert common_malignant([CARD, other]) == ("invasive carcinoma", "dcis")
    alone = dataclasses.replace(CARD, name="b", malignant=("dcis",))
    with pytest.raises(ConfigError, match=r"disagree .* \(a: invasive carcinoma, dcis; b: dcis\)"):
        common_malignant([CARD, alone])


@pytest.mark.parametrize("kind", ["patch", "whole-slide"])
def test_a_malignant_class_that_is_none_is_refused_before_training(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "t.csv").write_text("path,label,patient,split\n")
    options = ["--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m"), "--mpp", "1"]
    done = CliRunner().invoke(main, ["train", kind, *options, "--malignant", "cancre"])
    assert done.exit_code == 2
    assert "malignant class 'cancre' is not one of the classes" in done.output


def test_a_line_of_wsi_analyze_claims_no_certainty_and_adds_up_what_is_malignant() -> None:
    result = SlideResult(
        slide="s.svs",
        pipeline="patch",
        model="m",
        model_digest="d",
        classes=CLASSES,
        probabilities={"normal": 0.0004, "dcis": 0.5, "invasive carcinoma": 0.4996},
        hotspot_total=131,
    )
    assert describe(result) == (
        "normal < 0.001, dcis 0.500, invasive carcinoma 0.500; malignant > 0.999; "
        "0 of 131 hotspots listed (patch, 0.0 s)"
    )
