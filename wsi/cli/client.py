"""A small client of the service's HTTP API."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from wsi.errors import WsiError
from wsi.progress import Progress, no_progress

_TIMEOUT = httpx.Timeout(30.0, read=300.0)
# The service sends something every twelve seconds, if only a comment.
_EVENTS_TIMEOUT = httpx.Timeout(30.0, read=60.0)
_POLL_S = 0.3
_FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
_PAGE = 1000
RETRY_TIMEOUT_S = 120.0
"""How long a service may be away (restarted, say) before an upload or a watch gives up."""


class ServiceError(WsiError):
    """The service refused, or is not there. The message is its own.

    Attributes:
        status: the HTTP status; ``None`` where there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later: no answer, a busy service, broken bytes."""
        return self.status in (None, 423, 429, 460, 502, 503, 504)


class RetryPolicy:
    """Waits between tries, each time longer, until too much time has gone by without success.

    A service that never answered at all is not waited for: its address may be wrong.
    """

    def __init__(self, seconds: float = RETRY_TIMEOUT_S) -> None:
        self._seconds = seconds
        self._answered = False
        self._since: float | None = None
        self._pause_s = 0.0

    def success(self) -> None:
        """It works: the clock starts anew at the next failure."""
        self._answered = True
        self._since = None
        self._pause_s = 0.0

    def failure(self, error: ServiceError, *, may_pass: bool = False) -> None:
        """Wait before the next try. Raises ``error`` where there is to be none.

        ``may_pass``: try again although the error does not say so itself.
        """
        self._answered |= error.status is not None
        if not self._answered:
            raise error
        now = time.monotonic()
        self._since = self._since if self._since is not None else now
        if not (error.may_pass or may_pass) or now - self._since > self._seconds:
            raise error
        self._pause_s = min(10.0, self._pause_s * 2 or 0.2)
        time.sleep(self._pause_s)


class ServiceClient:
    """Uploads slides, starts jobs, waits for them and fetches results.

    Args:
        url: address of the service, such as ``http://127.0.0.1:8000``.
        headers: sent with every request, such as an API key.
    """

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=f"{self.url}/api/v1", timeout=_TIMEOUT, headers=headers)

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

    def upload(
        self, path: Path, mpp: float | None = None, *, force_mpp: bool = False
    ) -> dict[str, Any]:
        """Upload one slide file in one request, streamed from disk.

        ``wsi.cli.tus`` has uploads that go on where they broke off.

        Raises:
            ServiceError: the service refused it; says why.
        """
        with path.open("rb") as file:
            form = {} if mpp is None else {"mpp": str(mpp)}
            form |= {"force_mpp": "true"} if force_mpp else {}
            return self.json("POST", "/slides", data=form, files={"file": (path.name, file)})

    def start(self, slide_id: str, pipeline: str, **more: Any) -> dict[str, Any]:
        """Queue a job, with the newest model of a pipeline unless ``more`` names one."""
        return self.json("POST", "/jobs", json={"slide_id": slide_id, "pipeline": pipeline, **more})

    def start_batch(
        self, slide_ids: Sequence[str], pipelines: Sequence[str], **more: Any
    ) -> dict[str, Any]:
        """Queue many slides at once."""
        body = {"slide_ids": list(slide_ids), "pipelines": list(pipelines), **more}
        return self.json("POST", "/batches", json=body)

    def wait(self, job_id: str, progress: Progress = no_progress) -> dict[str, Any]:
        """Watch a job to its end.

        Raises:
            ServiceError: it failed or was cancelled; says why.
        """
        while True:
            job = self.json("GET", f"/jobs/{job_id}")
            progress(job["stage"] or job["status"].lower(), job["progress"])
            if job["status"] == "SUCCEEDED":
                return job
            if job["status"] in _FINAL:
                raise ServiceError(f"job {job_id} {job['status'].lower()}: {job['error']}")
            time.sleep(_POLL_S)

    def kind_of(self, some_id: str) -> str:
        """``jobs`` or ``batches``: what this is the id of. Raises ``ServiceError``."""
        for kind in ("jobs", "batches"):
            try:
                self.json("GET", f"/{kind}/{quote(some_id, safe='')}")
            except ServiceError as error:
                if error.status != httpx.codes.NOT_FOUND:
                    raise
            else:
                return kind
        raise ServiceError(f"there is no job and no batch {some_id}", httpx.codes.NOT_FOUND)

    def watch(self, kind: str, some_id: str) -> Iterator[dict[str, Any]]:
        """Every change of a job or a batch until it has ended, over broken connections.

        Args:
            kind: ``jobs`` or ``batches``.
            some_id: its id.

        Raises:
            ServiceError: it is not there, or the service is away for too long.
        """
        retries = RetryPolicy()
        while True:
            try:
                for event in self._events(f"/{kind}/{some_id}/events"):
                    retries.success()
                    yield event
                    if event["finished"] if kind == "batches" else event["status"] in _FINAL:
                        return
                raise ServiceError(f"{self.url}: the event stream was interrupted")
            except ServiceError as error:
                retries.failure(error)

    def _events(self, path: str) -> Iterator[dict[str, Any]]:
        with (
            self._answering(),
            self._http.stream("GET", path, timeout=_EVENTS_TIMEOUT) as answer,
        ):
            if not answer.is_success:
                answer.read()
                refuse(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def jobs_of(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """Every item of a batch, with its job or why it was refused."""
        offset = 0
        while True:
            page = self.json(
                "GET", f"/batches/{batch_id}/items", params={"limit": _PAGE, "offset": offset}
            )
            yield from page["items"]
            offset += len(page["items"])
            if not page["items"] or offset >= page["total"]:
                return

    def result(self, job_id: str) -> dict[str, Any]:
        """The result of a job that succeeded."""
        return self.json("GET", f"/jobs/{job_id}/result")

    def heatmaps(self, result: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Name and PNG of each heatmap over the slide's thumbnail."""
        for kind in result["layers"]:
            for name in result["classes"]:
                path = f"/jobs/{result['job_id']}/heatmaps/{kind}/{quote(name, safe='')}"
                yield f"{kind}-{name}", self.request("GET", f"{path}/overlay.png").content

    def json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The JSON that a request is answered with. Raises ``ServiceError``."""
        data: dict[str, Any] = self.request(method, path, **request).json()
        return data

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """A request that must succeed. Raises ``ServiceError``."""
        with self._answering():
            answer = self._http.request(method, path, **request)
        refuse(answer)
        return answer

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise ServiceError(f"{self.url}: no answer ({error})") from error
        except httpx.InvalidURL as error:
            raise ServiceError(f"{self.url} is not the address of a service: {error}", 0) from error


def refuse(answer: httpx.Response) -> None:
    """Turn a problem answer into an error with its text."""
    if answer.is_success:
        return
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:200]
    raise ServiceError(f"{answer.status_code}: {detail}", answer.status_code)
