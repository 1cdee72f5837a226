"""Signing and reading: who signs, on which results, and what stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from service.auth.roles import Role
from service.context import Context
from service.settings import Settings
from tests.cases import Case
from tests.integration.toy_pipeline import write_bundle
from tests.support.apps import app_for
from tests.unit.service.conftest import upload, work_off, write_slide


class Reading:
    """A service with one slide that one pipeline has scored."""

    def __init__(self, client: TestClient, context: Context, folder: Path) -> None:
        self.client = client
        self.context = context
        self.slide = str(upload(client, write_slide(folder / "case.tif"))["id"])
        self.job = self.score()

    def score(self) -> str:
        wish = {"slide_id": self.slide, "pipeline": "patch"}
        job = self.client.post("jobs", json=wish).json()
        work_off(self.context)
        return str(job["id"])

    def sign(self, seen: int = 0, **review: Any) -> Any:
        """The service's answer to a signature of "benign" by A. Reader, but for ``review``."""
        wish = {"status": "signed", "reviewer": "A. Reader", "diagnosis": "benign", **review}
        return self.client.put(
            f"slides/{self.slide}/review", json=wish, headers={"If-Match": f'"{seen}"'}
        )

    def detail(self, **review: Any) -> str:
        """Why a signature is refused."""
        answer = self.sign(**review)
        assert answer.status_code == 422, answer.text
        return str(answer.json()["detail"])

    def brief(self) -> Any:
        (result,) = self.client.get(f"slides/{self.slide}").json()["results"]
        return result


@contextmanager
def reading(folder: Path, **settings: Any) -> Iterator[Reading]:
    data = folder / "data"
    write_bundle(data / "models")
    app: Any = app_for(Settings(data_dir=data, reconcile_interval_s=60, **settings))
    with TestClient(app, base_url="http://localhost/api/v1/") as client:
        yield Reading(client, app.state.context, folder)


def _signed_as_1(folder: Path) -> str:
    with reading(folder) as at:
        return at.detail(reviewer="1")


def _typed_another_name(folder: Path) -> str:
    with reading(folder) as at:
        _, secret = at.context.keys.make("Dr. Anna", Role.PATHOLOGIST)
        guarded = Settings(data_dir=folder / "data", reconcile_interval_s=60, auth="on")
        with TestClient(app_for(guarded), base_url="http://localhost/api/v1/") as client:
            at.client = client
            client.headers["Authorization"] = f"Bearer {secret}"
            signed = at.sign(reviewer="Dr. Ben").json()
    return f"Signed by {signed['reviewer']}."


def _not_assessable(folder: Path) -> str:
    with reading(folder) as at:
        return at.detail(diagnosis="not assessable")


def _against_the_model(folder: Path) -> str:
    with reading(folder) as at:
        return at.detail(diagnosis="cancer")


def _less_than_agreed(folder: Path) -> str:
    with reading(folder) as at:
        spot = {"job_id": at.job, "index": 0, "decision": "agree"}
        return at.detail(hotspots=[spot])


def _unseen_result(folder: Path) -> str:
    with reading(folder) as at:
        at.score()
        return at.detail(shown_runs=[at.job])


def _another_slides_run(folder: Path) -> str:
    with reading(folder) as at:
        return at.detail(shown_runs=["b7e1"])


def _scored_again(folder: Path) -> str:
    with reading(folder) as at:
        assert at.sign().status_code == 200
        second = at.score()
        report = at.client.get(f"slides/{at.slide}/report").json()
    (run,), (newer,) = report["runs"], report["newer_runs"]
    assert run["job_id"] != second
    same = "the signed run" if run["job_id"] == at.job else "another run"
    return f"The report shows {same} and says that a newer run of {newer['pipeline']} exists."


def _stopped_again(folder: Path) -> str:
    with reading(folder) as at:
        again = at.client.post("jobs", json={"slide_id": at.slide, "pipeline": "patch"}).json()
        at.client.post(f"jobs/{again['id']}/cancel")
        result = at.brief()
    run = result["newer_run"]["status"]
    named = ", ".join(f"{name} {value:.2f}" for name, value in result["probabilities"].items())
    return f"The last result stands ({named}); beside it, the newer run: {run}."


def _foreign_form(folder: Path) -> str:
    data = folder / "data"
    app = app_for(Settings(data_dir=data, reconcile_interval_s=60, auth="on"))
    with TestClient(app, base_url="http://localhost/") as client:
        headers = {"Origin": "null", "Sec-Fetch-Site": "cross-site"}
        answer = client.post("login", data={"key": "wsk_any"}, headers=headers)
    return f"{answer.status_code}, on the form: {_alert(answer.text)}"


def _wrong_key(folder: Path) -> str:
    app = app_for(Settings(data_dir=folder / "data", reconcile_interval_s=60, auth="on"))
    with TestClient(app, base_url="http://localhost/") as client:
        answer = client.post("login", data={"key": "wsk_wrong"})
    return f"{answer.status_code}, on the form: {_alert(answer.text)}"


def _alert(page: str) -> str:
    return page.split('role="alert">')[1].split("</p>")[0]


CASES = (
    Case(input="a signature under the name 1", run=_signed_as_1),
    Case(input="with a key of Dr. Anna, a signature as Dr. Ben", run=_typed_another_name),
    Case(input="a slide signed as not assessable, without a reason", run=_not_assessable),
    Case(input="a diagnosis that no model called, without a reason", run=_against_the_model),
    Case(input="benign, after agreeing with a cancer hotspot", run=_less_than_agreed),
    Case(input="a signature while a newer result was not in sight", run=_unseen_result),
    Case(input="a signature on a run of another slide", run=_another_slides_run),
    Case(input="a signed slide that is scored again", run=_scored_again),
    Case(input="a scored slide whose second run is stopped", run=_stopped_again),
    Case(input="a sign-in form that another site sends", run=_foreign_form),
    Case(input="a sign-in with a wrong key", run=_wrong_key),
)
