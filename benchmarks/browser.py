"""Driving the review page in a browser, for benchmarks."""

import itertools
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

DESKTOP: ViewportSize = {"width": 1280, "height": 800}

_START = """() => { const at = window.frameTimes = []; const step = (t) => { at.push(t);
  if (window.frameTimes === at) requestAnimationFrame(step); }; requestAnimationFrame(step); }"""
_STOP = "() => { const times = window.frameTimes; window.frameTimes = null; return times; }"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium, which draws in software; WSI_CHROMIUM names another executable."""
    with sync_playwright() as playwright:
        executable = os.environ.get("WSI_CHROMIUM", "/usr/bin/chromium")
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        yield browser
        browser.close()


def frames(page: Page, act: Callable[[], None]) -> dict[str, float]:
    """Frames a second while something is done, and the time of the slow ones (ms)."""
    page.evaluate(_START)
    act()
    times = page.evaluate(_STOP)
    deltas = sorted(after - before for before, after in itertools.pairwise(times))
    return {
        "frames_per_s": 1000 / statistics.mean(deltas),
        "frame_ms_95": deltas[int(0.95 * len(deltas))],
        "frame_ms_worst": deltas[-1],
    }
