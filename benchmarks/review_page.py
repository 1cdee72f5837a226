"""The review page as a pathologist uses it: ten slides by keyboard alone, and how fast it answers.

Starts the demonstration's service, scores ten slides (real ones from WSI_TEST_DATA where they are,
synthetic ones besides), and drives headless Chromium, which draws in software: a real display with
a GPU is faster. The times of the keyboard session are the page's; no script thinks or looks.

    python -m benchmarks.review_page [--dir demo] [--pictures artifacts/review_page]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page

from benchmarks.browser import DESKTOP, chromium, frames
from benchmarks.common import write_result
from benchmarks.review_page_rows import many_rows
from wsi.cli.client import ServiceClient

SLIDES = 10
REAL = (
    ("wsi/CMU-1-Small-Region.svs", None),
    ("wsi/TCGA-CR-7395-01A-01-TS1.svs", 0.5),
    ("idc_slides/idc_14082.tif", 4.0),
    ("idc_slides/idc_8865.tif", 4.0),
)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SIZES = ((1280, 800), (1024, 768), (768, 1024), (1920, 1080))
# A tile drawn white is opaque; a canvas without tiles is not.
PAINTED = """(selector) => new Promise((done) => { const began = performance.now();
const look = () => {
  if (performance.now() - began > 15000) return done(null);
  const canvas = document.querySelector(selector);
  if (canvas && canvas.width > 1) {
    const small = new OffscreenCanvas(64, 64).getContext('2d');
    small.drawImage(canvas, 0, 0, 64, 64);
    const data = small.getImageData(0, 0, 64, 64).data;
    for (let i = 3; i < data.length; i += 4) if (data[i]) return done(performance.now());
  }
  requestAnimationFrame(look); }; look(); })"""


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """The demonstration, running; its address."""
    command = [sys.executable, "-m", "wsi", "demo", "--dir", str(folder), "--port", "8123"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="")
            if line.startswith("Review page:"):
                yield line.split()[2].rstrip("/")
                break
        else:
            raise SystemExit("the demonstration did not start")
    finally:
        running.terminate()
        running.wait()


def score_slides(client: ServiceClient, folder: Path) -> list[dict[str, Any]]:
    """Ten slides, scored by both pipelines."""
    data = Path(os.environ.get("WSI_TEST_DATA", "../shared/data"))
    chosen = [(data / name, mpp) for name, mpp in REAL if (data / name).is_file()]
    drawn = sorted((folder / "slides").glob("*.tif"), reverse=True)
    chosen += [(path, None) for path in drawn[: SLIDES - len(chosen)]]
    slides = [client.upload(path, mpp) for path, mpp in chosen]
    jobs = [
        client.start(slide["id"], pipeline)["id"]
        for slide in slides
        for pipeline in ("patch", "whole-slide")
    ]
    for job in jobs:
        client.wait(job)
    return slides


def opening(page: Page, url: str, slides: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Seconds from the click on a row to the first tile and to the first heatmap."""
    page.add_init_script(
        "localStorage.setItem('wholeslide.settings', JSON.stringify({overlayAtOpen: true,"
        " threshold: 0}))"
    )
    tiles, heatmaps = [], []
    for slide in slides:
        page.goto(f"{url}/#/")
        link = page.locator(f"[data-id='{slide['id']}'] .name-text a")
        link.wait_for()
        clicked = link.evaluate("(a) => { const t = performance.now(); a.click(); return t; }")
        # The first canvas is the slide's, the second lies over it.
        tile = page.evaluate(PAINTED, ".osd canvas:not(.heat-canvas)")
        heatmap = page.evaluate(PAINTED, ".osd .heat-canvas")
        tiles.append((tile - clicked) / 1000)
        if heatmap is not None:  # A slide without tissue has none.
            heatmaps.append((heatmap - clicked) / 1000)
    return {"first_tile_s": tiles, "first_heatmap_s": heatmaps}


def smoothness(page: Page) -> dict[str, Any]:
    """Panning with the heatmap on, dragging the threshold."""
    box = page.locator(".pane").bounding_box()
    slider = page.get_by_label("Threshold").bounding_box()
    assert box is not None
    assert slider is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def pan() -> None:
        page.keyboard.press("2")
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(120):
            page.mouse.move(x + 150 * ((step // 30) % 2 * 2 - 1) * (step % 30) / 30, y + step / 2)
        page.mouse.up()

    def drag() -> None:
        at = slider["y"] + slider["height"] / 2
        page.mouse.move(slider["x"] + 4, at)
        page.mouse.down()
        for step in range(120):
            page.mouse.move(slider["x"] + 4 + (slider["width"] - 8) * step / 120, at)
        page.mouse.up()

    return {"panning": frames(page, pan), "threshold": frames(page, drag)}


class Keys:
    """A keyboard that counts."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.count = 0
        self.letters = 0

    def press(self, *keys: str) -> None:
        """Single keys."""
        for key in keys:
            self._page.keyboard.press(key)
            self.count += 1

    def write(self, text: str) -> None:
        """Prose, counted apart."""
        self._page.keyboard.type(text)
        self.letters += len(text)


def read_all(page: Page, url: str, number: int) -> list[dict[str, float]]:
    """Work the list from its first row to its last signature, by keyboard alone."""
    page.goto(f"{url}/#/")
    page.locator(".slide-row").first.wait_for()
    keys = Keys(page)
    keys.press("ArrowDown", "Enter")
    rows = []
    for at in range(number):
        started, before, letters = time.perf_counter(), keys.count, keys.letters
        page.locator(".steps", has_text=f"{at + 1} of ").wait_for()
        page.locator(".viewer-page:not(.loading)").wait_for()
        spots = page.locator(".hotspot").count()
        for _ in range(spots):
            keys.press("n", "y")
        sign(page, keys)
        signed = time.perf_counter()
        keys.press("Enter")  # The focus is on the way to the next slide.
        rows.append(
            {
                "hotspots": spots,
                "keys": keys.count - before,
                "letters": keys.letters - letters,
                "page_s": signed - started,
            }
        )
    return rows


def sign(page: Page, keys: Keys) -> None:
    """e, a digit, what else is asked for, Enter. The reader agrees with the higher score."""
    scores = page.locator(".bar.suspect dd").all_inner_texts()
    cancer = any(float(text.strip("<>% ").split()[0]) >= 50 for text in scores)
    keys.press("e", "2" if cancer else "1")
    dialog = page.get_by_role("dialog")
    if dialog.get_by_label("Reviewer").input_value() == "":
        keys.write("A. Reader")
    if dialog.get_by_label("Reason").is_visible():
        if not dialog.get_by_label("Reason").evaluate("(e) => e === document.activeElement"):
            keys.press("Tab")
        keys.write("Seen otherwise at high power.")
        keys.press("Control+Enter")
    else:
        keys.press("Enter")
    page.locator(".signed:not([hidden])").wait_for()


def pictures(browser: Browser, url: str, slide_id: str, folder: Path) -> None:
    """Worklist, viewer and report at four sizes, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in SIZES:
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            page = context.new_page()
            for name, place in (("list", ""), ("slide", f"slides/{slide_id}")):
                page.goto(f"{url}/#/{place}")
                page.wait_for_load_state("networkidle")
                if name == "slide":
                    for key in ("o", "q", "n"):
                        page.keyboard.press(key)
                page.wait_for_timeout(800)
                page.screenshot(path=folder / f"{name}-{width}-{scheme}.png")
            context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("demo"))
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    with service(arguments.dir) as url, ServiceClient(url) as client, chromium() as browser:
        slides = score_slides(client, arguments.dir)
        page = browser.new_context(viewport=DESKTOP).new_page()
        times = opening(page, url, slides)
        moves = smoothness(page)
        if arguments.pictures:
            pictures(browser, url, slides[-1]["id"], arguments.pictures)
        reader = browser.new_context(viewport=DESKTOP, reduced_motion="reduce").new_page()
        read = read_all(reader, url, len(slides))
        rows = many_rows(browser, url)
    report(times, moves, read, rows)


def report(
    times: dict[str, list[float]],
    moves: dict[str, Any],
    read: list[dict[str, float]],
    rows: dict[str, Any],
) -> None:
    """The figure."""
    tile, heat = (statistics.median(times[name]) for name in ("first_tile_s", "first_heatmap_s"))
    keys = statistics.median(row["keys"] for row in read)
    spots = [row["hotspots"] for row in read]
    seconds = statistics.median(row["page_s"] for row in read)
    write_result(
        "review_page",
        f"Review page, headless Chromium drawing in software on two shared cores: click to first "
        f"tile {tile:.2f} s (worst {max(times['first_tile_s']):.2f}), to first heatmap "
        f"{heat:.2f} s; {moves['panning']['frames_per_s']:.0f} frames a second while panning with "
        f"the heatmap on, {moves['threshold']['frames_per_s']:.0f} while dragging the threshold; "
        f"{len(read)} slides from worklist to signature by keyboard alone: {keys:.0f} keys a slide "
        f"(median; 4, and 2 for each of {min(spots):.0f} to {max(spots):.0f} hotspots), "
        f"{seconds:.1f} s of the page's time; "
        f"5,000 rows: {rows['scroll']['frames_per_s']:.0f} frames a second while scrolling, "
        f"{rows['search_ms']:.0f} ms from a letter in the search to the list.",
        {**times, **moves, "slides": read, "rows_5000": rows},
    )


if __name__ == "__main__":
    main()
