"""Signatures: by whom, on which results, and what asks for a reason."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from service.context import Context
from service.database import migrate
from service.reviews.rules import Evidence, agreed_beyond, next_version
from service.reviews.schemas import HotspotDecision, ReviewIn, ReviewOut
from tests.unit.service.conftest import upload, work_off
from tests.unit.service.test_reviews import save
from wsi.jobs import create_engine
from wsi.storage import SlideResult


@pytest.fixture
def slide_id(client: TestClient, slide_file: Path) -> str:
    return str(upload(client, slide_file)["id"])


def score(client: TestClient, context: Context, slide_id: str) -> str:
    job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()
    work_off(context)
    return str(job["id"])


def called(client: TestClient, job_id: str) -> str:
    probabilities = client.get(f"jobs/{job_id}/result").json()["probabilities"]
    return str(max(probabilities, key=probabilities.get))


@pytest.mark.parametrize("name", ["1", "12", " 3 ", "?", "1.", "---"])
def test_a_name_without_letters_is_refused(client: TestClient, slide_id: str, name: str) -> None:
    answer = save(client, slide_id, 0, status="signed", reviewer=name, diagnosis="benign")
    assert (answer.status_code, answer.json()["kind"]) == (422, "review")
    assert "is not a name" in answer.json()["detail"]
    assert client.get(f"slides/{slide_id}/review").json()["version"] == 0


@pytest.mark.parametrize("name", ["A. Reader", "O", "王医生", "Жук 2"])
def test_names_of_any_script_are_names(client: TestClient, slide_id: str, name: str) -> None:
    answer = save(client, slide_id, 0, status="signed", reviewer=name, diagnosis="benign")
    assert (answer.status_code, answer.json()["reviewer"]) == (200, name)


def test_a_key_that_is_called_by_a_number_signs_nothing() -> None:
    wish = ReviewIn(status="signed", reviewer="Dr. Anna", diagnosis="benign")
    with pytest.raises(Exception, match="your key is called '7', which is not a name"):
        next_version(ReviewOut(slide_id="s", version=0), wish, 0, Evidence(), "7")


def test_a_signature_keeps_the_results_that_it_stands_on(
    client: TestClient, context: Context, slide_id: str
) -> None:
    job_id = score(client, context, slide_id)
    diagnosis = called(client, job_id)
    signed = save(client, slide_id, 0, status="signed", reviewer="A", diagnosis=diagnosis).json()
    (run,) = signed["runs"]
    assert (run["job_id"], run["pipeline"], run["model"]) == (job_id, "patch", "toy")
    assert run["result_id"] == context.jobs.get(job_id).result_id
    assert run["probabilities"][diagnosis] > 0.5
    score(client, context, slide_id)
    kept = client.get(f"slides/{slide_id}/review").json()
    assert kept == signed


def test_a_draft_stands_on_no_results(client: TestClient, context: Context, slide_id: str) -> None:
    score(client, context, slide_id)
    assert save(client, slide_id, 0, diagnosis="benign").json()["runs"] == []


def test_an_amendment_stands_on_the_same_results_unless_it_says_otherwise(
    client: TestClient, context: Context, slide_id: str
) -> None:
    first = score(client, context, slide_id)
    wish: dict[str, Any] = {"status": "signed", "reviewer": "A", "diagnosis": "benign"}
    save(client, slide_id, 0, **wish, reason="seen")
    second = score(client, context, slide_id)
    amended = save(client, slide_id, 1, **wish, reason="typing error").json()
    assert [run["job_id"] for run in amended["runs"]] == [first]
    newer = save(client, slide_id, 2, **wish, reason="looked again", shown_runs=[second]).json()
    assert [run["job_id"] for run in newer["runs"]] == [second]


def test_a_result_that_the_reader_has_not_seen_is_not_signed_over(
    client: TestClient, context: Context, slide_id: str
) -> None:
    first = score(client, context, slide_id)
    score(client, context, slide_id)
    wish = {"status": "signed", "reviewer": "A", "diagnosis": called(client, first)}
    answer = save(client, slide_id, 0, **wish, shown_runs=[first])
    assert answer.status_code == 422
    assert "newer result of patch" in answer.json()["detail"]


@pytest.mark.parametrize("run", ["nothing", "another slide's", "waiting"])
def test_a_signature_cannot_stand_on_what_is_no_result_of_the_slide(
    client: TestClient, context: Context, slide_id: str, tmp_path: Path, run: str
) -> None:
    job_id = run
    if run == "waiting":
        job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"})
        job_id = job.json()["id"]
    elif run == "another slide's":
        from tests.unit.service.conftest import write_slide

        other = upload(client, write_slide(tmp_path / "other.tif", seed=3))
        job_id = score(client, context, str(other["id"]))
    wish = {"status": "signed", "reviewer": "A", "diagnosis": "benign", "shown_runs": [job_id]}
    answer = save(client, slide_id, 0, **wish)
    assert answer.status_code == 422
    assert "not a result of this slide" in answer.json()["detail"]


def test_a_slide_that_cannot_be_judged_is_signed_with_the_reason_why(
    client: TestClient, context: Context, slide_id: str
) -> None:
    score(client, context, slide_id)
    wish = {"status": "signed", "reviewer": "A", "diagnosis": "not assessable"}
    refused = save(client, slide_id, 0, **wish)
    assert refused.status_code == 422
    assert "why the slide is not assessable" in refused.json()["detail"]
    signed = save(client, slide_id, 0, **wish, reason="out of focus").json()
    assert (signed["diagnosis"], signed["contradicts"]) == ("not assessable", [])


def test_signing_less_than_was_agreed_with_asks_for_the_reason(
    client: TestClient, context: Context, slide_id: str
) -> None:
    job_id = score(client, context, slide_id)
    result: SlideResult = context.results.of(context.jobs.get(job_id))
    assert result.hotspots[0].class_name == "cancer"
    spot = {"job_id": job_id, "index": 0, "decision": "agree"}
    wish = {"status": "signed", "reviewer": "A", "diagnosis": "benign", "hotspots": [spot]}
    answer = save(client, slide_id, 0, **wish)
    assert answer.status_code == 422
    signed = save(client, slide_id, 0, **wish, reason="reactive").json()
    assert signed["agreed_beyond"] == {"cancer": 1}


MALIGNANT = ("invasive", "DCIS")
SPOTS = [HotspotDecision(job_id="j", index=at, decision="agree") for at in range(3)]


@pytest.mark.parametrize(
    ("diagnosis", "beyond"),
    [
        ("normal", {"DCIS": 2, "invasive": 1}),
        ("DCIS", {"invasive": 1}),
        ("invasive", {}),
        ("not assessable", {"DCIS": 2, "invasive": 1}),
    ],
)
def test_only_what_is_graver_than_the_diagnosis_differs_from_it(
    diagnosis: str, beyond: dict[str, int]
) -> None:
    at = {("j", i): (name, MALIGNANT) for i, name in enumerate(("DCIS", "invasive", "DCIS"))}
    disagreed = HotspotDecision(job_id="j", index=3, decision="disagree")
    wish = ReviewIn(diagnosis=diagnosis, hotspots=[*SPOTS, disagreed])
    assert agreed_beyond(wish, {**at, ("j", 3): ("invasive", MALIGNANT)}) == beyond


def test_agreed_hotspots_are_named_where_nothing_else_differs() -> None:
    at = {("j", i): ("cancer", ("cancer",)) for i in range(3)}
    wish = ReviewIn(status="signed", reviewer="A", diagnosis="benign", hotspots=SPOTS)
    with pytest.raises(Exception, match="you agreed with 3 cancer hotspots, and the diagnosis is"):
        next_version(ReviewOut(slide_id="s", version=0), wish, 0, Evidence(hotspots=at))


def test_what_was_signed_before_stands_on_the_newest_results_of_its_time(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    migrate(engine, "0010")
    tables = sa.MetaData()
    tables.reflect(engine)
    jobs, reviews = tables.tables["jobs"], tables.tables["reviews"]

    def job(name: str, hour: int, status: str = "SUCCEEDED") -> dict[str, Any]:
        time = datetime(2026, 1, 1, hour)
        texts = ("slide_path", "slide_name", "store_url", "model", "stage")
        return dict.fromkeys(texts, "x") | {
            "id": name,
            "slide_id": "s",
            "pipeline": "patch",
            "status": status,
            "created_at": time,
            "finished_at": time,
            "ring_due_at": time,
            "attempt": 1,
            "losses": 0,
            "priority": 0,
            "progress": 1.0,
            "cancel_requested": False,
            "rings": 0,
            "result_id": f"r-{name}",
        }

    rows = [job("old", 8), job("signed", 9), job("failed", 10, "FAILED"), job("later", 14)]
    signed = {"status": "signed", "reviewer": "A", "diagnosis": "benign", "blind": False}
    with engine.execution_options(wsi_write=True).begin() as connection:
        connection.execute(sa.insert(jobs), rows)
        for version, hour, status in ((1, 7, "signed"), (2, 12, "draft"), (3, 12, "signed")):
            values = {"slide_id": "s", "version": version, "body": {**signed, "status": status}}
            connection.execute(
                sa.insert(reviews).values(**values, saved_at=datetime(2026, 1, 1, hour))
            )
    migrate(engine)
    from service.reviews.repository import ReviewRepository

    newest, draft, first = ReviewRepository(engine).history("s")
    assert [(run.job_id, run.result_id) for run in newest.runs] == [("signed", "r-signed")]
    assert newest.runs[0].finished_at == datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert (draft.runs, first.runs) == ([], [])
    engine.dispose()
