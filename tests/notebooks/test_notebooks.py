"""The notebooks run from top to bottom, import the library alone, and keep no outputs."""

import ast
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import data_dir

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
_OTHERS = {"matplotlib", "numpy", "torch", "PIL"}
_CELL_S = 240
# The short form: less to learn from, drawn here.
_SHORTER = {
    '"train", 240, seed': '"train", 96, seed',
    "epochs=4,": "epochs=1,",
    'drawn("train", 8, 0)': 'drawn("train", 4, 0)',
    "3072, 0.5, seed=8": "1536, 0.5, seed=8",
    "5 if real else 3": "1",
    "1536, 1.0": "768, 1.0",
}


@pytest.fixture(scope="module", params=["short", pytest.param("long", marks=pytest.mark.long)])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def work(form: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all of them: later notebooks use the models of earlier ones."""
    return tmp_path_factory.mktemp(form)


def _code(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def test_what_the_short_form_replaces_is_there() -> None:
    code = "\n".join(_code(path) for path in NOTEBOOKS)
    assert [text for text in _SHORTER if code.count(text) != 1] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, form: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = data_dir() if form == "long" else None
    monkeypatch.setenv("WSI_NOTEBOOK_WORK", str(work))
    monkeypatch.setenv("WSI_TEST_DATA", str(real or work / "no-data"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    # Nobody's own start-up files.
    monkeypatch.setenv("IPYTHONDIR", str(work / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    if form == "short":
        for cell in notebook.cells:
            for text, shorter in _SHORTER.items():
                cell.source = cell.source.replace(text, shorter)
    client = NotebookClient(
        notebook,
        timeout=_CELL_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert pictures, "a notebook without a picture shows nothing"
    if kept := os.environ.get("WSI_NOTEBOOKS_EXECUTED"):
        nbformat.write(notebook, Path(kept) / path.name)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs"), f"{path.name}: strip the outputs of {cell.id}"
        assert cell.get("execution_count") is None, f"{path.name}: {cell.id}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_the_library_alone(path: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(_code(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    strange = names - {"wsi"} - _OTHERS - set(sys.stdlib_module_names)
    assert not strange, f"{path.name} imports {', '.join(sorted(strange))}"
    assert "wsi" in names


def test_there_are_the_five_notebooks() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["1_", "2_", "3_", "4_", "5_"]
