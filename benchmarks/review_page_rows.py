"""The worklist with 5,000 slides: the answers of the service are made up, the page is real."""

import json
import random
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, Route

from benchmarks.browser import DESKTOP, frames

COUNT = 5000


def _slides() -> list[dict[str, Any]]:
    random.seed(0)
    return [_slide(number) for number in range(COUNT)]


def _slide(number: int) -> dict[str, Any]:
    results = []
    for pipeline in ("patch", "whole-slide"):
        cancer = random.random()
        results.append(
            {
                "job_id": f"job-{number}-{pipeline}",
                "pipeline": pipeline,
                "model": f"{pipeline}-demo",
                "status": "SUCCEEDED",
                "progress": 1.0,
                "stage": "",
                "outcome": "scored",
                "probabilities": {"benign": 1 - cancer, "cancer": cancer},
                "classes": ["benign", "cancer"],
                "error": None,
                "finished_at": "2026-01-05T09:30:00Z",
            }
        )
    return {
        "id": f"slide-{number}",
        "name": f"case-{number:04}.svs",
        "sha256": f"{number:064x}",
        "size_bytes": 800_000_000,
        "vendor": "aperio",
        "width": 80_000,
        "height": 60_000,
        "levels": 4,
        "mpp": 0.25,
        "magnification": 40.0,
        "created_at": "2026-01-05T09:30:00Z",
        "results": results,
        "quality": {"flagged": False, "usable_share": 0.9, "shares": {"blur": 0.07}},
        "review": None,
    }


def many_rows(browser: Browser, url: str) -> dict[str, Any]:
    """How long until all rows are there, and after a letter in the search; frames of a scroll."""
    slides = _slides()

    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        offset, limit = (int(query.get(name, ["0"])[0]) for name in ("offset", "limit"))
        body = {"items": slides[offset : offset + limit], "total": COUNT}
        route.fulfill(body=json.dumps(body), content_type="application/json")

    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.route("**/api/v1/slides?*", answer)
    page.route("**/thumbnail.jpg*", lambda route: route.fulfill(status=404))
    started = time.perf_counter()
    page.goto(f"{url}/#/")
    page.get_by_text(f"{COUNT} slides", exact=True).wait_for()
    loaded = time.perf_counter() - started
    page.mouse.move(600, 400)

    def scroll() -> None:
        for _ in range(80):
            page.mouse.wheel(0, 900)

    scrolled = frames(page, scroll)
    search = page.get_by_label("Search slides")
    search_ms = search.evaluate(
        """(field) => new Promise((done) => {
          const started = performance.now();
          field.value = 'case-49';
          field.dispatchEvent(new Event('input'));
          const end = () => done(performance.now() - started);
          requestAnimationFrame(() => requestAnimationFrame(end));
        })"""
    )
    context.close()
    return {"all_loaded_s": loaded, "scroll": scrolled, "search_ms": search_ms}
