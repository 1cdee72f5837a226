"""WCAG 2.2 A and AA by axe-core, light and dark, at three sizes."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from service.reviews.schemas import ReviewIn
from tests.browser.conftest import ROOT, Tab
from tests.browser.fake_rest import FakeBatch
from tests.browser.fake_service import Fake

pytestmark = pytest.mark.browser

AXE = ROOT / "service" / "web" / "node_modules" / "axe-core" / "axe.min.js"
RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"
SIZES = [(1280, 800), (1024, 768), (768, 1024)]
LOOKS = [
    pytest.param(
        {"viewport": {"width": width, "height": height}, "color_scheme": scheme},
        id=f"{width}-{scheme}",
    )
    for width, height in SIZES
    for scheme in ("light", "dark")
]


def violations(tab: Tab) -> list[str]:
    """What axe-core finds, one line each."""
    if not Path(AXE).is_file():
        pytest.skip("axe-core is not installed: npm ci in service/web")
    tab.page.add_script_tag(path=AXE)
    found = tab.page.evaluate(f"async () => (await axe.run(document, {RULES})).violations")
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found]


@pytest.mark.parametrize("tab", LOOKS, indirect=True)
def test_worklist_has_no_accessibility_violation(
    tab: Tab, fake: Fake, request: pytest.FixtureRequest
) -> None:
    fake.scored_slide("high.svs", 0.31, 0.93)
    fake.scored_slide("low.svs", 0.02, 0.3)
    slide = fake.add_slide("broken.svs", mpp=None)
    fake.fail(fake.add_job(slide, "patch"), "broken.svs: tile 3,4 does not decode")
    fake.add_job(slide, "whole-slide", "RUNNING")
    fake.quality["slide-1"] = {"flagged": True, "usable_share": 0.35, "shares": {"blur": 0.61}}
    fake.save_review("slide-1", ReviewIn(reviewer="B. Reader"), 0)
    fake.batches["batch-1"] = FakeBatch(
        "Monday",
        [{"slide_id": f"slide-{i}", "pipeline": "patch", "job_id": f"job-{i}"} for i in (1, 3, 5)],
    )
    tab.open()
    tab.page.get_by_label("Batch", exact=True).select_option("batch-1")
    expect(tab.page.locator(".batch-counts")).to_be_visible()
    tab.picture(f"worklist-{request.node.callspec.id}")
    assert violations(tab) == []


@pytest.mark.parametrize("tab", LOOKS, indirect=True)
def test_viewer_has_no_accessibility_violation(
    tab: Tab, fake: Fake, request: pytest.FixtureRequest
) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    fake.tissue.add(slide)
    fake.readers[slide, "b" * 24] = "B. Reader"
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".tissue-legend li")).to_have_count(3)
    for key in ("o", "q", "n"):
        tab.page.keyboard.press(key)
    tab.picture(f"viewer-{request.node.callspec.id}")
    assert violations(tab) == []


def test_dialogs_have_no_accessibility_violation(tab: Tab, fake: Fake) -> None:
    fake.add_slide("old.svs", mpp=None)
    tab.open()
    tab.page.get_by_role("button", name="Enter resolution").click()
    expect(tab.page.get_by_role("dialog")).to_be_visible()
    assert violations(tab) == []


def test_signature_and_keys_have_no_accessibility_violation(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".hotspot")).to_have_count(2)
    tab.page.keyboard.press("?")
    assert violations(tab) == []
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("e")
    expect(tab.page.get_by_role("dialog", name="Sign off")).to_be_visible()
    assert violations(tab) == []


def test_report_has_no_accessibility_violation(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    tab.open(f"#/slides/{slide}/report")
    expect(tab.page.locator(".report-spots li")).to_have_count(4)
    assert violations(tab) == []
