"""Drawing in the page: tools by mouse and by key, editing, undo, others, lost connection, files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from service.annotations.schemas import AnnotationOut
from service.reviews.schemas import ReviewIn
from tests.browser.conftest import Server, Tab, open_tab
from tests.browser.fake_service import Fake
from tests.browser.test_accessibility import violations
from tests.browser.test_viewer import open_slide, settle

pytestmark = pytest.mark.browser

SLIDE = "slide-1"


def at(tab: Tab, x: float, y: float) -> tuple[float, float]:
    """A place of the view, by shares of its width and height, in pixels of the window."""
    box = tab.page.locator(".pane").first.bounding_box()
    assert box
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(tab: Tab, *places: tuple[float, float]) -> None:
    """Press at the first place, let go at the last."""
    tab.page.mouse.move(*at(tab, *places[0]))
    tab.page.mouse.down()
    for place in places[1:]:
        tab.page.mouse.move(*at(tab, *place), steps=4)
    tab.page.mouse.up()


def click(tab: Tab, *places: tuple[float, float]) -> None:
    for place in places:
        tab.page.mouse.click(*at(tab, *place))


def saved(tab: Tab) -> None:
    """Wait until the service has everything; the page shows a change at its next frame."""
    tab.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done()))")
    expect(tab.page.locator(".mark-status")).to_have_text("Saved")


def marks(fake: Fake) -> list[AnnotationOut]:
    return fake.annotations.shown(SLIDE)


def rows(tab: Tab) -> Locator:
    return tab.page.locator(".mark")


def draw_box(tab: Tab, left: float = 0.35, top: float = 0.35) -> None:
    tab.page.keyboard.press("b")
    drag(tab, (left, top), (left + 0.2, top + 0.2))
    tab.page.keyboard.press("Escape")


def test_every_tool_draws_by_mouse_and_survives_a_reload(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.get_by_role("button", name="Polygon").click()
    click(tab, (0.3, 0.3), (0.45, 0.3), (0.4, 0.45))
    tab.page.mouse.dblclick(*at(tab, 0.3, 0.42))
    tab.page.get_by_role("button", name="Freehand").click()
    drag(tab, (0.55, 0.3), (0.65, 0.28), (0.7, 0.4), (0.6, 0.45), (0.55, 0.32))
    tab.page.get_by_role("button", name="Rectangle").click()
    drag(tab, (0.3, 0.6), (0.5, 0.75))
    tab.page.get_by_role("button", name="Point").click()
    click(tab, (0.6, 0.6))
    tab.page.get_by_role("button", name="Length").click()
    drag(tab, (0.55, 0.7), (0.7, 0.7))
    expect(rows(tab)).to_have_count(5)
    saved(tab)
    kinds = [mark.geometry["type"] for mark in marks(fake)]
    assert kinds == ["Polygon", "Polygon", "Polygon", "Point", "LineString"]
    assert [len(mark.geometry["coordinates"][0]) for mark in marks(fake)[:3:2]] == [5, 5]
    assert 5 <= len(marks(fake)[1].geometry["coordinates"][0]) < 20
    (x0, y0), (x1, y1) = marks(fake)[4].geometry["coordinates"]
    um = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5 * 0.5
    expect(rows(tab).first).to_contain_text(re.compile(r"Length.*\d (µm|mm) · you", re.DOTALL))
    shown = rows(tab).first.locator(".quiet").inner_text().split(" ")
    assert float(shown[0]) * (1000 if shown[1] == "mm" else 1) == pytest.approx(um, rel=0.01)
    tab.page.keyboard.press("Escape")
    tab.picture("annotations-tools")
    tab.page.reload()
    expect(rows(tab)).to_have_count(5)


def test_a_shape_lies_where_it_was_drawn_however_the_slide_is_turned(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press("r")
    tab.page.keyboard.press("4")
    expect(tab.page.locator(".power")).to_have_text("20×")
    settle(tab)
    tab.page.keyboard.press("i")
    click(tab, (0.5, 0.5))
    saved(tab)
    tab.page.keyboard.press("Escape")
    # The middle of the view is the middle of the slide.
    x, y = marks(fake)[0].geometry["coordinates"]
    assert (x, y) == pytest.approx((2048, 1536), abs=8)


def test_drawing_by_keyboard_alone(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.keyboard.press("b")
    expect(tab.page.get_by_text("arrow keys move the crosshair")).to_be_attached()
    tab.page.keyboard.press("Space")
    for key in ("ArrowRight", "ArrowDown"):
        for _ in range(8):
            tab.page.keyboard.press(key)
    tab.picture("annotations-keyboard")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("a")
    for arrows in (["ArrowLeft"] * 9, ["ArrowUp"] * 9, ["ArrowRight"] * 9):
        for key in arrows:
            tab.page.keyboard.press(key)
        tab.page.keyboard.press("Space")
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Escape")
    saved(tab)
    first, second = marks(fake)
    assert [len(mark.geometry["coordinates"][0]) for mark in (first, second)] == [5, 4]
    (x0, y0), (x1, y1) = first.geometry["coordinates"][0][:3:2]
    assert x1 - x0 == pytest.approx(y1 - y0, rel=0.01)
    # The chosen one is moved, corner by corner and as a whole.
    tab.page.keyboard.press("v")
    tab.page.keyboard.press("Alt+ArrowLeft")
    tab.page.keyboard.press("Shift+V")
    tab.page.keyboard.press("Alt+ArrowUp")
    saved(tab)
    moved = marks(fake)[-1].geometry["coordinates"][0]
    before = second.geometry["coordinates"][0]
    shifts = [(round(b[0] - a[0]), round(b[1] - a[1])) for a, b in zip(before, moved, strict=True)]
    assert shifts[0][0] < 0
    assert {dx for dx, _ in shifts[1:3]} == {0}
    assert len({dy for _, dy in shifts}) == 1
    assert shifts[0][1] < 0
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("Delete")
    saved(tab)
    assert len(marks(fake)) == 1


def test_corners_are_pulled_put_in_and_taken_out_and_the_whole_is_moved(
    tab: Tab, fake: Fake
) -> None:
    open_slide(tab, fake)
    draw_box(tab)
    saved(tab)
    before = marks(fake)[0].geometry["coordinates"][0]
    drag(tab, (0.35, 0.35), (0.3, 0.3))
    saved(tab)
    pulled = marks(fake)[0].geometry["coordinates"][0]
    assert pulled[0][0] < before[0][0]
    assert pulled[2] == before[2]
    drag(tab, (0.55, 0.45), (0.6, 0.45))
    saved(tab)
    assert len(marks(fake)[0].geometry["coordinates"][0]) == 6
    drag(tab, (0.45, 0.425), (0.5, 0.5))
    tab.picture("annotations-edit")
    for _ in range(3):
        tab.page.keyboard.press("z")
    saved(tab)
    assert marks(fake)[0].geometry["coordinates"][0] == before
    tab.page.keyboard.press("Shift+Z")
    saved(tab)
    assert marks(fake)[0].geometry["coordinates"][0] == pulled


def test_class_comment_delete_and_undo(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    tab.page.get_by_label("Class of new annotations").select_option("benign")
    tab.page.get_by_label("Class of new annotations").press("Escape")
    draw_box(tab)
    saved(tab)
    assert marks(fake)[0].class_name == "benign"
    tab.page.keyboard.press("g")
    expect(tab.page.get_by_label("Class of this annotation")).to_be_focused()
    tab.page.get_by_label("Class of this annotation").select_option("New class…")
    tab.page.get_by_label("Name of the class").fill("my own")
    tab.page.keyboard.press("Enter")
    saved(tab)
    tab.page.locator(".pane .openseadragon-canvas").first.focus()
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.type("invades the muscle")
    tab.page.keyboard.press("Enter")
    saved(tab)
    mark = marks(fake)[0]
    assert (mark.class_name, mark.comment) == ("my own", "invades the muscle")
    # What is typed is not one version a letter.
    assert mark.version <= 4
    tab.page.keyboard.press("Delete")
    expect(rows(tab)).to_have_count(0)
    saved(tab)
    assert marks(fake) == []
    tab.page.keyboard.press("Control+z")
    expect(rows(tab)).to_have_count(1)
    tab.page.keyboard.press("z")
    saved(tab)
    assert marks(fake)[0].comment == ""
    tab.page.get_by_role("button", name="Redo").click()
    saved(tab)
    assert marks(fake)[0].comment == "invades the muscle"
    history = [version.deleted for version in fake.annotations.versions]
    assert history.count(True) == 1


def test_a_click_chooses_and_a_drag_still_moves_the_slide(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    draw_box(tab)
    click(tab, (0.8, 0.8))
    expect(tab.page.locator(".mark[aria-current]")).to_have_count(0)
    click(tab, (0.5, 0.5))
    expect(tab.page.locator(".mark[aria-current]")).to_have_count(1)
    tab.page.keyboard.press("3")
    drag(tab, (0.85, 0.8), (0.6, 0.6))
    saved(tab)
    assert len(fake.annotations.versions) == 1
    tab.page.keyboard.press("w")
    expect(tab.page.get_by_label("Show", exact=True)).not_to_be_checked()


@pytest.mark.usefixtures("console_errors")
def test_what_is_drawn_while_the_service_is_away_is_kept_and_sent(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    draw_box(tab)
    saved(tab)
    fake.away = True
    draw_box(tab, 0.6, 0.3)
    tab.page.get_by_label("Comment on this annotation").fill("offline")
    tab.page.locator(".mark").nth(1).click()
    tab.page.keyboard.press("Delete")
    status = tab.page.locator(".mark-status")
    expect(status).to_have_text("Offline: 2 not sent")
    expect(rows(tab).first).to_contain_text("not sent")
    tab.picture("annotations-offline")
    fake.away = False
    tab.page.reload()
    saved(tab)
    (mark,) = marks(fake)
    assert mark.comment == "offline"
    assert len(fake.annotations.versions) == 3


@pytest.mark.usefixtures("console_errors")
def test_an_answer_that_is_lost_leaves_one_annotation(tab: Tab, fake: Fake) -> None:
    open_slide(tab, fake)
    lost: list[str] = []

    def lose(route: Any) -> None:
        if route.request.method == "PUT" and not lost:
            lost.append(route.request.url)
            route.fetch()  # The service hears it; the page does not hear the service.
            route.abort()
        else:
            route.continue_()

    tab.page.route("**/annotations/*", lose)
    tab.page.keyboard.press("f")
    # A loop that crosses itself, which the service repairs: the retry must be known again.
    drag(tab, (0.3, 0.3), (0.6, 0.6), (0.6, 0.3), (0.3, 0.6))
    saved(tab)
    assert len(lost) == 1
    assert len(fake.annotations.versions) == 1
    assert marks(fake)[0].geometry["type"] == "MultiPolygon"


def test_two_readers_see_each_others_marks_and_overwrite_nothing(
    tab: Tab, fake: Fake, chromium: Browser, fake_server: Server
) -> None:
    open_slide(tab, fake)
    draw_box(tab)
    saved(tab)
    with open_tab(chromium, fake_server.url) as other:
        other.expects_errors = True  # The browser reports each 412.
        other.open(f"#/slides/{SLIDE}")
        expect(rows(other)).to_have_count(1)
        expect(rows(other)).to_contain_text(re.compile("Reader ....$"))
        expect(other.page.locator(".swatch.is-others")).to_have_count(1)
        draw_box(other, 0.6, 0.3)
        expect(rows(tab)).to_have_count(2)
        other.picture("annotations-others")
        # Different things of one annotation go together, the same thing is kept twice.
        hold = "**/annotations?since=*"
        other.page.route(hold, lambda route: route.abort())
        rows(tab).nth(1).click()
        tab.page.get_by_label("Comment on this annotation").fill("theirs")
        expect(tab.page.locator(".mark-status")).to_have_text("Saved")
        rows(other).nth(1).click()
        other.page.get_by_label("Class of this annotation").select_option("stroma")
        other.page.unroute(hold)
        saved(other)
        both = marks(fake)[-1] if marks(fake)[-1].comment else marks(fake)[0]
        assert (both.class_name, both.comment) == ("stroma", "theirs")
        other.page.route(hold, lambda route: route.abort())
        expect(rows(tab).nth(1)).to_contain_text("stroma")
        tab.page.get_by_label("Comment on this annotation").fill("Ann says")
        expect(tab.page.locator(".mark-status")).to_have_text("Saved")
        other.page.get_by_label("Comment on this annotation").fill("Bob says")
        other.page.unroute(hold)
        expect(other.page.get_by_text("Both versions are kept")).to_be_visible()
        saved(other)
        said = sorted(mark.comment for mark in marks(fake))
        assert said == ["", "Ann says", "Bob says"]


def test_a_signed_slide_is_amended_with_a_reason(tab: Tab, fake: Fake) -> None:
    slide = fake.scored_slide("case.svs", 0.98, 0.91)
    signed = ReviewIn(status="signed", reviewer="Ann", diagnosis="cancer")
    fake.save_review(slide, signed, 0)
    tab.open(f"#/slides/{slide}")
    amend = tab.page.get_by_role("button", name="Amend annotations…")
    expect(amend).to_be_visible()
    tab.page.keyboard.press("b")
    dialog = tab.page.get_by_role("dialog", name="Amend annotations")
    dialog.get_by_label("Reason").fill("a second look")
    dialog.get_by_role("button", name="OK").click()
    expect(amend).to_be_hidden()
    draw_box(tab)
    saved(tab)
    assert marks(fake)[0].reason == "a second look"


def test_files_go_out_and_in_and_errors_name_the_feature(
    tab: Tab, fake: Fake, tmp_path: Path
) -> None:
    tab.expects_errors = True  # The browser reports the refused import.
    open_slide(tab, fake)
    draw_box(tab)
    saved(tab)
    with tab.page.expect_download() as download:
        tab.page.get_by_role("link", name="Export").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "case.svs.geojson"
    data = json.loads(path.read_text())
    ring = [[100, 100], [600, 100], [600, 600], [100, 100]]
    mine = {"type": "Polygon", "coordinates": [ring]}
    properties = {"objectType": "annotation", "classification": {"name": "Sarcoma"}}
    data["features"].append({"type": "Feature", "geometry": mine, "properties": properties})
    path.write_text(json.dumps(data))
    tab.page.get_by_role("button", name="Import…").click()
    dialog = tab.page.get_by_role("dialog", name="Import annotations")
    dialog.get_by_label("GeoJSON file").set_input_files(path)
    dialog.get_by_role("button", name="Import").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was imported.")
    expect(dialog.get_by_role("alert")).to_contain_text("feature 2 (Sarcoma)")
    assert violations(tab) == []
    assert len(marks(fake)) == 1
    dialog.get_by_label("Add classes that do not exist yet").check()
    dialog.get_by_role("button", name="Import").click()
    expect(tab.page.get_by_text("1 imported, 1 already present.")).to_be_visible()
    expect(rows(tab)).to_have_count(2)
    assert {mark.class_name for mark in marks(fake)} == {"cancer", "Sarcoma"}


@pytest.mark.parametrize(
    "tab", [{"color_scheme": "dark"}, {"color_scheme": "light"}], indirect=True
)
def test_the_list_has_no_accessibility_violation(
    tab: Tab, fake: Fake, request: pytest.FixtureRequest
) -> None:
    open_slide(tab, fake)
    draw_box(tab)
    draw_box(tab, 0.6, 0.3)
    saved(tab)
    tab.page.keyboard.press("a")
    tab.page.keyboard.press("Escape")
    rows(tab).first.click()
    tab.picture(f"annotations-list-{request.node.callspec.id}")
    assert violations(tab) == []
    tab.page.keyboard.press("?")
    expect(tab.page.get_by_role("dialog", name="Keys")).to_be_visible()
    tab.picture(f"annotations-keys-{request.node.callspec.id}")
