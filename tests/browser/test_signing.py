"""Who signs what: digits, names, keys, reasons."""

import re

import pytest
from playwright.sync_api import Locator, expect

from service.reviews.schemas import HotspotDecision, ReviewIn
from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake
from tests.browser.test_review import choose, sign
from tests.browser.test_viewer import open_slide

pytestmark = pytest.mark.browser


def signing(tab: Tab) -> Locator:
    tab.page.keyboard.press("e")
    dialog = tab.page.get_by_role("dialog", name="Sign off")
    expect(dialog).to_be_visible()
    return dialog


def test_a_digit_in_a_fresh_dialog_chooses_the_diagnosis_and_is_never_the_name(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    choose(tab, "cancer")
    dialog = signing(tab)
    tab.page.keyboard.press("1")
    expect(dialog.get_by_label("benign")).to_be_checked()
    expect(dialog.get_by_label("Reviewer")).to_have_value("")
    for _ in range(3):
        tab.page.keyboard.press("Enter")
    assert fake.review("slide-1").status == "draft"
    expect(dialog).to_be_visible()
    tab.picture("sign-fresh")


def test_a_digit_in_the_empty_name_chooses_and_enter_in_the_name_does_not_sign(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    choose(tab, "benign")
    dialog = signing(tab)
    name = dialog.get_by_label("Reviewer")
    name.focus()
    tab.page.keyboard.press("2")
    expect(dialog.get_by_label("cancer")).to_be_checked()
    expect(name).to_have_value("")
    name.fill("A. Reader 2")
    name.press("Enter")
    assert fake.review("slide-1").status == "draft"
    expect(dialog.get_by_role("button", name="Sign", exact=True)).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".signed")).to_contain_text("cancer · signed by A. Reader 2")


def test_a_name_without_letters_is_refused_before_it_is_sent(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    choose(tab, "cancer")
    dialog = signing(tab)
    dialog.get_by_label("Reviewer").fill("12")
    dialog.get_by_role("button", name="Sign", exact=True).click()
    problem = dialog.get_by_label("Reviewer").evaluate("field => field.validationMessage")
    assert problem == "A name has letters. Digits choose the diagnosis above."
    assert fake.review("slide-1").status == "draft"


def test_with_a_key_the_name_is_the_keys_and_cannot_be_changed(tab: Tab, fake: Fake) -> None:
    fake.reader = "Dr. Anna"
    open_slide(tab, fake)
    tab.page.evaluate("localStorage.setItem('wholeslide.reviewer', JSON.stringify('Dr. Ben'))")
    choose(tab, "cancer")
    dialog = signing(tab)
    name = dialog.get_by_label("Reviewer")
    expect(name).to_have_value("Dr. Anna")
    assert not name.is_editable()
    tab.picture("sign-locked")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".signed")).to_contain_text("cancer · signed by Dr. Anna")
    tab.page.get_by_role("button", name="History").click()
    expect(tab.page.locator(".history li").first).to_contain_text("Dr. Anna")
    assert fake.review("slide-1").saved_by == "Dr. Anna"


def test_signing_benign_after_agreeing_with_cancer_asks_for_the_reason(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    for job_id in ("job-1", "job-2"):
        fake.results[job_id]["probabilities"] = {"background": 0, "benign": 0.8, "cancer": 0.2}
    tab.page.reload()
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    for key in ("n", "y", "n", "y"):
        tab.page.keyboard.press(key)
    choose(tab, "benign")
    dialog = signing(tab)
    expect(dialog).to_contain_text("You agreed with 2 cancer hotspots.")
    tab.picture("sign-beyond")
    dialog.get_by_label("Reviewer").fill("A. Reader")
    dialog.get_by_role("button", name="Sign", exact=True).click()
    assert fake.review("slide-1").status == "draft"
    dialog.get_by_label("Reason").fill("reactive")
    dialog.get_by_role("button", name="Sign", exact=True).click()
    expect(tab.page.locator(".signed")).to_contain_text("Agreed with 2 cancer hotspots.")
    assert fake.review("slide-1").agreed_beyond == {"cancer": 2}


@pytest.mark.parametrize(
    ("outcome", "title"), [("no_tissue", "no tissue"), ("tissue_unclear", "tissue unclear")]
)
def test_a_slide_that_nothing_was_scored_on_needs_a_person_and_is_signed_as_not_assessable(
    tab: Tab, fake: Fake, outcome: str, title: str
) -> None:
    fake.scored_slide("negative.svs", 0.01, 0.02)
    slide_id = fake.add_slide("blank.svs")
    fake.add_slide("waiting.svs")
    nothing = {"probabilities": {}, "hotspots": [], "layers": [], "grid": None}
    sentence = "The slide may carry tissue that was not recognized."
    fake.finish(fake.add_job(slide_id, "patch"), 0, outcome=outcome, warnings=[sentence], **nothing)
    tab.open()
    rows = tab.page.locator(".slide-row .name-text a")
    expect(rows).to_have_text(["negative.svs", "blank.svs", "waiting.svs"])
    state = tab.page.locator(".slide-row").nth(1).locator(".cell.state")
    expect(state.locator(".state.person .badge")).to_have_text("Needs attention")
    expect(state).to_contain_text(title)
    expect(tab.page.locator(".count")).to_have_text("3 slides · 1 needs attention")
    tab.picture(f"worklist-{outcome}")
    tab.page.get_by_label("Show slides").select_option("person")
    expect(rows).to_have_text(["blank.svs"])
    tab.page.get_by_role("link", name="blank.svs").click()
    panel = tab.page.locator(".panel")
    expect(panel.locator(".result .outcome")).to_contain_text("nothing was scored")
    expect(panel.locator(".result")).to_contain_text([sentence])
    expect(panel).not_to_contain_text("no suspicious area")
    tab.picture(f"viewer-{outcome}")
    dialog = signing(tab)
    dialog.get_by_label("not assessable").check()
    dialog.get_by_label("Reviewer").fill("A. Reader")
    dialog.get_by_role("button", name="Sign", exact=True).click()
    assert fake.review(slide_id).version == 0 or fake.review(slide_id).status == "draft"
    dialog.get_by_label("Reason why the slide is not assessable").fill("glass only")
    dialog.get_by_role("button", name="Sign", exact=True).click()
    expect(tab.page.locator(".signed")).to_contain_text("not assessable · signed by A. Reader")


@pytest.mark.parametrize(
    ("how", "words"), [("FAILED", "A re-run failed"), ("CANCELLED", "stopped")]
)
def test_a_rerun_that_came_to_nothing_hides_no_result(
    tab: Tab, fake: Fake, how: str, words: str
) -> None:
    open_slide(tab, fake)
    again = fake.add_job("slide-1", "patch")
    if how == "FAILED":
        fake.fail(again, "/srv/models/patch-demo/weights.safetensors: wrong SHA-256")
        fake.jobs[again]["error_kind"] = "model"
    else:
        fake.jobs[again]["status"] = how
    tab.page.reload()
    result = tab.page.locator(".result[data-pipeline=patch]")
    expect(result.locator(".bars")).to_contain_text("98.0 %")
    expect(result).to_contain_text(re.compile(words))
    if how == "FAILED":
        expect(result.get_by_text("The model cannot be used.")).to_be_visible()
        expect(result.get_by_text("/srv/models")).to_be_hidden()
    tab.picture(f"rerun-{how.lower()}")
    tab.open("#/")
    row = tab.page.locator(".slide-row").first
    expect(row.locator(".meter strong")).to_have_text("98.0 %")
    expect(row.locator(".cell.state")).to_contain_text(
        "re-run failed" if how == "FAILED" else "re-run stopped"
    )
    tab.picture(f"worklist-rerun-{how.lower()}")


def decided(fake: Fake) -> None:
    """Both hotspots of the first run are decided, one with a comment."""
    spots = [
        HotspotDecision(job_id="job-1", index=0, decision="agree", comment="invades", seen=True),
        HotspotDecision(job_id="job-1", index=1, decision="disagree", seen=True),
    ]
    fake.save_review("slide-1", ReviewIn(reviewer="A", diagnosis="cancer", hotspots=spots), 0)


def test_scoring_a_signed_slide_again_changes_nothing_that_was_signed(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    decided(fake)
    tab.page.reload()
    expect(tab.page.locator(".hotspot-count")).to_have_text("2 of 2 seen · 2 decided")
    sign(tab, "Sign off", Reviewer="A. Reader")
    expect(tab.page.locator(".signed")).to_contain_text("cancer · signed by A. Reader")
    assert [run.job_id for run in fake.review("slide-1").runs] == ["job-1", "job-2"]
    spots = list(reversed(fake.results["job-1"]["hotspots"]))
    fake.finish(fake.add_job("slide-1", "patch", model="patch-new"), 0.03, hotspots=spots)
    banner = tab.page.locator(".run-banner")
    expect(banner).to_contain_text("A newer run exists: patch (patch-new")
    result = tab.page.locator(".result[data-pipeline=patch]")
    expect(result.locator(".bars")).to_contain_text("98.0 %")
    expect(tab.page.locator(".hotspot-count")).to_have_text("2 of 2 seen · 2 decided")
    tab.picture("signed-newer-run")
    tab.page.reload()
    expect(tab.page.locator(".viewer-page:not(.loading) .hotspot")).to_have_count(2)
    expect(result.locator(".bars")).to_contain_text("98.0 %")
    expect(tab.page.locator(".hotspot-count")).to_have_text("2 of 2 seen · 2 decided")
    banner.get_by_role("button", name="Show the newer run").click()
    expect(result.locator(".bars")).to_contain_text("3.0 %")
    banner.get_by_role("button", name="Show the signed run").click()
    expect(result.locator(".bars")).to_contain_text("98.0 %")
    banner.get_by_role("button", name="Compare").click()
    expect(tab.page.locator(".pane")).to_have_count(2)
    tab.picture("signed-compare")


def test_decisions_that_are_not_signed_move_to_a_newer_run_by_their_outlines(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    decided(fake)
    first, second = fake.results["job-1"]["hotspots"]
    away = second | {"polygon_level0": [[x + 900, y] for x, y in second["polygon_level0"]]}
    fake.finish(fake.add_job("slide-1", "patch"), 0.9, hotspots=[away, first])
    tab.page.reload()
    earlier = tab.page.locator(".earlier-decisions")
    expect(earlier).to_contain_text("2 decisions belong to an earlier run")
    tab.picture("earlier-decisions")
    earlier.get_by_role("button", name="Take over 1 that overlap").click()
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    saved = {(s.job_id, s.index): s for s in fake.review("slide-1").hotspots}
    assert (saved["job-3", 1].decision, saved["job-3", 1].comment) == ("agree", "invades")
    assert saved["job-1", 1].decision == "disagree"
    expect(earlier).to_contain_text("1 decision belongs to an earlier run")
    earlier.get_by_role("button", name="Show that run").click()
    expect(tab.page.locator(".hotspot-count")).to_have_text("2 of 2 seen · 2 decided")


def test_amending_does_not_widen_the_panel_and_the_keys_are_those_of_the_dialog(
    tab: Tab, fake: Fake
) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    fake.save_review(slide, ReviewIn(reviewer="A", diagnosis="cancer", status="signed"), 0)
    tab.open(f"#/slides/{slide}")
    tab.page.get_by_role("button", name="Amend", exact=True).click()
    expect(tab.page.get_by_role("button", name="Cancel")).to_be_visible()
    tab.picture("amending")
    panel = tab.page.locator(".panel")
    assert panel.evaluate("panel => panel.scrollWidth - panel.clientWidth") <= 0
    parts = panel.locator(".review-actions button").all()
    assert all(part.evaluate("b => b.scrollWidth - b.clientWidth") <= 0 for part in parts)
    tab.page.keyboard.press("?")
    expect(tab.page.get_by_role("dialog")).to_contain_text("Ctrl Enter signs")
