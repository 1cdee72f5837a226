"""Mutated slides through a real API process; and, as a program, the worker's first step on them.

``python -m tests.integration.mutated_slides STORES`` reads paths from stdin, opens each as a worker
does, finds its tissue, and writes a line of JSON for it.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.integration.deployment import Deployment
from wsi.errors import WsiError
from wsi.slides import open_slide, require_mpp
from wsi.storage import SlideStore
from wsi.storage.tissue_store import tissue_of
from wsi.testing.mutations import Mutant, mutants
from wsi.testing.slides import synthetic_slide, write_slide
from wsi.tissue import TissueSpec

_ROOT = Path(__file__).parents[2]
_DZI_TILE = 254


@dataclass
class Outcomes:
    """What became of the mutants.

    Attributes:
        counts: by (kind of damage, answer to the upload).
        wrong: answers that no client should see: 5xx, undocumented, no problem document.
        tissue: by outcome of the worker's tissue step.
        api_mib, worker_mib: most memory of the API's process, and of the tissue step's.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    tissue: Counter[str] = field(default_factory=Counter)
    api_mib: float = 0.0
    worker_mib: float = 0.0


def small_sources(folder: Path, edge: Path | None = None) -> list[Path]:
    """Sound small slides to damage: drawn here, and real ones where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [
        synthetic_slide(folder / "tiff.tiff", 512, seed=1, tile_px=128, level_factor=2).path,
        synthetic_slide(folder / "svs.svs", 512, seed=2, tile_px=128, format="svs").path,
        write_slide(folder / "flat.tif", np.full((200, 300, 3), 200, np.uint8), 0.5, tile_px=64),
    ]
    real = sorted(edge.glob("*.*")) if edge is not None else []
    return made + [path for path in real if path.suffix in (".svs", ".tif", ".tiff")]


def run(
    place: Deployment, client: httpx.Client, sources: Sequence[Path], count: int, seed: int = 0
) -> Outcomes:
    """Send ``count`` mutants, look at every one that is accepted, and find its tissue."""
    outcomes = Outcomes()
    accepted = []
    for mutant in mutants(sources, count, seed):
        slide = _upload(client, mutant, outcomes)
        if slide is not None:
            _look(client, mutant, slide, outcomes)
            accepted.append(slide["id"])
    stored = [
        path
        for slide_id in dict.fromkeys(accepted)
        for path in (place.folder / "slides" / slide_id).iterdir()
    ]
    _find_tissue(stored, place.folder / "tissue", outcomes)
    outcomes.api_mib = peak_mib(Path(f"/proc/{place.processes[0].pid}/status"))
    return outcomes


def peak_mib(status: Path) -> float:
    """Most that a process had resident since it started its program."""
    return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024


def _upload(client: httpx.Client, mutant: Mutant, outcomes: Outcomes) -> dict[str, Any] | None:
    answer = client.post(
        "slides",
        files={"file": (mutant.name, mutant.data)},
        data={"mpp": "0.5", "force_mpp": "true"},
    )
    if answer.status_code in (200, 201):
        outcomes.counts[mutant.kind, "accepted"] += 1
        body: dict[str, Any] = answer.json()
        return body
    _note_wrong(mutant, "upload", answer, outcomes)
    kind = answer.json().get("kind", "?") if "json" in answer.headers["content-type"] else "?"
    outcomes.counts[mutant.kind, kind] += 1
    return None


def _look(client: httpx.Client, mutant: Mutant, slide: dict[str, Any], outcomes: Outcomes) -> None:
    """What the page asks for of a slide, and a job."""
    base = f"slides/{slide['id']}"
    top = (max(slide["width"], slide["height"]) - 1).bit_length()
    last = ((slide["width"] - 1) // _DZI_TILE, (slide["height"] - 1) // _DZI_TILE)
    paths = [
        f"{base}/thumbnail.jpg",
        f"{base}/slide.dzi",
        f"{base}/associated",
        f"{base}/slide_files/{top}/0_0.jpeg",
        f"{base}/slide_files/{top}/{last[0]}_{last[1]}.jpeg",
        f"{base}/slide_files/{top - 1}/0_0.jpeg",
        f"{base}/slide_files/{max(0, top - 6)}/0_0.jpeg",
    ]
    for path in paths:
        _note_wrong(mutant, path.removeprefix(base), client.get(path), outcomes)
    wish = {"slide_id": slide["id"], "pipeline": "patch"}
    _note_wrong(mutant, "job", client.post("jobs", json=wish), outcomes)


def _note_wrong(mutant: Mutant, what: str, answer: httpx.Response, outcomes: Outcomes) -> None:
    refused = 400 <= answer.status_code < 500
    problem = answer.headers["content-type"] == "application/problem+json"
    if not (answer.status_code in (200, 202) or (refused and problem)):
        outcomes.wrong.append(f"{mutant.name}: {what}: {answer.status_code} {answer.text[:200]}")


def _find_tissue(paths: Iterable[Path], stores: Path, outcomes: Outcomes) -> None:
    """Each in turn in one process; where it dies, the next one goes on behind the culprit."""
    waiting = list(paths)
    while waiting:
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.mutated_slides", str(stores)],
            input="\n".join(map(str, waiting)),
            capture_output=True,
            text=True,
            cwd=_ROOT,
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        for line in lines:
            outcomes.tissue[line["outcome"]] += 1
            outcomes.worker_mib = max(outcomes.worker_mib, line["mib"])
            if line["outcome"] == "unexpected":
                outcomes.wrong.append(f"tissue of {line['path']}: {line['reason']}")
        waiting = waiting[len(lines) :]
        if waiting:
            outcomes.tissue["crash"] += 1
            tail = done.stderr[-300:]
            outcomes.wrong.append(f"tissue of {waiting[0]} ended the worker: {tail}")
            waiting = waiting[1:]


def _tissue(path: str, store: Path) -> tuple[str, str]:
    try:
        with open_slide(path, mpp=0.5, force_mpp=True) as slide:
            require_mpp(slide)
            tissue_of(slide, SlideStore(str(store)), TissueSpec())
    except WsiError as error:
        return type(error).__name__, str(error)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return "unexpected", f"{type(error).__name__}: {error}"
    return "found", ""


def main() -> None:
    """Entry point."""
    stores = Path(sys.argv[1])
    for number, path in enumerate(sys.stdin.read().splitlines()):
        outcome, reason = _tissue(path, stores / f"{Path(path).parent.name}-{number}.zarr")
        # ru_maxrss would begin with what the parent had resident when it forked.
        mib = peak_mib(Path("/proc/self/status"))
        line = {"path": path, "outcome": outcome, "reason": reason, "mib": mib}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
