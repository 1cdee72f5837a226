"""Every command in the documents exists, with the options that it is given."""

import ast
import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from service.app import create_app
from service.settings import Settings as ServiceSettings
from workers.settings import Settings as WorkerSettings
from wsi.cli import main

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted((ROOT / "docs").glob("**/*.md")) if p.parent.name != "decisions"),
]
_FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ENDS = {"&&", "|", ";", "||"}
_OTHER_VARIABLES = {"WSI_TEST_DATA", "WSI_REMOTE_URL", "WSI_REMOTE_KEY", "WSI_NOTEBOOK_WORK"}


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command in a page's shell blocks, settings before it left out."""
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words: list[str] = []
            # A comment begins a word: ${p#*:} has none.
            for word in [*shlex.split(re.sub(r"(^|\s)#.*", "", line)), ";"]:
                if word not in _ENDS:
                    words.append(word)
                    continue
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    yield words
                words = []


def of_page(path: Path) -> list[list[str]]:
    return list(commands(path.read_text()))


def problem_of_wsi(words: list[str]) -> str | None:
    """Why ``wsi WORDS`` would be refused for its name or an option; ``None`` where it would not."""
    command: click.Command = main
    rest = list(words)
    while isinstance(command, click.Group):
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        while rest and rest[0] in options:
            rest = rest[2:]
        if not rest:
            return None
        if rest[0] in ("--help", "--version", "-h"):
            return None
        if rest[0] not in command.commands:
            return f"no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    known |= {"--help", "-h"}
    rest = rest[: rest.index("--")] if "--" in rest else rest
    unknown = [w for w in rest if w.startswith("-") and len(w) > 1 and w.split("=")[0] not in known]
    if unknown:
        return f"no option {', '.join(unknown)}"
    if "--help" in rest or "-h" in rest:
        return None
    given = {word.split("=")[0] for word in rest}
    wanted = [one for one in command.params if one.required and isinstance(one, click.Option)]
    missing = [one.opts[0] for one in wanted if not given & set(one.opts)]
    return f"lacks {', '.join(missing)}" if missing else None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_wsi_command_in_a_page_exists_with_its_options(path: Path) -> None:
    for words in of_page(path):
        if words[0] == "torchrun" and "wsi" in words:
            words = words[words.index("wsi") :]
        if Path(words[0]).name == "wsi":
            problem = problem_of_wsi(words[1:])
            assert problem is None, f"{path.name}: {' '.join(words)}: {problem}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_and_benchmark_in_a_page_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in of_page(path):
        if words[0] == "make":
            asked = [w for w in words[1:] if "=" not in w]
            assert set(asked) <= targets, f"{path.name}: make {' '.join(asked)}"
        if words[1:2] == ["-m"] and words[2].startswith("benchmarks."):
            script = ROOT / (words[2].replace(".", "/") + ".py")
            assert script.exists(), f"{path.name}: {words[2]}"
            for option in (w for w in words[3:] if w.startswith("--")):
                assert f'"{option.split("=")[0]}"' in script.read_text(), f"{words[2]}: {option}"


@pytest.fixture(scope="module")
def paths() -> list[str]:
    app = create_app(ServiceSettings(_env_file=None))  # type: ignore[call-arg]
    return list(app.openapi()["paths"])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_address_that_a_page_calls_is_an_endpoint(path: Path, paths: list[str]) -> None:
    patterns = [re.compile(re.sub(r"\{[^}]+\}", "[^/]+", one)) for one in paths]
    for words in of_page(path):
        for word in words:
            found = re.match(r"\$\{?API\}?(/[^?\s]*)", word)
            if found and words[0] == "curl":
                called = f"/api/v1{found[1]}"
                assert any(p.fullmatch(called) for p in patterns), f"{path.name}: {called}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_that_a_page_names_exists(path: Path) -> None:
    known = set(_OTHER_VARIABLES)
    for settings in (ServiceSettings, WorkerSettings):
        for name, field in settings.model_fields.items():
            known.add(str(field.validation_alias or f"WSI_{name.upper()}"))
        known |= settings.RENAMED.keys()
    named = set(re.findall(r"\bWSI_[A-Z_]*[A-Z]\b", path.read_text()))
    assert named <= known, f"{path.name}: {', '.join(sorted(named - known))}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_in_a_page_leads_somewhere(path: Path) -> None:
    made = {"reference/cli.md", "reference/api.md", "reference/measurements.md"}
    made |= {"reference/unusual-inputs.md"}  # by docs/generated.py
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target or target.startswith(("#", "mailto:")):
            continue
        found = (path.parent / target.partition("#")[0]).resolve()
        generated = found.is_relative_to(ROOT / "docs") and (
            str(found.relative_to(ROOT / "docs")) in made
        )
        assert generated or found.exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_extra_and_profile_that_a_page_installs_exists(path: Path) -> None:
    text = path.read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = set(extras["optional-dependencies"])
    asked = {one for group in re.findall(r"'\.\[([a-z0-9,]+)\]'", text) for one in group.split(",")}
    assert asked <= known, f"{path.name}: {', '.join(sorted(asked - known))}"
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    profiles = {name for one in services.values() for name in one.get("profiles", [])}
    named = set(re.findall(r"--profile[ =]([a-z-]+)", text))
    assert named <= profiles, f"{path.name}: {', '.join(sorted(named - profiles))}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_python_block_compiles_and_its_imports_of_ours_exist(path: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wsi"):
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{path.name}: {node.module}.{alias.name}"


def test_every_page_is_in_the_sites_menu_once() -> None:
    menu = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(menu) == len(set(menu)), "a page is there twice"
    pages = [p.relative_to(ROOT / "docs") for p in PAGES if p.is_relative_to(ROOT / "docs")]
    # The tables of unusual inputs are joined into one page.
    written = {str(page) for page in pages if page.parts[0] != "unusual-inputs"}
    assert written <= set(menu)


def test_a_wrong_command_would_be_seen() -> None:
    assert problem_of_wsi(["analyse", "x.svs"]) == "no command 'analyse'"
    assert problem_of_wsi(["train", "patch", "--mpp", "1", "--epoch", "2"]) == "no option --epoch"
    assert problem_of_wsi(["plan", "--height", "5"]) == "lacks --size"
    assert problem_of_wsi(["plan", "--size=5"]) is None


def test_settings_and_chains_before_a_command_are_seen_through() -> None:
    shell = "```sh\nA=1 wsi plan --size 5 # why\nmkdir x && wsi doctor | tail\n```\n"
    assert list(commands(f"{shell}```python\nwsi no\n```")) == [
        ["wsi", "plan", "--size", "5"],
        ["mkdir", "x"],
        ["wsi", "doctor"],
        ["tail"],
    ]


def test_figures_of_accuracy_are_those_that_were_measured() -> None:
    results = ROOT / "benchmarks" / "results"
    said = (ROOT / "docs" / "limits.md").read_text()
    runs = json.loads((results / "idc_patches.json").read_text())["runs"]
    mean = sum(run["auc_last_epoch"] for run in runs) / len(runs)
    assert f"AUC {mean:.3f} (ResNet-18 from scratch" in said
    assert f"{len(runs)} seeds" in said
    camelyon = (results / "camelyon16_features.md").read_text()
    for figure in re.findall(r"0\.\d{4}", camelyon):
        assert f"{float(figure):.3f}" in said
