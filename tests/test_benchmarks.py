"""The benchmarks run, and see when two results differ; how fast is not asked here."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
NAN = float("nan")

SIDES = """
from benchmarks.case import Work

def give(place, number):
    return Work(lambda: [number])

def fail(place):
    raise OSError("there is no such file")
"""
INJECTED = """
import sys
from pathlib import Path

from benchmarks.__main__ import main
from benchmarks.case import Case, Check, Data, Side

def case(name, ours, number):
    theirs = Side.of("given.sides.give", number=number)
    how = {"check": Check("checks.equal"), "data": Data("records", 50), "faster": 0.0}
    return Case(name, ours, theirs, **how)

def start():
    one = Side.of("given.sides.give", number=1)
    cases = [
        case("the same", one, 1),
        case("another", one, 2),
        case("nothing", Side.of("given.sides.fail"), 3),
    ]
    sys.exit(main(["--output", "saved", *sys.argv[1:]], cases))
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module of the benchmarks, which lie beside the package."""
    # NOTE: at the end, so that the package under test is still the one installed.
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def run(
    environment: Mapping[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks from the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_every_case_runs_and_both_sides_agree(
    child_environment: Mapping[str, str], tmp_path: Path
) -> None:
    done = run(child_environment, "--quick", "--only", ".", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    saved = json.loads((tmp_path / "benchmarks.json").read_text("utf-8"))
    rows = saved["rows"]
    listed = run(child_environment, "--quick", "--only", ".", "--list")
    assert [row["case"] for row in rows] == listed.stdout.splitlines()
    assert all(row["ours"]["seconds"] > 0 < row["nilearn"]["seconds"] for row in rows)
    assert {row["check"] for row in rows} == {
        "checks.equal",
        "checks.clipped",
        "checks.close",
        "checks.maps",
    }
    assert {row["limit_of"] for row in rows} > {"inflate", "copy"}
    assert saved["machine"]["nilearn"]
    table = (tmp_path / "benchmarks.md").read_text("utf-8")
    assert table in done.stdout
    assert re.findall(r"^\| (.+?) \|", table, re.MULTILINE)[1:] == [
        row["case"] for row in rows
    ]


def test_a_wrong_value_and_no_value_make_the_run_fail(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "sides.py").write_text(SIDES, encoding="utf-8")
    (tmp_path / "injected.py").write_text(INJECTED, encoding="utf-8")
    code = "import injected; injected.start()"
    where = {"PYTHONPATH": str(ROOT)}
    done = run_python(code, "--runs", "2", env=where, check=False)
    assert done.returncode == 1
    assert "another: the two did not come to the same: 1 and 1 entries" in done.stderr
    assert "nothing: OSError: there is no such file" in done.stderr
    saved = json.loads((tmp_path / "saved" / "benchmarks.json").read_text("utf-8"))
    (row,) = saved["rows"]
    assert (row["case"], row["rounds"], row["reached"]) == ("the same", 2, True)
    assert row["ours"]["peak"] >= row["ours"]["grown"] >= 0
    done = run_python(code, "--runs", "1", "--only", "same", env=where, check=False)
    assert done.returncode == 0, done.stderr


def test_the_whole_archive_is_made_up_and_searched(
    child_environment: Mapping[str, str], tmp_path: Path
) -> None:
    where = ("--data", str(tmp_path / "data"), "--output", str(tmp_path))
    done = run(child_environment, "--quick", "--only", "archive", *where)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "archive.md").read_text("utf-8")
    assert done.stdout == table
    records, lists = map(int, re.findall(r"\d+", table.replace(",", ""))[:2])
    assert records >= 2_000 > lists > 0
    rows = re.findall(r"^\| (.+?) \| (\d+) \|", table, re.MULTILINE)
    found = {name: int(number) for name, number in rows}
    assert found["twenty ids"] == 20
    assert found["default terms, the first 100"] == 100 < found["default terms, all"]


def test_cases_are_chosen_by_name(child_environment: Mapping[str, str]) -> None:
    every = run(child_environment, "--list", "--only", ".").stdout.splitlines()
    asked = run(child_environment, "--list").stdout.splitlines()
    some = run(child_environment, "--list", "--skip", "100,000|fetch").stdout
    assert len(every) == len(set(every))
    assert set(asked) < set(every)
    assert set(asked) - set(some.splitlines()) == {
        name for name in asked if "fetch" in name or "100,000" in name
    }


def test_who_starts_the_others_stays_small(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = "import benchmarks.__main__, sys; print(*sys.modules)"
    done = run_python(code, env={"PYTHONPATH": str(ROOT)})
    assert {"numpy", "nilearn", "intake_neurovault"} & set(done.stdout.split()) == set()


@pytest.mark.parametrize(
    ("ours", "peers", "same"),
    [
        ([1.0, 2.0], [1.0, 2.0], True),
        ([1.0, 2.00001], [1.0, 2.0], True),
        ([1.0, 2.0001], [1.0, 2.0], False),
        ([1.0, NAN], [1.0, 2.0], False),
        ([1.0, 2.0], [NAN, 2.0], False),
        ([1.0], [1.0, 2.0], False),
        ([[1.0, 2.0]], [1.0, 2.0], False),
        ([0.0, 0.0], [0.0, 0.0], False),
        ([], [], False),
    ],
)
def test_numbers_agree_within_single_precision(
    module: Callable[[str], Any], ours: Any, peers: Any, same: bool
) -> None:
    found = module("checks").close(ours, peers, module("cases").CLOSE.tolerance)
    assert (found is None) == same


def test_maps_agree_where_both_have_voxels(module: Callable[[str], Any]) -> None:
    maps = module("checks").maps
    map_ = np.arange(1.0, 25).reshape(2, 3, 4)
    assert maps({1: map_, 2: map_}, {1: map_[:, :2], 2: map_}, 0) is None
    assert "image 2" in maps({1: map_, 2: map_ + 1}, {1: map_, 2: map_}, 0)
    assert "images" in maps({1: map_}, {2: map_}, 0)


def test_a_list_is_compared_within_the_range_of_each_map(
    module: Callable[[str], Any],
) -> None:
    clipped = module("checks").clipped
    ours = np.array([[0.0, 3, 1], [0, 9, 2]])
    assert clipped(ours, [[-0.5, 3.25, 1], [0, 9, 2]], 1e-5) is None
    assert "they differ by 0.25" in clipped(ours, [[0, 3, 1.25], [0, 9, 2]], 1e-5)
    assert "shapes" in clipped(ours, ours[0], 1e-5)


@pytest.mark.parametrize(
    ("ours", "peers", "difference"),
    [
        ([1, 2], [1, 2], None),
        ([1, 2], [2, 1], "2 and 2 entries, not all alike"),
        ([1], [1, 2], "1 and 2 entries, not all alike"),
        ([], [], "nothing"),
    ],
)
def test_lists_agree_to_the_letter(
    module: Callable[[str], Any], ours: Any, peers: Any, difference: str | None
) -> None:
    assert module("checks").equal(ours, peers) == difference


@pytest.mark.parametrize(
    ("faster", "smaller", "shown", "reached"),
    [
        (None, None, ("5", "4"), True),
        (5.0, 4.0, ("5", "4"), True),
        (6.0, None, ("< 5", "4"), False),
        (5.0, 4.1, ("5", "< 4"), False),
    ],
)
def test_what_is_missed_is_marked(
    module: Callable[[str], Any],
    faster: float | None,
    smaller: float | None,
    shown: tuple[str, str],
    reached: bool,
) -> None:
    case, measuring, table = map(module, ("case", "measuring", "table"))
    side, data = case.Side.of("ours.fetch"), case.Data("server", 1)
    how = {"check": case.Check("checks.equal"), "faster": faster, "smaller": smaller}
    outcomes = measuring.Outcome(1, 10, 100), measuring.Outcome(5, 40, 200)
    given = case.Case("a fetch", side, side, data=data, **how)
    row = measuring.Row(given, *outcomes, None, 5, 30)
    cells = [cell.strip() for cell in table.line(row).split("|")]
    assert (cells[4], cells[9]) == shown
    assert table.reached(row) is reached
