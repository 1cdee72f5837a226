"""Blind first reads: nothing of models and other readers is seen before the reader commits."""

import re

import pytest
from playwright.sync_api import expect

from service.reviews.schemas import HotspotDecision, ReviewIn
from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake
from tests.browser.test_annotations import draw_box, rows, saved
from tests.browser.test_review import choose
from tests.browser.test_viewer import open_slide, settle

pytestmark = pytest.mark.browser

SLIDE = "slide-1"


def other_read(fake: Fake) -> None:
    """B has diagnosed the slide, said something of it and of a hotspot, and drawn on it."""
    spot = HotspotDecision(job_id="job-1", index=0, decision="disagree", comment="crushed")
    review = ReviewIn(reviewer="B. Reader", diagnosis="benign", comment="dull", hotspots=[spot])
    fake.save_review(SLIDE, review, 0)


def draw_as_b(tab: Tab, fake: Fake) -> None:
    """B's rectangle, drawn by the page itself."""
    tab.page.evaluate("localStorage.setItem('wholeslide.reviewer', '\"B. Reader\"')")
    tab.page.reload()
    expect(tab.page.locator(".hotspot")).to_have_count(2)
    draw_box(tab)
    saved(tab)
    tab.page.evaluate("localStorage.clear()")


def test_nothing_of_another_reader_is_seen_before_the_reader_has_committed(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    draw_as_b(tab, fake)
    other_read(fake)
    fake.blind = True
    tab.page.reload()
    expect(tab.page.get_by_text("Blind first read: the model's answer")).to_be_visible()
    expect(tab.page.locator(".mark-status")).to_have_text("Saved")
    expect(rows(tab)).to_have_count(0)
    tab.page.wait_for_load_state("networkidle")
    settle(tab)
    panel = tab.page.locator(".panel")
    expect(panel).not_to_contain_text(re.compile("benign.*pressed|dull|crushed|B\\. Reader"))
    expect(tab.page.locator(".review [aria-pressed=true]")).to_have_count(0)
    for name in ("History", "Export"):
        expect(tab.page.get_by_text(name, exact=True)).to_be_hidden()
    expect(tab.page.get_by_label("Comment", exact=True)).to_be_hidden()
    # Not even the value under the pointer.
    tab.page.mouse.move(400, 320)
    expect(tab.page.locator(".reading")).to_contain_text("px")
    expect(tab.page.locator(".reading")).not_to_contain_text("value")
    # The reader's own drawing is theirs to see.
    draw_box(tab, 0.6, 0.3)
    expect(rows(tab)).to_have_count(1)
    tab.picture("blind-second-reader")
    tab.open(f"#/slides/{SLIDE}/report")
    report = tab.page.locator(".report")
    expect(report).to_contain_text("Hidden until the reader has chosen")
    expect(report).not_to_contain_text(re.compile("benign|dull|crushed|B\\. Reader|Annotations"))
    tab.open(f"#/slides/{SLIDE}")
    expect(rows(tab)).to_have_count(1)
    choose(tab, "cancer")
    expect(tab.page.get_by_text("B. Reader had chosen benign.")).to_be_visible()
    expect(rows(tab)).to_have_count(2)
    expect(tab.page.get_by_label("Comment on hotspot 1")).to_have_value("crushed")
    expect(tab.page.get_by_label("Comment", exact=True)).to_have_value("dull")
    assert [r.diagnosis for r in fake.reviews[SLIDE]] == ["benign", "cancer"]
    assert fake.review(SLIDE).blind
    tab.page.reload()
    expect(rows(tab)).to_have_count(2)
    tab.page.get_by_role("button", name="History").last.click()
    expect(tab.page.locator(".history li").first).to_contain_text("Diagnosis: benign → cancer")
