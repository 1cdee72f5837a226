"""A resolution can be given, corrected and doubted in the page."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Tab
from tests.browser.fake_service import Fake


def send(tab: Tab, folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(name.encode())
    with tab.page.expect_file_chooser() as chooser:
        tab.page.get_by_role("button", name="Upload slides").click()
    chooser.value.set_files([folder / name for name in names])


def test_slides_without_resolution_stop_no_upload_and_are_asked_for_in_one_dialog(
    tab: Tab, fake: Fake, tmp_path: Path
) -> None:
    fake.upload_mpp = None
    tab.open()
    send(tab, tmp_path, "a.svs", "b.svs", "c.svs")
    dialog = tab.page.get_by_role("dialog", name="Resolution of 3 slides")
    expect(dialog).to_be_visible()
    assert len(fake.slides) == 3
    dialog.get_by_role("button", name="0.5 (20\u00d7)").click()
    dialog.get_by_label("Micrometres per pixel").nth(1).fill("0.25")
    dialog.get_by_role("button", name="Save resolution").click()
    expect(dialog).to_have_count(0)
    expect(tab.page.get_by_text("0.25 \u00b5m/px")).to_have_count(1)
    assert sorted(slide["mpp"] for slide in fake.slides.values()) == [0.25, 0.5, 0.5]


def test_a_resolution_is_corrected_against_the_file_only_where_the_reader_insists(
    tab: Tab, fake: Fake
) -> None:
    slide = fake.add_slide("wrong.svs")
    tab.open()
    tab.page.get_by_role("button", name="0.5 \u00b5m/px").click()
    dialog = tab.page.get_by_role("dialog", name="Resolution of wrong.svs")
    dialog.get_by_label("Micrometres per pixel").fill("0.25")
    expect(dialog.get_by_text("areas 0.25 times what they are now")).to_be_visible()
    dialog.get_by_role("button", name="Save resolution").click()
    assert fake.slides[slide]["mpp"] == 0.5
    dialog.get_by_label("The file is wrong, use this").check()
    dialog.get_by_role("button", name="Save resolution").click()
    expect(tab.page.get_by_role("button", name="0.25 \u00b5m/px")).to_be_visible()
    tab.page.get_by_role("button", name="0.25 \u00b5m/px").click()
    tab.page.get_by_role("button", name="Use the file\u2019s own").click()
    expect(tab.page.get_by_role("button", name="0.5 \u00b5m/px")).to_be_visible()


def test_an_implausible_resolution_offers_setting_one(tab: Tab, fake: Fake) -> None:
    slide = fake.add_slide("printed.tif", mpp=None)
    fake.slides[slide].update(stated_mpp=84.6667, mpp_problem="it is 300 dpi")
    tab.open()
    tab.page.get_by_role("button", name="Enter resolution").click()
    dialog = tab.page.get_by_role("dialog", name="Resolution of printed.tif")
    expect(dialog.get_by_text("states 84.67 \u00b5m/px, which is implausible")).to_be_visible()
    dialog.get_by_label("Micrometres per pixel").fill("0.5")
    dialog.get_by_role("button", name="Save resolution").click()
    expect(tab.page.get_by_role("button", name="0.5 \u00b5m/px")).to_be_visible()


def test_a_file_that_states_nothing_is_not_called_wrong(tab: Tab, fake: Fake) -> None:
    slide = fake.add_slide("bare.svs", mpp=None)
    tab.open()
    tab.page.get_by_role("button", name="Enter resolution").click()
    dialog = tab.page.get_by_role("dialog", name="Resolution of bare.svs")
    field = dialog.get_by_label("Micrometres per pixel")
    field.fill("50")
    expect(dialog.get_by_label("This unusual value is right")).to_be_visible()
    expect(dialog.get_by_text("The file is wrong")).to_have_count(0)
    field.fill("5.5")
    expect(dialog.get_by_role("checkbox")).to_be_hidden()
    dialog.get_by_role("button", name="Save resolution").click()
    expect(tab.page.get_by_role("button", name="5.5 \u00b5m/px")).to_be_visible()
    assert fake.slides[slide]["mpp"] == 5.5


def test_powers_are_grey_without_resolution_and_marked_beyond_the_files_own(
    tab: Tab, fake: Fake
) -> None:
    bare = fake.add_slide("bare.svs", mpp=None)
    tab.open(f"#/slides/{bare}")
    power = tab.page.get_by_role("button", name="20 times magnification")
    expect(power).to_be_disabled()
    tab.page.get_by_role("button", name="Enter resolution").click()
    tab.page.get_by_label("Micrometres per pixel").fill("0.5")
    tab.page.get_by_role("button", name="Save resolution").click()
    expect(power).to_be_enabled()
    beyond = tab.page.get_by_role("button", name="40 times magnification, enlarged")
    beyond.click()
    expect(tab.page.get_by_label("Magnification", exact=True)).to_have_text(
        "40\u00d7 (2\u00d7 digital)"
    )
