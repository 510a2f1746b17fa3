"""Garbage is not looked for while what lasts is made, and is again afterwards."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from intake_neurovault import search
from intake_neurovault.garbage import settle, uncollected
from intake_neurovault.testing import NeuroVaultServer


class Circle:
    def __init__(self) -> None:
        self.own = self


def is_looked_for() -> bool:
    return gc.isenabled() and gc.get_threshold()[0] > 0


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    assert is_looked_for()
    usual = gc.get_threshold()
    yield
    gc.enable()
    gc.set_threshold(*usual)


def looks(made: int = 100_000) -> int:
    """Count how often garbage is looked for while so many objects are made."""
    before = [each["collections"] for each in gc.get_stats()]
    kept = [[number] for number in range(made)]
    assert len(kept) == made
    after = [each["collections"] for each in gc.get_stats()]
    return sum(after) - sum(before)


def test_nobody_looks_meanwhile() -> None:
    with uncollected():
        assert looks() == 0
    assert looks() > 0


def test_what_settled_is_not_looked_through_at_once() -> None:
    seen: list[int] = []

    def note(phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(len(gc.get_objects(generation=0)))

    with uncollected():
        kept = [[number] for number in range(200_000)]
        settle()
    gc.callbacks.append(note)
    try:
        looks(2_000)
    finally:
        gc.callbacks.remove(note)
    assert kept
    assert seen
    assert max(seen) < 100_000


def test_circles_that_it_leaves_are_found_later() -> None:
    with uncollected():
        gone = weakref.ref(Circle())
        assert gone() is not None
    gc.collect()
    assert gone() is None


def test_circles_are_found_though_there_are_pauses_again_and_again() -> None:
    left = []
    for _ in range(5000):
        with uncollected():
            left.append(weakref.ref(Circle()))
    assert sum(circle() is not None for circle in left) < 1000


def test_what_the_program_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with uncollected():
            settle()
        assert gc.get_freeze_count() >= frozen - 100 > 0
    finally:
        gc.unfreeze()


def test_a_program_that_wants_none_looked_for_is_left_alone() -> None:
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
    gc.enable()
    gc.set_threshold(0)
    with uncollected():
        pass
    assert gc.get_threshold()[0] == 0


def test_it_leaves_what_the_program_has_set() -> None:
    gc.set_threshold(5000, 7, 3)
    with uncollected():
        assert not is_looked_for()
    assert gc.get_threshold() == (5000, 7, 3)


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError, match="no such"), uncollected():
        _ = {}["no such"]
    assert is_looked_for()


def test_it_can_be_left_out() -> None:
    with uncollected(False):
        assert is_looked_for()


def test_threads_that_overlap_leave_it_on() -> None:
    meet = threading.Barrier(8, timeout=60)

    @uncollected()
    def work() -> None:
        meet.wait()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert is_looked_for()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
# From Python 3.12 on a fork beside other threads, such as a server's, warns.
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_process_that_is_forked_meanwhile_looks_again() -> None:
    with uncollected():
        child = os.fork()
        if child == 0:
            os._exit(0 if is_looked_for() else 1)
        _, status = os.waitpid(child, 0)
        assert not is_looked_for()
    assert is_looked_for()
    assert os.waitstatus_to_exitcode(status) == 0


def test_functions_of_users_run_as_ever(
    server: NeuroVaultServer, tmp_path: Path
) -> None:
    where = {"url": server.url, "data_dir": tmp_path, "progress": False}
    assert len(search(**where, image_terms={}, collection_terms={}))

    def wanted(_about: dict[str, object]) -> bool:
        assert is_looked_for()
        return True

    assert len(search(**where, image_terms=wanted, collection_terms={}))


def test_the_door_opens_without_a_look_and_leaves_dask_its_own(tmp_path: Path) -> None:
    code = (
        "import gc, intake_neurovault\n"
        "before = [each['collections'] for each in gc.get_stats()]\n"
        "intake_neurovault.search\n"
        "after = [each['collections'] for each in gc.get_stats()]\n"
        "print(sum(after) - sum(before))\n"
        "import dask.array\n"
        "dask.array.zeros(10, chunks=5)[2:]\n"
        "print(gc.isenabled(), gc.get_threshold()[0] > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        text=True,
        cwd=tmp_path,
    )
    looked, enabled, often = done.stdout.split()
    assert int(looked) < 20
    assert (enabled, often) == ("True", "True")
