"""Both sides in turns, each time in a fresh process; and what they come to."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Check, Place, Side, Work

SPAWN = multiprocessing.get_context("spawn")
LEAST_ROUNDS = 2
MOST_CALLS = 8
LONG = 2.0
"""Seconds after which what is warm has been called often enough."""


class CaseError(Exception):
    """The two sides did not come to the same, or one came to nothing."""


@dataclass(frozen=True)
class Outcome:
    """What doing the work once took."""

    seconds: float
    """How long the call took."""
    grown: float
    """By how many MB the process grew at its peak, beyond what its imports take."""
    peak: float
    """How many MB the whole process had at its peak."""


@dataclass(frozen=True)
class Row:
    """A line of the table, measured."""

    case: Case
    """What was measured."""
    ours: Outcome
    """Medians of this package."""
    peer: Outcome
    """Medians of nilearn."""
    limit: float | None
    """Seconds that the machine takes for what cannot be avoided."""
    rounds: int
    """How often each was measured."""
    took: float
    """How many seconds that took in all, with what else was measured beside it."""


class Processes:
    """Where functions run: each time in a fresh process, or in a few that are kept."""

    def __init__(self, stack: ExitStack, *, kept: bool) -> None:
        self._stack, self._kept = stack, kept
        self._pools: dict[str, ProcessPoolExecutor] = {}

    def call(self, kind: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function; those of one kind share a process if processes are kept."""
        with ExitStack() as once:
            pool = self._pools.get(kind)
            if pool is None:
                pool = ProcessPoolExecutor(1, mp_context=SPAWN)
                (self._stack if self._kept else once).enter_context(pool)
            if self._kept:
                self._pools[kind] = pool
            future = pool.submit(function, *arguments)
            problem = future.exception()
            if problem is not None:
                msg = f"{type(problem).__name__}: {problem}"
                raise CaseError(msg) from problem
            return future.result()


def resolved(name: str) -> Callable[..., Any]:
    """Find a function by module and name, those of this package by the last two."""
    module, _, function = name.rpartition(".")
    within = module if "." in module else f"{__package__}.{module}"
    found: Callable[..., Any] = getattr(importlib.import_module(within), function)
    return found


def resident() -> float:
    """Give the memory of this process now, in MB; its peak where nothing tells."""
    status = Path("/proc/self/statm")
    if status.exists():
        pages = int(status.read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return peak()


def peak() -> float:
    """Give the most memory that this process has had, in MB."""
    # NOTE: macOS counts bytes, all others kibibytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def timed(work: Work, *, warm: bool) -> tuple[float, Any]:
    """Do the work once; if it is to be warm, for a while, without the first time.

    What takes long is done once in any case: by how much the first call is slower is
    then no part of the result that anybody sees.
    """
    taken: list[float] = []
    while not taken or (warm and len(taken) < MOST_CALLS and sum(taken) < LONG):
        result = None
        start = time.perf_counter()
        result = work.run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:] or taken), result


def measured(side: Side, place: Place, warm: bool, values: Path) -> Outcome:
    """Do the work of one side, and keep what it came to in a file."""
    prepare = resolved(side.function)
    before = resident()
    with quiet():
        work: Work = prepare(place, **dict(side.arguments))
        seconds, result = timed(work, warm=warm)
        most = peak()
        with values.open("wb") as file:
            pickle.dump(work.values(result), file, protocol=5)
    return Outcome(seconds, max(most - before, 0), most)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries print and warn of out of the table."""
    # NOTE: for the processes that joblib starts.
    os.environ["PYTHONWARNINGS"] = "ignore"
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def compared(check: Check, ours: Path, peers: Path) -> str | None:
    """Say what differs between the results in two files."""
    both = [pickle.loads(path.read_bytes()) for path in (ours, peers)]
    given = [] if check.tolerance is None else [check.tolerance]
    difference: str | None = resolved(check.function)(*both, *given)
    return difference


def limited(side: Side, place: Place) -> float:
    """Measure a limit of the machine."""
    seconds: float = resolved(side.function)(place, **dict(side.arguments))
    return seconds


def median(outcomes: Sequence[Outcome]) -> Outcome:
    """Take the medians, each by itself."""
    return Outcome(
        *(
            statistics.median(getattr(outcome, name) for outcome in outcomes)
            for name in ("seconds", "grown", "peak")
        )
    )


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """Give an empty folder; what it then holds takes no room afterwards.

    It is removed with the folder around it, when all is measured: for minutes ext4
    looks over what was deleted whenever a file is made, at the cost of who is next.
    """
    made = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield made
    finally:
        for path in made.rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)


@dataclass(frozen=True)
class Bench:
    """Measures cases, which all have the same data and the same peer."""

    processes: Processes
    """Where the work is done."""
    runs: int
    """How often each side is measured at most."""
    seconds: float
    """After so long no further round begins, if there were at least two."""
    hasty: bool = False
    """Whether to time the first call in any case."""

    def measure(self, cases: Sequence[Case], place: Place) -> list[Row]:
        """Let all sides take turns, and compare what they come to.

        Raises
        ------
        CaseError
            If two results differ, or there is none.
        """
        sides = list(dict.fromkeys([cases[0].peer, *(case.ours for case in cases)]))
        outcomes: dict[Side, list[Outcome]] = {side: [] for side in sides}
        began = time.monotonic()
        for number in range(self.runs):
            # NOTE: who comes first changes, so that nobody always finds it warm.
            order = sides if number % 2 == 0 else sides[::-1]
            for side, outcome in self._round(order, cases, place).items():
                outcomes[side].append(outcome)
            spent = time.monotonic() - began
            if number + 1 >= LEAST_ROUNDS and spent > self.seconds:
                break
        limits = [self._limit(case, place) for case in cases]
        took = time.monotonic() - began
        medians = {side: median(each) for side, each in outcomes.items()}
        return [
            Row(case, medians[case.ours], medians[case.peer], limit, number + 1, took)
            for case, limit in zip(cases, limits, strict=True)
        ]

    def _round(
        self, order: Sequence[Side], cases: Sequence[Case], place: Place
    ) -> dict[Side, Outcome]:
        """Measure every side once."""
        warm = cases[0].warm and not self.hasty
        with emptied(place.scratch) as folder:
            outcomes, kept = {}, {}
            for number, side in enumerate(order):
                kept[side] = folder / f"{number}.pickle"
                with emptied(folder) as scratch:
                    there = Place(place.data, scratch, place.urls)
                    given = (side, there, warm, kept[side])
                    kind = side.function.rpartition(".")[0]
                    outcomes[side] = self.processes.call(kind, measured, *given)
            for case in cases:
                both = kept[case.ours], kept[case.peer]
                found = self.processes.call("checks", compared, case.check, *both)
                if found:
                    msg = f"the two did not come to the same: {found}"
                    raise CaseError(msg)
        return outcomes

    def _limit(self, case: Case, place: Place) -> float | None:
        if case.limit is None:
            return None
        seconds: float = self.processes.call("limits", limited, case.limit, place)
        return seconds
