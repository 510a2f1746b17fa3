"""Many processes keep maps in one store, some of them are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gridded_maps import GRID, gridded, states
from trees import gzipped

from intake_neurovault import search
from intake_neurovault.gridded_files import is_whole
from intake_neurovault.testing import Archive, NeuroVaultServer

IMAGES = range(701, 713)
# NOTE: a server forks processes that have imported everything already, where it can.
AT_HAND = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver" if AT_HAND else "spawn")
if AT_HAND:
    CONTEXT.set_forkserver_preload(["intake_neurovault.result", __name__])


@pytest.fixture(scope="module")
def busy() -> Iterator[NeuroVaultServer]:
    archive = Archive()
    archive.add_collection("Many maps", id=7)
    for number in IMAGES:
        archive.add_image(7, gzipped(number), id=number)
    with NeuroVaultServer(archive) as running:
        yield running


def maps_of(url: str, data_dir: Path, **more: Any) -> Any:
    settings: dict[str, Any] = {"grid": GRID, "retries": 1, "chunks": 3} | more
    found = search(image_ids=list(IMAGES), url=url, data_dir=data_dir, **settings)
    return found.to_dask().maps.compute(scheduler="synchronous").values


def work(url: str, data_dir: Path, times: int, barrier: Any, **more: Any) -> None:
    """Compute a few times, each time the maps of a few images anew."""
    expected = None
    if barrier is not None:
        barrier.wait(60)
    for _ in range(times):
        found = maps_of(url, data_dir, **more)
        expected = found if expected is None else expected
        np.testing.assert_array_equal(found, expected)
        for path in gridded(data_dir)[::3] if times > 1 else ():
            path.unlink(missing_ok=True)


def maybe_states(data_dir: Path) -> list[tuple[int, int, int]]:
    """Give the states of what is there, while others remove it."""
    while True:
        try:
            return states(data_dir)
        except FileNotFoundError:
            continue


def start(*arguments: Any, **more: Any) -> Any:
    process = CONTEXT.Process(target=work, args=arguments, kwargs=more)
    process.start()
    return process


def test_processes_share_a_small_limit(busy: NeuroVaultServer, data_dir: Path) -> None:
    expected = maps_of(busy.url, data_dir)
    size = gridded(data_dir)[0].stat().st_size
    for path in gridded(data_dir):
        path.unlink()
    barrier = CONTEXT.Barrier(3)
    limit = 5 * size
    processes = [
        start(busy.url, data_dir, 1, barrier, keep_gridded=limit) for _ in range(3)
    ]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    # Each may have been about to write one while another had counted.
    assert 0 < len(gridded(data_dir)) <= 5 + len(processes)
    np.testing.assert_array_equal(
        maps_of(busy.url, data_dir, keep_gridded=limit), expected
    )
    assert all(is_whole(path) for path in gridded(data_dir))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_kill_leaves_whole_maps_or_none(
    busy: NeuroVaultServer, data_dir: Path
) -> None:
    expected = maps_of(busy.url, data_dir)
    processes = [start(busy.url, data_dir, 10_000, None) for _ in range(2)]
    first = states(data_dir)[0]
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if first not in maybe_states(data_dir):
            break
        time.sleep(0.05)
    for process in processes:
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    assert [process.exitcode for process in processes] == [-signal.SIGKILL] * 2
    assert all(is_whole(path) for path in gridded(data_dir))
    np.testing.assert_array_equal(maps_of(busy.url, data_dir), expected)
    assert len(gridded(data_dir)) == len(IMAGES)
