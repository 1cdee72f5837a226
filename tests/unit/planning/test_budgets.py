"""What a machine has to offer a plan."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from wsi import system
from wsi.cli import main
from wsi.errors import ConfigError
from wsi.planning import budgets
from wsi.planning.budgets import memory_budgets, scratch_budget
from wsi.streaming.storage.blocks import Blocks


def test_a_cpu_is_planned_with_a_part_of_what_is_free() -> None:
    device, host = memory_budgets(torch.device("cpu"))
    assert device is None
    assert host > 0
    assert scratch_budget() > 0


def test_memory_that_the_process_keeps_is_there_for_the_next_slide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks, free = Blocks(), 10 * 2**30
    monkeypatch.setattr(budgets, "BLOCKS", blocks)
    monkeypatch.setattr(budgets, "free_memory", lambda: free)
    _, before = memory_budgets(torch.device("cpu"))
    blocks.release([blocks.take(), blocks.take()])
    monkeypatch.setattr(budgets, "free_memory", lambda: free - blocks.free_bytes)
    _, after = memory_budgets(torch.device("cpu"))
    assert after == before < free


@pytest.mark.parametrize("text", [None, "MemTotal: 5 kB\n"])
def test_a_system_that_does_not_say_what_is_free_asks_for_it(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text:
        (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(system, "_MEMINFO", tmp_path / "meminfo")
    with pytest.raises(ConfigError, match="--host-memory"):
        memory_budgets(torch.device("cpu"))


def test_a_plan_is_printed_without_a_gpu() -> None:
    arguments = ["plan", "--size", "10000", "--device-memory", "16GB", "--host-memory", "64GB"]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 0, answer.output
    assert "tiled at 10000 x 10000 px" in answer.output
    assert "layer4.2" in answer.output
    assert "peak device, GB" in answer.output


def test_a_size_that_no_mode_takes_is_refused_with_numbers_and_what_would_fit() -> None:
    arguments = ["plan", "--size", "40000", "--host-memory", "4GB"]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 2
    assert "in_core" in answer.stderr
    assert "limit 2^31" in answer.stderr
    assert "would fit" in answer.stderr
