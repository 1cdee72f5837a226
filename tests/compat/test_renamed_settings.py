"""Settings under the names of an earlier version, as they stand in somebody's env file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import Settings as ServiceSettings
from workers.settings import Settings as WorkerSettings
from wsi.errors import ConfigError
from wsi.settings import SharedSettings

EARLIER = {
    "WSI_SWEEP_S": "7",
    "WSI_UPLOAD_LASTS_H": "12",
    "WSI_BEAT_S": "0.5",
    "WSI_OBEY_S": "3",
    "WSI_WORKER_QUEUES": "cpu",
}
SETTINGS: list[type[SharedSettings]] = [ServiceSettings, WorkerSettings]


def names(settings: SharedSettings) -> dict[str, object]:
    """What the settings with another name are set to."""
    return {
        new: getattr(settings, new.removeprefix("WSI_").lower())
        for new in settings.RENAMED.values()
    }


EXPECTED = {
    ServiceSettings: {"WSI_RECONCILE_INTERVAL_S": 7.0, "WSI_UPLOAD_EXPIRY_H": 12.0},
    WorkerSettings: {
        "WSI_RECONCILE_INTERVAL_S": 7.0,
        "WSI_HEARTBEAT_INTERVAL_S": 0.5,
        "WSI_SHUTDOWN_TIMEOUT_S": 3.0,
    },
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_an_old_name_still_sets_what_it_set(
    kind: type[SharedSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in EARLIER.items():
        monkeypatch.setenv(name, value)
    assert names(kind()) == EXPECTED[kind]


@pytest.mark.parametrize("kind", SETTINGS)
def test_an_env_file_with_old_names_still_works(kind: type[SharedSettings], tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in EARLIER.items()))
    assert names(kind(_env_file=file)) == EXPECTED[kind]  # type: ignore[call-arg]


def test_the_new_name_with_the_same_value_beside_the_old_is_fine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WSI_SWEEP_S", "7")
    monkeypatch.setenv("WSI_RECONCILE_INTERVAL_S", "7")
    assert ServiceSettings().reconcile_interval_s == 7


def test_both_names_with_different_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSI_OBEY_S", "3")
    monkeypatch.setenv("WSI_SHUTDOWN_TIMEOUT_S", "4")
    with pytest.raises(ConfigError, match="WSI_OBEY_S=3 and WSI_SHUTDOWN_TIMEOUT_S=4"):
        WorkerSettings()


@pytest.mark.parametrize("program", ["service", "workers"])
def test_a_program_says_at_its_start_what_a_setting_is_called_now(program: str) -> None:
    # It stops over what comes next: a database that is none.
    env = {**os.environ, **EARLIER, "WSI_DATABASE_URL": "sqlite://", "WSI_DEVICE": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-m", program], env=env, capture_output=True, text=True, timeout=120
    )
    assert ended.stderr.count("WSI_SWEEP_S is called WSI_RECONCILE_INTERVAL_S now") == 1
