"""Zips and folders of DICOM instances, over HTTP."""

from pathlib import Path

from fastapi.testclient import TestClient

from service.context import Context
from service.settings import Settings
from tests.unit.service.conftest import write_slide
from tests.unit.service.test_slides import files_of, zipped
from wsi.testing.dicom import Kind, tissue_picture, write_dicom, write_other, write_pyramid


def zipped_folder(folder: Path) -> bytes:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return zipped({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})


def test_a_zip_of_several_slides_is_refused_with_their_names(
    client: TestClient, settings: Settings, tmp_path: Path
) -> None:
    write_dicom(tmp_path / "a" / "x" / "I1", tissue_picture(), kind=Kind(uid=(1, 1, 0)))
    write_dicom(tmp_path / "a" / "x" / "I2", tissue_picture(256, 256), kind=Kind(uid=(1, 2, 0)))
    write_slide(tmp_path / "a" / "c.tif")
    answer = client.post("slides", files={"file": ("a.zip", zipped_folder(tmp_path / "a"))})
    assert (answer.status_code, answer.json()["kind"]) == (422, "unsupported")
    detail = answer.json()["detail"]
    assert detail.startswith("a.zip: it holds 3 slides: c.tif; DICOM series")
    assert "(x/I1)" in detail
    assert "(x/I2)" in detail
    assert files_of(settings) == set()


def test_a_zipped_medium_with_results_beside_the_slide_is_taken_and_can_be_redacted(
    client: TestClient, context: Context, tmp_path: Path
) -> None:
    medium = tmp_path / "cd"
    for number, file in enumerate(write_pyramid(medium / "x", tissue_picture())):
        place = medium / "DICOM" / "A" / f"B{number}"
        place.mkdir(parents=True)
        file.rename(place / "I1")
    write_other(medium / "DICOM" / "A" / "SEG1", "1.2.840.10008.5.1.4.1.1.66.4")
    write_other(medium / "DICOMDIR", "1.2.840.10008.1.3.10")
    (medium / "REPORT.PDF").write_bytes(b"%PDF-1.4 DOE^JANE")
    answer = client.post("slides", files={"file": ("cd.zip", zipped_folder(medium))})
    assert answer.status_code == 201, answer.text
    slide = answer.json()
    assert (slide["width"], slide["levels"], slide["name"]) == (768, 2, "cd.zip")
    assert client.post(f"slides/{slide['id']}/redact").status_code == 200
    kept = [path for path in (context.settings.slides / slide["id"]).rglob("*") if path.is_file()]
    assert len(kept) == 2
    assert not [path for path in kept if b"DOE^JANE" in path.read_bytes()]
    picture = client.get(f"slides/{slide['id']}/thumbnail.jpg")
    assert picture.status_code == 200


def test_two_folders_of_dicom_in_folders_are_two_slides(
    client: TestClient, settings: Settings
) -> None:
    share = settings.slide_roots[0]
    ids = set()
    for name, picture in (("a", tissue_picture()), ("b", tissue_picture(x=300))):
        write_pyramid(share / name / "inner", picture)
        answer = client.post("slides/registrations", json={"path": str(share / name)})
        assert answer.status_code == 201, answer.text
        ids.add(answer.json()["id"])
    assert len(ids) == 2
