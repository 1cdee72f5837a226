"""Backup and restore by the very commands of docs/operations.md, everything destroyed between."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from tests.integration.deployment import (
    Deployment,
    add_toy,
    deployment,
    submit,
    upload,
    wait_status,
)
from tests.integration.services import POSTGRES, need_service
from tests.integration.test_faults import kill_9, pool_pids
from tests.unit.service.conftest import write_slide

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def documented(step: str) -> str:
    """The shell commands that the document gives for a step."""
    (block,) = re.findall(rf"<!-- test: {step} -->\n```sh\n(.*?)```", OPERATIONS, re.S)
    return str(block)


class Administrator:
    """Runs the document's commands as somebody with these variables set would."""

    def __init__(self, place: Deployment, database: str, pg_url: str, backup: Path) -> None:
        self._database = database
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "WSI_DATA_DIR": str(place.folder),
            "BACKUP": str(backup),
            "PG": pg_url,
        }

    def backup(self) -> None:
        self._run(f"backup {self._database}", "backup files")

    def restore(self) -> None:
        self._run("restore files", f"restore {self._database}")

    def _run(self, *steps: str) -> None:
        for step in steps:
            subprocess.run(
                ["sh", "-euc", documented(step)], env=self._environment, check=True, timeout=60
            )


@contextmanager
def own_database() -> Iterator[str]:
    """A PostgreSQL database of its own; gives its plain URL."""
    need_service("PostgreSQL", POSTGRES)
    if shutil.which("pg_dump") is None:
        pytest.skip("there is no pg_dump here")
    name = f"wsi_{uuid.uuid4().hex}"
    with admin_connection() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        url = sa.make_url(POSTGRES).set(drivername="postgresql", database=name)
        yield url.render_as_string(hide_password=False)
    finally:
        with admin_connection() as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@contextmanager
def admin_connection() -> Iterator[sa.Connection]:
    """Outside any transaction, as databases are made and dropped."""
    engine = sa.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def everything(client: httpx.Client) -> Mapping[str, Any]:
    """All that users would miss: slides, results, pictures, reviews."""
    slides = client.get("slides").json()["items"]
    for slide in slides:
        # Jobs of the other pipeline are in the middle of their way.
        slide["results"] = [brief for brief in slide["results"] if brief["pipeline"] == "patch"]
    found: dict[str, Any] = {"slides": slides}
    for slide in slides:
        slide_id = slide["id"]
        found[f"review {slide_id}"] = client.get(f"slides/{slide_id}/review").json()
        tile = client.get(f"slides/{slide_id}/slide_files/9/0_0.jpeg").content
        found[f"tile {slide_id}"] = hashlib.sha256(tile).hexdigest()
        for result in slide["results"]:
            base = f"jobs/{result['job_id']}"
            found[f"result {base}"] = client.get(f"{base}/result").json()
            heatmap = client.get(f"{base}/heatmaps/probability/cancer.png")
            assert heatmap.status_code == 200
            found[f"heatmap {base}"] = hashlib.sha256(heatmap.content).hexdigest()
    return found


def files_by_digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every stored slide file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def destroy(place: Deployment, pg_url: str) -> None:
    """Lose the machine: every process, all data, the database."""
    for process in place.processes:
        kill_9(*pool_pids(process), process.pid)
        process.wait()
    for part in place.folder.iterdir():
        if part.name not in ("models",) and part.suffix != ".log":
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    if pg_url:
        name = sa.make_url(pg_url).database
        with admin_connection() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
            connection.execute(sa.text(f"CREATE DATABASE {name}"))


def check_backup(tmp_path: Path, database: str, pg_url: str) -> None:
    (tmp_path / "backup").mkdir()
    more = {"WSI_DATABASE_URL": pg_url.replace("://", "+psycopg://", 1)} if pg_url else {}
    with deployment(tmp_path / "d", WSI_LEASE_S="3", **more) as place:
        add_toy(place)
        add_toy(place, "slow", pipeline="whole-slide", steps=50)
        _, client = place.start_api()
        place.start("workers")
        slides = [upload(client, write_slide(tmp_path / f"{n}.tif", seed=n)) for n in range(3)]
        for slide in slides:
            wait_status(client, submit(client, slide["id"]), "SUCCEEDED")
        review = {"reviewer": "A. Reader", "comment": "look again"}
        saved = client.put(
            f"slides/{slides[0]['id']}/review", json=review, headers={"If-Match": '"0"'}
        )
        assert saved.status_code in (200, 201), saved.text
        before = everything(client)
        digests = files_by_digest(place.folder / "slides")
        running, waiting = (submit(client, slides[0]["id"], "whole-slide") for _ in range(2))
        wait_status(client, running, "RUNNING")

        administrator = Administrator(place, database, pg_url, tmp_path / "backup")
        administrator.backup()
        # What comes after the backup is lost with the machine, and must not confuse the rest.
        upload(client, write_slide(tmp_path / "late.tif", seed=9))
        destroy(place, pg_url)
        administrator.restore()

        _, client = place.start_api()
        assert everything(client) == before
        assert files_by_digest(place.folder / "slides") == digests
        place.start("workers")
        for job_id in (running, waiting):
            assert wait_status(client, job_id, "SUCCEEDED", "FAILED")["status"] == "SUCCEEDED"


def test_everything_on_sqlite_comes_back(tmp_path: Path) -> None:
    check_backup(tmp_path, "sqlite", "")


@pytest.mark.services
def test_everything_on_postgresql_comes_back(tmp_path: Path) -> None:
    with own_database() as pg_url:
        check_backup(tmp_path, "postgresql", pg_url)
