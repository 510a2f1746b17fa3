"""The table, for people and for machines."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.measuring import Outcome, Row

PACKAGES = (
    "intake-neurovault",
    "nilearn",
    "nibabel",
    "numpy",
    "scipy",
    "xarray",
    "dask",
)
HEAD = (
    "| case | ours, s | nilearn, s | times faster | at least | limit, s "
    "| ours, MB | nilearn, MB | times smaller | at least |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)
NOTES = """\
Medians. MB: how far the process grew beyond what its imports take, and in brackets its
whole size, at the peak. Limit: what the machine takes for the part that nobody can
avoid. A ratio that is less than was asked for is marked with "<".
"""


def ratio(theirs: float, ours: float) -> float:
    """Tell how many times more the other takes."""
    return theirs / max(ours, 1e-9)


def ratios(row: Row) -> tuple[float, float | None]:
    """Tell how many times faster and smaller this package is."""
    faster = ratio(row.peer.seconds, row.ours.seconds)
    inside = row.case.inside
    return faster, ratio(row.peer.grown, max(row.ours.grown, 1)) if inside else None


def reached(row: Row) -> bool:
    """Tell whether all is as it was asked to be."""
    pairs = zip(ratios(row), (row.case.faster, row.case.smaller), strict=True)
    return all(asked is None or (had or 0) >= asked for had, asked in pairs)


def number(value: float | None) -> str:
    """Write a number with three digits, or none."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def against(had: float | None, asked: float | None) -> str:
    """Write a ratio, marked if it is too small."""
    missed = asked is not None and (had or 0) < asked
    return f"< {number(had)}" if missed else number(had)


def size(outcome: Outcome, row: Row) -> str:
    """Write how large a process was, where that tells anything."""
    return f"{outcome.grown:.0f} ({outcome.peak:.0f})" if row.case.inside else ""


def limit(row: Row) -> str:
    """Write a limit, and of what."""
    label = row.case.limit.label if row.case.limit else ""
    return f"{number(row.limit)} ({label})" if label else ""


def line(row: Row) -> str:
    """Write one row."""
    faster, smaller = ratios(row)
    cells = (
        row.case.name,
        number(row.ours.seconds),
        number(row.peer.seconds),
        against(faster, row.case.faster),
        number(row.case.faster),
        limit(row),
        size(row.ours, row),
        size(row.peer, row),
        against(smaller, row.case.smaller),
        number(row.case.smaller),
    )
    return f"| {' | '.join(cells)} |"


def markdown(rows: Sequence[Row]) -> str:
    """Write the table and what it means."""
    about = ", ".join(f"{name} {text}" for name, text in machine().items())
    return "\n".join([HEAD, *map(line, rows), "", NOTES, f"{about}.", ""])


def machine() -> dict[str, Any]:
    """Tell with what was measured."""
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "on": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def as_json(rows: Sequence[Row]) -> str:
    """Write all that was measured."""
    return json.dumps(
        {"machine": machine(), "rows": [entry(row) for row in rows]}, indent=1
    )


def entry(row: Row) -> dict[str, Any]:
    """Give one row as plain values."""
    faster, smaller = ratios(row)
    return {
        "case": row.case.name,
        "functions": [row.case.ours.function, row.case.peer.function],
        "ours": vars(row.ours),
        "nilearn": vars(row.peer),
        "times_faster": faster,
        "faster_asked": row.case.faster,
        "times_smaller": smaller,
        "smaller_asked": row.case.smaller,
        "reached": reached(row),
        "limit": row.limit,
        "limit_of": row.case.limit.label if row.case.limit else None,
        "check": row.case.check.function,
        "tolerance": row.case.check.tolerance,
        "rounds": row.rounds,
        "took": row.took,
    }
