"""What docker-compose.yml starts, started by hand: the same commands with the same settings.

The addresses of its PostgreSQL, RabbitMQ (or Redis) and S3 storage become those of the real
services on loopback; nothing else is changed, but that no GPU is wanted.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.integration.deployment import (
    ROOT,
    Deployment,
    add_toy,
    deployment,
    submit,
    upload,
    wait_status,
    wait_until,
)
from tests.integration.object_storage import BUCKET, keys, object_storage
from tests.unit.service.conftest import write_slide

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
LOCAL = ("WSI_DATA_DIR", "WSI_DATABASE_URL", "WSI_BROKER_URL", "WSI_DEVICE")
"""Settings that have to be this test's own; those of AWS are as well."""

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def storage() -> Iterator[Mapping[str, str]]:
    with object_storage() as environment:
        yield environment


def settings_of(name: str, **chosen: str) -> dict[str, str]:
    """The environment that compose gives a service, without what is local."""

    def fill(match: re.Match[str]) -> str:
        variable, default = match[1], match[2] or ""
        return chosen.get(variable, default.removeprefix(":-"))

    return {
        key: re.sub(r"\$\{(\w+)(:[-?][^}]*)?\}", fill, str(value))
        for key, value in SERVICES[name]["environment"].items()
        if key not in LOCAL and not key.startswith("AWS_")
    }


def instruction(name: str, word: str) -> list[str]:
    """A command of a service's Dockerfile: CMD, or that of HEALTHCHECK; run by this Python."""
    text = (ROOT / SERVICES[name]["build"]["dockerfile"]).read_text()
    last = text[text.rindex("\nFROM ") :]
    pattern = r"^HEALTHCHECK .*CMD (\[.*\])$" if word == "HEALTHCHECK" else r"^CMD (\[.*\])$"
    (found,) = re.findall(pattern, last, re.M)
    command: list[str] = json.loads(found)
    assert command[0] == "/venv/bin/python"
    return [sys.executable, *command[1:]]


def is_healthy(place: Deployment, command: list[str], settings: Mapping[str, str]) -> bool:
    """What Docker would ask."""
    environment = {**place.environment, **settings, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_the_services_of_compose_work_together(
    tmp_path: Path, storage: Mapping[str, str], broker: str
) -> None:
    with deployment(tmp_path / "d", broker=broker, database="postgresql", **storage) as place:
        add_toy(place, "on-cpu")
        add_toy(place, "on-gpu", pipeline="whole-slide")
        api = settings_of("api", GPU_JOBS="whole-slide")
        assert api.pop("WSI_STORES_URL") == "s3://wholeslide/stores"
        api["WSI_STORES_URL"] = f"s3://{BUCKET}/{tmp_path.name}"
        assert instruction("api", "CMD")[1:] == ["-m", "service"]
        process, client = place.start_api(**api)
        log = place.folder / "service-0.log"
        secret = wait_until(lambda: re.search(r"wsk_\S+", log.read_text()), "the first key")
        client.headers["Authorization"] = f"Bearer {secret[0]}"
        port = str(client.base_url.port)
        health = [part.replace("8000", port) for part in instruction("api", "HEALTHCHECK")]
        assert is_healthy(place, health, api)

        for name in ("worker", "worker-gpu"):
            worker = settings_of(name)
            command = instruction(name, "CMD")
            assert command[1:] == ["-m", "workers"]
            place.start("workers", **worker)
            assert is_healthy(place, instruction(name, "HEALTHCHECK"), worker), name
        slide = upload(client, write_slide(tmp_path / "s.tif"))
        for pipeline, queue in (("patch", "cpu"), ("whole-slide", "gpu")):
            job_id = submit(client, slide["id"], pipeline)
            ended = wait_status(client, job_id, "SUCCEEDED", "FAILED")
            assert (ended["status"], ended["queue"]) == ("SUCCEEDED", queue), ended["error"]
            assert f"{tmp_path.name}/{slide['id']}.zarr/results/{ended['id']}-1" in keys(storage)
        process.terminate()
        process.wait(30)
        assert not is_healthy(place, health, api)
