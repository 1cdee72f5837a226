"""Readers beside each other, ended sessions, blind reads, comments, outlines, two models."""

import re

import pytest
from playwright.sync_api import expect

from service.reviews.schemas import HotspotDecision, ReviewIn
from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake
from tests.browser.test_review import choose, sign
from tests.browser.test_viewer import open_slide, painted, settle

pytestmark = pytest.mark.browser


def test_who_else_has_the_slide_open_is_named(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    fake.readers[slide, "b" * 24] = "B. Reader"
    tab.open(f"#/slides/{slide}")
    expect(tab.page.get_by_text("Also viewing: B. Reader")).to_be_visible()
    tab.page.get_by_role("link", name="Back to the worklist").click()
    expect(tab.page.locator(".slide-row")).to_have_count(1)
    tab.until(lambda: list(fake.readers.values()) == ["B. Reader"])


def test_what_another_reader_looked_at_and_said_is_shown(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    said = HotspotDecision(job_id="job-1", index=0, comment="crushed", seen=True)
    fake.save_review("slide-1", ReviewIn(reviewer="B", hotspots=[said]), 0)
    expect(tab.page.get_by_label("Comment on hotspot 1")).to_have_value("crushed")
    expect(tab.page.locator(".hotspot-count")).to_have_text("1 of 2 seen")


def test_comment_on_a_hotspot_is_saved_and_keys_work_again(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    for key in ("n", "m"):
        tab.page.keyboard.press(key)
    tab.page.keyboard.type("necrosis, no tumour")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("x")
    # "Saved" may still be said of the mark that it was seen.
    tab.until(lambda: [spot.decision for spot in fake.review("slide-1").hotspots] == ["disagree"])
    spot = fake.review("slide-1").hotspots[0]
    assert (spot.comment, spot.decision, spot.seen) == ("necrosis, no tumour", "disagree", True)
    tab.page.reload()
    expect(tab.page.get_by_label("Comment on hotspot 1")).to_have_value("necrosis, no tumour")


@pytest.mark.usefixtures("console_errors")
def test_ended_session_keeps_what_was_typed_and_saves_it_after_sign_in(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    tab.page.wait_for_load_state("networkidle")
    tab.page.keyboard.press("3")
    expect(tab.page.locator(".power")).to_have_text("10×")
    fake.key = "wsk_right"
    tab.page.get_by_label("Comment", exact=True).fill("half a sen")
    dialog = tab.page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_be_visible()
    tab.picture("session-ended")
    assert fake.review("slide-1").version == 0
    dialog.get_by_label("Access key").fill("wsk_right")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    assert fake.review("slide-1").comment == "half a sen"
    # The reader is where they were.
    expect(tab.page.get_by_label("Comment", exact=True)).to_have_value("half a sen")
    expect(tab.page.locator(".power")).to_have_text("10×")


@pytest.mark.usefixtures("console_errors")
def test_slide_opened_without_a_session_opens_after_sign_in(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    fake.key = "wsk_right"
    tab.open(f"#/slides/{slide}")
    tab.page.get_by_role("dialog").get_by_label("Access key").fill("wsk_right")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".hotspot")).to_have_count(2)


def test_blind_list_hides_scores_of_unread_slides_and_sorts_by_name(tab: Tab, fake: Fake) -> None:
    fake.blind = True
    fake.scored_slide("a.svs", 0.02, 0.04)
    fake.scored_slide("b.svs", 0.31, 0.93)
    fake.scored_slide("c.svs", 0.5, 0.5)
    fake.save_review("slide-3", ReviewIn(reviewer="A", diagnosis="cancer", blind=True), 0)
    fake.save_review("slide-1", ReviewIn(reviewer="B", diagnosis="benign"), 0)
    tab.page.add_init_script("localStorage.setItem('wholeslide.reviewer', '\"A\"')")
    tab.open()
    rows = tab.page.locator(".slide-row")
    expect(rows).to_have_count(3)
    # What this reader has read is shown; what another chose is not.
    expect(rows.filter(has_text="%")).to_have_count(1)
    expect(tab.page.locator("[data-id=slide-1] .cell.review")).to_have_text("In reviewB")
    expect(tab.page.locator("[data-id=slide-2] .cell.suspicion")).to_have_text("hidden")
    places = [tab.page.locator(f"[data-id=slide-{i}]").bounding_box() for i in (1, 2, 3)]
    tops = [place["y"] for place in places if place]
    assert tops == sorted(tops)
    expect(tab.page.get_by_label("Blind first read")).to_be_disabled()
    tab.picture("worklist-blind")


def test_blind_reader_decides_by_key_and_the_report_says_what_was_seen_when(
    tab: Tab, fake: Fake
) -> None:
    fake.blind = True
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    tab.open(f"#/slides/{slide}/report")
    expect(tab.page.get_by_text("Hidden until the reader has chosen")).to_be_visible()
    expect(tab.page.locator(".report")).not_to_contain_text("%")
    tab.open(f"#/slides/{slide}")
    expect(tab.page.get_by_text("Blind first read: the model's answer")).to_be_visible()
    expect(tab.page.get_by_role("button", name="Show it now")).to_have_count(0)
    tab.page.keyboard.press("e")
    dialog = tab.page.get_by_role("dialog", name="Blind first read")
    # Not a word of a contradiction before the reader has committed.
    expect(dialog).not_to_contain_text("contradicts")
    tab.picture("blind-decide")
    for key in ("1", "Enter"):
        tab.page.keyboard.press(key)
    expect(tab.page.locator(".bars")).to_have_count(2)
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    first = fake.review(slide).diagnosis
    choose(tab, "cancer")
    sign(tab, "Sign off", Reviewer="A. Reader")
    expect(tab.page.locator(".signed")).to_contain_text("cancer · signed by A. Reader")
    tab.page.get_by_role("link", name="Print report").last.click()
    rows = tab.page.locator(".report-table tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text(re.compile(f"{first}.*hidden from the reader"))
    expect(rows.nth(2)).to_contain_text(re.compile("cancer, signed.*Patch: cancer 98.0 %"))
    read = f"{first}, without seeing the model's answer"
    expect(tab.page.locator(".report")).to_contain_text(read)
    tab.picture("report-blind")


def test_outlines_of_tissue_and_quality_are_drawn_by_key(tab: Tab, fake: Fake) -> None:
    fake.tissue.add("slide-1")
    open_slide(tab, fake)
    expect(tab.page.locator(".tissue-legend li")).to_have_text(
        [
            "tissue: 31 % of the slide",
            "out of focus: 24 % of the tissue",
            "folds: 5 % of the tissue",
        ]
    )
    assert painted(tab) == 0
    tab.page.keyboard.press("q")
    settle(tab)
    assert painted(tab) > 1000
    tab.picture("outlines")
    tab.page.keyboard.press("q")
    settle(tab)
    assert painted(tab) == 0


def test_two_models_of_one_pipeline_lie_side_by_side(tab: Tab, fake: Fake) -> None:
    for name in ("patch-old", "patch-new"):
        fake.models.append(fake.models[0] | {"name": name})
    slide = fake.add_slide("case.svs")
    fake.finish(fake.add_job(slide, "patch", model="patch-old"), 0.4)
    fake.finish(fake.add_job(slide, "patch"), 0.9)
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".hotspot")).to_have_count(2)
    tab.page.keyboard.press("s")
    tab.page.get_by_role("button", name="Right", exact=True).click()
    tab.page.get_by_role("button", name="Patch", exact=True).click()
    tab.page.get_by_label("Model", exact=True).select_option("job-1")
    expect(tab.page.locator(".pane-title")).to_have_text(
        ["Patch · patch-demo · Probability · cancer", "Patch · patch-old · Probability · cancer"]
    )
    assert "GET /api/v1/jobs/job-1/heatmaps/probability/cancer.png" in fake.requests
    tab.picture("two-models")
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("button", name="Score with this model too").click()
    expect(tab.page.get_by_text("Waiting for a worker")).to_be_visible()
    assert list(fake.jobs.values())[-1]["model"] == "patch-new"
