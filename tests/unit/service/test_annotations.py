"""Annotations over HTTP: versions, conflicts, retries, signed slides, what others hear of."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.auth.roles import Role
from service.context import Context
from service.settings import Settings
from tests.integration.services import postgres_url
from tests.support.apps import app_for
from tests.unit.service.conftest import upload, write_slide
from tests.unit.service.endpoint_roles import ENDPOINT_ROLES

A, B = "a0000000-0000", "b0000000-0000"
SQUARE = [[10, 10], [110, 10], [110, 110], [10, 110], [10, 10]]
BOW_TIE = [[10, 10], [110, 110], [110, 10], [10, 110], [10, 10]]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.fixture
def slide_id(client: TestClient, slide_file: Any) -> str:
    return str(upload(client, slide_file)["id"])


def save(client: TestClient, slide_id: str, id: str, seen: int, **wish: Any) -> Any:
    body = {"geometry": polygon(SQUARE), "class_name": "cancer", **wish}
    url = f"slides/{slide_id}/annotations/{id}"
    return client.put(url, json=body, headers={"If-Match": f'"{seen}"'})


def remove(client: TestClient, slide_id: str, id: str, seen: int, **query: str) -> Any:
    url = f"slides/{slide_id}/annotations/{id}"
    return client.delete(url, params=query, headers={"If-Match": str(seen)})


def listed(client: TestClient, slide_id: str, since: int = 0) -> dict[str, Any]:
    answer = client.get(f"slides/{slide_id}/annotations", params={"since": since})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def sign(client: TestClient, slide_id: str) -> None:
    review = {"status": "signed", "reviewer": "Ann", "diagnosis": "benign"}
    url = f"slides/{slide_id}/review"
    assert client.put(url, json=review, headers={"If-Match": '"0"'}).status_code == 200


def test_a_new_annotation_is_listed_with_who_drew_it(client: TestClient, slide_id: str) -> None:
    answer = save(client, slide_id, A, 0, comment="focus", author="Ann")
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')
    found = listed(client, slide_id)
    assert (found["items"], found["change"], found["signed"]) == ([answer.json()], 1, False)
    item = found["items"][0]
    assert (item["class_name"], item["comment"], item["author"]) == ("cancer", "focus", "Ann")
    assert (item["version"], item["deleted"]) == (1, False)


def test_news_are_what_came_after_a_change_with_those_deleted(
    client: TestClient, slide_id: str
) -> None:
    save(client, slide_id, A, 0)
    save(client, slide_id, B, 0)
    save(client, slide_id, A, 1, class_name="benign")
    remove(client, slide_id, B, 1)
    news = listed(client, slide_id, since=2)
    assert [(item["id"], item["version"], item["deleted"]) for item in news["items"]] == [
        (A, 2, False),
        (B, 2, True),
    ]
    assert news["change"] == 4
    assert listed(client, slide_id, since=4)["items"] == []
    assert [item["id"] for item in listed(client, slide_id)["items"]] == [A]


def test_a_change_to_a_version_not_seen_is_refused_and_changes_nothing(
    client: TestClient, slide_id: str
) -> None:
    save(client, slide_id, A, 0, author="Ann")
    save(client, slide_id, A, 1, comment="first", author="Ann")
    answer = save(client, slide_id, A, 1, comment="second", author="Bob")
    assert (answer.status_code, answer.json()["kind"]) == (412, "stale")
    assert "Ann changed it in the meantime" in answer.json()["detail"]
    assert remove(client, slide_id, A, 1, author="Bob").status_code == 412
    assert listed(client, slide_id)["items"][0]["comment"] == "first"


def test_the_same_request_again_is_answered_alike_and_saved_once(
    client: TestClient, slide_id: str
) -> None:
    first = save(client, slide_id, A, 0, geometry=polygon(BOW_TIE))
    again = save(client, slide_id, A, 0, geometry=polygon(BOW_TIE))
    assert (again.status_code, again.json()) == (200, first.json())
    gone = remove(client, slide_id, A, 1)
    assert remove(client, slide_id, A, 1).json() == gone.json()
    assert listed(client, slide_id, since=1)["change"] == 2


def test_an_id_taken_by_another_is_not_taken_over(client: TestClient, slide_id: str) -> None:
    save(client, slide_id, A, 0, author="Ann")
    assert save(client, slide_id, A, 0, author="Bob").status_code == 412


def test_of_many_savers_at_once_exactly_one_wins(client: TestClient, slide_id: str) -> None:
    save(client, slide_id, A, 0)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda i: save(client, slide_id, A, 1, comment=f"{i}", author=f"{i}"), range(4)
            )
        )
        others = list(pool.map(lambda i: save(client, slide_id, f"{i}-other-one", 0), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    assert sorted(answer.json()["change"] for answer in others) == [3, 4, 5, 6]


def test_a_deleted_annotation_comes_back_and_its_history_is_whole(
    client: TestClient, slide_id: str
) -> None:
    save(client, slide_id, A, 0, author="Ann")
    remove(client, slide_id, A, 1, author="Bob")
    assert remove(client, slide_id, A, 2).status_code == 412
    back = save(client, slide_id, A, 2, author="Cy").json()
    assert (back["author"], back["changed_by"], back["deleted"]) == ("Ann", "Cy", False)
    history = client.get(f"slides/{slide_id}/annotations/{A}/history").json()["items"]
    assert [(item["changed_by"], item["deleted"]) for item in history] == [
        ("Cy", False),
        ("Bob", True),
        ("Ann", False),
    ]


def test_a_drawn_outline_that_crosses_itself_is_repaired(client: TestClient, slide_id: str) -> None:
    item = save(client, slide_id, A, 0, geometry=polygon(BOW_TIE)).json()
    assert item["geometry"]["type"] == "MultiPolygon"
    assert len(item["geometry"]["coordinates"]) == 2


@pytest.mark.parametrize(
    ("geometry", "text"),
    [
        (polygon([[9000, 0], [9900, 0], [9900, 900], [9000, 0]]), "outside the slide"),
        (polygon([[1, 1], [1, 1], [1, 1], [1, 1]]), "no area"),
        ({"type": "Polygon"}, "no readable geometry"),
        ({"type": "Point", "coordinates": [float("inf"), 3]}, "no readable geometry"),
        (
            {
                "type": "GeometryCollection",
                "geometries": [
                    {"type": "Point", "coordinates": [3, 3]},
                    {"type": "LineString", "coordinates": [[3, 3], [9, 9]]},
                ],
            },
            "GeometryCollection is not an annotation",
        ),
    ],
)
def test_a_geometry_that_is_none_is_refused_with_the_reason(
    client: TestClient, slide_id: str, geometry: dict[str, Any], text: str
) -> None:
    content = json.dumps({"geometry": geometry, "class_name": "cancer"})
    answer = client.put(
        f"slides/{slide_id}/annotations/{A}",
        content=content,
        headers={"If-Match": "0", "Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["kind"]) == (422, "annotation")
    assert text in answer.json()["detail"]
    assert listed(client, slide_id)["items"] == []


def test_points_and_measurements_are_kept_as_they_are(client: TestClient, slide_id: str) -> None:
    line = {"type": "LineString", "coordinates": [[1, 2], [30.5, 40]]}
    point = {"type": "Point", "coordinates": [5.25, 6]}
    assert save(client, slide_id, A, 0, geometry=line).json()["geometry"] == line
    assert save(client, slide_id, B, 0, geometry=point).json()["geometry"] == point


@pytest.mark.parametrize("header", [{}, {"If-Match": "*"}])
def test_a_change_must_say_which_version_it_was_made_from(
    client: TestClient, slide_id: str, header: dict[str, str]
) -> None:
    url, body = f"slides/{slide_id}/annotations/{A}", {"geometry": polygon(SQUARE)}
    assert client.put(url, json=body, headers=header).status_code == 428
    assert client.delete(url, headers=header).status_code == 428


def test_a_signed_slide_is_only_amended_with_a_reason_that_is_kept(
    client: TestClient, slide_id: str
) -> None:
    save(client, slide_id, A, 0)
    sign(client, slide_id)
    assert listed(client, slide_id)["signed"] is True
    for answer in (
        save(client, slide_id, A, 1, comment="x"),
        save(client, slide_id, B, 0),
        remove(client, slide_id, A, 1),
        client.post(f"slides/{slide_id}/annotations.geojson", json=[]),
    ):
        assert (answer.status_code, answer.json()["kind"]) == (409, "signed")
    amended = save(client, slide_id, A, 1, comment="x", reason="a second look")
    assert (amended.status_code, amended.json()["reason"]) == (200, "a second look")
    assert remove(client, slide_id, A, 2, reason="drawn twice").status_code == 200


def test_what_was_heard_before_the_signature_is_answered_alike_after_it(
    client: TestClient, slide_id: str
) -> None:
    first = save(client, slide_id, A, 0)
    sign(client, slide_id)
    assert save(client, slide_id, A, 0).json() == first.json()


def test_annotations_of_no_slide_are_not_found(client: TestClient, slide_id: str) -> None:
    assert client.get("slides/none/annotations").status_code == 404
    assert client.get("slides/none/annotations.geojson").status_code == 404
    assert save(client, "none", A, 0).status_code == 404
    assert remove(client, "none", A, 1).status_code == 404
    assert client.get(f"slides/{slide_id}/annotations/{A}/history").status_code == 404
    assert remove(client, slide_id, A, 1).status_code == 412


def test_a_slide_takes_its_annotations_with_it(
    client: TestClient, context: Context, slide_id: str, tmp_path: Any
) -> None:
    other = str(upload(client, write_slide(tmp_path / "other.tif", seed=3))["id"])
    save(client, slide_id, A, 0)
    save(client, other, A, 0)
    assert client.delete(f"slides/{slide_id}").status_code == 204
    assert context.annotations.of_slide(slide_id) == ([], 0)
    assert len(listed(client, other)["items"]) == 1


def test_viewers_read_and_pathologists_draw() -> None:
    rules = {key: role for key, role in ENDPOINT_ROLES.items() if "annotation" in key[1]}
    assert len(rules) == 7
    for (method, _), role in rules.items():
        assert role is (Role.VIEWER if method == "GET" else Role.PATHOLOGIST)


def test_changes_are_in_the_audit_log_and_looking_again_and_again_is_not(
    client: TestClient, slide_id: str
) -> None:
    save(client, slide_id, A, 0)
    listed(client, slide_id)
    client.get(f"slides/{slide_id}/annotations.geojson")
    actions = [entry["action"] for entry in client.get("audit").json()]
    assert actions.count("PUT /slides/{slide_id}/annotations/{annotation_id}") == 1
    assert actions.count("GET /slides/{slide_id}/annotations.geojson") == 1
    assert actions.count("GET /slides/{slide_id}/annotations") == 0


def test_on_postgresql_writers_at_once_queue_up_without_a_gap(settings: Settings) -> None:
    with postgres_url() as url:
        given = settings.model_copy(update={"database_url": url})
        slide_file = write_slide(given.data_dir / "pg.tif", seed=9)
        with TestClient(app_for(given), base_url="http://localhost/api/v1/") as client:
            slide = str(upload(client, slide_file)["id"])

            def draw(number: int) -> int:
                return int(save(client, slide, f"pg-number-{number}", 0).json()["change"])

            with ThreadPoolExecutor(6) as pool:
                assert sorted(pool.map(draw, range(12))) == list(range(1, 13))
            assert len(listed(client, slide, since=6)["items"]) == 6
            assert save(client, slide, "pg-number-3", 0, comment="x").status_code == 412


def test_a_scribble_that_would_take_minutes_to_repair_is_refused_at_once(
    client: TestClient, slide_id: str
) -> None:
    spread = random.Random(1)
    ring = [[spread.uniform(0, 600), spread.uniform(0, 600)] for _ in range(400)]
    begun = time.monotonic()
    answer = save(client, slide_id, A, 0, geometry=polygon([*ring, ring[0]]))
    assert (answer.status_code, answer.json()["kind"]) == (422, "annotation")
    assert "crosses itself more than" in answer.json()["detail"]
    assert time.monotonic() - begun < 5
