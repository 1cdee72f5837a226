"""``wsi remote reviews``: reviewed slides of a service as a training set."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wsi.cli.client import ServiceClient, ServiceError
from wsi.cli.console import errors_in_one_line
from wsi.cli.options import out_option
from wsi.cli.remote import Given, service_of

if TYPE_CHECKING:
    from wsi.annotations import Annotations
    from wsi.data.reviews import DecidedHotspot

_FOLDER_FORMATS = (".mrxs", ".vms", ".vmu", ".dcm")
"""Slides of several files: the service knows the size of their archive, not of this file."""

Tell = Callable[[str], None]


@click.command()
@out_option()
@click.option(
    "--slides",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder in which to look for the slides' files.",
)
@click.option("--negative", default="benign", show_default=True, help="Class of false positives.")
@click.option("--drafts", is_flag=True, help="Include reviews that are not signed.")
@click.pass_obj
@errors_in_one_line
def reviews(given: Given, out: Path, slides: Path | None, negative: str, drafts: bool) -> None:
    """Write reviewed regions as a table and GeoJSON files that `wsi train patch` reads.

    Drawn regions count as they are, hotspots by the reader's decision. Correct the columns slide,
    patient and split of the table; the next export keeps them.
    """
    with service_of(given) as client:
        table = export_reviews(client, out, slides, negative=negative, drafts=drafts, tell=_say)
    click.echo(table)


def _say(text: str) -> None:
    click.echo(text, err=True)


def export_reviews(
    client: ServiceClient,
    out: Path,
    slides_folder: Path | None,
    *,
    negative: str = "benign",
    drafts: bool = False,
    tell: Tell = _say,
) -> Path:
    """Fetch what was reviewed and write it as a training set; the table's path.

    Args:
        client: of the service.
        out: folder for ``table.csv`` and ``annotations/``.
        slides_folder: where the slides' files are looked for.
        negative: class of hotspots that were disagreed with.
        drafts: take reviews that are not signed as well.
        tell: told about each slide that is left out, and why.

    Raises:
        ServiceError: the service refused, or is not there.
        DatasetError: nothing is left to train from.
    """
    from wsi.data.reviews import ReviewedSlide, write_training_set

    files = _files(slides_folder)
    found = []
    for slide in _slides(client):
        review = slide["review"]
        if review is None or (review["status"] != "signed" and not drafts):
            state = "was not reviewed" if review is None else "its review is not signed"
            tell(f"{slide['name']}: left out: {state}")
            continue
        regions = _regions(client, slide, negative, tell)
        if not len(regions):
            tell(f"{slide['name']}: left out: no region is drawn, no hotspot decided")
            continue
        found.append(
            ReviewedSlide(
                id=slide["id"],
                name=slide["name"],
                path=_find(slide, files, tell),
                mpp=slide["mpp"],
                diagnosis=review["diagnosis"] or "",
                regions=regions,
            )
        )
    table = write_training_set(out, found)
    tell(
        f"{table}: {len(found)} reviewed slides. Patients are not known to the service: where one "
        "has several slides, enter the same patient for them in the column patient, "
        "and give them one split."
    )
    return table


def _slides(client: ServiceClient) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = client.json("GET", "/slides", params={"limit": 100, "offset": offset})
        yield from page["items"]
        offset += len(page["items"])
        if not page["items"] or offset >= page["total"]:
            return


def _regions(
    client: ServiceClient, slide: dict[str, Any], negative: str, tell: Tell
) -> "Annotations":
    from wsi.annotations import annotations_of_geojson
    from wsi.data.reviews import training_regions

    name, path = slide["name"], f"/slides/{slide['id']}"
    drawn = annotations_of_geojson(name, client.json("GET", f"{path}/annotations.geojson"))
    review = client.json("GET", f"{path}/review")
    spots = list(_decided(client, name, review["hotspots"], tell))
    return training_regions(name, drawn, spots, negative)


def _decided(
    client: ServiceClient, name: str, decisions: list[dict[str, Any]], tell: Tell
) -> "Iterator[DecidedHotspot]":
    """The hotspots that a reader agreed or disagreed with."""
    import shapely

    from wsi.data.reviews import DecidedHotspot

    plain = [item for item in decisions if item["decision"] in ("agree", "disagree")]
    for job_id in dict.fromkeys(item["job_id"] for item in plain):
        try:
            hotspots = client.result(job_id)["hotspots"]
        except ServiceError as error:
            if error.status not in (404, 409):
                raise
            tell(f"{name}: decisions on hotspots of job {job_id} left out: {error}")
            continue
        for item in plain:
            if item["job_id"] != job_id or item["index"] >= len(hotspots):
                continue
            spot = hotspots[item["index"]]
            yield DecidedHotspot(
                class_name=spot["class_name"],
                polygon=shapely.Polygon(spot["polygon_level0"]),
                decision=item["decision"],
            )


def _files(folder: Path | None) -> dict[str, list[Path]] | None:
    """The files below a folder by their names."""
    if folder is None:
        return None
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.setdefault(path.name, []).append(path)
    return found


def _find(slide: dict[str, Any], files: dict[str, list[Path]] | None, tell: Tell) -> str:
    """The slide's file; its mere name where it is not to be told."""
    name = str(slide["name"])
    if files is None:
        return name
    there = files.get(name, [])
    same = [path for path in there if path.stat().st_size == slide["size_bytes"]]
    if not same and Path(name).suffix.lower() in _FOLDER_FORMATS:
        same = there
    if len(same) == 1:
        return str(same[0].resolve())
    why = (
        f"{len(same)} files have this name and size"
        if same
        else "no file with this name and size was found"
    )
    tell(f"{name}: {why}: write its path into the table's column slide")
    return name
