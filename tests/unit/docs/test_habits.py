"""The files that hosting platforms and citation tools read agree with the project itself."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RELEASES = re.findall(
    r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M
)


def workflow(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())
    return loaded


def steps(name: str) -> list[str]:
    return [
        step["run"]
        for job in workflow(name)["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]


def test_the_citation_and_the_changelog_name_the_projects_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (PROJECT["version"], citation["date-released"]) in RELEASES
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_the_license_is_the_whole_apache_license() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert text.index("9. Accepting Warranty") < text.index("END OF TERMS AND CONDITIONS")


def test_the_workflow_tests_every_python_that_the_project_names() -> None:
    named = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.M)
    tested = workflow("ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert tested == named
    assert f">={named[0]}" == PROJECT["requires-python"]


def test_the_workflow_runs_what_developers_run() -> None:
    assert ".ci/run" in steps("ci.yml")


def test_the_hooks_run_tools_that_make_install_brings() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    tools = {entry.split()[0].removeprefix(".venv/bin/") for entry in entries}
    assert tools == {"ruff", "mypy", "lint-imports", "codespell", "bash"}
