"""What was drawn, in the report to print; the history of an annotation."""

import re

import pytest
from playwright.sync_api import expect

from service.reviews.schemas import HotspotDecision, ReviewIn
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
    tab.page.get_by_role("link", name="Print report").last.click()
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


def test_the_report_of_a_signed_slide_is_the_signed_run_with_all_that_was_said(
    tab: Tab, fake: Fake
) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    first = fake.results["job-1"]
    first["hotspots"] = [first["hotspots"][at % 2] for at in range(9)]
    # As the service has it: a slide is never background.
    for job_id, cancer in (("job-1", 0.98), ("job-2", 0.91)):
        fake.results[job_id]["probabilities"] = {"benign": 1 - cancer, "cancer": cancer}
    first["warnings"] = ["0.5 um/px was given by a user."]
    spots = [
        HotspotDecision(job_id="job-1", index=0, decision="agree", seen=True),
        HotspotDecision(job_id="job-1", index=7, comment="crushed, see the deeper level"),
    ]
    wish = ReviewIn(status="signed", reviewer="A. Reader", diagnosis="cancer", hotspots=spots)
    fake.save_review(slide, wish, 0)
    fake.finish(fake.add_job(slide, "patch", model="patch-new"), 0.03)
    tab.open(f"#/slides/{slide}/report")
    report = tab.page.locator(".report")
    expect(report).to_contain_text("A newer run exists: patch (patch-new")
    listed = report.get_by_role("list", name="Hotspots of patch").locator("li")
    expect(listed).to_have_count(2)
    expect(listed.nth(0)).to_contain_text("1. cancer")
    expect(listed.nth(0)).to_contain_text("Reader: agree")
    expect(listed.nth(1)).to_contain_text("8. cancer")
    expect(listed.nth(1)).to_contain_text("crushed, see the deeper level")
    expect(listed.nth(0).locator(".spot-outline")).to_have_count(1)
    expect(listed.nth(0)).to_contain_text("Bar: ")
    expect(report).to_contain_text("7 of 9 hotspots were not decided on and are not listed.")
    expect(report).to_contain_text("None of the 2 hotspots was decided on.")
    expect(report).to_contain_text("98.0 %")
    expect(report).not_to_contain_text("3.0 %")
    expect(report).to_contain_text("0.5 µm/px, as the file states")
    expect(report).to_contain_text("0.5 um/px was given by a user.")
    expect(report.locator(".report-legend").first).to_contain_text("Probability of cancer")
    expect(report).not_to_contain_text("background")
    expect(report).not_to_contain_text("/api/")
    assert violations(tab) == []
    tab.picture("report-signed")
    tab.page.emulate_media(media="print")
    tab.page.set_viewport_size({"width": 800, "height": 2200})
    tab.picture("report-printed")


def test_a_report_of_a_slide_that_nothing_was_scored_on_says_so(tab: Tab, fake: Fake) -> None:
    slide = fake.add_slide("blank.svs")
    nothing = {"probabilities": {}, "hotspots": [], "layers": [], "grid": None}
    fake.finish(fake.add_job(slide, "patch"), 0, outcome="tissue_unclear", **nothing)
    tab.open(f"#/slides/{slide}/report")
    report = tab.page.locator(".report")
    expect(report).to_contain_text("no tissue was recognized, so nothing was scored")
    expect(report).not_to_contain_text("%")
