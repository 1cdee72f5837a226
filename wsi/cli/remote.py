"""``wsi remote``: slides, jobs and results of a service elsewhere."""

import json
import os
import sys
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import click

from wsi.cli.client import ServiceClient, ServiceError
from wsi.cli.console import errors_in_one_line, progress_bar
from wsi.cli.options import PATH, mpp_options, out_option
from wsi.cli.remote_fetch import Fetch
from wsi.cli.tus import Upload
from wsi.errors import ConfigError, WsiError

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Given: TypeAlias = tuple[str | None, str | None]
"""Address and key as options and environment gave them."""


@click.group()
@click.option("--url", envvar="WSI_REMOTE_URL", show_envvar=True, help="Such as https://host.")
@click.option("--key", envvar="WSI_REMOTE_KEY", show_envvar=True, help="API key.")
@click.pass_context
def remote(context: click.Context, url: str | None, key: str | None) -> None:
    """Use a service on another machine: upload slides, submit jobs, watch them, fetch results.

    Address and key come from the options, else from WSI_REMOTE_URL and WSI_REMOTE_KEY, else from
    what `wsi remote login` stored.
    """
    context.obj = (url, key)


@remote.command()
@click.pass_obj
@errors_in_one_line
def login(given: Given) -> None:
    """Store address and key for this user, after trying them."""
    url, key = given
    url = url or click.prompt("Address of the service")
    key = key if key is not None else click.prompt("Key", hide_input=True, default="")
    with _client(url, key) as client:
        who = client.json("GET", "/session")
    path = _stored_at()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Readable by its owner alone from the first byte on.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        json.dump({"url": client.url, "key": key}, file)
    click.echo(f"{client.url}: you are {who['name']} ({who['role'].lower()})")


@remote.command()
@click.argument("files", nargs=-1, required=True, type=PATH)
@mpp_options
@click.pass_obj
@errors_in_one_line
def upload(given: Given, files: tuple[Path, ...], mpp: float | None, force_mpp: bool) -> None:
    """Upload slides; prints id and name of each. An interrupted upload continues where it stopped.

    A multi-file slide (MRXS, a DICOM folder) is sent as a zip.
    """
    failed = 0
    with service_of(given) as client:
        for path in files:
            try:
                with progress_bar(path.name) as tell:
                    slide = Upload(client, path, _memory(), mpp, force_mpp=force_mpp).run(tell)
            except WsiError as error:
                failed += 1
                click.echo(f"wsi: {_about(path.name, error)}", err=True)
            else:
                click.echo(f"{slide['id']}\t{slide['name']}")
    if failed:
        sys.exit(2)


@remote.command()
@click.argument("slides", nargs=-1, required=True)
@click.option(
    "--pipeline",
    "pipelines",
    multiple=True,
    required=True,
    help="patch, whole-slide, ...; may be repeated.",
)
@click.option("--model", help="A model's name.  [default: the newest of the pipeline]")
@click.option("--name", default="", help="Name of the batch.")
@mpp_options
@click.option("--priority", type=int, help="-100 to 100; higher goes first.")
@click.pass_obj
@errors_in_one_line
def submit(
    given: Given,
    slides: tuple[str, ...],
    pipelines: tuple[str, ...],
    model: str | None,
    name: str,
    mpp: float | None,
    force_mpp: bool,
    priority: int | None,
) -> None:
    """Queue SLIDES (their ids, or - to read them from stdin), and print the id to watch.

    One slide and pipeline make a job; more make a batch, unless --model is given.
    """
    ids = [part for slide in slides for part in _ids(slide)]
    if not ids:
        raise ConfigError("no slides were given")
    more = {"mpp": mpp, "force_mpp": force_mpp or None, "priority": priority}
    more = {key: value for key, value in more.items() if value is not None}
    with service_of(given) as client:
        if len(ids) * len(pipelines) > 1 and model is None:
            batch = client.start_batch(ids, pipelines, name=name, **more)
            click.echo(batch["id"])
            refused = batch["counts"].get("REFUSED", 0)
            if refused:
                click.echo(
                    f"wsi: {refused} of {batch['total']} were refused; `wsi remote fetch` says why",
                    err=True,
                )
            return
        for slide_id in ids:
            for pipeline in pipelines:
                wish = more if model is None else {**more, "model": model}
                click.echo(client.start(slide_id, pipeline, **wish)["id"])


@remote.command()
@click.argument("ids", nargs=-1, required=True)
@click.pass_obj
@errors_in_one_line
def watch(given: Given, ids: tuple[str, ...]) -> None:
    """Watch jobs or batches until they end. Exit code 2 if one did not succeed."""
    good = True
    with service_of(given) as client:
        for some_id in [part for given_id in ids for part in _ids(given_id)]:
            kind = client.kind_of(some_id)
            seen: dict[str, Any] = {}
            with progress_bar(some_id[:8]) as tell:
                for seen in client.watch(kind, some_id):
                    tell(*_place(kind, seen))
            click.echo(_ended(kind, seen))
            good &= (
                seen["counts"].get("SUCCEEDED", 0) == seen["total"]
                if kind == "batches"
                else seen["status"] == "SUCCEEDED"
            )
    if not good:
        sys.exit(2)


@remote.command()
@click.argument("ids", nargs=-1, required=True)
@out_option("Folder of results.")
@click.option("--no-heatmaps", is_flag=True, help="Numbers alone.")
@click.pass_obj
@errors_in_one_line
def fetch(given: Given, ids: tuple[str, ...], out: Path, no_heatmaps: bool) -> None:
    """Fetch results of jobs or batches: JSON, hotspots, heatmaps, and results.csv of all.

    A job without a result has a line with its error there, and the exit code is 2.
    """
    with service_of(given) as client:
        fetching = Fetch(client, out, heatmaps=not no_heatmaps)
        some_ids = [part for given_id in ids for part in _ids(given_id)]
        with progress_bar("results") as tell:
            failed = fetching.run(some_ids, tell)
    click.echo(fetching.table)
    for line in failed:
        click.echo(f"wsi: {line}", err=True)
    if failed:
        sys.exit(2)


def _place(kind: str, seen: dict[str, Any]) -> tuple[str, float]:
    """Stage and share done, for the bar."""
    if kind == "jobs":
        return seen["stage"] or seen["status"].lower(), seen["progress"]
    return seen["name"] or "batch", seen["progress"]


def _ended(kind: str, seen: dict[str, Any]) -> str:
    """One line for the end of a job or a batch."""
    if kind == "batches":
        counts = ", ".join(f"{number} {status}" for status, number in seen["counts"].items())
        return f"{seen['id']}\t{counts}"
    line = f"{seen['id']}\t{seen['status']}\t{seen['slide_name']}"
    return f"{line}\t{seen['error']}" if seen["error"] else line


def _ids(given: str) -> list[str]:
    """Ids from an argument, or from the first column of stdin."""
    if given != "-":
        return [given]
    return [line.split()[0] for line in sys.stdin if line.strip()]


def _about(name: str, error: WsiError) -> str:
    """An error's text, which names the file."""
    return str(error) if name in str(error) else f"{name}: {error}"


def service_of(given: Given) -> ServiceClient:
    """The client of the service that was named.

    Raises:
        ConfigError: none was.
    """
    url, key = given
    if url is None:
        try:
            stored = json.loads(_stored_at().read_text())
            # A stored key is for the stored address alone.
            url, key = stored["url"], stored["key"] if key is None else key
        except FileNotFoundError:
            raise ConfigError(
                "which service? give --url, set WSI_REMOTE_URL, or run: wsi remote login"
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{_stored_at()} cannot be read ({error}); log in again") from error
    assert url is not None
    return _client(url, key)


def _client(url: str, key: str | None) -> ServiceClient:
    if "://" not in url:
        raise ConfigError(f"{url!r} is not an address; write it like https://host")
    parts = urlsplit(url)
    if key and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ServiceError(f"{url}: a key is not sent unencrypted; use https")
    return ServiceClient(url, {"Authorization": f"Bearer {key}"} if key else None)


def _stored_at() -> Path:
    return _base("XDG_CONFIG_HOME", ".config") / "remote.json"


def _memory() -> Path:
    return _base("XDG_CACHE_HOME", ".cache") / "uploads"


def _base(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback) / "wholeslide"
