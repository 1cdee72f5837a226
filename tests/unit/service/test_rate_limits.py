"""How many requests a caller may make, alone and with several API processes."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient

from service.auth.limits import Limit, caller_at
from service.auth.roles import Role
from service.errors import TooManyRequestsError
from service.settings import Settings
from tests.integration.deployment import free_port
from tests.integration.services import REDIS, need_service
from tests.support.apps import app_for
from tests.unit.service.test_access import bearer, context_of


@contextmanager
def service(settings: Settings, **change: object) -> Iterator[TestClient]:
    app = app_for(settings.model_copy(update={"auth": "on", **change}))
    with TestClient(
        app, base_url="http://localhost/api/v1/", raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def limited(settings: Settings) -> Iterator[TestClient]:
    with service(settings, rate_limit="5/minute", sign_in_limit="3/minute") as client:
        yield client


def test_one_request_too_many_is_a_429_that_says_when_to_come_back(limited: TestClient) -> None:
    one, another = (context_of(limited).keys.make(name, Role.VIEWER)[1] for name in "ab")
    statuses = [limited.get("slides", headers=bearer(one)).status_code for _ in range(5)]
    assert statuses == [200] * 5
    answer = limited.get("slides", headers=bearer(one))
    assert (answer.status_code, answer.json()["kind"]) == (429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["content-type"] == "application/problem+json"
    # Each key has its own count.
    assert limited.get("slides", headers=bearer(another)).status_code == 200


def test_refused_keys_are_counted_by_address_and_harm_no_valid_one(limited: TestClient) -> None:
    _, key = context_of(limited).keys.make("a", Role.ADMIN)
    wrong = [limited.post("jobs", headers=bearer("wsk_wrong")).status_code for _ in range(6)]
    assert wrong == [401, 401, 401, 429, 429, 429]
    entries = limited.get("audit", headers=bearer(key))
    assert entries.status_code == 200
    # What is refused as one too many writes nothing: the log would grow as fast as one can send.
    assert [entry["status"] for entry in entries.json()] == [401, 401, 401]


def test_a_browser_whose_session_ended_always_hears_so_but_the_log_only_now_and_then(
    settings: Settings,
) -> None:
    with service(settings, sign_in_limit="3/minute") as client:
        _, key = context_of(client).keys.make("a", Role.ADMIN)
        client.cookies.set("wsi_session", "wsk_ended")
        assert {client.post("jobs").status_code for _ in range(8)} == {401}
        client.cookies.clear()
        assert [client.post("batches").status_code for _ in range(2)] == [401, 401]
        # All this takes no sign-in away from others at the address.
        assert client.post("session", json={"key": key}).status_code == 200
        entries = client.get("audit").json()
    seen = [(entry["action"], entry["status"]) for entry in entries]
    assert seen == [("POST /session", 200), *[("POST /jobs", 401)] * 3]


def test_sign_ins_that_are_one_too_many_are_not_written_down(limited: TestClient) -> None:
    for _ in range(4):
        limited.post("session", json={"key": "wsk_x"})
    _, key = context_of(limited).keys.make("a", Role.ADMIN)
    entries = limited.get("audit", headers=bearer(key)).json()
    assert [entry["status"] for entry in entries] == [401, 401, 401]


def test_sign_ins_are_limited_in_the_api_and_in_the_form(limited: TestClient) -> None:
    _, key = context_of(limited).keys.make("a", Role.VIEWER)
    tries = [limited.post("session", json={"key": "wsk_x"}).status_code for _ in range(3)]
    assert tries == [401, 401, 401]
    assert limited.post("session", json={"key": key}).status_code == 429
    form = limited.post("http://localhost/login", data={"key": key}, follow_redirects=False)
    assert form.status_code == 429
    wait_s = form.headers["retry-after"]
    assert f"Too many attempts to sign in. Try again in {wait_s} seconds." in form.text


def test_requests_without_a_key_are_counted_by_address(limited: TestClient) -> None:
    assert [limited.get("slides").status_code for _ in range(7)] == [401] * 5 + [429] * 2


def test_with_keys_off_nothing_is_limited(settings: Settings) -> None:
    with service(settings, auth="off", rate_limit="2/minute") as client:
        assert {client.get("slides").status_code for _ in range(10)} == {200}


def test_no_rate_is_no_limit() -> None:
    limit = Limit("test", "")
    for _ in range(1000):
        limit.consume("x")


def test_the_general_limit_leaves_room_for_tiles() -> None:
    limit = Limit("test", Settings().rate_limit)
    for _ in range(2000):
        limit.consume("a viewer that is dragged about")


def test_a_whole_ipv6_network_is_one_caller() -> None:
    assert caller_at("2001:db8::1") == caller_at("2001:db8::ffff:1") != caller_at("2001:db8:1::1")
    assert caller_at("10.0.0.1") != caller_at("10.0.0.2")
    assert caller_at("testclient") == "testclient"


@pytest.mark.services
def test_two_processes_with_one_redis_count_together() -> None:
    need_service("Redis", REDIS)
    name = f"test-{uuid.uuid4().hex}"
    here, there = (Limit(name, "3/minute", REDIS) for _ in range(2))
    here.consume("x")
    there.consume("x")
    here.consume("x")
    with pytest.raises(TooManyRequestsError):
        there.consume("x")
    there.consume("y")


def test_without_its_redis_a_process_counts_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    limit = Limit("test", "3/minute", f"redis://:secret@127.0.0.1:{free_port()}/0")
    for _ in range(3):
        limit.consume("x")
    with pytest.raises(TooManyRequestsError):
        limit.consume("x")
    # Asked once and then left in peace for a while; its password stays out of the log.
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize("field", ["rate_limit", "sign_in_limit"])
def test_a_rate_that_cannot_be_read_is_refused_at_the_start(field: str) -> None:
    with pytest.raises(ValueError, match="couldn't parse"):
        Settings(**{field: "many"})
