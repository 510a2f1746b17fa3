"""Work in other threads is called off at once, and leaves nothing behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from intake_neurovault import atomic, halt
from intake_neurovault.halt import CalledOffError, Halt
from intake_neurovault.pool import Pool

LONG = 60.0


@contextmanager
def working(work: Halt, job: Callable[[], object]) -> Iterator[list[object]]:
    """Run a job under a halt in a thread; gives what it came to."""
    outcome: list[object] = []

    def run() -> None:
        halt.enter(work)
        try:
            outcome.append(job())
        except CalledOffError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield outcome
    thread.join(LONG)
    assert not thread.is_alive()


def wait_until_called_off(work: Halt) -> None:
    end = time.monotonic() + LONG
    while not work.is_called_off:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_what_was_called_off_stays_so() -> None:
    work = Halt()
    assert not work.is_called_off
    work.call_off()
    work.call_off()
    assert work.is_called_off
    with pytest.raises(CalledOffError, match=r"^$"):
        work.wait(LONG)
    with pytest.raises(CalledOffError, match=r"^$"), work.ending(print):
        pytest.fail("began what was called off")


def test_a_pause_ends_when_the_work_is_called_off() -> None:
    work, began = Halt(), threading.Event()

    def job() -> None:
        began.set()
        halt.pause(LONG)

    with working(work, job) as outcome:
        assert began.wait(LONG)
        work.call_off()
    assert isinstance(outcome[0], CalledOffError)


def test_a_lock_is_not_waited_for_longer_than_the_work_is_wanted() -> None:
    work, lock = Halt(), threading.Lock()

    def job() -> None:
        with halt.holding(lock):
            pytest.fail("two held one lock")

    with lock, working(work, job) as outcome:
        work.call_off()
    assert isinstance(outcome[0], CalledOffError)
    with halt.holding(lock):
        assert lock.locked()
    assert not lock.locked()


def test_what_is_half_done_is_ended_once() -> None:
    work, ended = Halt(), []
    with work.ending(lambda: ended.append("finished before")):
        pass
    with work.ending(lambda: ended.append("begun")):
        work.call_off()
        work.call_off()
    assert ended == ["begun"]


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("closed")])
def test_what_has_ended_by_itself_does_no_harm(error: Exception) -> None:
    work, ended = Halt(lambda: ended.append("the other")), []

    def end() -> None:
        raise error

    with work.ending(end):
        work.call_off()
    assert ended == ["the other"]


def test_outside_of_any_work_nothing_is_called_off(tmp_path: Path) -> None:
    halt.check()
    start = time.monotonic()
    halt.pause(0.01)
    assert time.monotonic() - start >= 0.01
    with halt.ending(lambda: pytest.fail("nobody called this off")):
        halt.check()


def test_what_is_all_but_done_is_finished() -> None:
    work, began, done = Halt(), threading.Event(), []

    def job() -> None:
        with halt.finishing():
            began.set()
            wait_until_called_off(work)
            halt.check()
            done.append("the record")
        with halt.finishing():
            done.append("the next")

    with working(work, job) as outcome:
        assert began.wait(LONG)
        work.call_off()
    assert done == ["the record"]
    assert isinstance(outcome[0], CalledOffError)


def test_a_half_written_file_is_removed_by_who_calls_off(tmp_path: Path) -> None:
    work, began, removed = Halt(), threading.Event(), threading.Event()

    def job() -> None:
        with atomic.temporary(tmp_path / "map.nii.gz") as part:
            part.write_bytes(b"half")
            began.set()
            assert removed.wait(LONG)
            halt.check()
            part.replace(tmp_path / "map.nii.gz")

    with working(work, job) as outcome:
        assert began.wait(LONG)
        assert len(list(tmp_path.iterdir())) == 1
        work.call_off()
        assert list(tmp_path.iterdir()) == []
        removed.set()
    assert isinstance(outcome[0], CalledOffError)
    assert list(tmp_path.iterdir()) == []


class EnoughError(Exception):
    """Somebody has seen enough."""


def leave_after_one(outcomes: Iterator[tuple[int, object]]) -> None:
    assert next(outcomes) == (0, 0)
    raise EnoughError


def test_leaving_a_pool_by_an_error_ends_what_runs_in_it() -> None:
    ended: list[object] = []
    began = threading.Event()

    def job(item: int) -> int:
        if item == 0:
            assert began.wait(LONG)
            return item
        began.set()
        try:
            halt.pause(LONG)
        except CalledOffError as error:
            ended.append(error)
            raise
        return item

    start = time.monotonic()
    with (
        pytest.raises(EnoughError, match=r"^$"),
        Pool(workers=3).map(job, range(100)) as outcomes,
    ):
        leave_after_one(outcomes)
    assert time.monotonic() - start < LONG / 2
    assert 1 <= len(ended) <= 3


def test_leaving_a_pool_otherwise_waits_for_what_was_taken_ahead() -> None:
    done: list[int] = []

    def job(item: int) -> int:
        time.sleep(0.02)
        done.append(item)
        return item

    with Pool(workers=3).map(job, range(100)) as outcomes:
        assert next(outcomes) == (0, 0)
    assert sorted(done) == [0, 1, 2, 3]


def test_a_generator_that_is_closed_waits_likewise() -> None:
    done: list[int] = []

    def results() -> Iterator[int]:
        with Pool(workers=2).map(done.append, range(100)) as outcomes:
            for item, _ in outcomes:
                yield item

    generator = results()
    assert next(generator) == 0
    generator.close()
    assert sorted(done) == [0, 1, 2]


def test_a_pool_in_a_pool_ends_with_it() -> None:
    def inner(_: int) -> None:
        halt.pause(LONG)

    def outer(item: int) -> int:
        if item == 1:
            with Pool(workers=2).map(inner, range(5)) as outcomes:
                list(outcomes)
        return item

    before = threading.active_count()
    start = time.monotonic()
    with (
        pytest.raises(EnoughError, match=r"^$"),
        Pool(workers=2).map(outer, range(2)) as outcomes,
    ):
        leave_after_one(outcomes)
    assert time.monotonic() - start < LONG / 2
    assert threading.active_count() == before


def test_a_thread_that_hangs_is_left_behind() -> None:
    release = threading.Event()

    def job(item: int) -> int:
        if item:
            release.wait(LONG)
        return item

    start = time.monotonic()
    with (
        pytest.raises(EnoughError, match=r"^$"),
        Pool(workers=2).map(job, range(3)) as outcomes,
    ):
        leave_after_one(outcomes)
    assert time.monotonic() - start < LONG / 2
    release.set()
