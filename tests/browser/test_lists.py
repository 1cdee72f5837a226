"""The worklist's batches, quality, reviewers and resumable uploads; the way through it by key."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Request, Route, expect

from service.reviews.schemas import ReviewIn
from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake
from tests.browser.test_worklist import fill_list, names

pytestmark = pytest.mark.browser


def test_selected_slides_start_as_a_batch_whose_failures_are_tried_again(
    tab: Tab, fake: Fake
) -> None:
    for name in ("a.svs", "b.svs", "other.svs"):
        fake.add_slide(name)
    fake.add_slide("c.svs", mpp=None)
    tab.open()
    for name in ("a.svs", "b.svs", "c.svs"):
        tab.page.get_by_label(f"Select {name}").check()
    tab.page.get_by_role("button", name="Score selected").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Start").click()
    counts = tab.page.locator(".batch-counts")
    expect(counts).to_have_text("4 waiting · 2 refused")
    expect(tab.page.locator(".slide-row")).to_have_count(3)
    expect(tab.page.locator("[data-id=slide-4] .badge")).to_have_text("Refused")
    tab.picture("batch")
    jobs = list(fake.jobs)
    for job in jobs[:3]:
        fake.finish(job, 0.4)
    fake.fail(jobs[3], "b.svs: tile 3,4 does not decode")
    expect(counts).to_have_text("3 done · 1 failed · 2 refused")
    tab.page.get_by_role("button", name="Retry failed").click()
    expect(counts).to_have_text("3 done · 1 waiting · 2 refused")
    fake.finish(list(fake.jobs)[-1], 0.4)
    expect(counts).to_have_text("4 done · 2 refused")
    tab.page.get_by_label("Batch", exact=True).select_option("")
    expect(tab.page.locator(".slide-row")).to_have_count(4)
    # The reason stays with its row, whatever batch is shown.
    tab.page.reload()
    refused = tab.page.locator("[data-id=slide-4] .cell.state")
    expect(refused).to_have_text("Refusedstates no resolution")


def test_quality_and_reviewer_of_a_slide_stand_in_its_row(tab: Tab, fake: Fake) -> None:
    fill_list(fake)
    shares = {"blur": 0.61, "pen": 0.04, "dust": 0.001}
    fake.quality["slide-1"] = {"flagged": True, "usable_share": 0.35, "shares": shares}
    tab.open()
    row = tab.page.locator("[data-id=slide-1]")
    expect(row.locator(".cell.quality")).to_have_text("Poorout of focus 61 %, pen marks 4 %")
    # Someone else signs: the list hears of it without being loaded again.
    signed = ReviewIn(status="signed", reviewer="B. Reader", diagnosis="benign", reason="seen")
    fake.save_review("slide-1", signed, 0)
    expect(row.locator(".cell.review")).to_have_text("Signedbenign · B. Reader")
    tab.page.get_by_label("Show slides").select_option("unsigned")
    expect(tab.page.locator(".slide-row")).to_have_count(3)
    tab.page.get_by_label("Show slides").select_option("poor")
    expect(tab.page.locator(".slide-row")).to_have_count(1)


def test_keys_go_through_the_list_as_it_was_filtered_and_sorted(tab: Tab, fake: Fake) -> None:
    fill_list(fake)
    tab.open()
    tab.page.get_by_label("Show slides").select_option("scored")
    tab.page.get_by_role("button", name="Patch").click()
    assert names(tab) == ["middle.svs", "high.svs", "low.svs"]
    tab.page.get_by_role("link", name="middle.svs").click()
    title = tab.page.locator(".slide-title h1")
    expect(title).to_have_text("middle.svs")
    expect(tab.page.locator(".steps")).to_have_text("1 of 3")
    tab.page.keyboard.press("N")
    expect(title).to_have_text("high.svs")
    tab.page.reload()
    expect(title).to_have_text("high.svs")
    tab.page.keyboard.press("N")
    expect(title).to_have_text("low.svs")
    tab.page.keyboard.press("N")
    expect(tab.page.get_by_text("This is the last slide of the worklist.")).to_be_visible()
    tab.page.keyboard.press("P")
    expect(title).to_have_text("high.svs")
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator(".slide-row:focus .name-text a")).to_have_text("high.svs")
    assert names(tab) == ["middle.svs", "high.svs", "low.svs"]
    expect(tab.page.get_by_label("Show slides")).to_have_value("scored")


def test_a_model_may_be_chosen_for_a_job(tab: Tab, fake: Fake) -> None:
    fake.add_slide("new.svs")
    fake.models.append(fake.models[0] | {"name": "patch-old"})
    tab.open()
    tab.page.get_by_role("button", name="Score new.svs").click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_label("Model of the patch pipeline").select_option("patch-old")
    dialog.get_by_label("Whole slide").uncheck()
    dialog.get_by_role("button", name="Start").click()
    expect(tab.page.get_by_text("waiting")).to_have_count(1)
    assert [job["model"] for job in fake.jobs.values()] == ["patch-old"]


@pytest.mark.usefixtures("console_errors")
def test_broken_upload_goes_on_where_it_stopped_after_a_reload(
    tab: Tab, fake: Fake, tmp_path: Path
) -> None:
    slide = tmp_path / "large.svs"
    slide.write_bytes(bytes(range(256)) * 40_000)  # Two pieces.
    offsets: list[int] = []
    mended: list[bool] = []

    def pass_on(route: Route, request: Request) -> None:
        if request.method == "PATCH":
            offsets.append(int(request.headers["upload-offset"]))
        # From the second piece on nothing arrives: the connection is broken.
        if len(offsets) > 1 and not mended:
            route.abort()
        else:
            route.continue_()

    def choose() -> None:
        with tab.page.expect_file_chooser() as chooser:
            tab.page.get_by_role("button", name="Upload slides").click()
        chooser.value.set_files(slide)

    tab.page.route(re.compile("/uploads/upload-1$"), pass_on)
    tab.page.on("dialog", lambda dialog: dialog.accept())
    tab.open()
    choose()
    tab.page.wait_for_function("() => document.querySelector('.uploads progress')?.value > 70")
    expect(tab.page.get_by_text("interrupted, trying again")).to_be_visible()
    tab.page.reload()
    mended.append(True)
    expect(tab.page.get_by_text("Interrupted. Select the file again to resume.")).to_be_visible()
    tab.picture("upload-interrupted")
    choose()
    expect(tab.page.locator(".slide-row .name-text a")).to_have_text("large.svs")
    expect(tab.page.locator(".interrupted")).to_have_count(0)
    assert fake.uploads["upload-1"].data == slide.read_bytes()
    assert len(fake.uploads) == 1
    assert offsets[-1] == 8 << 20


def test_nothing_jumps_while_list_and_slide_load(tab: Tab, fake: Fake) -> None:
    fill_list(fake)
    tab.page.add_init_script(
        "window.jumps = 0; new PerformanceObserver((list) => {"
        " for (const e of list.getEntries()) if (!e.hadRecentInput) window.jumps += e.value; })"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    for place, ready in (("#/", ".slide-row"), ("#/slides/slide-2", ".hotspot")):
        tab.page.goto("about:blank")
        tab.open(place)
        expect(tab.page.locator(ready).first).to_be_visible()
        tab.page.wait_for_load_state("networkidle")
        assert tab.page.evaluate("window.jumps") < 0.1, place
