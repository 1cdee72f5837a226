"""``wsi doctor`` tells what is there, what is not, and why."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from wsi.cli import checkup, main
from wsi.models.backbones import build_backbone
from wsi.networks import stage_network
from wsi.planning import Speed, budgets


def _doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--architecture", "resnet10", *arguments])


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WSI_DATABASE_URL", "WSI_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WSI_DATA_DIR", str(tmp_path))


def test_the_table_names_modes_engines_and_what_they_lack() -> None:
    answer = _doctor("--fast", "--device", "cpu")
    assert answer.exit_code == 0, answer.output
    for text in ("cores", "openslide-python", "SQLite below the data folder", "only for training"):
        assert text in answer.output
    assert "unified" in answer.output
    assert "10,000 x 10,000" not in answer.output


def test_json_has_a_prediction_for_both_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    # The measurements themselves are shortened: a machine under test is no machine to measure.
    monkeypatch.setattr(checkup, "_CALIBRATION_PX", 64)
    monkeypatch.setattr(checkup, "PATCH_PX", 64)
    monkeypatch.setattr(checkup, "_BATCH", 1)
    monkeypatch.setattr(checkup, "_DISK_BYTES", 2**16)
    answer = _doctor("--json", "--device", "cpu")
    assert answer.exit_code == 0, answer.output
    found: dict[str, Any] = json.loads(answer.stdout)
    said = found["predictions"]
    assert said["patch_s"] == pytest.approx(said["patches"] / said["patches_per_s"])
    assert said["whole_slide_s"] > 0
    assert found["disk"]["read_bytes_per_s"] > 0
    assert found["machine"]["memory_free_bytes"] > 0


def test_the_table_ends_with_the_time_of_a_slide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "_patch_rate", lambda network, device: 10.0)
    monkeypatch.setattr(checkup, "measured_speed", lambda network, device: Speed(flop_per_s=1e12))
    monkeypatch.setattr(checkup, "_DISK_BYTES", 2**16)
    answer = _doctor("--device", "cpu")
    assert "about 3.4 minutes for 2,025 patches of 224 px (10.0 a second" in answer.output
    assert "in mode" in answer.output


def test_services_that_do_not_answer_are_told_without_their_passwords(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = _closed_port()
    url = f"postgresql+psycopg://wsi:hunter2@127.0.0.1:{port}/wsi"
    monkeypatch.setenv("WSI_DATABASE_URL", url)
    monkeypatch.setenv("WSI_BROKER_URL", f"amqp://wsi:hunter2@127.0.0.1:{port}//")
    answer = _doctor("--fast", "--json", "--device", "cpu")
    assert answer.exit_code == 1
    assert "hunter2" not in answer.output
    services = json.loads(answer.stdout)["services"]
    assert "does not answer" in services["database"]["problem"]
    assert "does not answer" in services["broker"]["problem"]
    assert str(port) in services["broker"]["where"]


def test_a_text_that_is_no_database_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSI_DATABASE_URL", "hunter2")
    assert checkup.services()["database"] == {
        "where": "WSI_DATABASE_URL",
        "problem": "is not a database URL",
    }


def test_a_database_that_answers_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WSI_DATABASE_URL", f"sqlite:///{tmp_path / 'x.db'}")
    assert checkup.services()["database"]["problem"] is None


def test_a_machine_without_compiler_or_openvino_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(checkup, "find_spec", lambda name: None)
    found = checkup.engines()
    assert found["torch"] is None
    assert found["compile"] == "no C++ compiler (no-such-compiler) found"
    assert found["openvino"] == "needs the extra openvino"


def test_a_slide_that_fits_no_mode_is_told_with_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budgets, "free_memory", lambda: 2**20)
    network = stage_network(build_backbone("resnet10", 2), classes=2)  # type: ignore[arg-type]
    monkeypatch.setattr(budgets, "scratch_budget", lambda: 0)
    modes = checkup.memory_modes(network, "cpu")
    assert "needs" in modes["in_core"]["scoring"]["problem"]
    monkeypatch.setattr(checkup, "_patch_rate", lambda *_: 1.0)
    said = checkup.predictions(network, "cpu", Speed(flop_per_s=1e12))
    assert "no memory mode takes 10000 x 10000 px" in said["whole_slide_problem"]
