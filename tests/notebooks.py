"""Notebooks of the examples, executed against a server on this machine."""

from __future__ import annotations

import base64
import re
import shutil
import tempfile
from collections.abc import Mapping
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import nbformat
from nbclient import NotebookClient
from pages import everybodys, surroundings

ALL = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
SECONDS = 120
PICTURE = re.compile(r'(?<=src=")http://127\.0\.0\.1[^"]+')


def missing(notebook: Any) -> list[str]:
    """Name what a notebook `requires`, by its metadata, and is not installed."""
    required = notebook.metadata.get("requires", [])
    return [name for name in required if find_spec(name) is None]


def execute(
    notebook: Any, folder: Path, kernel: str, environment: Mapping[str, str]
) -> None:
    """Execute a notebook in a folder, its outputs within it."""
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name=kernel,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=dict(environment))


def keep(notebook: Any, path: Path, folder: Path) -> None:
    """Write an executed notebook as everybody may see it.

    While the server is there: pictures of its records are put into the notebook, its
    address is NeuroVault's in what is printed, and the folder is nobody's.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            _clean(output, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def _clean(output: Any, folder: Path) -> None:
    texts = output if output.output_type == "stream" else output.get("data", {})
    for kind in ("text", "text/plain", "text/html"):
        if kind in texts:
            shown = PICTURE.sub(lambda match: _inline(match[0]), texts[kind])
            texts[kind] = everybodys(shown, str(folder))


def _inline(address: str) -> str:
    with urlopen(unescape(address)) as answer:  # noqa: S310 - our own server
        return f"data:image/png;base64,{base64.b64encode(answer.read()).decode()}"


def run(source: Path, kept: Path, environment: Mapping[str, str]) -> None:
    """Execute a notebook against a server and a store of its own, and keep it.

    One that needs a package which is not installed is kept without its outputs.
    """
    notebook = nbformat.read(source, as_version=4)
    if missing(notebook):
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, kept)
        return
    with tempfile.TemporaryDirectory() as folder, surroundings() as around:
        work = Path(folder, "work")
        work.mkdir()
        settings = {
            **environment,
            **around,
            "NILEARN_DATA": str(Path(folder, "nilearn_data")),
        }
        # The kernel then draws into the notebook, as it does for a reader.
        del settings["MPLBACKEND"]
        execute(notebook, work, "python3", settings)
        keep(notebook, kept, Path(folder))
