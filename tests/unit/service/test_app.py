"""The application as a whole: what it imports, its errors, its database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from service import errors as service_errors
from service.app import create_app
from service.database import migrate
from service.errors import (
    ChecksumError,
    NotFinishedError,
    NotFoundError,
    TooManyRequestsError,
    UnauthorizedError,
)
from service.settings import Settings
from service.tables import metadata
from tests.integration.services import postgres_url
from wsi import errors
from wsi.jobs import create_engine


def test_the_service_does_not_load_torch() -> None:
    code = "import sys, service.app, service.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_health_and_readiness_are_told_apart(client: TestClient) -> None:
    assert client.get("health").json() == {"status": "ok"}
    assert client.get("ready").status_code == 200


def test_a_service_whose_database_is_away_lives_but_is_not_ready(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("host db.internal is down"))

    monkeypatch.setattr(sa.Connection, "execute", away)
    assert client.get("health").status_code == 200
    assert client.get("ready").status_code == 503
    answer = client.get("slides")
    assert (answer.status_code, answer.json()["kind"]) == (503, "unavailable")
    assert answer.headers["retry-after"]
    assert "secret" not in answer.text
    assert "db.internal" not in answer.text


def test_an_unknown_address_is_a_problem_document(client: TestClient) -> None:
    answer = client.get("nothing")
    assert (answer.status_code, answer.json()["kind"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"
    wrong = client.delete("health")
    assert (wrong.status_code, wrong.json()["kind"]) == (405, "method_not_allowed")


def test_a_bug_is_answered_without_its_secrets(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the password is hunter2")

    monkeypatch.setattr("service.models.catalog.ModelCatalog.cards", bug)
    answer = client.get("models")
    assert (answer.status_code, answer.json()["kind"]) == (500, "internal")
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "kind", "headers"),
    [
        (NotFoundError("no slide x"), 404, "not_found", {}),
        (ChecksumError("other bytes"), 460, "checksum", {}),
        (UnauthorizedError("send a key"), 401, "unauthorized", {"www-authenticate": "Bearer"}),
        (TooManyRequestsError("wait", 7), 429, "too_many_requests", {"retry-after": "7"}),
        (NotFinishedError("it waits", "job_queued"), 409, "job_queued", {}),
        (errors.DamagedSlideError("a.svs", "cut off"), 422, "damaged", {}),
        (errors.IllegalMoveError("it has ended"), 409, "job", {}),
        (errors.StoreFullError("no room"), 500, "store", {}),
        (errors.TrainingError("its loss is NaN"), 422, "error", {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_is_answered_with_the_status_kind_and_headers_of_its_nearest_class(
    error: errors.WsiError, status: int, kind: str, headers: dict[str, str]
) -> None:
    app = FastAPI()
    service_errors.install_error_handlers(app)

    @app.get("/")
    def fail() -> None:
        raise error

    answer = TestClient(app).get("/")
    assert answer.status_code == answer.json()["status"] == status
    assert (answer.json()["kind"], service_errors.kind_of(error)) == (kind, kind)
    assert answer.json()["type"] == f"urn:wholeslide:problem:{kind}"
    assert answer.json()["title"]
    assert answer.json()["detail"] == str(error)
    assert answer.json().get("slide") == getattr(error, "slide", None)
    assert headers.items() <= dict(answer.headers).items()


def test_what_was_renamed_is_still_told_by_its_former_name() -> None:
    body = service_errors.problem(503, "slide_unavailable", "try again").body
    assert json.loads(bytes(body))["former_kind"] == "slide_away"
    with pytest.warns(DeprecationWarning, match="SlideUnavailableError"):
        assert errors.SlideAwayError is errors.SlideUnavailableError


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(engine)
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


@pytest.mark.services
def test_the_migrations_make_the_same_tables_on_postgresql() -> None:
    with postgres_url() as url:
        engine = create_engine(url)
        migrate(engine)
        migrate(engine)
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        engine.dispose()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSI_SLIDE_ROOTS", "/a:/b")
    monkeypatch.setenv("WSI_DATA_DIR", "/data")
    monkeypatch.setenv("WSI_PORT", "9000")
    settings = Settings()
    assert settings.slide_roots == (Path("/a"), Path("/b"))
    assert settings.models == Path("/data/models")
    assert settings.database == "sqlite:////data/wholeslide.db"
    assert settings.port == 9000


def test_a_database_of_another_kind_is_refused() -> None:
    for url in ("mysql://x/y", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(errors.ConfigError, match="database"):
            create_engine(url)


def test_the_openapi_document_names_every_endpoint(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    assert "/api/v1/slides" in paths
    assert "multipart/form-data" in str(paths["/api/v1/slides"]["post"]["requestBody"])


@pytest.mark.parametrize(
    ("name", "value"), [("WSI_HOST", "0.0.0.0"), ("WSI_PORT", "many"), ("WSI_AUTH", "perhaps")]
)
def test_a_setting_that_cannot_work_ends_the_service_with_a_reason(name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert name.removeprefix("WSI_").lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
