"""A small client of the service's HTTP API."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from wsi.errors import WsiError
from wsi.progress import Progress, no_progress

_TIMEOUT = httpx.Timeout(30.0, read=300.0)
_POLL_S = 0.3
_FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


class ServiceError(WsiError):
    """The service refused, or is not there. The message is its own."""


class ServiceClient:
    """Uploads slides, starts jobs, waits for them and fetches results.

    Args:
        url: address of the service, such as ``http://127.0.0.1:8000``.
        headers: sent with every request, such as an API key.
    """

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1", timeout=_TIMEOUT, headers=headers
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the service answers and can work."""
        try:
            return self._http.get("/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def upload(self, path: Path, mpp: float | None = None) -> dict[str, Any]:
        """Upload one slide file, streamed from disk.

        Raises:
            ServiceError: the service refused it; says why.
        """
        with path.open("rb") as file:
            form = {} if mpp is None else {"mpp": str(mpp)}
            return self._json("POST", "/slides", data=form, files={"file": (path.name, file)})

    def start(self, slide_id: str, pipeline: str) -> dict[str, Any]:
        """Queue a job with the newest model of a pipeline."""
        return self._json("POST", "/jobs", json={"slide_id": slide_id, "pipeline": pipeline})

    def wait(self, job_id: str, progress: Progress = no_progress) -> dict[str, Any]:
        """Watch a job to its end.

        Raises:
            ServiceError: it failed or was cancelled; says why.
        """
        while True:
            job = self._json("GET", f"/jobs/{job_id}")
            progress(job["stage"] or job["status"].lower(), job["progress"])
            if job["status"] == "SUCCEEDED":
                return job
            if job["status"] in _FINAL:
                raise ServiceError(f"job {job_id} {job['status'].lower()}: {job['error']}")
            time.sleep(_POLL_S)

    def result(self, job_id: str) -> dict[str, Any]:
        """The result of a job that succeeded."""
        return self._json("GET", f"/jobs/{job_id}/result")

    def heatmaps(self, result: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Name and PNG of each heatmap over the slide's thumbnail."""
        for kind in result["layers"]:
            for name in result["classes"]:
                answer = self._http.get(
                    f"/jobs/{result['job_id']}/heatmaps/{kind}/{name}/overlay.png"
                )
                _refuse(answer)
                yield f"{kind}-{name}", answer.content

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise ServiceError(f"{self._http.base_url}: no answer ({error})") from error
        _refuse(answer)
        data: dict[str, Any] = answer.json()
        return data


def _refuse(answer: httpx.Response) -> None:
    """Turn a problem answer into an error with its text."""
    if answer.is_success:
        return
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    raise ServiceError(f"{answer.status_code}: {detail}")
