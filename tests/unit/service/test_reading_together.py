"""What one reader hears of the others, and of tissue and quality."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from PIL import Image

from service.context import Context
from service.reviews.presence import READER_TIMEOUT
from service.tables import presence
from tests.unit.service.conftest import upload, work_off, write_slide
from wsi.jobs.database import writing
from wsi.storage import SlideStore, spec_digest

A, B = "a" * 16, "b" * 16


@pytest.fixture
def slide_id(client: TestClient, slide_file: Path) -> str:
    return str(upload(client, slide_file)["id"])


def beat(client: TestClient, slide_id: str, reader: str, name: str) -> list[str]:
    answer = client.put(f"slides/{slide_id}/readers/{reader}", json={"name": name})
    assert answer.status_code == 200, answer.text
    return [other["name"] for other in answer.json()["items"]]


def test_readers_of_one_slide_hear_of_each_other_until_one_leaves(
    client: TestClient, slide_id: str
) -> None:
    assert beat(client, slide_id, A, "Ann") == []
    assert beat(client, slide_id, B, "Bob") == ["Ann"]
    assert beat(client, slide_id, A, "Ann") == ["Bob"]
    assert client.delete(f"slides/{slide_id}/readers/{B}").status_code == 204
    assert beat(client, slide_id, A, "Ann") == []


def test_a_page_shows_one_slide_at_a_time(
    client: TestClient, slide_id: str, tmp_path: Path
) -> None:
    other = str(upload(client, write_slide(tmp_path / "other.tif", seed=3))["id"])
    beat(client, slide_id, A, "Ann")
    beat(client, other, A, "Ann")
    assert beat(client, slide_id, B, "Bob") == []
    assert beat(client, other, B, "Bob") == ["Ann"]


def test_a_reader_who_says_nothing_is_forgotten(
    client: TestClient, context: Context, slide_id: str
) -> None:
    beat(client, slide_id, A, "Ann")
    with writing(context.engine) as connection:
        long_ago = datetime.now(UTC) - READER_TIMEOUT - timedelta(seconds=1)
        connection.execute(sa.update(presence).values(seen_at=long_ago))
    assert beat(client, slide_id, B, "Bob") == []


def test_signs_of_life_do_not_fill_the_audit_log(client: TestClient, slide_id: str) -> None:
    before = len(client.get("audit").json())
    beat(client, slide_id, A, "Ann")
    assert [entry["action"] for entry in client.get("audit").json()[:-before]] == ["GET /audit"]


def test_lists_name_the_newest_review_and_news_come_once(client: TestClient, slide_id: str) -> None:
    def save(seen: int, **review: Any) -> None:
        answer = client.put(
            f"slides/{slide_id}/review", json=review, headers={"If-Match": f'"{seen}"'}
        )
        assert answer.status_code == 200

    assert client.get("slides").json()["items"][0]["review"] is None
    save(0, reviewer="Ann")
    save(1, reviewer="Bob", diagnosis="benign", blind=True)
    brief = client.get("slides").json()["items"][0]["review"]
    assert (brief["version"], brief["reviewer"], brief["diagnosis"]) == (2, "Bob", "benign")
    assert client.get(f"slides/{slide_id}").json()["review"] == brief
    assert client.get("reviews").json()["items"] == [brief]
    assert client.get("reviews", params={"after": brief["saved_at"]}).json()["items"] == []


def put_layers(context: Context, slide_id: str, mpp: float, blur: int) -> None:
    """What a pipeline leaves in the store: 4 x 3 cells, the first ``blur`` ones out of focus."""
    store = SlideStore(context.slides.get(slide_id).store_url)
    spec = {"method": "otsu", "slide_mpp": [mpp, mpp]}
    tissue = np.zeros((3, 4), bool)
    tissue[1:] = True
    layer = np.arange(12).reshape(3, 4) < blur
    store.put("tissue", spec_digest(spec), {"mask": tissue}, {"spec": spec, "threshold": None})
    made_from = {**spec, "quality": {}}
    meta = {"spec": made_from, "shares": {"blur": 0.5}, "reasons": ["half of it is blurred"]}
    store.put("quality", spec_digest(made_from), {"blur": layer}, meta)


def test_tissue_and_quality_come_as_bits_of_one_picture(
    client: TestClient, context: Context, slide_id: str
) -> None:
    assert client.get(f"slides/{slide_id}/tissue").json()["layers"] == []
    assert client.get("slides/nothing/tissue").status_code == 404
    client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"})
    work_off(context)
    assert client.get(f"slides/{slide_id}/tissue").json()["layers"] == []
    missing = client.get(f"slides/{slide_id}/tissue.png")
    assert (missing.status_code, "score it" in missing.json()["detail"]) == (404, True)
    put_layers(context, slide_id, mpp=2.0, blur=12)
    put_layers(context, slide_id, mpp=0.5, blur=5)
    found = client.get(f"slides/{slide_id}/tissue").json()
    assert found["layers"] == [
        {"name": "tissue", "bit": 1, "share": pytest.approx(2 / 3)},
        {"name": "blur", "bit": 2, "share": 0.5},
    ]
    assert found["reasons"] == ["half of it is blurred"]
    answer = client.get(f"slides/{slide_id}/tissue.png", params={"digest": found["digest"]})
    assert "immutable" in answer.headers["Cache-Control"]
    bits = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert bits.tolist() == [[2, 2, 2, 2], [3, 1, 1, 1], [1, 1, 1, 1]]
    again = client.get(
        f"slides/{slide_id}/tissue.png", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304
    assert "no-cache" in again.headers["Cache-Control"]


def test_the_session_says_whether_the_first_read_is_blind(client: TestClient) -> None:
    assert client.get("session").json()["blind_first_read"] is False
