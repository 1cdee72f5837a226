"""The page over the real service and a real worker process: a slide in, its heatmap on screen."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import open_tab
from tests.browser.test_viewer import painted
from tests.integration.deployment import add_toy, deployment
from tests.unit.service.conftest import write_slide

pytestmark = pytest.mark.browser


def test_uploaded_slide_is_scored_and_its_heatmap_drawn(
    chromium: Browser, dist: Path, tmp_path: Path
) -> None:
    slide = write_slide(tmp_path / "uploaded.tif")
    with deployment(tmp_path / "service") as place:
        add_toy(place)
        _, client = place.start_api()
        place.start("workers")
        with open_tab(chromium, str(client.base_url.join("/")).rstrip("/")) as tab:
            tab.page.set_default_timeout(60_000)
            tab.open()
            with tab.page.expect_file_chooser() as chooser:
                tab.page.get_by_role("button", name="Upload slides").click()
            chooser.value.set_files(slide)
            tab.page.get_by_role("button", name="Score uploaded.tif").click()
            tab.page.get_by_role("dialog").get_by_role("button", name="Start").click()
            expect(tab.page.locator(".meter strong")).to_have_text(re.compile("%"), timeout=60_000)
            tab.page.get_by_role("link", name="uploaded.tif").click()
            expect(tab.page.locator(".bar.suspect")).to_contain_text("%")
            tab.page.wait_for_load_state("networkidle")
            assert painted(tab) == 0
            tab.page.get_by_label("Outlines").uncheck()
            tab.page.get_by_label("Threshold").fill("0")
            tab.page.keyboard.press("o")
            tab.page.wait_for_function(
                "() => { const c = document.querySelector('.pane .heat-canvas');"
                " return c.getContext('2d').getImageData(0, 0, c.width, c.height)"
                ".data.some((byte) => byte > 0); }"
            )
            tab.picture("real-service")
            tab.page.keyboard.press("i")
            tab.page.keyboard.press("Space")
            tab.page.keyboard.press("Escape")
            expect(tab.page.locator(".mark")).to_contain_text("point · you")
            expect(tab.page.locator(".mark-status")).to_have_text("Saved")
            tab.page.keyboard.press("e")
            dialog = tab.page.get_by_role("dialog", name="Sign off")
            dialog.get_by_label("cancer").check()
            dialog.get_by_label("Reviewer").fill("A. Reader")
            if dialog.get_by_label("Reason").is_visible():
                dialog.get_by_label("Reason").fill("seen otherwise")
            dialog.get_by_role("button", name="Sign", exact=True).click()
            expect(tab.page.locator(".signed")).to_contain_text("signed by A. Reader")
            slide_id = tab.page.url.rsplit("/", 1)[1]
            (mark,) = client.get(f"slides/{slide_id}/annotations").json()["items"]
            assert mark["geometry"] == {"type": "Point", "coordinates": [300, 300]}
            review = client.get(f"slides/{slide_id}/review").json()
            assert (review["status"], review["diagnosis"]) == ("signed", "cancer")
            assert review["model_calls"][0]["model"] == "toy"
