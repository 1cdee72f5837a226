"""Hotspots, heatmaps, suspicion and tiles: what is drawn is there, what is missing is said."""

import copy
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake
from tests.browser.test_viewer import SUM, open_slide, painted, settle

pytestmark = pytest.mark.browser

# Pixels of the current hotspot's colour, and where their bounding box lies, in shares of the view.
YELLOW = """(selector) => {
  return [...document.querySelectorAll(selector)].map((canvas) => {
    const { width, height } = canvas;
    const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
    let count = 0, left = 1, right = 0, top = 1, bottom = 0;
    for (let i = 0; i < width * height; i++) {
      if (data[i * 4] !== 255 || data[i * 4 + 1] !== 214 || data[i * 4 + 2] !== 10) continue;
      if (data[i * 4 + 3] < 200) continue;
      const x = (i % width) / width, y = Math.floor(i / width) / height;
      count++;
      left = Math.min(left, x); right = Math.max(right, x);
      top = Math.min(top, y); bottom = Math.max(bottom, y);
    }
    return { count, left, right, top, bottom };
  });
}"""


def panes(tab: Tab) -> None:
    """Mark the large canvases, so that navigators are left out."""
    tab.page.evaluate(
        """() => {
          document.querySelectorAll('.heat-canvas').forEach((canvas) => {
            canvas.classList.toggle('in-view', !canvas.closest('.navigator'));
          });
        }"""
    )


def outline(tab: Tab, view: int = 0) -> dict[str, Any]:
    """The current hotspot's outline in a view."""
    settle(tab)
    panes(tab)
    return dict(tab.page.evaluate(YELLOW, ".heat-canvas.in-view")[view])


def power(tab: Tab) -> float:
    """The magnification on the screen."""
    text = tab.page.locator(".power").first.inner_text()
    return float(text.removesuffix("×"))


def test_going_to_a_hotspot_marks_it_and_shows_it_whole_with_the_heatmap_off(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    assert painted(tab) == 0
    tab.page.keyboard.press("n")
    seen = outline(tab)
    assert seen["count"] > 200
    # All of it is in sight with room around it, and its middle is the middle of the view (the
    # number above it makes it a little taller).
    assert 0.1 < seen["left"] < seen["right"] < 0.9
    assert 0.05 < seen["top"] < seen["bottom"] < 0.95
    assert (seen["left"] + seen["right"]) / 2 == pytest.approx(0.5, abs=0.02)
    assert (seen["top"] + seen["bottom"]) / 2 == pytest.approx(0.5, abs=0.06)
    tab.picture("hotspot-without-heatmap")
    # The power is one of the usual ones, and a pixel of the file never fills more than 1.5.
    assert power(tab) in (2.5, 5, 10, 20)
    # Held away, it is the bare slide.
    tab.page.keyboard.down("h")
    settle(tab)
    assert painted(tab) == 0
    tab.page.keyboard.up("h")


def test_a_coarse_file_is_not_enlarged_into_a_blur(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("coarse.tif", 0.9, 0.9)
    fake.slides[slide] |= {"mpp": 4.0, "magnification": None}
    for result in fake.results.values():
        for spot in result["hotspots"]:
            x, y = spot["centre_level0"].values()
            spot["polygon_level0"] = [[x, y], [x + 20, y], [x + 20, y + 20], [x, y + 20], [x, y]]
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    tab.page.keyboard.press("n")
    settle(tab)
    assert power(tab) <= 2.5 * 1.5
    assert outline(tab)["count"] > 0


def test_two_views_have_each_their_own_models_hotspots(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    # The second model found nothing.
    fake.results["job-2"] |= {"hotspots": [], "hotspot_total": 0}
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    tab.page.get_by_label("Opacity").fill("0")
    tab.page.keyboard.press("s")
    expect(tab.page.locator(".pane")).to_have_count(2)
    tab.page.wait_for_load_state("networkidle")
    settle(tab)
    panes(tab)
    drawn = [
        tab.page.evaluate(
            SUM.replace("querySelector(selector)", f"querySelectorAll(selector)[{view}]"),
            ".heat-canvas.in-view",
        )["painted"]
        for view in (0, 1)
    ]
    assert drawn[0] > 500
    assert drawn[1] == 0
    # With a divider, outlines end at it as the heatmaps do.
    tab.page.keyboard.press("d")
    expect(tab.page.locator(".pane")).to_have_count(1)
    settle(tab)
    panes(tab)
    half = painted(tab, ".heat-canvas.in-view")
    tab.page.keyboard.press("d")
    settle(tab)
    assert 0 < half < painted(tab, ".heat-canvas.in-view")


def test_a_split_view_shows_what_was_in_sight(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    corners = """() => {
      const box = document.querySelector('.pane').getBoundingClientRect();
      const text = document.querySelector('.power').textContent;
      return [box.width, parseFloat(text)];
    }"""
    width, before = tab.page.evaluate(corners)
    tab.page.keyboard.press("s")
    expect(tab.page.locator(".pane")).to_have_count(2)
    tab.page.wait_for_function(
        "(before) => parseFloat(document.querySelector('.power').textContent) < before * 0.8",
        arg=before,
    )
    half, now = tab.page.evaluate(corners)
    assert half < width * 0.6
    # The whole slide was seen, so it still is: its width fits.
    assert now / 20 * 4096 <= half * 1.02
    tab.picture("side-by-side")
    tab.page.keyboard.press("s")
    tab.page.wait_for_function(
        "(before) => Math.abs(parseFloat(document.querySelector('.power').textContent) - before)"
        " <= before * 0.02",
        arg=before,
    )


def test_a_heatmap_ends_at_the_slides_edge(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    grid = fake.results["job-1"]["grid"]
    # Cells reach two thousand pixels beyond the slide on every side.
    grid["origin_level0"] = {"x": -2000.0, "y": -2000.0}
    grid["cell_level0"] = [(4096 + 4000) / grid["shape"][1], (3072 + 4000) / grid["shape"][0]]
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    tab.page.get_by_label("Outlines").uncheck()
    tab.page.get_by_label("Threshold").fill("0")
    tab.page.get_by_label("Opacity").fill("1")
    tab.page.keyboard.press("o")
    settle(tab)
    box = tab.page.locator(".pane").bounding_box()
    assert box
    zoom = min(box["width"] / 4096, box["height"] / 3072)
    panes(tab)
    reach = tab.page.evaluate(
        """() => {
          const canvas = document.querySelector('.heat-canvas.in-view');
          const { width, height } = canvas;
          const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
          let left = width, right = 0, top = height, bottom = 0;
          for (let i = 0; i < width * height; i++) {
            if (data[i * 4 + 3] < 128) continue;
            const x = i % width, y = Math.floor(i / width);
            left = Math.min(left, x); right = Math.max(right, x + 1);
            top = Math.min(top, y); bottom = Math.max(bottom, y + 1);
          }
          return [left, right, top, bottom];
        }"""
    )
    left, right, top, bottom = reach
    assert right - left <= 4096 * zoom + 2
    assert bottom - top <= 3072 * zoom + 2
    assert left >= (box["width"] - 4096 * zoom) / 2 - 1
    assert top >= (box["height"] - 3072 * zoom) / 2 - 1


def test_a_list_that_was_cut_says_of_how_many(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    fake.results["job-1"]["hotspot_total"] = 131
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".hotspot-cut")).to_have_text("The first 2 of 131.")


def test_the_heatmap_begins_where_hotspots_do(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    fake.results["job-1"]["hotspot_threshold"] = 0.62
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    expect(tab.page.get_by_label("Threshold")).to_have_value("0.62")
    tab.page.get_by_label("Threshold").fill("0.3")
    back = tab.page.get_by_role("button", name="Hotspots start at 0.62: use this threshold")
    back.click()
    expect(tab.page.get_by_label("Threshold")).to_have_value("0.62")
    expect(back).to_be_hidden()


def two_malignant(fake: Fake, name: str, in_situ: float, invasive: float) -> str:
    """A slide scored by a model with two malignant classes."""
    slide = fake.add_slide(name)
    job = fake.add_job(slide, "patch")
    fake.finish(
        job,
        invasive,
        classes=["normal", "in situ", "invasive"],
        malignant=["invasive", "in situ"],
        probabilities={
            "normal": 1 - in_situ - invasive,
            "in situ": in_situ,
            "invasive": invasive,
        },
        suspicion=in_situ + invasive,
    )
    return slide


def test_two_malignant_classes_make_one_suspicion(tab: Tab, fake: Fake) -> None:
    both = two_malignant(fake, "both.svs", 0.5, 0.5)
    fake.scored_slide("one.svs", 0.7, 0.6)
    unknown = fake.add_slide("unknown.svs")
    changes = {"classes": ["a", "b"], "malignant": [], "suspicion": None}
    fake.finish(fake.add_job(unknown, "patch"), 0.9, probabilities={"a": 0.1, "b": 0.9}, **changes)
    tab.open()
    rows = tab.page.locator(".slide-row")
    expect(rows).to_have_count(3)
    order = tab.page.evaluate(
        """() => [...document.querySelectorAll('.slide-row')]
          .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
          .map((row) => row.querySelector('a').textContent)"""
    )
    assert order == ["both.svs", "one.svs", "unknown.svs"]
    first = rows.filter(has_text="both.svs")
    expect(first.locator(".suspicion")).to_have_text("> 99.9 %")
    expect(rows.filter(has_text="unknown.svs").locator(".suspicion")).to_have_text("unknown")
    tab.picture("two-malignant-worklist")
    tab.open(f"#/slides/{both}")
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    suspect = tab.page.locator(".bar.suspect dt")
    expect(suspect).to_have_text(["Malignant", "in situ", "invasive"])
    # The heatmap opens on both together.
    pressed = tab.page.locator(".layer-controls [aria-label=Class] [aria-pressed=true]")
    expect(pressed).to_have_text("all malignant")
    assert any("probability/all-malignant.png" in line for line in fake.requests)
    tab.picture("two-malignant")


@pytest.mark.usefixtures("console_errors")
def test_tiles_of_a_damaged_file_are_said_to_be_missing(tab: Tab, fake: Fake) -> None:
    fake.damaged_from_level = 12
    open_slide(tab, fake)
    notice = tab.page.locator(".tile-faults").first
    expect(notice).to_be_hidden()
    tab.page.keyboard.press("5")
    expect(notice).to_contain_text(
        "Parts of this slide could not be loaded at full resolution. The file is damaged there."
    )
    tab.picture("damaged-tiles")
    # Copied anew in its place: the reader asks for them again.
    fake.damaged_from_level = 99
    asked = len(fake.requests)
    notice.get_by_role("button", name="Reload").click()
    expect(notice).to_be_hidden()
    tab.until(lambda: any("/slide_files/12/" in line for line in fake.requests[asked:]))
    tab.page.wait_for_load_state("networkidle")
    expect(notice).to_be_hidden()


@pytest.mark.usefixtures("console_errors")
def test_tiles_that_failed_come_when_the_service_is_back(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.wait_for_load_state("networkidle")
    fake.away = True
    tab.page.keyboard.press("5")
    notice = tab.page.locator(".tile-faults").first
    expect(notice).to_have_text(
        re.compile("Parts of this slide could not be loaded at full resolution")
    )
    assert "damaged" not in notice.inner_text()
    asked = len(fake.requests)
    fake.away = False
    expect(notice).to_be_hidden()
    tab.until(lambda: any("/slide_files/12/" in line for line in fake.requests[asked:]))


def test_an_open_worklist_takes_in_however_many_arrive(tab: Tab, fake: Fake) -> None:
    fake.add_slide("first.svs")
    tab.open()
    expect(tab.page.locator(".count")).to_have_text("1 slides")
    model = fake.slides["slide-1"]
    for number in range(2, 702):
        fake.slides[f"slide-{number}"] = copy.copy(model) | {
            "id": f"slide-{number}",
            "name": f"{number}.svs",
        }
    expect(tab.page.locator(".count")).to_have_text("701 slides")


def test_rows_that_the_search_hides_are_said_to_be_selected_and_not_scored(
    tab: Tab, fake: Fake
) -> None:
    fake.add_slide("alpha.svs")
    fake.add_slide("beta.svs")
    tab.open()
    tab.page.get_by_label("Select alpha.svs").check()
    tab.page.get_by_label("Select beta.svs").check()
    expect(tab.page.locator(".selected-count")).to_have_text("2 selected")
    tab.page.get_by_label("Search slides").fill("nothing like it")
    said = tab.page.locator(".selected-count")
    expect(said).to_have_text("2 selected, 2 hidden by the search or filter")
    expect(tab.page.get_by_role("button", name="Score selected")).to_be_disabled()
    tab.page.get_by_label("Search slides").fill("beta")
    expect(said).to_have_text("2 selected, 1 hidden by the search or filter")
    expect(tab.page.get_by_role("button", name="Score selected")).to_be_enabled()
