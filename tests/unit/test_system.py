"""Memory and cores that this process may use, and bytes as people write them."""

from pathlib import Path

import pytest

from wsi import system
from wsi.errors import ConfigError
from wsi.system import format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16GB", 16_000_000_000),
        ("16 GiB", 16 * 2**30),
        ("1.5T", 1_500_000_000_000),
        ("500m", 500_000_000),
        ("4096", 4096),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "16XB", "-1GB", "0", "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="memory"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"), [(1_250_000_000, "1.25 GB"), (64e9, "64.0 GB"), (None, "unknown")]
)
def test_sizes_are_shown_in_gigabytes(size: float | None, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("maximum", "used", "cached", "free"),
    [("max", "5", "0", None), ("1000", "600", "200", 600), ("1000", "1200", "0", 0)],
)
def test_a_containers_limit_bounds_what_is_free(
    maximum: str,
    used: str,
    cached: str,
    free: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system, "_CGROUP", tmp_path)
    monkeypatch.setattr(system, "_CGROUP_1", tmp_path / "memory")
    (tmp_path / "memory.max").write_text(f"{maximum}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    if free is None:
        assert system.cgroup_memory() is None
        assert system.free_memory() > 1000
    else:
        assert system.free_memory() == free


@pytest.mark.parametrize(
    ("file", "text", "cores"),
    [
        ("cpu.max", "200000 100000\n", 2),
        ("cpu.max", "max 100000\n", None),
        ("cpu.max", "50000 100000\n", 1),
        ("cpu/cpu.cfs_quota_us", "300000\n", 3),
        ("cpu/cpu.cfs_quota_us", "-1\n", None),
    ],
)
def test_a_containers_share_of_the_cores_counts(
    file: str, text: str, cores: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "_CGROUP", tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert system.cgroup_cores() == cores
