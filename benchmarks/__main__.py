"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import __doc__ as about
from benchmarks import archive
from benchmarks.case import Case
from benchmarks.cases import FULL, QUICK, cases
from benchmarks.measuring import Bench, CaseError, Processes, Row
from benchmarks.table import as_json, line, markdown
from benchmarks.world import World

ARCHIVE = "archive"


def parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    made = argparse.ArgumentParser("python -m benchmarks", description=about)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument(
        "--only",
        metavar="PATTERN",
        help="the cases in whose name this is found; or archive, which makes an index "
        "of as many records as NeuroVault has",
    )
    made.add_argument(
        "--skip", metavar="PATTERN", help="not the cases in whose name this is found"
    )
    made.add_argument("--list", action="store_true", help="say what there is, and end")
    made.add_argument("--runs", type=int, default=5, help="how often, at most")
    made.add_argument(
        "--seconds",
        type=float,
        default=20,
        help="after which a case is not measured again, if it was twice",
    )
    made.add_argument("--output", type=Path, help="a folder for the table")
    made.add_argument("--data", type=Path, help="a folder that keeps the data")
    made.add_argument(
        "--quick",
        action="store_true",
        help="little data, once, in processes that are kept: to see that it runs",
    )
    return made


def chosen(every: Iterable[Case], only: str | None, skip: str | None) -> Iterator[Case]:
    """Choose cases by name; those without an aim have to be named."""
    for case in every:
        named = re.search(only, case.name) if only else case.asked
        if named and not (skip and re.search(skip, case.name)):
            yield case


def measure(
    bunches: Iterable[Sequence[Case]], bench: Bench, world: World
) -> tuple[list[Row], list[str]]:
    """Measure all cases, and tell of each when it is done."""
    rows, failed = [], []
    for bunch in bunches:
        try:
            found = bench.measure(bunch, world.place(bunch[0].data))
        except CaseError as error:
            failed.append(f"{bunch[0].name}: {error}")
            print(failed[-1], file=sys.stderr)
            continue
        rows += found
        for row in found:
            print(f"{line(row)} {row.took:.0f} s", file=sys.stderr, flush=True)
    return rows, failed


def report_archive(given: argparse.Namespace) -> None:
    """Make an index of the whole archive, and print and save what that takes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.data or Path(scratch)) / ARCHIVE
        records, runs = (2_000, 2) if given.quick else (archive.RECORDS, given.runs)
        text = ""
        for line in archive.lines(folder, records, runs):
            print(line, flush=True)
            text += f"{line}\n"
    save(given.output, f"{ARCHIVE}.md", text)


def save(folder: Path | None, name: str, text: str) -> None:
    """Write a file, if there is a folder for it."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def main(
    arguments: Sequence[str] | None = None, every: Sequence[Case] | None = None
) -> int:
    """Measure, print and save; gives the exit status.

    It is 1 if two results differ; that something is slower than asked is told in
    the table alone.
    """
    given = parser().parse_args(arguments)
    if given.only == ARCHIVE:
        report_archive(given)
        return 0
    scale = QUICK if given.quick else FULL
    picked = list(chosen(every or cases(scale), given.only, given.skip))
    if given.list:
        print("\n".join(case.name for case in picked))
        return 0
    alike = itertools.groupby(picked, lambda case: (case.peer, case.data, case.warm))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        processes = Processes(stack, kept=given.quick)
        folder = given.data or scratch / "data"
        latencies = (0.0, scale.latency)
        world = World(folder, scratch, latencies, processes, stack)
        runs = 1 if given.quick else given.runs
        bench = Bench(processes, runs, given.seconds, hasty=given.quick)
        rows, failed = measure([list(bunch) for _, bunch in alike], bench, world)
    text = markdown(rows)
    print(text)
    save(given.output, "benchmarks.md", text)
    save(given.output, "benchmarks.json", as_json(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
