"""Keys, roles, sessions, the audit log, and what every answer carries."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import DBAPIError

from service.app import PREFIX, create_app
from service.auth.access import Viewer, roles_of
from service.auth.roles import Role
from service.context import Context
from service.middleware import SECURITY_HEADERS
from service.settings import Settings
from service.tables import audit
from tests.integration.services import postgres_url
from tests.support.apps import app_for
from tests.unit.service.conftest import upload
from tests.unit.service.endpoint_roles import ENDPOINT_ROLES
from wsi.errors import ConfigError

ROLES = [Role.VIEWER, Role.PATHOLOGIST, Role.OPERATOR, Role.ADMIN]


@pytest.fixture
def guarded(settings: Settings) -> Iterator[TestClient]:
    """A service that asks for keys."""
    app = app_for(settings.model_copy(update={"auth": "on"}))
    with TestClient(
        app, base_url="http://localhost/api/v1/", raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def keys(guarded: TestClient) -> dict[Role, str]:
    """A key for each role."""
    repository = context_of(guarded).keys
    return {role: repository.make(role.name, role)[1] for role in ROLES}


def context_of(client: TestClient) -> Context:
    found = client.app.state.context  # type: ignore[attr-defined]
    assert isinstance(found, Context)
    return found


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_every_endpoint_asks_for_the_role_that_is_written_down(settings: Settings) -> None:
    assert roles_of(app_for(settings).routes, PREFIX) == ENDPOINT_ROLES


def test_an_endpoint_that_does_not_say_who_may_call_it_is_refused_at_start() -> None:
    app = FastAPI()

    @app.get(f"{PREFIX}/open")
    def said(caller: Viewer) -> None: ...

    assert roles_of(app.routes, PREFIX) == {("GET", "/open"): Role.VIEWER}

    @app.get(f"{PREFIX}/forgotten")
    def forgotten() -> None: ...

    with pytest.raises(TypeError, match=r"/forgotten.*who may call it"):
        roles_of(app.routes, PREFIX)


@pytest.mark.parametrize(("method", "path"), sorted(ENDPOINT_ROLES))
def test_every_endpoint_admits_whom_its_rule_names_and_nobody_else(
    guarded: TestClient, keys: dict[Role, str], method: str, path: str
) -> None:
    needed = ENDPOINT_ROLES[method, path]
    url = re.sub(r"\{(level|column|row)\}", "0", path)
    url = url.replace("{kind}", "probability")
    url = re.sub(r"\{\w+\}", "nothing", url).lstrip("/")
    anonymous = guarded.request(method, url).status_code
    # What is open answers for itself; an open session asks for a key in its body.
    assert anonymous != 401 if needed is Role.PUBLIC else anonymous == 401
    for role, secret in keys.items():
        status = guarded.request(method, url, headers=bearer(secret)).status_code
        assert (status == 403) == (role < needed), (role, status)
        assert status not in (401, 500)


def test_a_key_that_is_wrong_revoked_or_expired_opens_nothing(
    guarded: TestClient, keys: dict[Role, str]
) -> None:
    admin = bearer(keys[Role.ADMIN])
    made = guarded.post("keys", json={"name": "lab", "role": "viewer"}, headers=admin).json()
    assert guarded.get("slides", headers=bearer(made["secret"])).status_code == 200
    assert guarded.delete(f"keys/{made['id']}", headers=admin).status_code == 204
    for secret in (made["secret"], made["secret"][:-1], "wsk_", "x"):
        answer = guarded.get("slides", headers=bearer(secret))
        assert (answer.status_code, answer.json()["kind"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.delete(f"keys/{made['id']}", headers=admin).status_code == 404


def test_secrets_are_shown_once_and_stored_nowhere(
    guarded: TestClient, keys: dict[Role, str], settings: Settings
) -> None:
    listed = guarded.get("keys", headers=bearer(keys[Role.ADMIN])).text
    engine = context_of(guarded).engine
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    stored = b"".join(path.read_bytes() for path in settings.data_dir.glob("wholeslide.db*"))
    for secret in keys.values():
        assert secret not in listed
        assert secret.encode() not in stored


def test_the_first_start_prints_an_admin_key_once_and_never_logs_it(
    settings: Settings, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app_settings = settings.model_copy(update={"auth": "on"})
    with TestClient(app_for(app_settings), base_url="http://localhost/api/v1/") as client:
        found = re.search(r"wsk_\S+", capsys.readouterr().out)
        assert found is not None
        me = client.get("session", headers=bearer(found[0])).json()
        assert me == {
            "name": "first key",
            "role": "admin",
            "known_by": "key",
            "blind_first_read": False,
        }
    with TestClient(app_for(app_settings)):
        assert "wsk_" not in capsys.readouterr().out
    assert "wsk_" not in caplog.text


def test_a_session_cookie_stands_for_its_key_until_it_is_closed(
    guarded: TestClient, keys: dict[Role, str]
) -> None:
    secret = keys[Role.PATHOLOGIST]
    opened = guarded.post("session", json={"key": secret})
    assert (opened.json()["name"], opened.json()["role"]) == ("PATHOLOGIST", "pathologist")
    cookie = opened.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert secret not in cookie
    assert guarded.get("slides").status_code == 200
    assert guarded.post("slides").status_code == 403
    # A session is no key: it opens no further sessions.
    token = guarded.cookies["wsi_session"]
    assert guarded.post("session", json={"key": token}).status_code == 401
    assert guarded.delete("session").status_code == 204
    guarded.cookies.set("wsi_session", token)
    assert guarded.get("slides").status_code == 401
    assert guarded.post("session", json={"key": "wsk_wrong"}).status_code == 401


def test_a_revoked_key_takes_its_sessions_with_it(
    guarded: TestClient, keys: dict[Role, str]
) -> None:
    admin = bearer(keys[Role.ADMIN])
    made = guarded.post("keys", json={"name": "lab", "role": "viewer"}, headers=admin).json()
    guarded.post("session", json={"key": made["secret"]})
    assert guarded.get("slides").status_code == 200
    assert guarded.delete(f"keys/{made['id']}", headers=admin).status_code == 204
    assert guarded.get("slides").status_code == 401
    # Sessions of other keys go on.
    guarded.post("session", json={"key": keys[Role.VIEWER]})
    assert guarded.get("slides").status_code == 200


def test_the_signer_is_the_key_whatever_name_was_sent(
    guarded: TestClient, keys: dict[Role, str], slide_file: Path
) -> None:
    guarded.headers.update(bearer(keys[Role.ADMIN]))
    slide = upload(guarded, slide_file)["id"]
    guarded.headers.update(bearer(keys[Role.PATHOLOGIST]))
    wish = {"status": "signed", "reviewer": "Somebody Else", "diagnosis": "benign"}
    saved = guarded.put(f"slides/{slide}/review", json=wish, headers={"If-Match": "0"})
    assert saved.status_code == 200, saved.text
    shown = guarded.get(f"slides/{slide}/review").json()
    assert (shown["reviewer"], shown["saved_by"]) == ("PATHOLOGIST", "PATHOLOGIST")
    forged = {**wish, "saved_by": "Somebody Else", "reason": "x"}
    answer = guarded.put(f"slides/{slide}/review", json=forged, headers={"If-Match": "1"})
    assert answer.status_code == 422


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    # An opaque origin: a sandboxed frame, or a page that hides where it is.
    {"Origin": "null"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "none"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_site_cannot_use_the_session_of_a_browser(
    guarded: TestClient, keys: dict[Role, str], headers: dict[str, str]
) -> None:
    guarded.post("session", json={"key": keys[Role.ADMIN]})
    wish = {"name": "x", "role": "admin"}
    assert guarded.post("keys", json=wish, headers=headers).status_code == 403
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert guarded.post("keys", json=wish, headers=own).status_code == 201


@pytest.mark.parametrize("headers", [*FOREIGN, {"Host": "rebound.example"}])
def test_without_keys_another_site_can_do_nothing_either(
    client: TestClient, headers: dict[str, str]
) -> None:
    answer = client.post("jobs/nothing/cancel", headers=headers)
    assert (answer.status_code, answer.json()["kind"]) == (403, "forbidden")
    assert client.post("jobs/nothing/cancel").status_code == 404


def test_a_name_that_was_made_to_point_at_loopback_reads_nothing(client: TestClient) -> None:
    assert client.get("slides", headers={"Host": "rebound.example"}).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "hospital.example"])
def test_a_service_open_to_others_without_keys_does_not_start(
    settings: Settings, host: str
) -> None:
    with pytest.raises(ConfigError, match="WSI_AUTH=on"):
        create_app(settings.model_copy(update={"host": host}))
    create_app(settings.model_copy(update={"host": host, "auth": "on"}))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_keys_may_be_off(settings: Settings, host: str) -> None:
    create_app(settings.model_copy(update={"host": host}))


def test_the_audit_log_says_who_changed_saw_and_was_refused(
    guarded: TestClient, keys: dict[Role, str], slide_file: Path
) -> None:
    operator, viewer = bearer(keys[Role.OPERATOR]), bearer(keys[Role.VIEWER])
    with slide_file.open("rb") as file:
        files = {"file": ("s.tif", file)}
        slide = guarded.post("slides", files=files, headers=operator).json()["id"]
    guarded.get(f"slides/{slide}/slide.dzi", headers=viewer)
    guarded.get(f"slides/{slide}/slide_files/10/0_0.jpeg", headers=viewer)
    guarded.post("jobs", json={"slide_id": slide, "pipeline": "patch"}, headers=viewer)
    guarded.get("jobs/nothing/result", headers=viewer)
    guarded.get("slides", headers=viewer)
    entries = guarded.get("audit", headers=bearer(keys[Role.ADMIN])).json()
    seen = [(entry["who"], entry["action"], entry["status"]) for entry in entries]
    assert seen == [
        ("VIEWER", "GET /jobs/{job_id}/result", 404),
        ("VIEWER", "POST /jobs", 403),
        ("VIEWER", "GET /slides/{slide_id}/slide.dzi", 200),
        ("OPERATOR", "POST /slides", 201),
    ]
    assert entries[2]["target"] == f"slide_id={slide}"


def test_nobody_can_change_the_audit_log(client: TestClient, context: Context) -> None:
    client.post("jobs/nothing/cancel")
    assert_append_only(context.engine)


@pytest.mark.services
def test_nobody_can_change_the_audit_log_on_postgresql(settings: Settings) -> None:
    with postgres_url() as url:
        app = app_for(settings.model_copy(update={"database_url": url}))
        with TestClient(app, base_url="http://localhost/api/v1/") as client:
            client.post("jobs/nothing/cancel")
            assert_append_only(context_of(client).engine)


def assert_append_only(engine: sa.Engine) -> None:
    for change in (sa.update(audit).values(who="x"), sa.delete(audit)):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(change)
    with engine.connect() as connection:
        assert len(connection.execute(sa.select(audit)).all()) == 1


@pytest.mark.parametrize("path", ["health", "slides", "nothing", "slides/nothing/slide.dzi"])
def test_every_answer_carries_the_security_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert set(SECURITY_HEADERS.items()) <= {
        (name, answer.headers.get(name)) for name in SECURITY_HEADERS
    }


def test_a_request_id_is_kept_or_made_and_written_to_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "service.requests")
    assert (
        client.get("health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    )
    (record,) = caplog.records
    assert record.getMessage().startswith("GET /api/v1/health 200")
    assert record.request_id == "abc-1"  # type: ignore[attr-defined]
    forged = client.get("health", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", forged)


def test_a_long_body_where_no_slide_is_expected_is_refused(
    settings: Settings, slide_file: Path
) -> None:
    app = create_app(settings.model_copy(update={"max_body_bytes": 1000}))
    with TestClient(app, base_url="http://localhost/api/v1/") as client:
        long = b'{"slide_id": "' + b"x" * 2000 + b'"}'
        json_type = {"Content-Type": "application/json"}
        declared = client.post("jobs", content=long, headers=json_type)
        chunked = client.post("jobs", content=iter([long[:900], long[900:]]), headers=json_type)
        for answer in (declared, chunked):
            assert (answer.status_code, answer.json()["kind"]) == (413, "too_large")
        short: Any = iter([b'{"slide_id": "nothing", ', b'"pipeline": "patch"}'])
        assert client.post("jobs", content=short, headers=json_type).status_code == 404
        # Slides are counted elsewhere.
        upload(client, slide_file)


def test_a_browser_signs_in_with_a_form(guarded: TestClient, keys: dict[Role, str]) -> None:
    root = "http://localhost"
    first = guarded.get(f"{root}/", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/login")
    assert "<form" in guarded.get(f"{root}/login").text
    wrong = guarded.post(f"{root}/login", data={"key": "<script>"})
    assert wrong.status_code == 401
    assert "This key is not valid" in wrong.text
    forged = guarded.post(
        f"{root}/login", data={"key": keys[Role.VIEWER]}, headers={"Origin": "https://evil"}
    )
    assert forged.status_code == 403
    done = guarded.post(f"{root}/login", data={"key": keys[Role.VIEWER]}, follow_redirects=False)
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert guarded.get("slides").status_code == 200
    assert guarded.get(f"{root}/", follow_redirects=False).status_code != 303


def test_a_form_whose_origin_the_browser_hides_is_ours_by_the_browsers_word(
    guarded: TestClient, keys: dict[Role, str]
) -> None:
    headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    form = {"key": keys[Role.VIEWER]}
    done = guarded.post(
        "http://localhost/login", data=form, headers=headers, follow_redirects=False
    )
    assert (done.status_code, done.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    ("form", "headers", "status", "text"),
    [
        ({"key": "wsk_wrong"}, {}, 401, "This key is not valid"),
        ({"key": "x" * 3000}, {}, 401, "This key is not valid"),
        ({"key": ""}, {}, 401, "This key is not valid"),
        ({}, {}, 401, "This key is not valid"),
        ({"key": "k"}, {"Origin": "https://evil"}, 403, "Sign-in failed"),
    ],
)
def test_a_sign_in_that_fails_says_so_on_the_form(
    guarded: TestClient, form: dict[str, str], headers: dict[str, str], status: int, text: str
) -> None:
    answer = guarded.post("http://localhost/login", data=form, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert f'<p id="problem" role="alert">{text}' in answer.text
    assert '<form method="post" action="/login">' in answer.text


def test_without_keys_there_is_no_form(client: TestClient) -> None:
    assert client.get("http://localhost/login").status_code == 404
