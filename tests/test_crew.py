"""Threads, and how many of them make a request at a time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager

import pytest

from intake_neurovault.crew import MAX_WORKERS, Crew, turn
from intake_neurovault.halt import CalledOffError
from intake_neurovault.pool import Pool


class Counter:
    """Counts how many are within at a time; the first wait for as many as expected."""

    def __init__(self, expected: int) -> None:
        self.most = self.now = 0
        self._expected = expected
        self._changed = threading.Condition()

    @contextmanager
    def within(self):
        with self._changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.most >= self._expected, 60)
        time.sleep(0.005)
        yield
        with self._changed:
            self.now -= 1


def requests(counter: Counter) -> Callable[[int], int]:
    def job(item: int) -> int:
        with turn(), counter.within():
            pass
        return item

    return job


def finished(crew: Crew) -> AbstractContextManager[None]:
    @contextmanager
    def end():
        yield
        crew.finish()
        crew.dismiss()

    return end()


@pytest.mark.parametrize(("workers", "spare"), [(1, 0), (1, 4), (3, 2)])
def test_no_more_requests_at_a_time_than_workers(workers: int, spare: int) -> None:
    counter = Counter(workers)
    with Pool(workers).map(requests(counter), range(30), spare=spare) as outcomes:
        assert [item for item, _ in outcomes] == list(range(30))
    assert counter.most == workers


def test_spare_threads_work_while_others_ask() -> None:
    crew = Crew(workers=1, spare=1)
    asking, checked = threading.Event(), threading.Event()

    def ask(_: int) -> None:
        with turn():
            asking.set()
            assert checked.wait(60)

    def check(_: int) -> None:
        assert asking.wait(60)
        checked.set()

    with finished(crew):
        first, second = crew.submit(ask, 0), crew.submit(check, 0)
        assert (first.result(60), second.result(60)) == (None, None)
    assert crew.size == 2


def test_a_crew_in_a_crew_takes_the_same_turns() -> None:
    counter = Counter(2)

    def outer(item: int) -> int:
        with Pool(8).map(requests(counter), range(6)) as outcomes:
            assert len(list(outcomes)) == 6
        return item

    with Pool(2).map(outer, range(4)) as outcomes:
        assert len(list(outcomes)) == 4
    assert counter.most == 2


def test_all_crews_of_a_process_together_are_polite() -> None:
    counter = Counter(MAX_WORKERS)

    def run() -> None:
        with Pool(MAX_WORKERS).map(requests(counter), range(40)) as outcomes:
            assert len(list(outcomes)) == 40

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.most == MAX_WORKERS


def test_whoever_waits_for_a_crew_is_told_that_it_was_called_off() -> None:
    crew, release = Crew(workers=1), threading.Event()
    running = crew.submit(lambda _: release.wait(60), 0)
    waiting = crew.submit(lambda _: pytest.fail("began what was called off"), 0)
    crew.call_off()
    late = crew.submit(lambda _: pytest.fail("began what was called off"), 0)
    for future in (running, waiting, late):
        with pytest.raises(CalledOffError, match=r"^$"):
            future.result(60)
    release.set()
    crew.dismiss()


def test_what_a_job_raises_is_for_who_asks() -> None:
    crew = Crew(workers=1)
    with finished(crew):
        failed = crew.submit(lambda item: 1 // item, 0)
        whole = crew.submit(lambda item: 1 // item, 1)
        with pytest.raises(ZeroDivisionError, match="division"):
            failed.result(60)
        assert whole.result(60) == 1


def test_who_comes_first_in_the_order_of_the_work_goes_first() -> None:
    order: list[int] = []
    crew, ready = Crew(workers=1, spare=3), threading.Barrier(4)

    def others_wait(number: int) -> None:
        end = time.monotonic() + 60
        while len(crew._place.turns._waiting) < number:
            assert time.monotonic() < end
            time.sleep(0.001)

    def job(item: int) -> None:
        if item == 0:
            with turn():
                ready.wait(60)
                others_wait(3)
                return
        ready.wait(60)
        others_wait(3 - item)  # the last one asks first
        with turn():
            order.append(item)

    with finished(crew):
        futures = [crew.submit(job, item) for item in range(4)]
        for future in futures:
            future.result(60)
    assert order == [1, 2, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority")
def test_a_crew_that_stands_back_leaves_other_threads_as_they_are() -> None:
    def priority(_: None) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    usual, behind = Crew(1), Crew(1, behind=True)
    before = priority(None)
    assert behind.submit(priority, None).result() == 19  # the least there is
    assert usual.submit(priority, None).result() == priority(None) == before
    usual.dismiss()
    behind.dismiss()
