"""Slides in object storage: registered where they lie, read through a cache on each machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.integration.deployment import (
    ROOT,
    Deployment,
    add_toy,
    deployment,
    job,
    submit,
    wait_status,
    wait_until,
)
from tests.integration.object_storage import BUCKET, object_storage
from tests.integration.proxy import Proxy
from tests.unit.service.conftest import write_slide
from wsi.errors import ChangedSlideError, SlideUnavailableError, UnreadableSlideError
from wsi.storage import slide_cache
from wsi.storage.slide_cache import SlideCache

MB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Mapping[str, str]]:
    with object_storage() as environment:
        yield environment


@pytest.fixture
def line(server: Mapping[str, str]) -> Iterator[Proxy]:
    """What leads to the storage."""
    with Proxy(("127.0.0.1", int(server["AWS_ENDPOINT_URL"].rpartition(":")[2]))) as proxy:
        yield proxy


@pytest.fixture
def s3(server: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the storage; this process is led there as well."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slide_cache, "_CHUNK", MB)
    client = boto3.client("s3")
    yield client
    client.close()


def put(s3: Any, key: str, content: bytes) -> str:
    s3.put_object(Bucket=BUCKET, Key=key, Body=content)
    return f"s3://{BUCKET}/{key}"


def put_slide(s3: Any, key: str, folder: Path, **made: Any) -> str:
    return put(s3, key, write_slide(folder / "made.tif", **made).read_bytes())


def kept(folder: Path) -> int:
    """Slides in a cache."""
    return len([path for path in folder.glob("*") if path.suffix != ".lock"])


def test_a_copy_is_fetched_once_and_the_least_recently_used_makes_room(
    s3: Any, tmp_path: Path
) -> None:
    cache = SlideCache(tmp_path, 5 * MB)
    shares: list[float] = []
    addresses = [
        cache.address(put(s3, f"lru/{name}.svs", os.urandom(2 * MB))) for name in ("a", "b", "c")
    ]
    a, b, c = addresses
    with cache.local(a) as first:
        assert first.suffix == ".svs"
        assert first.stat().st_size == 2 * MB
    with cache.local(b):
        pass
    with cache.local(a, shares.append) as again:
        assert (again, shares) == (first, [])
    # b is the one that nobody has looked at for longest.
    with cache.local(c, shares.append), cache.local(a, shares.append):
        assert shares == [0, 0.5]
        assert kept(tmp_path) == 2
        # a and c are in use now, so nothing can make room for b.
        with pytest.raises(SlideUnavailableError, match="full of slides in use"), cache.local(b):
            pass
        assert first.exists()
    with cache.local(b, shares.append):
        assert shares == [0, 0.5, 0, 0.5]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5 * MB


def test_an_object_larger_than_the_cache_says_what_to_do(s3: Any, tmp_path: Path) -> None:
    cache = SlideCache(tmp_path, MB)
    address = cache.address(put(s3, "large.svs", bytes(2 * MB)))
    with pytest.raises(UnreadableSlideError, match="WSI_SLIDE_CACHE_BYTES"), cache.local(address):
        pass
    assert kept(tmp_path) == 0


PEER = """
import sys
from wsi.storage import slide_cache
slide_cache._CHUNK = 1 << 20
cache = slide_cache.SlideCache(__import__("pathlib").Path(sys.argv[1]), 1 << 30)
fetched = 0
def tell(share):
    global fetched
    fetched += share > 0
    if share > 0.4 and sys.argv[3] == "die":
        import os, signal; os.kill(os.getpid(), signal.SIGKILL)
with cache.local(sys.argv[2], tell) as file:
    print(fetched > 0, file.stat().st_size)
"""


def die(folder: Path, address: str) -> bool:
    """Have a process killed in the middle of fetching."""
    with peer(folder, address, "die") as process:
        return process.wait() == -signal.SIGKILL


def peer(folder: Path, address: str, how: str = "live") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PEER, str(folder), address, how]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def test_of_several_processes_one_fetches_even_after_another_died_at_it(
    s3: Any, tmp_path: Path
) -> None:
    cache = SlideCache(tmp_path, 12 * MB)
    address = cache.address(put(s3, "peers.svs", os.urandom(8 * MB)))
    assert die(tmp_path, address)
    assert [path.suffix for path in tmp_path.glob("*.part")] == [".part"]
    peers = [peer(tmp_path, address) for _ in range(3)]
    said = sorted(process.communicate()[0].decode().strip() for process in peers)
    assert said == [f"False {8 * MB}"] * 2 + [f"True {8 * MB}"]
    assert kept(tmp_path) == 1
    # What a dead process leaves of another slide makes room as well.
    other = cache.address(put(s3, "peers-2.svs", os.urandom(8 * MB)))
    assert die(tmp_path, other)
    third = cache.address(put(s3, "peers-3.svs", os.urandom(8 * MB)))
    with cache.local(third) as file:
        assert file.stat().st_size == 8 * MB
    assert kept(tmp_path) == 1


def test_an_object_that_is_replaced_meanwhile_or_afterwards_is_refused(
    s3: Any, tmp_path: Path
) -> None:
    cache = SlideCache(tmp_path, 99 * MB)
    old = os.urandom(4 * MB)
    url = put(s3, "changing.svs", old)
    address = cache.address(url)

    def replace(share: float) -> None:
        if share == 0.5:
            put(s3, "changing.svs", os.urandom(4 * MB))

    for _ in range(2):
        with pytest.raises(ChangedSlideError, match="was replaced"), cache.local(address, replace):
            pass
        assert kept(tmp_path) == 0
    put(s3, "changing.svs", old)
    with cache.local(address) as file:
        assert file.read_bytes() == old
    put(s3, "changing.svs", b"another")
    with pytest.raises(ChangedSlideError), cache.local(address):
        pass


def test_what_is_missing_or_forbidden_says_so(
    s3: Any, server: Mapping[str, str], tmp_path: Path
) -> None:
    cache = SlideCache(tmp_path, MB)
    for key in ("nothing.svs", "a-folder"):
        put(s3, "a-folder/inside.svs", b"x")
        with pytest.raises(UnreadableSlideError, match=r"no object|not an object"):
            cache.address(f"s3://{BUCKET}/{key}")
    url = put(s3, "secret.svs", b"x")
    address = cache.address(url)
    reset = f"{server['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
    httpx.post(reset, content=b"0").raise_for_status()
    try:
        with pytest.raises(UnreadableSlideError, match="denies access"), cache.local(address):
            pass
    finally:
        httpx.post(reset, content=b"inf").raise_for_status()


def test_an_outage_stops_nobody_who_has_a_copy(
    s3: Any, line: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
    # What s3fs keeps was made for the other address.
    slide_cache._objects().clear_instance_cache()
    cache = SlideCache(tmp_path, 99 * MB)
    here, gone = (cache.address(put(s3, f"out/{n}.svs", os.urandom(n))) for n in (100, 200))
    with cache.local(here):
        pass
    line.cut()
    with cache.local(here) as file:
        assert file.stat().st_size == 100
    with pytest.raises(SlideUnavailableError), cache.local(gone):
        pass
    slide_cache._objects().clear_instance_cache()


@pytest.fixture
def place(server: Mapping[str, str], line: Proxy, tmp_path: Path) -> Iterator[Deployment]:
    way = {**server, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{line.port}"}
    prefix = f"s3://{BUCKET}/{tmp_path.name}"
    with deployment(tmp_path / "d", WSI_SLIDE_PREFIXES=prefix, **way) as place:
        add_toy(place)
        yield place


def register(client: httpx.Client, url: str) -> httpx.Response:
    return client.post("slides/registrations", json={"path": url})


def test_a_slide_in_a_bucket_is_shown_and_scored_and_never_copied_into_the_service(
    s3: Any, place: Deployment, tmp_path: Path
) -> None:
    _, client = place.start_api()
    url = put_slide(s3, f"{tmp_path.name}/deep/a.tif", tmp_path)
    answer = register(client, url)
    assert answer.status_code == 201, answer.text
    slide = answer.json()
    assert (slide["name"], slide["mpp"]) == ("a.tif", pytest.approx(0.5))
    assert slide["sha256"] in str(register(client, url).json())
    assert register(client, url).status_code == 200
    assert client.get(f"slides/{slide['id']}/slide.dzi").status_code == 200
    tile = client.get(f"slides/{slide['id']}/slide_files/9/0_0.jpeg")
    assert (tile.status_code, tile.headers["content-type"]) == (200, "image/jpeg")
    assert client.get(f"slides/{slide['id']}/associated").json() == {"names": []}

    # A worker of another machine has a cache of its own.
    elsewhere = tmp_path / "machine-2"
    place.start("workers", WSI_SLIDE_CACHE_DIR=str(elsewhere))
    ended = wait_status(client, submit(client, slide["id"]), "SUCCEEDED", "FAILED")
    assert ended["status"] == "SUCCEEDED", ended["error"]
    assert kept(elsewhere) == kept(place.folder / "slide-cache") == 1
    assert list((place.folder / "slides").iterdir()) == []

    table = f"slide\n{url}\ns3://{BUCKET}/of-others/b.tif\ns3://{BUCKET}/{tmp_path.name}/no.tif\n"
    batch = client.post("batches/table", content=table).json()["id"]
    wait_until(lambda: client.get(f"batches/{batch}").json()["finished"], "the batch")
    items = client.get(f"batches/{batch}/items").json()["items"]
    assert [item["error_kind"] for item in items] == [None, "forbidden_path", "unreadable"]
    assert items[0]["slide_id"] == slide["id"]

    assert client.delete(f"slides/{slide['id']}").status_code == 204
    assert kept(place.folder / "slide-cache") == 0
    assert s3.head_object(Bucket=BUCKET, Key=f"{tmp_path.name}/deep/a.tif")


def test_a_replaced_object_is_an_error_for_readers_and_jobs_until_it_is_registered_again(
    s3: Any, place: Deployment, tmp_path: Path
) -> None:
    _, client = place.start_api()
    key = f"{tmp_path.name}/a.tif"
    old = register(client, put_slide(s3, key, tmp_path)).json()
    put_slide(s3, key, tmp_path, seed=9)
    answer = client.get(f"slides/{old['id']}/slide.dzi")
    assert (answer.status_code, answer.json()["kind"]) == (409, "changed")
    assert "replaced" in answer.json()["detail"]
    place.start("workers")
    failed = wait_status(client, submit(client, old["id"]), "SUCCEEDED", "FAILED")
    assert (failed["status"], failed["error_kind"]) == ("FAILED", "changed")

    new = register(client, f"s3://{BUCKET}/{key}")
    assert new.status_code == 201
    wait_status(client, submit(client, new.json()["id"]), "SUCCEEDED")
    # The old content at another place: the same slide as before, which is whole again.
    moved = register(client, put_slide(s3, f"{tmp_path.name}/b.tif", tmp_path))
    assert (moved.status_code, moved.json()["id"]) == (200, old["id"])
    wait_status(client, submit(client, old["id"]), "SUCCEEDED")

    s3.delete_object(Bucket=BUCKET, Key=key)
    gone = client.get(f"slides/{new.json()['id']}/associated")
    assert (gone.status_code, gone.json()["kind"]) == (422, "unreadable")
    failed = wait_status(client, submit(client, new.json()["id"]), "SUCCEEDED", "FAILED")
    assert failed["error_kind"] == "unreadable"
    assert "there is no object" in failed["error"]


def test_a_job_waits_out_an_outage_of_the_storage(
    s3: Any, place: Deployment, line: Proxy, tmp_path: Path
) -> None:
    _, client = place.start_api()
    slide = register(client, put_slide(s3, f"{tmp_path.name}/a.tif", tmp_path)).json()
    place.start("workers", WSI_SLIDE_CACHE_DIR=str(tmp_path / "machine-2"))
    line.cut()
    job_id = submit(client, slide["id"])
    wait_until(lambda: "waiting for object" in job(client, job_id)["stage"], "the worker to wait")
    refused = register(client, f"s3://{BUCKET}/{tmp_path.name}/other.tif")
    assert (refused.status_code, refused.json()["kind"]) == (503, "slide_unavailable")
    assert refused.headers["retry-after"]
    line.mend()
    ended = wait_status(client, job_id, "SUCCEEDED", "FAILED")
    assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 1), ended["error"]
