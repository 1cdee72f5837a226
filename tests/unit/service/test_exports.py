"""Results for other programs and on paper, over HTTP."""

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pydicom
import pytest
import zarr
from fastapi.testclient import TestClient

from service.context import Context
from service.settings import Settings
from tests.integration.toy_pipeline import write_bundle
from tests.unit.service.conftest import text_of, upload, work_off, write_slide
from wsi.storage import SlideResult


@pytest.fixture
def job(client: TestClient, context: Context, tmp_path: Path) -> dict[str, Any]:
    """A job that has scored a slide."""
    return scored(client, context, upload(client, write_slide(tmp_path / "a $lide.tif"))["id"])


def scored(client: TestClient, context: Context, slide_id: object) -> dict[str, Any]:
    found = client.post("jobs", json={"slide_id": slide_id, "pipeline": "patch"})
    assert found.status_code == 202, found.text
    work_off(context)
    body: dict[str, Any] = client.get(f"jobs/{found.json()['id']}").json()
    assert body["status"] == "SUCCEEDED", body
    return body


def result_of(context: Context, job: dict[str, Any]) -> SlideResult:
    return context.results.of(context.jobs.get(job["id"]))


def test_a_heatmap_leaves_as_ome_zarr(
    client: TestClient, context: Context, job: dict[str, Any], tmp_path: Path
) -> None:
    answer = client.get(f"jobs/{job['id']}/heatmaps/probability.ome.zarr.zip")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        zipped.extractall(tmp_path / "out")
    name = "a $lide-patch-probability.ome.zarr"
    group = zarr.open_group(str(tmp_path / "out" / name), mode="r")
    result = result_of(context, job)
    np.testing.assert_array_equal(group["0"][...], result.layers[0].values_chw)
    (scales,) = group.attrs["ome"]["multiscales"]
    assert [axis["name"] for axis in scales["axes"]] == ["c", "y", "x"]
    assert group.attrs["wholeslide"]["classes"] == ["benign", "cancer"]


def test_a_heatmap_leaves_as_a_table_of_its_cells(
    client: TestClient, context: Context, job: dict[str, Any]
) -> None:
    answer = client.get(f"jobs/{job['id']}/heatmaps/probability.parquet")
    table = pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pydict()
    result = result_of(context, job)
    values, grid = result.layers[0].values_chw, result.grid
    assert grid is not None
    # The toy pipeline does not look at its first cell.
    assert len(table["row"]) == values[0].size - 1
    at = 777
    row, column = table["row"][at], table["column"][at]
    assert table["probability cancer"][at] == values[1, row, column]
    assert table["x"][at] == column * grid.cell_level0[0]


def test_a_batch_leaves_as_parquet_with_types(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    slides = [upload(client, write_slide(tmp_path / "=a.tif"))["id"], "nobody"]
    batch = client.post("batches", json={"slide_ids": slides, "pipelines": ["patch"]}).json()
    work_off(context)
    answer = client.get(f"batches/{batch['id']}/results.parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    rows = pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    assert [row["slide"] for row in rows] == ["=a.tif", None]
    assert 0 < rows[0]["probability cancer"] < 1
    assert rows[0]["finished_at"].tzinfo is not None
    assert rows[1]["error"] == "no slide nobody"


def test_without_pyarrow_the_extra_is_named(
    client: TestClient, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = client.get(f"jobs/{job['id']}/heatmaps/probability.parquet")
    assert (answer.status_code, answer.json()["kind"]) == (501, "not_installed")
    assert "wholeslide[parquet]" in answer.json()["detail"]


def test_a_heatmap_that_is_not_there_is_not_found(client: TestClient, job: dict[str, Any]) -> None:
    for ending in ("ome.zarr.zip", "dcm", "parquet"):
        answer = client.get(f"jobs/{job['id']}/heatmaps/gradcam.{ending}")
        assert answer.status_code == 404
        assert "available: probability" in answer.json()["detail"]


def test_a_slide_that_is_no_dicom_has_no_dicom_map(client: TestClient, job: dict[str, Any]) -> None:
    answer = client.get(f"jobs/{job['id']}/heatmaps/probability.dcm")
    assert (answer.status_code, answer.json()["kind"]) == (422, "unsupported")


def test_a_map_of_a_dicom_slide_lies_on_it(
    client: TestClient, context: Context, settings: Settings, real_data: Path
) -> None:
    object.__setattr__(settings, "slide_roots", (real_data,))
    folder = real_data / "wsi" / "dicom_cmu1_small_region"
    slide = client.post("slides/registrations", json={"path": str(folder)}).json()
    job = scored(client, context, slide["id"])
    answer = client.get(f"jobs/{job['id']}/heatmaps/probability.dcm")
    assert answer.status_code == 200, answer.text
    made = pydicom.dcmread(io.BytesIO(answer.content))
    source = pydicom.dcmread(max(folder.iterdir(), key=lambda file: file.stat().st_size))
    assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.ImageOrientationSlide == source.ImageOrientationSlide
    values = result_of(context, job).layers[0].values_chw
    assert np.isnan(values[:, 0, 0]).all()
    np.testing.assert_array_equal(made.pixel_array, np.nan_to_num(values, nan=-1.0))
    assert made.FloatPixelPaddingValue == -1.0
    labels = [
        frame.RealWorldValueMappingSequence[0].LUTLabel
        for frame in made.PerFrameFunctionalGroupsSequence
    ]
    assert labels == ["benign", "cancer"]
    # The map's last cell ends where the slide ends.
    row_mm, column_mm = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert made.Columns * column_mm == pytest.approx(2220 * 0.000499, rel=1e-6)
    assert made.Rows * row_mm == pytest.approx(2967 * 0.000499, rel=1e-6)
    origin = made.TotalPixelMatrixOriginSequence[0]
    # Centre of the first cell, against the direction of x on the glass, from that of a pixel.
    assert origin.XOffsetInSlideCoordinateSystem == pytest.approx(
        -(column_mm - 0.000499) / 2, abs=1e-6
    )
    again = client.get(f"jobs/{job['id']}/heatmaps/probability.dcm")
    assert pydicom.dcmread(io.BytesIO(again.content)).SOPInstanceUID == made.SOPInstanceUID


def test_a_report_is_a_document_that_is_not_kept_by_caches(
    client: TestClient, context: Context, job: dict[str, Any]
) -> None:
    write_bundle(context.settings.models, "ws", pipeline="whole-slide")
    client.post("jobs", json={"slide_id": job["slide_id"], "pipeline": "whole-slide"})
    work_off(context)
    review = {
        "status": "signed",
        "reviewer": "A. Reader 山",
        "diagnosis": "benign",
        "reason": "A $lymph$ follicle. " * 60,
        "hotspots": [{"job_id": job["id"], "index": 0, "decision": "disagree"}],
    }
    url = f"slides/{job['slide_id']}"
    saved = client.put(f"{url}/review", json=review, headers={"If-Match": '"0"'})
    assert saved.status_code == 200, saved.text
    answer = client.get(f"{url}/report.pdf")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.content.startswith(b"%PDF")
    text = text_of(answer.content)
    assert "A $lymph$ follicle. " * 3 in text
    assert "Research software. Not a medical device; not for diagnosis." in text
    audited = [entry["action"] for entry in client.get("audit").json()]
    assert "GET /slides/{slide_id}/report.pdf" in audited


def test_a_slide_that_nobody_has_scored_has_a_report_that_says_so(
    client: TestClient, slide_file: Path
) -> None:
    answer = client.get(f"slides/{upload(client, slide_file)['id']}/report.pdf")
    assert answer.status_code == 200
