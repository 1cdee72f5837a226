"""Resumable uploads with a well-known client against a real API process that is killed."""

import hashlib
from pathlib import Path

from tusclient import client as tus

from tests.integration.deployment import deployment, free_port
from tests.integration.test_faults import kill_9
from tests.unit.service.conftest import write_slide


def test_an_upload_goes_on_after_the_api_was_killed(tmp_path: Path) -> None:
    slide_file = write_slide(tmp_path / "s.tif", side=1500)
    content = slide_file.read_bytes()
    port = str(free_port())
    url = f"http://127.0.0.1:{port}/api/v1/uploads"
    with deployment(tmp_path / "d") as place, slide_file.open("rb") as opened:
        api, _ = place.start_api(port)
        uploader = tus.TusClient(url).uploader(
            file_stream=opened, chunk_size=20_000, metadata={"filename": "s.tif"}
        )
        uploader.upload(stop_at=len(content) // 2)
        assert 0 < uploader.offset < len(content)
        kill_9(api.pid)
        api.wait()
        _, client = place.start_api(port)
        again = tus.TusClient(url).uploader(
            file_stream=opened, chunk_size=20_000, url=uploader.url, upload_checksum=True
        )
        assert again.offset == uploader.offset
        again.upload()
        assert uploader.url is not None
        slide_id = client.get(uploader.url).json()["slide_id"]
        slide = client.get(f"slides/{slide_id}").json()
        assert slide["sha256"] == hashlib.sha256(content).hexdigest()
