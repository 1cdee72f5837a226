"""``wsi study resolution``: every cell once, in processes of their own."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from wsi.cli import study
from wsi.cli.main import main
from wsi.models.card import ModelCard
from wsi.storage import SlideResult, result_to_json
from wsi.testing.slides import synthetic_slide

CLASSES = ("benign", "cancer")


def run(folder: Path, *more: str, mpp: str = "8", out: str = "out") -> tuple[int, str]:
    asked = ["--table", str(folder / "slides.csv"), "--pipeline", "whole-slide", "--mpp", mpp]
    done = CliRunner().invoke(
        main, ["study", "resolution", *asked, "--out", str(folder / out), *more]
    )
    return done.exit_code, done.output


def write_table(folder: Path, *, test_labels: Sequence[str] = CLASSES) -> None:
    lines = ["path,label,patient,split"]
    for i in range(6):
        split = "test" if i > 3 else ("train" if i > 1 else "val")
        label = test_labels[i % 2] if split == "test" else CLASSES[i % 2]
        lines.append(f"s{i}.tif,{label},p{i},{split}")
    more = [f"t{i}.tif,{CLASSES[i % 2]},q{i},train" for i in range(2)]
    (folder / "slides.csv").write_text("\n".join([*lines, *more]) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(tmp_path)
    return tmp_path


def option(arguments: Sequence[str], name: str) -> str:
    return arguments[list(arguments).index(name) + 1]


def fake_wsi(told: list[list[str]], fails: Callable[[Sequence[str]], bool] = lambda a: False):  # type: ignore[no-untyped-def]
    """Commands that leave what the real ones leave."""

    def wsi(arguments: Sequence[str]) -> bool:
        told.append(list(arguments))
        out = Path(option(arguments, "--out"))
        if fails(arguments):
            return False
        if arguments[0] == "train":
            cost = {"seconds": 10 / float(option(arguments, "--mpp")), "peak_host_bytes": 2**30}
            card = ModelCard(
                name=out.name, pipeline="whole-slide", architecture="x", classes=CLASSES, mpp=8.0,
                input_px=0, training={"cost": cost}, weights_sha256="d",
            )  # fmt: skip
            out.mkdir(parents=True)
            (out / "model.json").write_text(card.to_json())
            return True
        for name, score in (("s4", 0.2), ("s5", 0.8)):
            result = SlideResult(
                slide=f"{name}.tif", pipeline="whole-slide", model="m", model_digest="d",
                classes=CLASSES, probabilities={"benign": 1 - score, "cancer": score},
                timings_s={"network": 2.0}, details={"peak_host_bytes": 2**29},
            )  # fmt: skip
            (out / name).mkdir(parents=True)
            (out / name / "whole-slide.json").write_text(json.dumps(result_to_json(result)))
        return True

    return wsi


def test_every_cell_is_trained_and_scored_once_and_not_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    monkeypatch.setattr(study, "_wsi", fake_wsi(told))
    code, output = run(folder, "--seeds", "2", "--", "--epochs", "3", mpp="8,2")
    assert code == 0, output
    assert "2 um/px: AUC 1.0000" in output
    assert [one[0] for one in told] == ["train", "analyze"] * 4
    assert {(option(one, "--mpp"), option(one, "--seed")) for one in told[::2]} == {
        (mpp, seed) for mpp in ("2", "8") for seed in ("0", "1")
    }
    assert all(one[-2:] == ["--epochs", "3"] and "--resume" in one for one in told[::2])
    assert all(option(one, "--split") == "test" for one in told[1::2])
    assert (folder / "out" / "figures" / "resolution.svg").is_file()
    code, output = run(folder, "--seeds", "2", "--", "--epochs", "3", mpp="4,8,2")
    assert code == 0, output
    assert output.count("finished before") == 4
    assert [option(one, "--mpp") for one in told[8::2]] == ["4", "4"]


def test_other_options_are_not_mixed_with_what_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "_wsi", fake_wsi([]))
    assert run(folder, "--seeds", "1")[0] == 0
    code, output = run(folder, "--seeds", "1", "--", "--epochs", "9")
    assert (code, "made with another table, split or options" in output) == (2, True)


def test_a_slide_that_was_replaced_makes_another_study(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "s0.tif").write_bytes(b"one scan")
    monkeypatch.setattr(study, "_wsi", fake_wsi([]))
    assert run(folder)[0] == 0
    assert run(folder)[0] == 0
    (folder / "s0.tif").write_bytes(b"another!")
    code, text = run(folder)
    assert code == 2
    assert "or other slides" in text


def test_a_cell_that_fails_is_told_and_the_others_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    fails = fake_wsi(told, lambda a: a[0] == "train" and option(a, "--mpp") == "2")
    monkeypatch.setattr(study, "_wsi", fails)
    code, output = run(folder, "--seeds", "1", mpp="2,8")
    assert code == 2
    assert "2 um/px, seed 0 (1 of 2): the training failed" in output
    assert "8 um/px: AUC 1.0000" in output
    assert "the training failed" in (folder / "out" / "study.html").read_text()
    # What was trained is not trained again where only the scoring is missing.
    (folder / "out" / "cells" / "8um-seed0" / "cell.json").unlink()
    told.clear()
    run(folder, "--seeds", "1", mpp="8")
    assert [one[0] for one in told] == ["analyze"]


def test_a_study_that_is_told_to_stop_passes_it_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study.sys, "executable", str(folder / "python"))
    (folder / "python").write_text(
        f"#!/bin/sh\ntrap 'exit 143' TERM\ntouch {folder}/up\nwhile :; do sleep 0.05; done\n"
    )
    (folder / "python").chmod(0o755)

    def stop() -> None:
        while not (folder / "up").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    code, output = run(folder, "--seeds", "1")
    thread.join()
    assert (code, "stopped; run the same command to continue" in output) == (143, True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "holdout"], "no slide is in the split holdout"),
        (["--mpp", "four"], "--mpp takes numbers"),
        (["--mpp", "0"], "--mpp must be positive"),
        (["--", "--seed", "3"], "--seed is not for --"),
    ],
)
def test_what_cannot_work_is_refused_before_any_training(
    folder: Path, more: list[str], message: str
) -> None:
    code, output = run(folder, *more)
    assert (code, message in output) == (2, True), output
    write_table(folder, test_labels=("benign", "benign"))
    code, output = run(folder)
    assert (code, "are of one class" in output) == (2, True)
    write_table(folder, test_labels=("", "cancer"))
    code, output = run(folder)
    assert (code, "s4.tif has no label to evaluate against" in output) == (2, True)


def test_a_real_cell_knows_its_time_and_memory(folder: Path) -> None:
    for i, name in enumerate(("s0", "s1", "s2", "s3", "s4", "s5", "t0", "t1")):
        synthetic_slide(folder / f"{name}.tif", 512, 1.0, seed=i, cancer=i % 2 == 1)
    options = ["--architecture", "resnet10", "--epochs", "1", "--norm", "cell"]
    code, output = run(folder, "--seeds", "1", "--device", "cpu", "--", *options)
    assert code == 0, output
    (found,) = json.loads((folder / "out" / "study.json").read_text())["resolutions"]
    assert found["slides"] == 2
    assert found["seconds"] > 0
    assert found["peak_bytes"] > 2**27
    assert found["score_peak_bytes"] > 2**27
