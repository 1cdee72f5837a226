"""What a report says: one content for screen, print and PDF."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pypdf import PdfReader

from service.context import Context
from service.exports.report import choose_spots, outcome_text
from service.exports.timeline import percent, seen_then, turns
from service.reviews.schemas import HotspotDecision, ModelCall, ReviewOut
from tests.unit.service.conftest import text_of, upload, work_off, write_slide
from tests.unit.service.test_reviews import save
from wsi.geometry import Point
from wsi.jobs import Job
from wsi.storage import Hotspot, SlideResult


@pytest.fixture
def slide_id(client: TestClient, slide_file: Path) -> str:
    return str(upload(client, slide_file)["id"])


def score(client: TestClient, context: Context, slide_id: str, **more: Any) -> str:
    wish = {"slide_id": slide_id, "pipeline": "patch", **more}
    job = client.post("jobs", json=wish).json()
    work_off(context)
    return str(job["id"])


def report(client: TestClient, slide_id: str) -> Any:
    answer = client.get(f"slides/{slide_id}/report")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "private, no-store"
    assert "/api/" not in answer.text
    return answer.json()


def spots(count: int) -> tuple[Hotspot, ...]:
    ring = ((10.0, 10.0), (60.0, 10.0), (60.0, 60.0), (10.0, 10.0))
    return tuple(
        Hotspot(
            polygon_level0=ring,
            centre_level0=Point(30, 30),
            class_name="cancer",
            score=0.9,
            mean_score=0.8,
            area_um2=2e4,
        )
        for _ in range(count)
    )


def with_result(context: Context, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Have every result look like this."""
    original = context.results.of

    def of(job: Job) -> SlideResult:
        return replace(original(job), **changes)

    monkeypatch.setattr(context.results, "of", of)


def test_a_report_lists_every_hotspot_that_something_was_said_of(
    client: TestClient, context: Context, slide_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = score(client, context, slide_id)
    with_result(context, monkeypatch, hotspots=spots(12), warnings=("Look twice.",))
    said = [{"job_id": job_id, "index": at, "decision": "agree", "seen": True} for at in (0, 7)] + [
        {"job_id": job_id, "index": 9, "comment": "crushed", "seen": True}
    ]
    save(client, slide_id, 0, reviewer="A", hotspots=said)
    (run,) = report(client, slide_id)["runs"]
    listed = [(spot["number"], spot["decision"], spot["comment"]) for spot in run["spots"]]
    assert listed == [(1, "agree", ""), (8, "agree", ""), (10, None, "crushed")]
    assert run["spots_note"] == "9 of 12 hotspots were not decided on and are not listed."
    assert run["warnings"] == ["Look twice."]
    assert set(run["probabilities"]) == {"benign", "cancer"}
    pdf = client.get(f"slides/{slide_id}/report.pdf")
    assert pdf.content.startswith(b"%PDF")


def test_where_nothing_was_said_the_first_hotspots_stand_for_all() -> None:
    chosen, note = choose_spots(spots(33), {}, only_decided=False)
    assert chosen == [0, 1, 2]
    assert note == "None of the 33 hotspots was decided on. Listed are the first 3."
    seen = {4: HotspotDecision(job_id="j", index=4, seen=True)}
    assert choose_spots(spots(33), seen, only_decided=False)[0] == [0, 1, 2]
    assert choose_spots(spots(50), {}, only_decided=False, total=131)[1].startswith(
        "None of the 131"
    )
    assert choose_spots((), {}, only_decided=False) == ([], "No hotspots.")


def test_scoring_a_signed_slide_again_leaves_its_report_as_it_was(
    client: TestClient, context: Context, slide_id: str
) -> None:
    first = score(client, context, slide_id)
    spot = {"job_id": first, "index": 0, "decision": "agree", "comment": "invades", "seen": True}
    wish = {"status": "signed", "reviewer": "A", "diagnosis": "cancer", "reason": "seen"}
    assert save(client, slide_id, 0, **wish, hotspots=[spot]).status_code == 200
    before = report(client, slide_id)
    assert before["newer_runs"] == []
    score(client, context, slide_id)
    after = report(client, slide_id)
    assert after["runs"] == before["runs"]
    assert after["runs"][0]["spots"][0]["comment"] == "invades"
    (newer,) = after["newer_runs"]
    assert newer["pipeline"] == "patch"
    assert client.get(f"slides/{slide_id}/report.pdf").status_code == 200


def test_decisions_of_a_draft_stay_in_sight_under_their_earlier_run(
    client: TestClient, context: Context, slide_id: str
) -> None:
    first = score(client, context, slide_id)
    spot = {"job_id": first, "index": 0, "decision": "agree", "seen": True}
    save(client, slide_id, 0, reviewer="A", hotspots=[spot])
    second = score(client, context, slide_id)
    runs = report(client, slide_id)["runs"]
    assert [(run["job_id"], run["earlier"]) for run in runs] == [(second, False), (first, True)]
    assert runs[1]["spots"][0]["decision"] == "agree"
    assert client.get(f"slides/{slide_id}/report.pdf").status_code == 200


def test_a_signed_report_outlives_the_result_it_stands_on(
    client: TestClient, context: Context, slide_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = score(client, context, slide_id)
    wish = {"status": "signed", "reviewer": "A", "diagnosis": "cancer", "reason": "seen"}
    signed = save(client, slide_id, 0, **wish).json()

    def gone(job: Job) -> SlideResult:
        from wsi.errors import StoreError

        raise StoreError("the store is gone")

    monkeypatch.setattr(context.results, "of", gone)
    (run,) = report(client, slide_id)["runs"]
    assert run["job_id"] == job_id
    assert run["probabilities"] == signed["runs"][0]["probabilities"]
    assert "cannot be read any more" in run["warnings"][-1]
    assert client.get(f"slides/{slide_id}/report.pdf").status_code == 200


def test_a_report_says_at_which_resolution_and_who_said_so(
    client: TestClient, context: Context, slide_id: str, tmp_path: Path
) -> None:
    score(client, context, slide_id)
    stated = report(client, slide_id)
    assert stated["resolution"] == "0.5 µm/px, as the file states"
    assert stated["runs"][0]["resolution"] == "0.5 µm/px, as the file states"
    silent = str(upload(client, write_slide(tmp_path / "silent.tif", mpp=None, seed=5))["id"])
    assert report(client, silent)["resolution"] == "unknown"
    client.patch(f"slides/{silent}", json={"mpp": 0.25})
    score(client, context, silent)
    given = report(client, silent)
    assert given["resolution"] == "0.25 µm/px, given by a user"
    assert given["runs"][0]["resolution"] == "0.25 µm/px, given by a user"


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        ("no_tissue", "nothing was scored"),
        ("tissue_unclear", "no tissue was recognized"),
        ("something_else", "was not scored (something else)"),
    ],
)
def test_a_slide_that_nothing_was_scored_on_is_told_so(
    client: TestClient,
    context: Context,
    slide_id: str,
    monkeypatch: pytest.MonkeyPatch,
    outcome: str,
    text: str,
) -> None:
    score(client, context, slide_id)
    nothing = {"outcome": outcome, "probabilities": {}, "layers": (), "hotspots": (), "grid": None}
    with_result(context, monkeypatch, **nothing, hotspot_total=0)
    (run,) = report(client, slide_id)["runs"]
    assert text in run["outcome_text"]
    assert (run["probabilities"], run["spots"], run["spots_note"]) == ({}, [], "")
    assert client.get(f"slides/{slide_id}/report.pdf").status_code == 200
    assert outcome_text("scored") == ""


def test_a_long_report_goes_on_over_pages(
    client: TestClient, context: Context, slide_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = score(client, context, slide_id)
    with_result(context, monkeypatch, hotspots=spots(20))
    said = [{"job_id": job_id, "index": at, "decision": "unsure"} for at in range(20)]
    for number, geometry in enumerate(
        (
            {"type": "Polygon", "coordinates": [[[1, 1], [90, 1], [90, 90], [1, 1]]]},
            {"type": "Point", "coordinates": [5, 5]},
        )
    ):
        answer = client.put(
            f"slides/{slide_id}/annotations/0000000{number}-0000-4000-8000-000000000000",
            json={"geometry": geometry, "class_name": "stroma", "comment": "a\n" * 30},
            headers={"If-Match": '"0"'},
        )
        assert answer.status_code in (200, 201), answer.text
    wish = {
        "reviewer": "A. Reader 山",
        "diagnosis": "benign",
        "reason": "A $lymph$ follicle. " * 60,
    }
    save(client, slide_id, 0, **wish, status="signed", hotspots=said)
    save(client, slide_id, 1, **wish, status="signed", hotspots=said, comment="x " * 900)
    pdf = client.get(f"slides/{slide_id}/report.pdf").content
    assert len(PdfReader(io.BytesIO(pdf)).pages) >= 3
    text = text_of(pdf)
    assert text.count("A $lymph$ follicle.") == 60, "a long reason is not cut"
    assert text.count("x") >= 900, "nor is a word without end"
    assert "A. Reader ?, " in text
    assert all(f" {number}. cancer" in text for number in range(1, 21))
    assert "page 1 of" in text


def version(number: int, **changes: Any) -> ReviewOut:
    return ReviewOut(slide_id="s", version=number, **changes)


def test_the_timeline_has_a_line_for_each_turn_and_hides_what_was_hidden() -> None:
    call = ModelCall(pipeline="patch", model="m", job_id="j", class_name="cancer", probability=1)
    history = [
        version(5, status="signed", reviewer="B", diagnosis="cancer", model_calls=[call]),
        version(4, reviewer="B", diagnosis="cancer", blind=True, comment="x", model_calls=[call]),
        version(3, reviewer="B", diagnosis="cancer", blind=True, model_calls=[call]),
        version(2, reviewer="A", diagnosis="benign", model_calls=[call]),
        version(1, reviewer="A"),
    ]
    rows = turns(history)
    assert [review.version for review in rows] == [2, 3, 5]
    said = "patch: cancer > 99.9 % (m)"
    assert seen_then(rows) == [said, "hidden from the reader", said]
    assert (percent(0), percent(0.5)) == ("< 0.1 %", "50.0 %")
