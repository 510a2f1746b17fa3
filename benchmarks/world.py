"""The data of the cases, made when they are needed, and the servers that run."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.case import Data, Place
from benchmarks.measuring import SPAWN, Processes, quiet, resolved

SETTLED = 2.5
"""Seconds after which a file is old enough to be known by its times."""
STEPS: Mapping[str, tuple[str, ...]] = {
    "server": ("data.make_maps",),
    "originals": ("data.make_store",),
    "maps": ("data.make_store", "nilearns.complete", "ours.complete"),
    "records": ("data.make_records", "ours.index"),
}
"""Who makes which kind of data, one after the other."""


@dataclass
class World:
    """Makes data in a folder, and keeps servers running."""

    folder: Path
    """Where the data are."""
    scratch: Path
    """Where measurements put what they make."""
    latencies: tuple[float, ...]
    """A server runs for each."""
    processes: Processes
    """Where data are made."""
    stack: ExitStack
    """What ends the servers."""
    _servers: dict[Data, dict[float, str]] = field(default_factory=dict)

    def place(self, data: Data) -> Place:
        """Make the data unless they are there, and say where."""
        folder = self.folder / data.folder
        if not folder.exists():
            self._make(data, folder)
        if data.kind == "server" and data not in self._servers:
            serving = served(data, folder, self.latencies)
            self._servers[data] = self.stack.enter_context(serving)
        return Place(folder, self.scratch, self._servers.get(data, {}))

    def _make(self, data: Data, folder: Path) -> None:
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for step in STEPS[data.kind]:
            self.processes.call(step.partition(".")[0], run, step, data, unfinished)
            time.sleep(SETTLED)
        unfinished.rename(folder)


def run(name: str, *arguments: object) -> None:
    """Call a function of this package by its name."""
    with quiet():
        resolved(name)(*arguments)


@contextmanager
def served(
    data: Data, folder: Path, latencies: tuple[float, ...]
) -> Iterator[dict[float, str]]:
    """Run servers in a process of their own; gives their addresses."""
    here, there = SPAWN.Pipe()
    given = ("data.serve", data, folder, latencies, there)
    process = SPAWN.Process(target=run, args=given)
    process.start()
    there.close()
    try:
        yield dict(zip(latencies, here.recv(), strict=True))
    finally:
        here.close()
        process.join()
