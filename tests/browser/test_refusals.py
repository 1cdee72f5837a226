"""Changes that the service refuses: each says why, and is kept until the reader decides."""

import json

import pytest
from playwright.sync_api import Locator, expect

from service.reviews.schemas import HotspotDecision, ReviewIn
from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake
from tests.browser.test_accessibility import violations
from tests.browser.test_annotations import SLIDE, draw_box, marks, saved
from tests.browser.test_review import choose, sign
from tests.browser.test_viewer import open_slide

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("console_errors")]

FORBIDDEN = (403, "forbidden", "a viewer may not do this")


def notice(tab: Tab) -> Locator:
    return tab.page.locator(".refusal:visible")


def test_forbidden_decision_is_kept_over_a_reload_and_sent_on_another_try(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    fake.refuse_changes = FORBIDDEN
    for key in ("n", "x"):
        tab.page.keyboard.press(key)
    expect(notice(tab)).to_contain_text("Not saved: your decision on a hotspot. A viewer may not")
    assert violations(tab) == []
    tab.page.reload()
    expect(notice(tab)).to_contain_text("A viewer may not do this.")
    tab.picture("refused-forbidden")
    fake.refuse_changes = None
    notice(tab).get_by_role("button", name="Try again").click()
    expect(notice(tab)).to_have_count(0)
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    assert fake.review(SLIDE).hotspots[0].decision == "disagree"


def test_invalid_comment_can_be_discarded(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    fake.refuse_changes = (422, "invalid", "comment: no such letter")
    comment = tab.page.get_by_label("Comment", exact=True)
    comment.fill("odd")
    expect(notice(tab)).to_contain_text("Not saved: your comment. Comment: no such letter.")
    tab.page.keyboard.press("Tab")
    notice(tab).get_by_role("button", name="Discard").click()
    expect(notice(tab)).to_have_count(0)
    expect(comment).to_have_value("")
    assert tab.page.evaluate("localStorage.getItem('wholeslide.unsaved.slide-1')") is None


@pytest.mark.parametrize(
    ("button", "diagnosis"), [("Keep mine", "cancer"), ("Take theirs", "benign")]
)
def test_two_diagnoses_at_once_are_the_readers_to_settle(
    tab: Tab, fake: Fake, button: str, diagnosis: str
) -> None:
    open_slide(tab, fake)
    tab.page.wait_for_load_state("networkidle")
    fake.away = True
    for key in ("n", "y"):
        tab.page.keyboard.press(key)
    group = tab.page.get_by_role("group", name="Diagnosis")
    group.get_by_role("button", name="cancer").click()
    expect(tab.page.locator(".save-state")).to_contain_text("can't reach the server")
    other = HotspotDecision(job_id="job-1", index=1, decision="unsure")
    theirs = ReviewIn(reviewer="B. Reader", diagnosis="benign", hotspots=[other])
    fake.save_review(SLIDE, theirs, 0)
    fake.away = False
    expect(notice(tab)).to_contain_text("The diagnosis: B. Reader put “benign”, you “cancer”.")
    assert fake.review(SLIDE).diagnosis == "benign"
    tab.picture("refused-conflict")
    notice(tab).get_by_role("button", name=button).click()
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    review = fake.review(SLIDE)
    assert review.diagnosis == diagnosis
    # What does not clash of both is kept either way.
    assert {spot.index: spot.decision for spot in review.hotspots} == {0: "agree", 1: "unsure"}


def test_change_to_a_review_that_somebody_signed_becomes_an_amendment_or_nothing(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    tab.page.wait_for_load_state("networkidle")
    fake.away = True
    for key in ("n", "x"):
        tab.page.keyboard.press(key)
    expect(tab.page.locator(".save-state")).to_contain_text("can't reach the server")
    # With a reason: a save laid over it would pass as an amendment that nobody signed.
    signed = ReviewIn(status="signed", reviewer="B", diagnosis="benign", reason="a follicle")
    fake.save_review(SLIDE, signed, 0)
    fake.away = False
    expect(notice(tab)).to_contain_text("B signed this review in the meantime.")
    assert len(fake.reviews[SLIDE]) == 1
    tab.picture("refused-signed")
    notice(tab).get_by_role("button", name="Add as amendment").click()
    sign(tab, "Sign amendment", Reviewer="A", **{"Reason for the amendment": "seen again"})
    expect(tab.page.locator(".signed")).to_contain_text("benign · amended by A")
    expect(notice(tab)).to_have_count(0)
    assert fake.review(SLIDE).hotspots[0].decision == "disagree"


def test_signature_over_a_diagnosis_changed_meanwhile_is_stopped(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    choose(tab, "cancer")
    tab.page.keyboard.press("e")
    dialog = tab.page.get_by_role("dialog", name="Sign off")
    dialog.get_by_label("Reviewer").fill("A")
    fake.save_review(SLIDE, ReviewIn(reviewer="B", diagnosis="benign"), 1)
    dialog.get_by_role("button", name="Sign", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("B put “benign”, you “cancer”.")
    assert fake.review(SLIDE).status == "draft"
    tab.page.keyboard.press("Escape")
    benign = tab.page.get_by_role("group", name="Diagnosis").get_by_role("button", name="benign")
    expect(benign).to_have_attribute("aria-pressed", "true")
    expect(notice(tab)).to_have_count(0)


def test_refused_annotation_is_tried_again_or_discarded(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    fake.refuse_changes = FORBIDDEN
    draw_box(tab)
    expect(notice(tab)).to_contain_text("Not saved: an annotation. A viewer may not do this")
    tab.picture("refused-annotation")
    fake.refuse_changes = None
    notice(tab).get_by_role("button", name="Try again").click()
    saved(tab)
    assert len(marks(fake)) == 1
    fake.refuse_changes = FORBIDDEN
    tab.page.keyboard.press("Delete")
    notice(tab).get_by_role("button", name="Discard").click()
    expect(notice(tab)).to_have_count(0)
    expect(tab.page.locator(".mark")).to_have_count(1)
    kept = tab.page.evaluate("JSON.stringify(Object.keys(localStorage))")
    assert not [key for key in json.loads(kept) if key.startswith("wholeslide.mark.")]


def test_keep_mine_overwrites_nothing_that_its_notice_did_not_name(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.wait_for_load_state("networkidle")
    fake.away = True
    group = tab.page.get_by_role("group", name="Diagnosis")
    group.get_by_role("button", name="cancer").click()
    expect(tab.page.locator(".save-state")).to_contain_text("can't reach the server")
    fake.save_review(SLIDE, ReviewIn(reviewer="B. Reader", diagnosis="benign"), 0)
    fake.away = False
    expect(notice(tab)).to_contain_text("The diagnosis: B. Reader put “benign”, you “cancer”.")
    tab.page.get_by_label("Comment", exact=True).fill("mine")
    theirs = ReviewIn(reviewer="B. Reader", diagnosis="benign", comment="theirs")
    fake.save_review(SLIDE, theirs, 1)
    keep = notice(tab).get_by_role("button", name="Keep mine")
    keep.click()
    expect(notice(tab)).to_contain_text("The comment: B. Reader put “theirs”, you “mine”.")
    assert fake.review(SLIDE).comment == "theirs"
    keep.click()
    expect(tab.page.locator(".save-state")).to_have_text("Saved")
    review = fake.review(SLIDE)
    assert (review.diagnosis, review.comment) == ("cancer", "mine")


def test_error_of_a_slide_goes_away_when_another_slide_is_opened(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    other = fake.scored_slide("other.svs", 0.2, 0.1)
    fake.results.pop("job-1")
    tab.open(f"#/slides/{slide}")
    said = tab.page.locator(".toast.error")
    expect(said).to_contain_text("Could not load the patch result")
    tab.page.evaluate("location.hash = '#/'")
    expect(tab.page.locator(".slide-row")).to_have_count(2)
    expect(said).to_have_count(1)
    tab.page.evaluate(f"location.hash = '#/slides/{other}'")
    expect(tab.page.locator(".viewer-page:not(.loading)")).to_be_visible()
    expect(said).to_have_count(0)
