"""Each way of installing brings what its part imports, and says what it does not bring.

An import of anything that pip would not have installed fails here as it would in an environment of
its own.
"""

import ast
import json
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OURS = {"wsi", "service", "workers"}
API_IMAGE: list[str] = runpy.run_path(str(ROOT / "docker" / "api_requirements.py"))["requirements"](
    PROJECT
)
# Parts of wsi that only service and workers use, and what tests of other packages use.
OF_SERVERS = ("wsi.jobs", "wsi.logs", "wsi.settings", "wsi.tracing", "wsi.testing")

BLOCKER = """
import importlib, json, runpy, sys
from importlib.machinery import PathFinder
blocked, finders = set(json.loads(sys.argv[1])), list(sys.meta_path)
class Blocker:
    find_distributions = staticmethod(PathFinder.find_distributions)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in blocked:
            return next(filter(None, (f.find_spec(name, path, target) for f in finders)), None)
sys.meta_path[:] = [Blocker()]
"""


def installed(lines: list[str]) -> set[str]:
    """The distributions that pip would install for these requirements, with all they need."""
    found: set[str] = set()
    seen: set[str] = set()
    queue = list(lines)
    while queue:
        line = queue.pop()
        asked = Requirement(line)
        if line in seen or (asked.marker and not asked.marker.evaluate({"extra": ""})):
            continue
        seen.add(line)
        if asked.name == "wholeslide":
            queue += [one for extra in asked.extras for one in EXTRAS[extra]]
            continue
        found.add(canonicalize_name(asked.name))
        try:
            needs = [Requirement(one) for one in metadata.requires(asked.name) or []]
        except metadata.PackageNotFoundError:
            continue
        for need in needs:
            wanted = (
                [need.marker.evaluate({"extra": e}) for e in ("", *asked.extras)]
                if need.marker
                else [True]
            )
            if any(wanted):
                need.marker = None
                queue.append(str(need))
    return found


@cache
def _modules() -> dict[str, set[str]]:
    """Top-level module to the distributions that bring it."""
    return {
        name: {canonicalize_name(one) for one in distributions}
        for name, distributions in metadata.packages_distributions().items()
    }


def run_with(lines: list[str], code: str) -> "subprocess.CompletedProcess[str]":
    """Run ``code`` where nothing else than these requirements can be imported."""
    there = installed(lines)
    blocked = [name for name, by in _modules().items() if name not in OURS and not by & there]
    command = [sys.executable, "-c", BLOCKER + code, json.dumps(blocked)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def imported_on_loading(package: str, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Top-level modules that a package's modules import when loaded, each with one that does."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if not name.startswith(without or "-"):
            found |= dict.fromkeys(_imports(ast.parse(path.read_text()).body), name)
    return {m: by for m, by in found.items() if m not in OURS | sys.stdlib_module_names}


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """What runs on import: not functions, and not what only type checkers read."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, (ast.Try, ast.With, ast.ClassDef)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)
        ):
            yield from _imports(node.body)


@pytest.mark.parametrize(
    ("lines", "package", "without"),
    [
        pytest.param(PROJECT["dependencies"], "wsi", OF_SERVERS, id="library"),
        pytest.param(["wholeslide[worker]", *PROJECT["dependencies"]], "workers", (), id="worker"),
        pytest.param(
            ["wholeslide[worker]", *PROJECT["dependencies"]], "wsi", ("wsi.testing",), id="jobs"
        ),
        pytest.param(API_IMAGE, "service", (), id="service"),
    ],
)
def test_an_installation_brings_what_its_part_imports(
    lines: list[str], package: str, without: tuple[str, ...]
) -> None:
    there = installed(lines)
    imported = imported_on_loading(package, without)
    missing = {m: by for m, by in imported.items() if not there & _modules().get(m, set())}
    assert imported
    assert not missing


def test_the_service_starts_with_what_the_image_of_the_api_has() -> None:
    code = (
        "from service.app import create_app; from service.settings import Settings\n"
        "create_app(Settings(_env_file=None))"
    )
    done = run_with(API_IMAGE, code)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_library_alone_brings_no_server() -> None:
    assert not {"fastapi", "celery", "sqlalchemy", "uvicorn"} & installed(PROJECT["dependencies"])


def test_the_image_of_the_api_has_no_torch() -> None:
    there = installed(API_IMAGE)
    assert {"fastapi", "s3fs", "pyarrow", "highdicom"} <= there
    assert not {"torch", "torchvision", "grad-cam", "triton"} & there
    assert not [name for name in there if name.startswith("nvidia")]


def test_all_brings_every_extra_but_those_of_developers() -> None:
    everything = installed(["wholeslide[all]"])
    for extra in EXTRAS.keys() - {"dev", "node"}:
        assert installed([f"wholeslide[{extra}]"]) <= everything
    assert everything <= installed(["wholeslide[dev]"])


@pytest.mark.parametrize(
    ("run", "extra"),
    [
        ("runpy.run_module('service', run_name='__main__')", "service"),
        ("runpy.run_module('workers', run_name='__main__')", "worker"),
        ("sys.argv = ['wsi', 'demo']; import wsi.cli; wsi.cli.main()", "service"),
    ],
    ids=["service", "worker", "demo"],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(run: str, extra: str) -> None:
    done = run_with(PROJECT["dependencies"], run)
    assert done.returncode == 2
    assert f"is not installed here: pip install 'wholeslide[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_names_the_extra_that_a_setting_needs() -> None:
    code = (
        "import os; os.environ['WSI_DATABASE_URL'] = 'sqlite://'\n"
        "from wsi.cli import checkup; print(checkup.services()['database']['problem'])"
    )
    done = run_with(PROJECT["dependencies"], code)
    assert "wholeslide[worker]" in done.stdout
