"""Chromium and the page's servers. Without Chromium the browser tests skip, in CI they fail."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.fake_routes import make_app
from tests.browser.fake_service import Fake

# A machine that does other things as well is slow; who waits for a condition waits no longer than
# it takes.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "service" / "web" / "dist"
# Screenshots, which continuous integration keeps.
ARTIFACTS = Path(os.environ.get("WSI_ARTIFACTS", ROOT / "artifacts")) / "browser"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def dist() -> Path:
    """The built page."""
    if not (DIST / "index.html").is_file():
        _give_up("the page is not built: npm ci && npm run build in service/web")
    return DIST


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests; WSI_CHROMIUM names another executable."""
    executable = Path(os.environ.get("WSI_CHROMIUM", "/usr/bin/chromium"))
    if not executable.is_file():
        _give_up(f"no Chromium at {executable}; set WSI_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Server:
    """A running service over a fake."""

    url: str
    fake: Fake


@pytest.fixture(scope="session")
def fake_server(dist: Path) -> Iterator[Server]:
    """The fake service on a free port of loopback."""
    fake = Fake()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        config = uvicorn.Config(
            make_app(fake, dist), log_level="warning", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [probe]}, daemon=True)
        thread.start()
        yield Server(f"http://127.0.0.1:{port}", fake)
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def fake(fake_server: Server) -> Fake:
    """The fake service's state, fresh for each test."""
    patience = time.monotonic() + 5
    # What the last test's page asked for must not end up in this test.
    while fake_server.fake.busy and time.monotonic() < patience:
        time.sleep(0.01)
    fake_server.fake.reset()
    return fake_server.fake


@dataclass
class Tab:
    """A page of the browser and what went wrong in it."""

    page: Page
    errors: list[str]
    base: str
    expects_errors: bool = False

    def open(self, place: str = "#/") -> None:
        """Go to a place of the review page."""
        self.page.goto(f"{self.base}/{place}")

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds on the side of the service."""
        patience = time.monotonic() + PATIENCE_MS / 1000
        while not holds():
            assert time.monotonic() < patience, "what was waited for did not come"
            self.page.wait_for_timeout(20)

    def picture(self, name: str) -> None:
        """Keep a screenshot as an artifact."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(700)  # Pictures load; what is asserted does not wait for this.
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")


def _on_console(message: ConsoleMessage, errors: list[str]) -> None:
    # Warnings too, but not the advice that reading a canvas back (as these tests do) is slow, nor
    # OpenSeadragon's remark on tiles that arrive after their view was closed.
    known = ("willReadFrequently", "loaded before reset")
    if message.type in ("error", "warning") and not any(text in message.text for text in known):
        errors.append(f"{message.text} ({message.location.get('url')})")


@contextmanager
def open_tab(chromium: Browser, base: str, **options: Any) -> Iterator[Tab]:
    """A tab at a service. Errors in its console fail the test unless it expects them."""
    looks = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
    context = chromium.new_context(**(looks | options))
    page = context.new_page()
    tab = Tab(page, [], base)
    page.on("console", lambda message: _on_console(message, tab.errors))
    page.on("pageerror", lambda error: tab.errors.append(str(error)))
    page.set_default_timeout(PATIENCE_MS)
    try:
        yield tab
    finally:
        context.close()
    if tab.errors and not tab.expects_errors:
        pytest.fail("the browser's console has errors:\n" + "\n".join(tab.errors), pytrace=False)


@pytest.fixture
def tab(
    chromium: Browser, fake_server: Server, fake: Fake, request: pytest.FixtureRequest
) -> Iterator[Tab]:
    """A tab at the fake service."""
    with open_tab(chromium, fake_server.url, **getattr(request, "param", {})) as tab:
        yield tab


@pytest.fixture
def console_errors(tab: Tab) -> None:
    """The browser itself reports refused requests; a test that provokes them expects that."""
    tab.expects_errors = True
