"""Reviews over HTTP: versions, conflicts, signatures, amendments."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.context import Context
from tests.unit.service.conftest import upload, work_off


@pytest.fixture
def slide_id(client: TestClient, slide_file: Path) -> str:
    return str(upload(client, slide_file)["id"])


@pytest.fixture
def called(client: TestClient, context: Context, slide_id: str) -> str:
    """The class that the only pipeline calls the slide."""
    job = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"}).json()
    work_off(context)
    probabilities = client.get(f"jobs/{job['id']}/result").json()["probabilities"]
    return str(max(probabilities, key=probabilities.get))


def save(client: TestClient, slide_id: str, seen: int, **review: Any) -> Any:
    return client.put(f"slides/{slide_id}/review", json=review, headers={"If-Match": f'"{seen}"'})


def test_a_slide_that_nobody_reviewed_has_an_empty_version_0(
    client: TestClient, slide_id: str
) -> None:
    answer = client.get(f"slides/{slide_id}/review")
    assert answer.headers["ETag"] == '"0"'
    assert (answer.json()["version"], answer.json()["status"]) == (0, "draft")
    assert answer.json()["hotspots"] == []


def test_a_saved_review_comes_back_and_says_when(client: TestClient, slide_id: str) -> None:
    spot = {"job_id": "j", "index": 2, "decision": "unsure", "comment": "crushed", "seen": True}
    answer = save(client, slide_id, 0, reviewer="A", diagnosis="cancer", hotspots=[spot])
    assert answer.status_code == 200
    review = client.get(f"slides/{slide_id}/review").json()
    assert review == answer.json()
    assert (review["version"], review["hotspots"]) == (1, [spot])
    assert review["saved_at"]


def test_an_unchanged_review_is_not_sent_again(client: TestClient, slide_id: str) -> None:
    save(client, slide_id, 0, comment="x")
    answer = client.get(f"slides/{slide_id}/review", headers={"If-None-Match": '"1"'})
    assert answer.status_code == 304


def test_a_save_over_a_version_not_seen_is_refused_and_changes_nothing(
    client: TestClient, slide_id: str
) -> None:
    save(client, slide_id, 0, reviewer="A", comment="first")
    answer = save(client, slide_id, 0, reviewer="B", comment="second")
    assert (answer.status_code, answer.json()["kind"]) == (412, "stale")
    assert client.get(f"slides/{slide_id}/review").json()["comment"] == "first"


def test_of_many_savers_at_once_exactly_one_wins(client: TestClient, slide_id: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: save(client, slide_id, 0, comment=str(i)), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    assert client.get(f"slides/{slide_id}/review").json()["version"] == 1


@pytest.mark.parametrize("header", [{}, {"If-Match": "*"}, {"If-Match": '"x"'}])
def test_a_save_must_say_which_version_it_was_made_from(
    client: TestClient, slide_id: str, header: dict[str, str]
) -> None:
    answer = client.put(f"slides/{slide_id}/review", json={}, headers=header)
    assert (answer.status_code, answer.json()["kind"]) == (428, "precondition_required")


@pytest.mark.parametrize(
    ("review", "text"),
    [
        ({"diagnosis": "benign"}, "reviewer's name"),
        ({"reviewer": " ", "diagnosis": "benign"}, "reviewer's name"),
        ({"reviewer": "A"}, "diagnosis"),
    ],
)
def test_a_signature_needs_a_name_and_a_diagnosis(
    client: TestClient, slide_id: str, review: dict[str, str], text: str
) -> None:
    answer = save(client, slide_id, 0, status="signed", **review)
    assert (answer.status_code, answer.json()["kind"]) == (422, "review")
    assert text in answer.json()["detail"]


def test_agreeing_with_the_model_needs_no_reason_and_notes_what_it_said(
    client: TestClient, slide_id: str, called: str
) -> None:
    answer = save(client, slide_id, 0, status="signed", reviewer="A", diagnosis=called)
    assert answer.status_code == 200
    assert answer.json()["contradicts"] == []
    call = answer.json()["model_calls"][0]
    assert (call["pipeline"], call["class_name"]) == ("patch", called)


def test_contradicting_the_model_needs_a_reason(
    client: TestClient, slide_id: str, called: str
) -> None:
    other = {"cancer": "benign"}.get(called, "cancer")
    signed = {"status": "signed", "reviewer": "A", "diagnosis": other}
    refused = save(client, slide_id, 0, **signed)
    assert refused.status_code == 422
    assert "contradicts patch" in refused.json()["detail"]
    answer = save(client, slide_id, 0, **signed, reason="a lymph follicle")
    assert (answer.status_code, answer.json()["contradicts"]) == (200, ["patch"])


def test_an_amendment_needs_a_reason_and_keeps_both(
    client: TestClient, slide_id: str, called: str
) -> None:
    signed = {"status": "signed", "reviewer": "A", "diagnosis": called}
    save(client, slide_id, 0, **signed)
    draft = save(client, slide_id, 1, reviewer="A")
    assert (draft.status_code, draft.json()["kind"]) == (409, "signed")
    assert save(client, slide_id, 1, **signed, comment="x").status_code == 422
    amended = save(client, slide_id, 1, **signed, comment="x", reason="typing error")
    assert (amended.json()["version"], amended.json()["amends"]) == (2, 1)
    history = client.get(f"slides/{slide_id}/review/history").json()["items"]
    assert [(item["version"], item["comment"]) for item in history] == [(2, "x"), (1, "")]


def test_a_review_of_no_slide_is_not_found(client: TestClient) -> None:
    assert client.get("slides/none/review").status_code == 404
    assert save(client, "none", 0).status_code == 404
    assert client.get("slides/none/review/history").status_code == 404


def test_a_decision_that_is_none_of_the_three_is_refused(client: TestClient, slide_id: str) -> None:
    spot = {"job_id": "j", "index": 0, "decision": "maybe"}
    assert save(client, slide_id, 0, hotspots=[spot]).status_code == 422
