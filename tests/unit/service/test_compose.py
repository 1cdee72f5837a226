"""docker-compose.yml and the Dockerfiles keep their promises (Docker itself is not needed)."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from pydantic_settings import BaseSettings

from service.settings import Settings as ServiceSettings
from workers.settings import Settings as WorkerSettings

ROOT = Path(__file__).parents[3]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_service_has_limits_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert limits["cpus"]
    assert limits["memory"]
    if "build" in service:
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
        assert "HEALTHCHECK" in dockerfile
    else:
        assert service["healthcheck"]["test"]


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    found = re.findall(r"\$\{(\w*(?:PASSWORD|KEY|SECRET)\w*)(.*?)\}", text)
    names = {name for name, _ in found}
    assert names >= {"POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "S3_PASSWORD"}
    assert all(rest.startswith(":?") for _, rest in found)
    for line in re.findall(r"(?i)^\s*\w*pass\w*:\s*(.*)$", text, re.M):
        assert line.startswith("${")


@pytest.mark.parametrize(
    ("name", "settings"),
    [("api", ServiceSettings), ("worker", WorkerSettings), ("worker-gpu", WorkerSettings)],
)
def test_every_variable_is_a_setting(name: str, settings: type[BaseSettings]) -> None:
    fields = settings.model_fields.items()
    known = {str(field.validation_alias or f"WSI_{key.upper()}") for key, field in fields}
    given = {variable for variable in SERVICES[name]["environment"] if variable.startswith("WSI_")}
    assert given <= known


def test_cpu_and_gpu_workers_have_queues_of_their_own() -> None:
    queues = {
        name: service["environment"]["WSI_WORKER_QUEUES"]
        for name, service in SERVICES.items()
        if name.startswith("worker")
    }
    assert queues == {"worker": "cpu", "worker-gpu": "gpu"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_images_run_as_an_ordinary_user_a_module_that_is_there(path: Path) -> None:
    text = path.read_text()
    last_stage = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER wsi$", last_stage, re.M)
    (module,) = re.findall(r'^CMD \["/venv/bin/python", "-m", "([\w.]+)"\]$', last_stage, re.M)
    assert importlib.util.find_spec(f"{module}.__main__")
