"""Results and heatmaps on S3: workers write them there, the API reads them from there."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.deployment import add_toy, deployment, submit, upload, wait_status
from tests.integration.object_storage import BUCKET, keys, object_storage
from tests.unit.service.conftest import write_slide


@pytest.fixture(scope="module")
def s3() -> Iterator[Mapping[str, str]]:
    with object_storage() as environment:
        yield environment


def test_a_slide_is_scored_and_shown_with_its_store_on_s3(
    tmp_path: Path, s3: Mapping[str, str]
) -> None:
    settings = {**s3, "WSI_STORES_URL": f"s3://{BUCKET}/site-a/"}
    with deployment(tmp_path / "data", **settings) as place:
        add_toy(place)
        _, client = place.start_api()
        place.start("workers")
        slide = upload(client, write_slide(tmp_path / "a.tif"))
        job_id = submit(client, slide["id"])
        wait_status(client, job_id, "SUCCEEDED")
        result = client.get(f"jobs/{job_id}/result").json()
        assert result["probabilities"].keys() == {"benign", "cancer"}
        heatmap = client.get(f"jobs/{job_id}/heatmaps/probability/cancer.png")
        assert (heatmap.status_code, heatmap.headers["content-type"]) == (200, "image/png")
        assert client.get("slides").json()["items"][0]["results"][0]["outcome"] == "scored"
        assert f"site-a/{slide['id']}.zarr/results/{job_id}-1/zarr.json" in keys(s3)
        assert client.delete(f"slides/{slide['id']}").status_code == 204
        assert "site-a" not in keys(s3)
        assert not list(place.folder.rglob("*.zarr")), "something was written beside S3"
