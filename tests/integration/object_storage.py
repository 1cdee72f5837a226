"""An S3 server on loopback (moto), in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from tests.integration.deployment import free_port, wait_until
from tests.support.processes import LEASHED

BUCKET = "results"


@contextmanager
def object_storage() -> Iterator[Mapping[str, str]]:
    """A server with one empty bucket; gives the environment that leads clients to it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [*LEASHED, sys.executable, "-c", "from moto.server import main; main()", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def made() -> bool:
            assert server.poll() is None, "the S3 server ended"
            try:
                return httpx.put(f"{url}/{BUCKET}").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(made, "the S3 server")
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.terminate()
        server.wait()


def keys(environment: Mapping[str, str]) -> str:
    """The listing of the bucket, as XML."""
    listing = httpx.get(f"{environment['AWS_ENDPOINT_URL']}/{BUCKET}", params={"list-type": "2"})
    assert listing.status_code == 200
    return listing.text
