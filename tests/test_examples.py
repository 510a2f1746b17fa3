"""The notebooks run from top to bottom, against a server on this machine."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nbformat
import notebooks
import pytest
from ipykernel.kernelspec import install

from intake_neurovault.testing import NeuroVaultServer

NOTEBOOKS = notebooks.ALL
KERNEL = "this-interpreter"
SMALL = 60_000


@pytest.fixture
def kernel(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Make a kernel of the interpreter that runs the tests, known to no one else."""
    folder = tmp_path_factory.mktemp("jupyter")
    install(prefix=str(folder), kernel_name=KERNEL, display_name=sys.version)
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    return KERNEL


@pytest.fixture
def surroundings(
    child_environment: dict[str, str], server: NeuroVaultServer, data_dir: Path
) -> dict[str, str]:
    """Point a kernel to the server on this machine and to an empty store."""
    ours = {"INTAKE_NEUROVAULT_URL": server.url, "NILEARN_DATA": str(data_dir)}
    # The kernel then draws into the notebook, as it does for a reader.
    return {
        name: value
        for name, value in (child_environment | ours).items()
        if name != "MPLBACKEND"
    }


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where notebooks go: to the site that is built next, if one is."""
    made = os.environ.get("INTAKE_NEUROVAULT_MADE")
    return Path(made) / "examples" if made else tmp_path / "executed"


def skip_unless_installed(notebook: nbformat.NotebookNode) -> None:
    """Skip a notebook that needs what is not here."""
    if missing := notebooks.missing(notebook):
        pytest.skip(f"it needs {', '.join(missing)}, which an extra brings")


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS != []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(
    path: Path, kernel: str, surroundings: dict[str, str], tmp_path: Path, kept: Path
) -> None:
    notebook = nbformat.read(path, as_version=4)
    skip_unless_installed(notebook)
    notebooks.execute(notebook, tmp_path, kernel, surroundings)
    outputs = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert [output for output in outputs if output.output_type == "error"] == []
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    assert [text for text in said if "warning" in text.lower()] == []
    assert "image/png" in outputs[-1].get("data", {})
    notebooks.keep(notebook, kept / path.name, tmp_path)
    shown = (kept / path.name).read_text("utf-8")
    assert [word for word in ("127.0.0.1", str(tmp_path)) if word in shown] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_opens_with_what_one_learns(path: Path) -> None:
    opening = nbformat.read(path, as_version=4).cells[0]
    assert opening.cell_type == "markdown"
    assert re.match(r"# \S.*\n\n", opening.source)
    assert re.search(r"\blearn\s+how\s+to\n\n- ", opening.source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_kept_of_it_is_small(path: Path) -> None:
    assert path.stat().st_size < SMALL


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if ":" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_names_no_folder_of_its_author(path: Path) -> None:
    text = path.read_text("utf-8")
    assert [home for home in ("/home/", "/Users/", "/root/") if home in text] == []
