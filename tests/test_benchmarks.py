"""The benchmarks run and print their tables; how fast they are is not asked here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks"


def tables(text: str) -> list[list[list[str]]]:
    """Give the cells of each Markdown table in a text, without the ruled line."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [
        [
            [cell.strip() for cell in line.strip("|").split("|")]
            for number, line in enumerate(table.splitlines())
            if number != 1
        ]
        for table in found
    ]


def run(
    name: str, environment: Mapping[str, str], folder: Path
) -> list[list[list[str]]]:
    """Give the tables that a benchmark prints when it is quick."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), "--quick"],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return tables(done.stdout)


def test_transfer_measures_both_and_prints_two_tables(
    child_environment: Mapping[str, str], tmp_path: Path
) -> None:
    # NOTE: this benchmark refuses to go on unless both bring the same files.
    speed, memory = run("transfer.py", child_environment, tmp_path)
    assert speed[0][1] == "times faster"
    assert [row[0] for row in speed[1:]] == ["50 ms"]
    assert all(float(cell) > 0 for row in speed[1:] for cell in row[1:])
    assert memory[0][0] == "images"
    assert [row[0] for row in memory[1:]] == ["10"]


def test_query_measures_both_and_prints_a_table(
    child_environment: Mapping[str, str], tmp_path: Path
) -> None:
    # NOTE: this benchmark refuses to go on unless both find the same images.
    (table,) = run("query.py", child_environment, tmp_path)
    assert table[0][2] == "times faster"
    assert [row[0] for row in table[1:]] == ["200, selective", "200, broad"]
    assert all(float(cell) > 0 for row in table[1:] for cell in row[1:])
