"""Results of a service, written as files."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsi.cli.client import ServiceClient, ServiceError
from wsi.progress import Progress
from wsi.slide_names import slide_stem

Row = dict[str, Any]


class Fetch:
    """Writes results below a folder.

    Args:
        client: the service.
        out: the folder. A slide has one below it, named after itself and its id.
        heatmaps: whether pictures are wanted as well.
    """

    def __init__(self, client: ServiceClient, out: Path, *, heatmaps: bool = True) -> None:
        self._client = client
        self._out = out
        self._heatmaps = heatmaps

    @property
    def table(self) -> Path:
        """One line a job: slide, status, probabilities, or the error."""
        return self._out / "results.csv"

    def run(self, ids: list[str], progress: Progress) -> list[str]:
        """Fetch these jobs and batches; returns a line for each that has no result.

        Raises:
            ServiceError: an id is unknown, or the service is away.
        """
        items = [item for some_id in ids for item in self._items(some_id)]
        self._out.mkdir(parents=True, exist_ok=True)
        rows, failed = [], []
        for number, item in enumerate(items):
            row = self._row(item)
            if row["error"]:
                name = row["slide"] or row["slide_id"]
                failed.append(f"{name} ({row['pipeline']}): {row['error']}")
            rows.append(row)
            progress("fetching", (number + 1) / len(items))
        self._write_table(rows)
        return failed

    def _items(self, some_id: str) -> Iterator[Row]:
        if self._client.kind_of(some_id) == "batches":
            yield from self._client.jobs_of(some_id)
            return
        job = self._client.json("GET", f"/jobs/{some_id}")
        yield {**job, "job": job}

    def _row(self, item: Row) -> Row:
        job: Row = item["job"] or {}
        row = {
            "slide": item["slide_name"] or "",
            "slide_id": item["slide_id"],
            "pipeline": item["pipeline"],
            "model": job.get("model", ""),
            "job_id": job.get("id", ""),
            "status": job.get("status", "REFUSED"),
            "outcome": "",
            "error": item["error"] or "",
            "finished_at": job.get("finished_at") or "",
        }
        if row["status"] != "SUCCEEDED":
            return {**row, "error": row["error"] or f"no result, it is {row['status'].lower()}"}
        try:
            result = self._write_result(job)
        except ServiceError as error:
            # One lost result must not cost the others; a service that is away costs all.
            if error.may_pass:
                raise
            return {**row, "error": str(error)}
        chances = {f"probability {name}": p for name, p in result["probabilities"].items()}
        return {**row, "outcome": result["outcome"], **chances}

    def _write_result(self, job: Row) -> Row:
        result = self._client.result(job["id"])
        stem = _safe(slide_stem(job["slide_name"]))
        folder = self._out / f"{stem}-{_safe(job['slide_id'][:8])}"
        folder.mkdir(exist_ok=True)
        name = folder / _safe(job["pipeline"])
        spots = self._client.request("GET", f"/jobs/{job['id']}/hotspots.geojson")
        Path(f"{name}.geojson").write_bytes(spots.content)
        if self._heatmaps:
            for layer, png in self._client.heatmaps(result):
                Path(f"{name}-{_safe(layer)}.png").write_bytes(png)
        Path(f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        return result

    def _write_table(self, rows: list[Row]) -> None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        columns.sort(key=lambda name: name.startswith("probability "))
        with self.table.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)


def _safe(name: str) -> str:
    """A name from elsewhere as a file name of ours."""
    return re.sub(r"[^\w.+() -]", "_", name).lstrip(".-") or "slide"


def _cell(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
