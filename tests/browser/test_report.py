"""What was drawn, in the report to print; the history of an annotation."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake
from tests.browser.test_accessibility import violations
from tests.browser.test_annotations import click, draw_box, rows, saved
from tests.browser.test_viewer import open_slide

pytestmark = pytest.mark.browser


def test_report_shows_what_was_drawn_and_the_viewer_its_history(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    draw_box(tab)
    saved(tab)
    tab.page.get_by_label("Comment on this annotation").fill("invades the muscle")
    tab.page.get_by_label("Class of this annotation").select_option("stroma")
    tab.page.get_by_label("Class of this annotation").press("Escape")
    draw_box(tab, 0.6, 0.3)
    tab.page.keyboard.press("i")
    click(tab, (0.5, 0.7))
    tab.page.keyboard.press("Escape")
    saved(tab)
    rows(tab).last.click()
    tab.page.get_by_role("button", name="History").first.click()
    history = tab.page.get_by_role("dialog", name="History of this annotation")
    expect(history.locator("li").last).to_contain_text("1. drawn as cancer")
    expect(history).to_contain_text("cancer → stroma")
    tab.picture("annotations-history")
    assert violations(tab) == []
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("link", name="Report to print").last.click()
    report = tab.page.locator(".report")
    table = report.get_by_role("table").filter(has_text="Class")
    expect(table.locator("tbody tr")).to_have_text(
        [re.compile(r"cancer2\d.* (mm|µm)²"), re.compile(r"stroma1\d.* (mm|µm)²")]
    )
    expect(report.locator(".report-marks li").first).to_contain_text(
        re.compile("stroma, .*²,.*invades the muscle", re.DOTALL)
    )
    # Outlines lie on the picture: its pixels are no longer only the slide's.
    tab.page.wait_for_function(
        "() => { const c = document.querySelector('.report-drawn canvas');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " for (let i = 0; i < d.length; i += 4)"
        " if (d[i] > 190 && d[i + 1] < 20 && d[i + 2] < 20) return true; return false; }"
    )
    assert violations(tab) == []
    tab.picture("report-annotations")
