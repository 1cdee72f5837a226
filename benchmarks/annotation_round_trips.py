"""Random annotation sets through every format that is written: what is lost.

``python benchmarks/annotation_round_trips.py --sets 1000``: GeoJSON files, files that went through
QuPath (as its source writes them, not QuPath itself), and the service's export and import, each on
a slide with and without a scanned area that QuPath crops to.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import shapely
import tifffile
from fastapi.testclient import TestClient

from service.app import create_app
from service.context import Context
from service.settings import Settings
from service.slides.repository import StoredSlide
from wsi.annotations import (
    Annotation,
    Annotations,
    annotations_of_geojson,
    read_annotations,
    to_geojson,
    write_geojson,
)
from wsi.geometry import Region, Size
from wsi.testing.annotations import as_qupath_exports, differences, random_annotations

SIZE = Size(600, 600)
WHOLE = Size(1000, 900)
AREA = Region(300, 200, 600, 600)
Trip = Callable[[Annotations], Annotations]


def by_file(folder: Path, bounds: Region | None) -> Trip:
    def trip(drawn: Annotations) -> Annotations:
        write_geojson(drawn, folder / "a.geojson", bounds)
        return read_annotations(folder / "a.geojson", WHOLE, bounds=bounds)

    return trip


def by_qupath(rng: np.random.Generator, bounds: Region | None) -> Trip:
    def trip(drawn: Annotations) -> Annotations:
        exported = json.loads(json.dumps(as_qupath_exports(to_geojson(drawn, bounds), rng)))
        return annotations_of_geojson("a", exported, WHOLE, bounds=bounds)

    return trip


def by_service(client: TestClient, context: Context, first: StoredSlide) -> Trip:
    def fresh() -> str:
        new = replace(first, id=str(uuid4()), sha256=uuid4().hex * 2)
        return context.slides.add(new).id

    def trip(drawn: Annotations) -> Annotations:
        data = to_geojson(drawn)
        for _ in range(2):
            slide = fresh()
            address = f"slides/{slide}/annotations.geojson"
            answer = client.post(address, json=data, params={"new_classes": True})
            assert answer.status_code == 200, answer.text
            assert answer.json()["warnings"] == []
            data = client.get(address).json()
        return annotations_of_geojson("a", data)

    return trip


def in_service(drawn: Annotations) -> Annotations:
    """The service has no names beside comments, and takes each annotation once."""
    items = {}
    for item in drawn:
        comment = item.comment or (item.name if item.name != item.class_name else "")
        one = Annotation(item.class_name, item.geometry, comment=comment)
        items[one.class_name, one.geometry.wkt, comment] = one
    return Annotations("x", tuple(items.values()))


def measure(name: str, trip: Trip, sets: list[Annotations]) -> None:
    lost = {"shapes": 0, "classes": 0, "texts": 0, "holes": 0, "vertices": 0}
    farthest = 0.0
    for drawn in sets:
        found = differences(drawn.items, trip(drawn).items)
        farthest = max(farthest, found.farthest_px)
        for kind in lost:
            lost[kind] += getattr(found, kind)
    shapes = sum(len(drawn) for drawn in sets)
    told = ", ".join(f"{kind} {count}" for kind, count in lost.items())
    print(f"{name}: {len(sets)} sets, {shapes} shapes; lost: {told}; farthest {farthest:.4f} px")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=1000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    plain = [random_annotations(rng, SIZE) for _ in range(options.sets)]
    shift = [
        Annotations("x", tuple(_moved(item) for item in drawn)) for drawn in plain
    ]  # into the scanned area
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure("GeoJSON file", by_file(folder, None), plain)
        measure("GeoJSON file, scanned area", by_file(folder, AREA), shift)
        measure("through QuPath", by_qupath(rng, None), plain)
        measure("through QuPath, scanned area", by_qupath(rng, AREA), shift)
        settings = Settings(data_dir=folder / "data")
        base = "http://localhost/api/v1/"
        with TestClient(create_app(settings), base_url=base) as client:
            pixels = np.full((SIZE.height, SIZE.width, 3), 200, np.uint8)
            tifffile.imwrite(folder / "a.tif", pixels, tile=(256, 256), compression="jpeg")
            with (folder / "a.tif").open("rb") as file:
                answer = client.post("slides", files={"file": ("a.tif", file)})
            context = client.app.state.context  # type: ignore[attr-defined]
            first = context.slides.get(answer.json()["id"])
            served = [in_service(drawn) for drawn in plain]
            measure("service, twice", by_service(client, context, first), served)


def _moved(item: Annotation) -> Annotation:
    corner = np.array([AREA.x, AREA.y])
    return replace(item, geometry=shapely.transform(item.geometry, lambda xy: xy + corner))


if __name__ == "__main__":
    main()
