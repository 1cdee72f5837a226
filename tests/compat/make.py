"""``python -m tests.compat.make FILE.tar.xz``: what an installation leaves on disk, to be kept.

Run with the code of the version whose files are to be kept; ``test_earlier_files.py`` then opens
them with the code of the day. Everything is made through public doors (HTTP API, worker program,
bundles), so this script needs few changes from version to version.

The archive holds a folder ``data`` with a database, slides, stores and models, and
``expected.json`` with what was in them. Paths in the database begin with ``/data``. Weights
repeat themselves, so that networks of real size pack into a few kilobytes.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi.testclient import TestClient
from safetensors.torch import load_file

from service.app import create_app
from service.settings import Settings
from wsi.data.heatmap_features import FeatureTable
from wsi.models.aggregators import FEATURES
from wsi.models.aggregators.attention import AttentionNetwork, AttentionSpec
from wsi.models.aggregators.stored import join_bundles, pack_attention
from wsi.models.bundle import save_bundle
from wsi.models.card import ModelCard, read_card
from wsi.testing.fusions import fusion_bundle
from wsi.testing.models import untrained_patch_bundle, untrained_whole_slide_bundle
from wsi.testing.slides import synthetic_slide
from wsi.training.aggregator import TreeTraining, train_trees

PERIOD = 509
CLASSES = ("benign", "cancer")


def main(out: Path) -> None:
    """Make the files and pack them."""
    with tempfile.TemporaryDirectory(prefix="wsi-compat-") as scratch:
        data = Path(scratch, "data")
        make_models(data / "models")
        expected = fill(data)
        (data / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True))
        tidy_database(data, str(data))
        for name in ("incoming", "uploads", "slide-cache"):
            shutil.rmtree(data / name, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(out, "w:xz", preset=9) as archive:
            archive.add(data, "data", filter=nobody)
    print(f"{out}: {out.stat().st_size} bytes")  # noqa: T201


def nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose files these were is nobody's business."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def make_models(models: Path) -> None:
    """A bundle of every kind."""
    untrained_patch_bundle(models / "patch")
    repeat_weights(models / "patch")
    untrained_whole_slide_bundle(models / "whole-slide")
    repeat_weights(models / "whole-slide")
    fusion_bundle(models / "both")
    spec = {"kind": "clam", "features": 512, "classes": 2, "hidden": 8, "attention": 4}
    torch.manual_seed(2)
    network = AttentionNetwork(AttentionSpec(**spec))  # type: ignore[arg-type]
    card = ModelCard(
        name="clam",
        pipeline="aggregator",
        architecture="clam",
        classes=CLASSES,
        mpp=0.0,
        input_px=0,
        settings={"aggregator": {"kind": "clam", "classes": list(CLASSES), "spec": spec}},
    )
    state = pack_attention(network.state_dict(), torch.zeros(512), torch.ones(512))
    save_bundle(models / "clam", card, state)
    rng = np.random.default_rng(0)
    table = FeatureTable(
        source="made",
        names_n=np.arange(20).astype(str),
        patients_n=np.arange(20).astype(str),
        by_patient=False,
        labels_n=np.arange(20) % 2,
        features=FEATURES,
        values_nf=rng.random((20, len(FEATURES))),
    )
    config = TreeTraining(name="forest", kind="random-forest", classes=CLASSES, trees=5, repeats=0)
    train_trees(table, config, models / "forest")
    join_bundles(models / "patch", models / "forest", models / "patch-with-forest")


def repeat_weights(bundle: Path) -> None:
    """Give a bundle weights that repeat every ``PERIOD`` values, each tensor's spread kept."""
    state = load_file(bundle / "weights.safetensors")
    rng = np.random.default_rng(3)
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.numel() > PERIOD:
            values = rng.normal(0, float(tensor.std()), PERIOD).astype(np.float32)
            state[name] = torch.from_numpy(np.resize(values, tensor.shape))
    save_bundle(bundle, read_card(bundle), state)


def fill(data: Path) -> dict[str, Any]:
    """Run a service and a worker over a few slides; what a client was told."""
    share = data / "share"
    share.mkdir(parents=True)
    slides = [
        synthetic_slide(share / f"{name}.tif", 512, 1.0, seed=seed).path
        for name, seed in (("first", 4), ("second", 5))
    ]
    settings = Settings(
        data_dir=data,
        slide_roots=(share,),
        auth="on",
        webhook_hosts=("127.0.0.1:9",),
        webhook_secret="kept",  # type: ignore[arg-type]
    )
    said = io.StringIO()
    app = create_app(settings)
    with contextlib.redirect_stdout(said):
        client = TestClient(app, base_url="http://localhost/api/v1/")
        client.__enter__()
    with contextlib.closing(client):
        secret = said.getvalue().split("once:")[1].split()[0]
        client.headers["Authorization"] = f"Bearer {secret}"
        expected = use(client, data, slides)
        client.__exit__(None, None, None)
    return {**expected, "key": secret}


def use(client: TestClient, data: Path, slides: list[Path]) -> dict[str, Any]:
    """What people do with the service."""
    with slides[0].open("rb") as file:
        uploaded = done(client.post("slides", files={"file": (slides[0].name, file)}))
    slides[0].unlink()
    registered = done(client.post("slides/registrations", json={"path": str(slides[1])}))
    reader = done(client.post("keys", json={"name": "A. Reader", "role": "pathologist"}))
    done(client.post("session", json={"key": reader["secret"]}))
    client.cookies.clear()
    worker = start_worker(data)
    jobs = {
        pipeline: done(
            client.post(
                "jobs", json={"slide_id": uploaded["id"], "pipeline": pipeline, "model": model}
            )
        )["id"]
        for pipeline, model in (
            ("patch", "patch-with-forest"),
            ("whole-slide", "whole-slide"),
            ("fusion", "both"),
        )
    }
    results = {}
    for pipeline, job in jobs.items():
        wait(client, job, "SUCCEEDED")
        results[pipeline] = done(client.get(f"jobs/{job}/result"))["probabilities"]
    batch = done(
        client.post(
            "batches",
            json={
                "name": "Monday",
                "slide_ids": [uploaded["id"], registered["id"]],
                "pipelines": ["patch"],
                "callback_url": "http://127.0.0.1:9/ended",
            },
        )
    )
    first, last = (item["job"]["id"] for item in items(client, batch["id"]))
    wait(client, first, "SUCCEEDED")
    wait(client, last, "SUCCEEDED")
    wishes = {"slide_id": registered["id"], "pipeline": "whole-slide"}
    running = done(client.post("jobs", json=wishes))["id"]
    wait(client, running, "RUNNING")
    # Killed in the middle: its job stays RUNNING, and its row in the table of workers stays.
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    waiting = done(client.post("jobs", json={**wishes, "pipeline": "fusion", "priority": 3}))["id"]
    cancelled = done(client.post("jobs", json=wishes))["id"]
    done(client.post(f"jobs/{cancelled}/cancel"))
    place = f"slides/{uploaded['id']}"
    client.headers["Authorization"] = f"Bearer {reader['secret']}"
    polygon = {"type": "Polygon", "coordinates": [[[9, 9], [90, 12], [50, 80], [9, 9]]]}
    for version, comment in enumerate(("invades", "invades the muscle")):
        body = {"geometry": polygon, "class_name": "cancer", "comment": comment}
        seen = {"If-Match": f'"{version}"'}
        done(client.put(f"{place}/annotations/annotation-1", json=body, headers=seen))
    review = {"status": "draft", "diagnosis": "cancer", "comment": "looks so"}
    done(client.put(f"{place}/review", json=review, headers={"If-Match": '"0"'}))
    signed = {**review, "status": "signed", "reason": "seen with B. Reader"}
    done(client.put(f"{place}/review", json=signed, headers={"If-Match": '"1"'}))
    return {
        "uploaded": uploaded["id"],
        "registered": registered["id"],
        "jobs": jobs,
        "running": running,
        "waiting": waiting,
        "cancelled": cancelled,
        "batch": batch["id"],
        "probabilities": results,
    }


def items(client: TestClient, batch: str) -> list[dict[str, Any]]:
    """Of a batch, once all of them have jobs."""
    found: list[dict[str, Any]] = done(client.get(f"batches/{batch}/items"))["items"]
    return found


def start_worker(data: Path) -> subprocess.Popen[bytes]:
    """In a group of its own, so that its processes can be killed with it."""
    return subprocess.Popen(
        [sys.executable, "-m", "workers"],
        env={**os.environ, "WSI_DATA_DIR": str(data), "WSI_DEVICE": "cpu"},
        start_new_session=True,
    )


def wait(client: TestClient, job: str, status: str) -> None:
    """Until a job stands there."""
    for _ in range(1200):
        found = done(client.get(f"jobs/{job}"))
        if found["status"] == status:
            return
        assert found["status"] in ("QUEUED", "RUNNING"), found
        time.sleep(0.1)
    raise TimeoutError(f"job {job} is not {status}")


def done(answer: Any) -> Any:
    """The body of an answer that must be one of success."""
    assert answer.is_success, answer.text
    return answer.json()


def tidy_database(data: Path, folder: str) -> None:
    """One file, whose paths begin with ``/data``."""
    connection = sqlite3.connect(data / "wholeslide.db")
    for table, column in (
        ("slides", "path"),
        ("slides", "store_url"),
        ("jobs", "slide_path"),
        ("jobs", "store_url"),
        ("batch_items", "path"),
    ):
        connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, '/data')", [folder])
    connection.commit()
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("VACUUM")
    connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
