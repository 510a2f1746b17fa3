"""Pages of the documentation, run as they are written.

    python tests/pages.py docs/load.md

runs the code blocks of a page, top to bottom, in this folder and this process; what a
block prints, draws and ends with is kept in ``outcome`` beside it, for the site.

- ``python`` runs; the names of one block are there in the next.
- ``yaml`` with a first line such as ``# maps.yaml`` is written to that file.
- ``bash`` runs where it calls ``neurovault`` and installs nothing.
- Everything else is only shown.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from terminals import watched

from intake_neurovault.testing import PRIVATE_NAME, NeuroVaultServer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OUTCOME = "outcome"
TOLD = "told.json"
SECONDS = 300
WIDTH = 88

ELSEWHERE = {"cluster.md"}
"""Pages that a test of their own runs, since they need a cluster."""
NEEDED = {"meta_analysis.md": "nimare"}
"""Packages that a page needs and that not everybody has."""


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    number: int
    """How many came before it."""
    line: int
    """Where its code begins, from 1."""
    language: str
    code: str

    @property
    def file(self) -> str | None:
        """The file that it stands for, named by a comment on top."""
        named = re.match(r"# ([\w./-]+\.ya?ml)\n", self.code)
        return named[1] if named and self.language == "yaml" else None

    @property
    def is_command(self) -> bool:
        calls = re.search(r"^neurovault ", self.code, re.MULTILINE)
        installs = re.search(r"\bpip ", self.code)
        return self.language == "bash" and bool(calls) and not installs


def blocks(text: str) -> list[Block]:
    """Give the code blocks of a page."""
    return [
        Block(number, text.count("\n", 0, match.start(2)) + 1, match[1], match[2])
        for number, match in enumerate(FENCE.finditer(text))
    ]


def runnable() -> list[Path]:
    """Give the pages that have code of their own to run."""
    return [
        page
        for page in sorted(DOCS.glob("*.md"))
        if page.name not in ELSEWHERE
        and any(
            each.language == "python" or each.is_command
            for each in blocks(page.read_text("utf-8"))
        )
    ]


def can_run(page: Path) -> bool:
    """Whether a page has the package that it needs."""
    needed = NEEDED.get(page.name)
    return needed is None or find_spec(needed) is not None


# ---- in the process of a page ------------------------------------------------


def play(page: Path) -> None:
    """Run the blocks of a page in this process and folder."""
    names: dict[str, Any] = {"__name__": "__main__"}
    told: dict[str, dict[str, Any]] = {}
    Path(OUTCOME).mkdir(exist_ok=True)
    for block in blocks(page.read_text("utf-8")):
        if block.file:
            Path(block.file).write_text(block.code, "utf-8")
        elif block.is_command:
            told[str(block.number)] = {"text": _command(block), "pictures": []}
        elif block.language == "python":
            before = set(Path().glob("*.png"))
            text, value = _python(block, page, names)
            pictures = _pictures(block, sorted(set(Path().glob("*.png")) - before))
            if value is not None and not pictures:
                text += f"{value!r}\n"
            told[str(block.number)] = {"text": wrapped(text), "pictures": pictures}
    Path(OUTCOME, TOLD).write_text(json.dumps(told), "utf-8")


def _python(block: Block, page: Path, names: dict[str, Any]) -> tuple[str, Any]:
    """Run a block; give what it prints, and the value that it ends with, if any."""
    # Tracebacks then show the line of the page.
    tree = ast.parse("\n" * (block.line - 1) + block.code, str(page))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(tree, page, "exec"), names)  # noqa: S102 - a page of our own
        value = last and eval(compile(ast.Expression(last.value), page, "eval"), names)  # noqa: S307
    return said.getvalue(), value


def _command(block: Block) -> str:
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = ["bash", "-e", "-o", "pipefail", "-c", block.code]
    shown = watched(WIDTH, shell, {**os.environ, "PATH": scripts})
    text = "\n".join(line.rstrip() for line in shown.lines).strip("\n") + "\n"
    if shown.code:
        sys.exit(f"line {block.line}: exit code {shown.code}\n{text}")
    return text


def _pictures(block: Block, saved: list[Path]) -> list[str]:
    """Keep what a block has saved as PNG, else what it has left open."""
    kept = [path.read_bytes() for path in saved]
    plt = sys.modules.get("matplotlib.pyplot")
    for number in plt.get_fignums() if plt else ():
        file = io.BytesIO()
        plt.figure(number).savefig(file, dpi=100)
        kept += [] if saved else [file.getvalue()]
    if plt:
        plt.close("all")
    names = [f"{block.number}-{count}.png" for count in range(len(kept))]
    for name, content in zip(names, kept, strict=True):
        Path(OUTCOME, name).write_bytes(content)
    return names


# ---- around it ---------------------------------------------------------------


@contextlib.contextmanager
def surroundings() -> Iterator[dict[str, str]]:
    """Serve the sample archive, and name it as a page finds it."""
    with NeuroVaultServer() as server:
        yield {
            "INTAKE_NEUROVAULT_URL": server.url,
            "INTAKE_NEUROVAULT_WORDS_URL": f"{server.url}/api/decode/",
            "MY_TOKEN": PRIVATE_NAME,
            "MPLBACKEND": "Agg",
        }


def run(page: Path, kept: Path, environment: Mapping[str, str]) -> str:
    """Run a page in a process and a folder of its own; keep what came of it.

    Gives what went wrong, or nothing.
    """
    with tempfile.TemporaryDirectory() as folder, surroundings() as around:
        work = Path(folder, "work")
        work.mkdir()
        data = {"NILEARN_DATA": str(Path(folder, "nilearn_data")), "HOME": folder}
        done = subprocess.run(
            [sys.executable, "-W", "error", __file__, str(page)],
            cwd=work,
            env={**environment, **around, **data},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            return f"{page.name}: exit code {done.returncode}\n{done.stderr[-4000:]}"
        _keep(work / OUTCOME, kept, folder)
    return ""


def _keep(outcome: Path, kept: Path, home: str) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    for path in outcome.glob("*.png"):
        (kept / path.name).write_bytes(path.read_bytes())
    text = (outcome / TOLD).read_text("utf-8")
    (kept / TOLD).write_text(everybodys(text, home), "utf-8")


def wrapped(text: str) -> str:
    """Break long sentences into lines; rows of tables stay as they are."""
    lines = [
        textwrap.fill(line, WIDTH) if "  " not in line.strip() else line
        for line in text.split("\n")
    ]
    return "\n".join(lines)


def everybodys(text: str, home: str) -> str:
    """Write a text as if it were NeuroVault's, in the home of whoever reads it."""
    text = re.sub(r"http://127\.0\.0\.1:\d*", "https://neurovault.org", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "neurovault.org", text)
    return text.replace(home, "~")


if __name__ == "__main__":
    play(Path(sys.argv[1]))
