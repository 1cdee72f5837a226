"""The viewer: heatmap really drawn, knobs without requests, hotspots, comparison, states."""

import hashlib
import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake

pytestmark = pytest.mark.browser

SUM = """(selector) => {
  const canvas = document.querySelector(selector);
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let painted = 0, red = 0, green = 0, blue = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 0) { painted++; red += data[i]; green += data[i + 1]; blue += data[i + 2]; }
  }
  return { painted, colour: [red, green, blue].map((c) => Math.round(c / Math.max(1, painted))) };
}"""


def open_slide(tab: Tab, fake: Fake) -> None:
    """A scored slide in the viewer, its tiles and hotspots there."""
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    tab.page.wait_for_function("document.querySelector('.power').textContent.endsWith('×')")


def painted(tab: Tab, selector: str = ".pane .heat-canvas") -> int:
    """How many pixels the overlay covers."""
    return int(tab.page.evaluate(SUM, selector)["painted"])


def look(tab: Tab) -> str:
    """A digest of the views as the reader sees them, all tiles there."""
    tab.page.wait_for_load_state("networkidle")
    settle(tab)
    return hashlib.sha256(tab.page.locator(".stage").screenshot()).hexdigest()


def settle(tab: Tab) -> None:
    """Two frames: what was asked for is on the screen."""
    tab.page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def test_heatmap_is_drawn_when_switched_on_and_only_then(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    assert painted(tab) == 0
    bare = look(tab)
    tab.page.get_by_role("switch", name="Show heatmap").click()
    settle(tab)
    assert painted(tab) > 5000
    assert look(tab) != bare
    tab.picture("viewer")
    tab.page.keyboard.press("o")
    settle(tab)
    assert painted(tab) == 0
    assert look(tab) == bare


def test_heatmap_lies_where_the_tumour_is(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.get_by_label("Outlines").uncheck()
    tab.page.keyboard.press("o")
    settle(tab)
    centre = tab.page.evaluate(
        """() => {
          const canvas = document.querySelector('.pane .heat-canvas');
          const { width, height } = canvas;
          const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
          let x = 0, y = 0, n = 0;
          for (let i = 0; i < width * height; i++)
            if (data[i * 4 + 3] > 0) { x += i % width; y += Math.floor(i / width); n++; }
          const box = canvas.getBoundingClientRect();
          return [x / n / width * box.width, y / n / height * box.height];
        }"""
    )
    # The mean of the two drawn tumours, weighted by their areas, in pixels of the whole view.
    box = tab.page.locator(".pane").bounding_box()
    assert box
    zoom = min(box["width"] / 4096, box["height"] / 3072)
    left, top = (box["width"] - 4096 * zoom) / 2, (box["height"] - 3072 * zoom) / 2
    big, small = 0.07**2, 0.05**2
    x = (0.36 * big + 0.66 * small) / (big + small) * 4096
    y = (0.30 * big + 0.46 * small) / (big + small) * 4096
    assert centre == pytest.approx([left + x * zoom, top + y * zoom], abs=15)


def test_knobs_change_the_picture_without_asking_the_service(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.get_by_label("Outlines").uncheck()
    tab.page.keyboard.press("o")
    settle(tab)
    asked = len(fake.requests)
    before = tab.page.evaluate(SUM, ".pane .heat-canvas")
    tab.page.get_by_label("Threshold").fill("0.8")
    settle(tab)
    higher = tab.page.evaluate(SUM, ".pane .heat-canvas")
    assert 0 < higher["painted"] < before["painted"]
    tab.page.get_by_label("Colours").select_option("inferno")
    settle(tab)
    recoloured = tab.page.evaluate(SUM, ".pane .heat-canvas")
    assert recoloured["painted"] == higher["painted"]
    assert recoloured["colour"] != higher["colour"]
    tab.page.keyboard.press("[")
    settle(tab)
    assert painted(tab) > recoloured["painted"]
    tab.page.get_by_label("Opacity").fill("0")
    settle(tab)
    assert painted(tab) == 0
    # The slide's own tiles may still be on their way.
    assert [r for r in fake.requests[asked:] if "/slide_files/" not in r] == []


def test_class_kind_and_pipeline_each_show_another_map(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.get_by_label("Outlines").uncheck()
    tab.page.keyboard.press("o")
    seen = []
    for name in ("benign", "Grad-CAM", "Whole slide"):
        tab.page.locator(".layer-controls").get_by_role("button", name=name).click()
        expect(
            tab.page.locator(".layer-controls [aria-pressed=true]", has_text=name)
        ).to_be_visible()
        seen.append(look(tab))
    assert len(set(seen)) == 3
    assert "GET /api/v1/jobs/job-2/heatmaps/gradcam/benign.png" in fake.requests


def test_holding_h_hides_the_heatmap_until_released(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press("o")
    settle(tab)
    assert painted(tab) > 0
    tab.page.keyboard.down("h")
    settle(tab)
    assert painted(tab) == 0
    tab.page.keyboard.up("h")
    settle(tab)
    assert painted(tab) > 0


@pytest.mark.parametrize(("key", "power"), [("1", "2.5×"), ("3", "10×"), ("5", "40× (2× digital)")])
def test_number_keys_set_the_magnification(tab: Tab, fake: Fake, key: str, power: str) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press(key)
    expect(tab.page.locator(".power")).to_have_text(power)


def test_scale_bar_is_right_at_a_known_magnification(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press("4")  # 20x of a 0.5 mpp slide: one screen pixel is 0.5 um
    expect(tab.page.locator(".power")).to_have_text("20×")
    expect(tab.page.locator(".scale-bar-box span")).to_have_text("50 µm")
    box = tab.page.locator(".scale-bar-line").bounding_box()
    assert box
    assert box["width"] == pytest.approx(100, abs=1)


def test_pointer_reads_the_value_of_the_cell_under_it(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    legend = tab.page.locator(".legend-value")
    expect(legend).to_have_text("Show the heatmap to read scores")
    tab.page.keyboard.press("o")
    expect(legend).to_have_text("Hover over the slide to read a value")
    tab.page.keyboard.press("n")
    box = tab.page.locator(".pane").bounding_box()
    assert box
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(legend).to_have_text(re.compile(r"At the pointer: 9\d"))
    expect(tab.page.locator(".reading")).to_have_text(re.compile(r"score 9\d %"))
    # What is switched off is not read either.
    tab.page.keyboard.press("o")
    tab.page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2)
    expect(tab.page.locator(".reading")).to_have_text(re.compile(r"^x \d+, y \d+ px$"))
    expect(tab.page.locator(".legend-value")).to_have_text("Show the heatmap to read scores")


def test_n_and_p_walk_the_hotspots_and_mark_them_seen(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    spots = tab.page.locator(".hotspot")
    tab.page.keyboard.press("n")
    expect(spots.nth(0)).to_have_attribute("aria-current", "true")
    tab.page.keyboard.press("n")
    expect(spots.nth(1)).to_have_attribute("aria-current", "true")
    expect(tab.page.locator(".hotspot-count")).to_have_text("2 of 2 seen")
    tab.page.keyboard.press("p")
    expect(spots.nth(0)).to_have_attribute("aria-current", "true")
    tab.page.reload()
    expect(tab.page.locator(".hotspot-count")).to_have_text("2 of 2 seen")


def test_side_by_side_locks_two_views_of_the_two_pipelines(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press("s")
    titles = tab.page.locator(".pane-title")
    expect(titles).to_have_text(
        ["Patch · Probability · cancer", "Whole slide · Probability · cancer"]
    )
    settle(tab)  # The halved view has its new size.
    tab.page.keyboard.press("3")
    powers = tab.page.locator(".power")
    expect(powers).to_have_text(["10×", "10×"])
    box = tab.page.locator(".pane").nth(1).bounding_box()
    assert box
    tab.page.mouse.move(box["x"] + 200, box["y"] + 300)
    tab.page.mouse.wheel(0, -300)
    expect(powers.nth(0)).not_to_have_text("10×")
    settle(tab)
    assert len(set(powers.all_inner_texts())) == 1
    tab.picture("side-by-side")
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator(".pane")).to_have_count(1)


def test_swipe_divider_moves_by_key_and_shows_both_maps(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press("d")
    grip = tab.page.get_by_role("slider", name="Swipe divider")
    expect(grip).to_have_attribute("aria-valuenow", "50")
    expect(tab.page.locator(".swipe-title.right")).to_have_text(
        "Whole slide · Probability · cancer"
    )
    grip.focus()
    tab.page.keyboard.press("ArrowRight")
    expect(grip).to_have_attribute("aria-valuenow", "52")
    tab.picture("swipe")


def test_rotation_carries_the_heatmap_along(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.get_by_label("Outlines").uncheck()
    tab.page.keyboard.press("o")
    settle(tab)
    upright = painted(tab)
    tab.page.get_by_role("button", name="Rotate right").click()
    tab.page.keyboard.press("0")
    settle(tab)
    turned = painted(tab)
    assert turned > 0
    assert turned != upright
    tab.picture("rotated")


def test_question_mark_shows_the_keys(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press("?")
    expect(tab.page.get_by_role("dialog", name="Keys")).to_be_visible()
    tab.picture("keys")
    tab.page.keyboard.press("Escape")
    expect(tab.page.get_by_role("dialog")).to_have_count(0)
    expect(tab.page).to_have_url(re.compile("#/slides/"))


def test_slide_without_results_is_scored_from_the_viewer(tab: Tab, fake: Fake) -> None:
    slide = fake.add_slide("new.svs")
    tab.open(f"#/slides/{slide}")
    patch = tab.page.get_by_role("article", name="Patch pipeline")
    patch.get_by_role("button", name="Score this slide").click()
    expect(patch.get_by_text("Waiting for a worker")).to_be_visible()
    fake.jobs["job-1"].update(status="RUNNING", progress=0.25, stage="tissue")
    expect(patch.get_by_text("tissue · 25 %")).to_be_visible()
    tab.picture("viewer-running")
    fake.finish("job-1", 0.77)
    expect(patch.get_by_text("77.0 %")).to_be_visible()
    expect(tab.page.locator(".hotspot")).to_have_count(2)


def test_running_job_can_be_stopped(tab: Tab, fake: Fake) -> None:
    slide = fake.add_slide("new.svs")
    fake.add_job(slide, "patch", "RUNNING")
    tab.open(f"#/slides/{slide}")
    tab.page.get_by_role("button", name="Stop").click()
    expect(tab.page.get_by_text("Stopped before it finished.")).to_be_visible()


def test_failed_job_shows_its_reason_and_can_be_tried_again(tab: Tab, fake: Fake) -> None:
    slide = fake.add_slide("broken.svs")
    fake.fail(fake.add_job(slide, "patch"), "broken.svs: tile 3,4 does not decode")
    tab.open(f"#/slides/{slide}")
    expect(tab.page.get_by_text("broken.svs: tile 3,4 does not decode")).to_be_visible()
    tab.picture("viewer-failed")
    tab.page.get_by_role("button", name="Try again").click()
    expect(tab.page.get_by_text("Waiting for a worker")).to_be_visible()


def test_slide_without_tissue_says_so(tab: Tab, fake: Fake) -> None:
    slide = fake.add_slide("glass.svs")
    job = fake.add_job(slide, "patch")
    fake.finish(job, 0, outcome="no_tissue", probabilities={}, grid=None, layers=[], hotspots=[])
    tab.open(f"#/slides/{slide}")
    expect(tab.page.get_by_text("No tissue was found on this slide")).to_be_visible()
    tab.picture("viewer-no-tissue")


@pytest.mark.usefixtures("console_errors")
def test_missing_heatmap_is_named_and_the_rest_goes_on(tab: Tab, fake: Fake) -> None:
    fake.missing_heatmaps.add("gradcam/cancer")
    open_slide(tab, fake)
    tab.page.get_by_role("button", name="Grad-CAM").click()
    expect(tab.page.locator(".pane-notice")).to_contain_text("Grad-CAM · cancer”:")
    tab.page.get_by_role("button", name="Probability").click()
    expect(tab.page.locator(".pane-notice")).to_be_hidden()


@pytest.mark.usefixtures("console_errors")
def test_viewer_waits_for_a_service_that_is_away(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    fake.away = True
    tab.open(f"#/slides/{slide}")
    expect(tab.page.get_by_text("Can't reach the server")).to_be_visible()
    fake.away = False
    tab.page.get_by_role("button", name="Try again now").click()
    expect(tab.page.locator(".hotspot")).to_have_count(2)


@pytest.mark.usefixtures("console_errors")
def test_unknown_slide_leads_back_to_the_worklist(tab: Tab) -> None:
    tab.open("#/slides/nothing")
    expect(tab.page.get_by_text("Slide not found")).to_be_visible()
    tab.page.get_by_role("link", name="Back to the worklist").click()
    expect(tab.page.get_by_role("heading", name="Worklist", exact=True)).to_be_visible()
