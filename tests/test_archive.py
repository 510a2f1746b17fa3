"""The simulation of the whole archive runs, with a few records."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "archive.py"


def test_the_simulation_reports_what_it_made(
    child_environment: Mapping[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick"],
        env=dict(child_environment),
        check=True,
        capture_output=True,
        text=True,
    )
    lists = re.match(r"([\d,]+) records in (\d+) lists, \d+ MB\nindex: ", done.stdout)
    assert lists is not None
    number = int(lists[1].replace(",", ""))
    assert number > 1900
    rows = re.findall(r"^\| ([\w, ]+) \| (\d+) \|", done.stdout, re.MULTILINE)
    found = {name: int(count) for name, count in rows}
    assert found["twenty ids"] == 20
    assert found["default terms, the first 100"] == 100
    assert 100 < found["default terms, all"] < number
