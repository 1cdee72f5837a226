"""Signing in and out of the real service, with keys on: only a browser sends what browsers send."""

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn
from playwright.sync_api import Browser, expect

from service.app import create_app
from service.auth.roles import Role
from service.context import Context
from service.settings import Settings
from service.tables import api_keys
from tests.browser.conftest import Tab, open_tab
from tests.integration.toy_pipeline import write_bundle
from tests.unit.service.conftest import work_off, write_slide
from wsi.jobs.database import writing

pytestmark = pytest.mark.browser


class Service:
    """The service with keys on, in this process."""

    def __init__(self, url: str, context: Context) -> None:
        self.url = url
        self.context = context

    def key(self, name: str, role: Role = Role.PATHOLOGIST) -> str:
        return self.context.keys.make(name, role)[1]

    def expire_sessions(self) -> None:
        """As twelve hours later."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        with writing(self.context.engine) as connection:
            is_session = api_keys.c.expires_at.is_not(None)
            connection.execute(sa.update(api_keys).where(is_session).values(expires_at=past))


@pytest.fixture
def service(dist: Path, tmp_path: Path) -> Iterator[Service]:
    data = tmp_path / "data"
    write_bundle(data / "models")
    app: Any = create_app(
        Settings(
            data_dir=data, auth="on", slide_roots=(tmp_path / "share",), reconcile_interval_s=60
        )
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [probe]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            thread.join(0.02)
        yield Service(f"http://127.0.0.1:{port}", app.state.context)
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def gate(chromium: Browser, service: Service) -> Iterator[Tab]:
    with open_tab(chromium, service.url) as tab:
        # The browser itself reports each 401.
        tab.expects_errors = True
        yield tab


def sign_in(tab: Tab, key: str) -> None:
    tab.page.get_by_label("Access key").fill(key)
    tab.page.get_by_role("button", name="Sign in").click()


def test_the_right_key_opens_the_worklist_and_sign_out_closes_it(
    gate: Tab, service: Service
) -> None:
    gate.open("")
    expect(gate.page).to_have_url(f"{service.url}/login")
    sign_in(gate, service.key("Dr. Anna"))
    expect(gate.page.get_by_role("heading", name="Worklist", exact=True)).to_be_visible()
    expect(gate.page.get_by_text("Signed in as Dr. Anna")).to_be_visible()
    gate.picture("signed-in")
    gate.page.get_by_role("button", name="Sign out").click()
    expect(gate.page).to_have_url(f"{service.url}/login")
    gate.open("")
    expect(gate.page).to_have_url(f"{service.url}/login")
    assert gate.page.request.get(f"{service.url}/api/v1/slides").status == 401


def test_a_wrong_key_is_told_on_the_form_and_the_right_one_still_opens(
    gate: Tab, service: Service
) -> None:
    gate.open("login")
    sign_in(gate, "wsk_wrong")
    expect(gate.page.get_by_role("alert")).to_have_text(
        "This key is not valid. Check it and try again."
    )
    gate.picture("wrong-key")
    sign_in(gate, service.key("Dr. Anna"))
    expect(gate.page.get_by_role("heading", name="Worklist", exact=True)).to_be_visible()


def test_a_foreign_page_cannot_sign_a_browser_in(gate: Tab, service: Service) -> None:
    # A sandboxed frame has an opaque origin: its form says "null", as ours did.
    key = service.key("Mallory")
    gate.page.set_content(
        f"<form method=post action='{service.url}/login'><input name=key value={key}>"
        "<button>Go</button></form>"
    )
    gate.page.get_by_role("button", name="Go").click()
    expect(gate.page.get_by_role("alert")).to_contain_text("Sign-in failed")
    assert gate.page.request.get(f"{service.url}/api/v1/slides").status == 401


def open_scored(gate: Tab, service: Service, folder: Path, key: str) -> str:
    context = service.context
    (folder / "share").mkdir()
    file = write_slide(folder / "share" / "case.tif")
    slide, _ = context.intake.register(str(file), None)
    gate.open("login")
    sign_in(gate, key)
    expect(gate.page.get_by_text("case.tif")).to_be_visible()
    made = gate.page.request.post(
        f"{service.url}/api/v1/jobs", data={"slide_id": slide.id, "pipeline": "patch"}
    )
    assert made.status == 202
    work_off(context)
    gate.open(f"#/slides/{slide.id}")
    expect(gate.page.locator(".viewer-page:not(.loading) .bars")).to_be_visible()
    return slide.id


def test_after_the_session_has_ended_the_same_reader_goes_on_where_they_were(
    gate: Tab, service: Service, tmp_path: Path
) -> None:
    key = service.key("Dr. Anna")
    slide_id = open_scored(gate, service, tmp_path, key)
    service.expire_sessions()
    gate.page.get_by_role("group", name="Diagnosis").get_by_role("button", name="cancer").click()
    dialog = gate.page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_contain_text("Your session has ended")
    gate.picture("session-ended")
    dialog.get_by_label("Access key").fill("wsk_wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not valid")
    assert service.context.reviews.latest(slide_id).version == 0
    dialog.get_by_label("Access key").fill(key)
    dialog.get_by_role("button", name="Sign in").click()
    expect(gate.page.locator(".save-state")).to_have_text("Saved")
    review = service.context.reviews.latest(slide_id)
    assert (review.diagnosis, review.reviewer) == ("cancer", "Dr. Anna")


def test_what_one_reader_did_not_save_is_not_sent_by_the_next(
    gate: Tab, service: Service, tmp_path: Path
) -> None:
    slide_id = open_scored(gate, service, tmp_path, service.key("Dr. Anna"))
    service.expire_sessions()
    gate.page.get_by_role("group", name="Diagnosis").get_by_role("button", name="cancer").click()
    dialog = gate.page.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("Access key").fill(service.key("Dr. Ben"))
    with gate.page.expect_navigation():
        dialog.get_by_role("button", name="Sign in").click()
    expect(gate.page.locator(".viewer-page:not(.loading) .bars")).to_be_visible()
    gate.page.wait_for_load_state("networkidle")
    assert service.context.reviews.latest(slide_id).diagnosis is None
