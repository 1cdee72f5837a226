"""The worklist: order, search, uploads, jobs, states; the keyboard alone."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake

pytestmark = pytest.mark.browser


def names(tab: Tab) -> list[str]:
    """Names of the slides in the order in which the rows lie on the page."""
    rows = tab.page.locator(".slide-row").all()
    placed = [(row.bounding_box(), row.locator(".name-text a").inner_text()) for row in rows]
    return [name for box, name in sorted(placed, key=lambda row: row[0]["y"] if row[0] else 0)]


def boxes(parts: Locator) -> list[dict[str, float]]:
    """Where the parts lie on the page."""
    return [part.evaluate("part => part.getBoundingClientRect().toJSON()") for part in parts.all()]


def fill_list(fake: Fake) -> None:
    fake.scored_slide("low.svs", 0.02, 0.04)
    fake.scored_slide("high.svs", 0.31, 0.93)
    fake.add_slide("new.svs")
    fake.scored_slide("middle.svs", 0.42, 0.1)


def test_most_suspicious_slide_comes_first_and_unscored_ones_last(tab: Tab, fake: Fake) -> None:
    fill_list(fake)
    tab.open()
    expect(tab.page.locator(".slide-row")).to_have_count(4)
    assert names(tab) == ["high.svs", "middle.svs", "low.svs", "new.svs"]
    tab.page.get_by_role("button", name="Patch").click()
    assert names(tab) == ["middle.svs", "high.svs", "low.svs", "new.svs"]
    tab.picture("worklist")


def test_search_and_filter_narrow_the_list_and_say_so(tab: Tab, fake: Fake) -> None:
    fill_list(fake)
    tab.open()
    tab.page.get_by_label("Search slides").fill("mid")
    expect(tab.page.locator(".count")).to_have_text("1 of 4 slides")
    tab.page.get_by_label("Show slides").select_option("unscored")
    expect(tab.page.get_by_text("No slide matches")).to_be_visible()
    tab.page.get_by_role("button", name="Show all slides").click()
    expect(tab.page.locator(".count")).to_have_text("4 slides")


def test_thousands_of_slides_keep_few_rows_in_the_document(tab: Tab, fake: Fake) -> None:
    first = fake.add_slide("s-0000.svs")
    template = fake.slides[first]
    for i in range(1, 3000):
        fake.slides[f"slide-{i + 1}"] = template | {"id": f"slide-{i + 1}", "name": f"s-{i:04}.svs"}
    tab.open()
    expect(tab.page.locator(".count")).to_have_text("3000 slides")
    assert tab.page.locator(".slide-row").count() < 40
    tab.page.get_by_role("grid").focus()
    tab.page.keyboard.press("Tab")
    tab.page.locator(".slide-row").first.focus()
    tab.page.keyboard.press("End")
    expect(tab.page.locator(".slide-row:focus .name-text a")).to_have_text("s-2999.svs")
    assert tab.page.locator(".slide-row").count() < 40


def test_empty_worklist_says_what_to_do(tab: Tab) -> None:
    tab.open()
    expect(tab.page.get_by_text("No slides yet")).to_be_visible()
    expect(tab.page.get_by_role("button", name="Choose slides")).to_be_visible()
    tab.picture("worklist-empty")


def test_uploaded_slide_appears_in_the_list(tab: Tab, fake: Fake, tmp_path: Path) -> None:
    tab.open()
    slide = tmp_path / "sent.svs"
    slide.write_bytes(b"x" * 200_000)
    with tab.page.expect_file_chooser() as chooser:
        tab.page.get_by_role("button", name="Upload slides").click()
    chooser.value.set_files(slide)
    expect(tab.page.locator(".slide-row .name-text a")).to_have_text("sent.svs")
    assert fake.slides["slide-1"]["name"] == "sent.svs"


def test_dropped_slide_without_resolution_asks_for_it(tab: Tab, fake: Fake) -> None:
    fake.upload_mpp = None
    tab.open()
    expect(tab.page.get_by_text("No slides yet")).to_be_visible()
    transfer = tab.page.evaluate_handle(
        "() => { const t = new DataTransfer();"
        " t.items.add(new File(['abc'], 'dropped.svs')); return t; }"
    )
    for event in ("dragover", "drop"):
        tab.page.dispatch_event("body", event, {"dataTransfer": transfer})
    dialog = tab.page.get_by_role("dialog", name="Resolution of dropped.svs")
    dialog.get_by_role("button", name="0.5 (20×)").click()
    dialog.get_by_role("button", name="Save resolution").click()
    expect(tab.page.locator(".name-text")).to_contain_text("0.5 µm/px")
    assert fake.slides["slide-1"]["mpp"] == 0.5


@pytest.mark.usefixtures("console_errors")
def test_refused_upload_shows_the_reason_of_the_service(
    tab: Tab, fake: Fake, tmp_path: Path
) -> None:
    fake.refuse_upload = {"kind": "not_a_slide", "detail": "notes.txt: this is text, no slide"}
    tab.open()
    (tmp_path / "notes.txt").write_text("hello")
    with tab.page.expect_file_chooser() as chooser:
        tab.page.get_by_role("button", name="Upload slides").click()
    chooser.value.set_files(tmp_path / "notes.txt")
    expect(tab.page.get_by_text("notes.txt: this is text, no slide")).to_be_visible()
    tab.picture("upload-refused")


def test_started_jobs_show_progress_and_then_the_probability(tab: Tab, fake: Fake) -> None:
    fake.add_slide("new.svs")
    tab.open()
    tab.page.get_by_role("button", name="Score new.svs").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Start").click()
    expect(tab.page.get_by_text("waiting")).to_have_count(2)
    job = next(j for j in fake.jobs.values() if j["pipeline"] == "patch")
    job.update(status="RUNNING", progress=0.4, stage="scoring patches")
    expect(tab.page.get_by_text("40 %")).to_be_visible()
    expect(tab.page.locator(".state .detail")).to_have_text("scoring patches")
    for job_id in list(fake.jobs):
        fake.finish(job_id, 0.87)
    expect(tab.page.locator(".meter strong")).to_have_text("87.0 %")


@pytest.mark.usefixtures("console_errors")
def test_slide_without_resolution_asks_before_its_job_starts(tab: Tab, fake: Fake) -> None:
    fake.add_slide("old.svs", mpp=None)
    tab.open()
    tab.page.get_by_role("button", name="Score old.svs").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Start").click()
    dialog = tab.page.get_by_role("dialog", name="Resolution of old.svs")
    expect(dialog.get_by_text("has no resolution")).to_be_visible()
    dialog.get_by_label("Micrometres per pixel").fill("0.25")
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_text("waiting")).to_have_count(2)
    assert fake.slides["slide-1"]["mpp"] == 0.25


def test_failed_job_is_marked_with_its_reason(tab: Tab, fake: Fake) -> None:
    slide = fake.add_slide("broken.svs")
    fake.fail(fake.add_job(slide, "patch"), "broken.svs: tile 3,4 does not decode")
    tab.open()
    expect(tab.page.locator(".badge")).to_have_text("Failed")
    expect(tab.page.locator(".detail")).to_have_text("tile 3,4 does not decode")


@pytest.mark.usefixtures("console_errors")
def test_service_away_keeps_the_list_and_comes_back_by_itself(tab: Tab, fake: Fake) -> None:
    fill_list(fake)
    tab.open()
    expect(tab.page.locator(".slide-row")).to_have_count(4)
    fake.away = True
    expect(tab.page.get_by_text("Can't reach the server.")).to_be_visible()
    expect(tab.page.locator(".slide-row")).to_have_count(4)
    tab.picture("worklist-away")
    fake.away = False
    expect(tab.page.get_by_text("Can't reach the server.")).to_be_hidden()


def test_keyboard_alone_finds_selects_and_opens_a_slide(tab: Tab, fake: Fake) -> None:
    fill_list(fake)
    tab.open()
    expect(tab.page.locator(".slide-row")).to_have_count(4)
    tab.page.keyboard.press("ArrowDown")
    expect(tab.page.locator(".slide-row:focus .name-text a")).to_have_text("high.svs")
    tab.page.keyboard.press("ArrowDown")
    tab.page.keyboard.press("x")
    expect(tab.page.locator(".slide-row:focus")).to_have_attribute("aria-selected", "true")
    expect(tab.page.get_by_role("button", name="Score selected")).to_be_enabled()
    tab.page.keyboard.press("/")
    expect(tab.page.get_by_label("Search slides")).to_be_focused()
    tab.page.keyboard.type("low")
    tab.page.keyboard.press("Enter")
    expect(tab.page).to_have_url(re.compile("#/slides/slide-1$"))


@pytest.mark.usefixtures("console_errors")
def test_ended_session_asks_for_the_key_and_goes_on(tab: Tab, fake: Fake) -> None:
    fill_list(fake)
    fake.key = "wsk_right"
    tab.open()
    dialog = tab.page.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("Access key").fill("wsk_wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_text("this key is not valid")).to_be_visible()
    dialog.get_by_label("Access key").fill("wsk_right")
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator(".slide-row")).to_have_count(4)


@pytest.mark.parametrize(
    "tab", [{"viewport": {"width": width, "height": 800}} for width in (1280, 1100, 850)],
    indirect=True,
)  # fmt: skip
def test_list_without_any_result_keeps_its_columns(tab: Tab, fake: Fake) -> None:
    fake.models.clear()
    fake.add_slide("first.svs", mpp=None)
    tab.open()
    row = tab.page.locator(".slide-row")
    expect(row).to_have_count(1)
    heads = boxes(tab.page.locator(".row-head > *"))
    middles = [box["y"] + box["height"] / 2 for box in heads]
    assert max(middles) - min(middles) < 2
    assert [(box["x"], box["width"]) for box in heads] == [
        (box["x"], box["width"]) for box in boxes(row.locator("> *"))
    ]
    assert heads[-1]["width"] >= 34
    row.get_by_role("button", name="Enter resolution").click()
    expect(tab.page.get_by_role("dialog", name="Resolution of first.svs")).to_be_visible()
