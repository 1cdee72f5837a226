"""The decision: hotspots, diagnosis, signature, amendment, conflicts, blind first read, report."""

import re

import pytest
from playwright.sync_api import expect

from service.reviews.schemas import HotspotDecision, ReviewIn
from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake
from tests.browser.test_viewer import open_slide

pytestmark = pytest.mark.browser


def choose(tab: Tab, diagnosis: str) -> None:
    """Choose a diagnosis and wait until it is saved."""
    group = tab.page.get_by_role("group", name="Diagnosis")
    group.get_by_role("button", name=diagnosis).click()
    expect(tab.page.locator(".save-state")).to_have_text("Saved")


def sign(tab: Tab, button: str, **fields: str) -> None:
    """Open the signature, fill it in, sign."""
    tab.page.get_by_role("button", name=button).click()
    dialog = tab.page.get_by_role("dialog")
    for label, text in fields.items():
        dialog.get_by_label(label).fill(text)
    dialog.get_by_role("button", name="Sign", exact=True).click()


def test_decisions_on_hotspots_are_saved_by_key_and_survive_a_reload(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    for key in ("n", "y", "n", "x"):
        tab.page.keyboard.press(key)
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    saved = fake.review("slide-1").hotspots
    assert [(spot.index, spot.decision) for spot in saved] == [(0, "agree"), (1, "disagree")]
    tab.page.reload()
    first = tab.page.get_by_role("group", name="Decision on hotspot 1")
    expect(first.get_by_role("button", name="Agree", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    tab.page.keyboard.press("n")
    tab.page.keyboard.press("y")
    expect(first.get_by_role("button", name="Agree", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )


def test_forty_seven_hotspots_take_one_key_each(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    spots = fake.results["job-1"]["hotspots"]
    fake.results["job-1"]["hotspots"] = [spots[at % 2] for at in range(47)]
    decided = HotspotDecision(job_id="job-1", index=9, decision="unsure", seen=True)
    fake.save_review(slide, ReviewIn(reviewer="B", hotspots=[decided]), 0)
    tab.open(f"#/slides/{slide}")
    expect(tab.page.locator(".hotspot")).to_have_count(47)
    expect(tab.page.locator(".hotspot-count")).to_have_text("1 of 47 seen · 1 decided")
    # The first press only goes there: nothing was looked at yet.
    for _ in range(45):
        tab.page.keyboard.press("Shift+Y")
    tab.picture("many-hotspots")
    expect(tab.page.locator(".hotspot[aria-current]")).to_contain_text("46. cancer")
    for _ in range(2):
        tab.page.keyboard.press("Shift+X")
    expect(tab.page.get_by_text("All hotspots are decided. Press E to sign off.")).to_be_visible()
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    said = [spot.decision for spot in sorted(fake.review(slide).hotspots, key=lambda s: s.index)]
    assert said == ["agree"] * 9 + ["unsure"] + ["agree"] * 35 + ["disagree"] * 2


def test_agreeing_signature_needs_no_reason_and_locks_the_review(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    choose(tab, "cancer")
    sign(tab, "Sign off", Reviewer="A. Reader")
    expect(tab.page.locator(".signed")).to_contain_text("cancer · signed by A. Reader")
    agree = tab.page.get_by_role("button", name="Agree", exact=True).first
    expect(agree).to_be_disabled()
    assert fake.review("slide-1").status == "signed"
    tab.picture("signed")


def test_signature_against_the_model_asks_for_the_reason(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    choose(tab, "benign")
    tab.page.get_by_role("button", name="Sign off").click()
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("This contradicts patch and whole slide.")
    tab.picture("sign-against")
    dialog.get_by_label("Reviewer").fill("A. Reader")
    dialog.get_by_role("button", name="Sign", exact=True).click()
    assert fake.review("slide-1").status == "draft"  # The browser asks for the reason first.
    dialog.get_by_label("Reason").fill("A lymph follicle.")
    dialog.get_by_role("button", name="Sign", exact=True).click()
    expect(tab.page.locator(".signed")).to_contain_text(
        "Contradicts Patch and Whole slide: A lymph follicle."
    )


def test_amendment_keeps_both_signatures_in_the_history(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    choose(tab, "cancer")
    sign(tab, "Sign off", Reviewer="A")
    tab.page.get_by_role("button", name="Amend", exact=True).click()
    tab.page.get_by_role("group", name="Diagnosis").get_by_role("button", name="benign").click()
    sign(tab, "Sign amendment", Reviewer="B", **{"Reason for the amendment": "second opinion"})
    expect(tab.page.locator(".signed")).to_contain_text("benign · amended by B")
    tab.page.get_by_role("button", name="History").click()
    versions = tab.page.locator(".history li strong")
    expect(versions).to_have_text(["3. signed (amends 2)", "2. signed", "1. draft"])


@pytest.mark.usefixtures("console_errors")
def test_two_readers_keep_each_others_decisions(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.wait_for_load_state("networkidle")
    other = HotspotDecision(job_id="job-1", index=1, decision="unsure")
    fake.save_review("slide-1", ReviewIn(reviewer="B", hotspots=[other]), 0)
    tab.page.keyboard.press("n")
    tab.page.keyboard.press("y")
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    second = tab.page.get_by_role("group", name="Decision on hotspot 2")
    expect(second.get_by_role("button", name="Unsure")).to_have_attribute("aria-pressed", "true")
    saved = {spot.index: spot.decision for spot in fake.review("slide-1").hotspots}
    assert saved == {0: "agree", 1: "unsure"}


@pytest.mark.usefixtures("console_errors")
def test_decision_made_while_the_service_is_away_is_sent_when_it_is_back(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    tab.page.wait_for_load_state("networkidle")
    fake.away = True
    tab.page.keyboard.press("n")
    tab.page.keyboard.press("u")
    expect(tab.page.locator(".save-state")).to_contain_text("can't reach the server")
    # Said in sight as well, wherever the panel is scrolled.
    expect(tab.page.locator(".refusal:visible")).to_contain_text("sent when it is back")
    tab.picture("viewer-away")
    assert fake.review("slide-1").version == 0
    fake.away = False
    tab.page.reload()
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    expect(tab.page.locator(".refusal:visible")).to_have_count(0)
    assert fake.review("slide-1").hotspots[0].decision == "unsure"


def test_blind_first_read_hides_the_model_until_a_diagnosis_is_chosen(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.get_by_label("Blind first read").check()
    expect(tab.page.locator(".bars")).to_have_count(0)
    expect(tab.page.locator(".hotspot")).to_have_count(0)
    expect(tab.page.get_by_role("switch", name="Show heatmap")).to_be_hidden()
    tab.picture("blind")
    # The next slide that is opened is blind from the first moment on.
    seen: list[str] = []
    tab.page.expose_function("noteBars", lambda what: seen.append(what))
    tab.page.add_init_script(
        "new MutationObserver(() => document.querySelector('.bars') && noteBars('bars'))"
        ".observe(document, { childList: true, subtree: true })"
    )
    tab.page.reload()
    expect(tab.page.get_by_text("Blind first read: the model's answer")).to_be_visible()
    tab.page.wait_for_load_state("networkidle")
    assert seen == []
    choose(tab, "cancer")
    expect(tab.page.locator(".bars")).to_have_count(2)
    expect(tab.page.locator(".hotspot")).to_have_count(2)
    assert fake.review("slide-1").blind


def test_report_says_what_was_found_and_decided(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press("n")
    tab.page.keyboard.press("y")
    choose(tab, "cancer")
    sign(tab, "Sign off", Reviewer="A. Reader")
    tab.page.get_by_role("link", name="Print report").last.click()
    report = tab.page.locator(".report")
    expect(report).to_contain_text("Research use only – not a medical device.")
    expect(report).to_contain_text(re.compile("signed by A. Reader"))
    expect(report).to_contain_text("98.0 %")
    expect(report.get_by_text("Reader: agree")).to_be_visible()
    expect(report).to_contain_text("patch-demo")
    tab.picture("report")


def test_one_slide_takes_few_keys_from_worklist_to_signature(tab: Tab, fake: Fake) -> None:
    fake.scored_slide("case.svs", 0.98, 0.91)
    tab.open()
    expect(tab.page.locator(".slide-row")).to_have_count(1)
    for key in ("ArrowDown", "Enter"):
        tab.page.keyboard.press(key)
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    # e asks for the signature, 2 is the second diagnosis; a name is asked for the first time, and
    # Enter goes on from it to the button.
    for key in ("n", "y", "n", "y", "e", "2"):
        tab.page.keyboard.press(key)
    tab.page.keyboard.type("A. Reader")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".signed")).to_contain_text("cancer · signed by A. Reader")
    expect(tab.page.get_by_role("link", name="Back to the worklist").last).to_be_focused()
    tab.page.keyboard.press("Enter")
    row = tab.page.locator(".slide-row:focus")
    expect(row.locator(".cell.review")).to_have_text("Signedcancer · A. Reader")
