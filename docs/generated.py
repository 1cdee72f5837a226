"""Pages that mkdocs makes from the code: command line, API, measurements, inputs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs when it has found the written pages."""
    for name, text in (
        ("reference/cli.md", command_line()),
        ("reference/api.md", http_api()),
        ("reference/measurements.md", measurements()),
        ("reference/unusual-inputs.md", unusual_inputs()),
    ):
        files.append(File.generated(config, name, content=text))
    return files


def command_line() -> str:
    """Every command's own help."""
    from wsi.cli import main

    lines = ["# Command line", "", "What each command says with `--help`.", ""]
    for name, command in commands("wsi", main):
        context = click.Context(command, info_name=name, max_content_width=100)
        lines += [f"## {name}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, with their full names."""
    yield name, command
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from commands(f"{name} {child}", command.commands[child])


def http_api() -> str:
    """The OpenAPI document as tables; the whole of it is served at /api/v1/docs."""
    from service.app import create_app
    from service.settings import Settings

    document = create_app(Settings(_env_file=None)).openapi()
    lines = [
        "# HTTP API",
        "",
        "Made from the OpenAPI document, which a running service gives at `/api/v1/openapi.json` "
        "and shows, to be tried out, at `/api/v1/docs`. Errors are problem documents (RFC 9457) "
        "with `title` and `detail`.",
        "",
    ]
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            if method in ("get", "post", "put", "patch", "delete", "head", "options"):
                lines += _operation(path, method, operation)
    return "\n".join(lines)


def _operation(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    lines = [f"## `{method.upper()} {path}`", ""]
    lines += [operation.get("description") or operation.get("summary") or "", ""]
    parameters = operation.get("parameters", [])
    if parameters:
        lines += ["| parameter | in | type | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{one['name']}` | {one['in']} | {_type(one.get('schema', {}))} "
            f"| {_cell(one.get('description', ''))} |"
            for one in parameters
        ]
        lines.append("")
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        said = ", ".join(
            f"`{kind}` {_type(of.get('schema', {}))}".strip() for kind, of in body.items()
        )
        lines += [f"Body: {said}", ""]
    answers = [
        f"{code} {_cell(answer.get('description', ''))}"
        for code, answer in operation.get("responses", {}).items()
    ]
    return [*lines, f"Answers: {'; '.join(answers)}", ""]


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", ""))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def measurements() -> str:
    """Every figure in benchmarks/results, with what it was measured on."""
    lines = [
        "# Measurements",
        "",
        "Each line was written by the script of its name in `benchmarks/`, which also wrote the "
        "figures beside it in `benchmarks/results/`. Seconds differ between machines; where a line "
        "gives a ratio, both sides ran in one sitting. Slides are synthetic unless a line names "
        "data.",
        "",
    ]
    for file in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        data = file.with_suffix(".json")
        about = json.loads(data.read_text()) if data.exists() else {}
        machine = f"{about['cores']} cores, {about['machine']}" if "cores" in about else ""
        lines += [f"## {file.stem}", "", file.read_text().strip(), "", machine, ""]
    return "\n".join(lines)


def unusual_inputs() -> str:
    """The tables that ``tests/cases`` checks, joined."""
    lines = [
        "# Unusual inputs",
        "",
        "What happens with input that is wrong, rare or ambiguous. A test makes each of these "
        "inputs and compares what the product says with this page.",
        "",
    ]
    for file in sorted((ROOT / "docs" / "unusual-inputs").glob("*.md")):
        lines += [file.read_text(encoding="utf-8"), ""]
    return "\n".join(lines)
