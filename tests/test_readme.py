"""The README's examples, run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import nibabel as nib
import pytest

from intake_neurovault.testing import NeuroVaultServer

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def block(language: str, containing: str) -> str:
    """Give the one code block of a language that holds a text."""
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (code,) = [each for each in found if containing in each]
    return str(code)


@pytest.fixture
def run_block(
    run_python: Callable[..., CompletedProcess[str]],
    fresh_server: NeuroVaultServer,
    data_dir: Path,
) -> Callable[[str], CompletedProcess[str]]:
    """Run code where the server and the store are those of the test."""
    settings = {
        "INTAKE_NEUROVAULT_URL": fresh_server.url,
        "NILEARN_DATA": str(data_dir),
    }
    return lambda code: run_python(code, env=settings)


def test_the_first_example(
    run_block: Callable[[str], CompletedProcess[str]],
    fresh_server: NeuroVaultServer,
    tmp_path: Path,
) -> None:
    entry = block("yaml", "hand_maps")
    (tmp_path / "maps.yaml").write_text(entry, encoding="utf-8")
    cell = block("python", "hand_maps(")
    run_block(cell)
    assert nib.load(tmp_path / "mean.nii.gz").shape == (61, 73, 61)
    fresh_server.clear_requests()
    run_block(cell)
    assert fresh_server.requests == []


def test_the_examples_of_matrices_and_pictures(
    run_block: Callable[[str], CompletedProcess[str]],
    fresh_server: NeuroVaultServer,
    tmp_path: Path,
) -> None:
    cells = [block("python", "to_matrix"), block("python", "plot_grid")]
    done = run_block("import intake_neurovault\n" + "\n".join(cells))
    assert (tmp_path / "maps.png").stat().st_size > 10_000
    held = fresh_server.archive.images.values()
    images = sum(each["collection_id"] == 658 for each in held)
    assert done.stdout.startswith(f"({images}, ")
    assert "'x': 61, 'y': 73, 'z': 61" in done.stdout
    assert "nan" not in done.stdout


def test_the_examples_of_looking_and_freezing(
    run_block: Callable[[str], CompletedProcess[str]], tmp_path: Path
) -> None:
    cells = [block("python", "result.matched()"), block("python", "few.freeze")]
    made = "\nprint(few.sample(3, seed=1).keys(), few[few.keys()[0]].label)"
    done = run_block("\n".join(cells) + made)
    assert "image " in done.stdout
    assert {path.name for path in tmp_path.glob("*.*")} == {
        "question.yaml",
        "answer.yaml",
        "answer.lock.json",
    }


def test_the_examples_of_the_command_line(
    child_environment: dict[str, str],
    fresh_server: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    where = {"INTAKE_NEUROVAULT_URL": fresh_server.url, "NILEARN_DATA": str(data_dir)}
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{child_environment['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block("bash", "neurovault show 10426")],
        env=child_environment | where | {"PATH": scripts},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "left vs right button press" in done.stdout
    assert (tmp_path / "faces.lock.json").exists()


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 165
