"""Many jobs at a time: order, look-ahead, policy, progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from asking import workers
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from intake_neurovault.errors import (
    ArgumentError,
    Failure,
    MissingError,
    NeuroVaultWarning,
    ServerError,
)
from intake_neurovault.pool import (
    MAX_FAILURES_IN_A_ROW,
    Pool,
    parse_errors,
    parse_workers,
)

A = TypeVar("A")
B = TypeVar("B")


def run(pool: Pool, function: Callable[[A], B], items: Iterable[A]) -> list[Any]:
    with pool.map(function, items) as outcomes:
        return list(outcomes)


def failure(number: int) -> Failure:
    return Failure(number, 1, "http://server/", f"reason {number}", 1)


@given(st.lists(st.integers()), st.integers(1, 16))
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int) -> None:
    outcomes = run(Pool(workers), lambda item: item * 2, items)
    assert outcomes == [(item, item * 2) for item in items]


def test_slow_jobs_do_not_change_the_order() -> None:
    def nap(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    naps = [0.03, 0.0, 0.02, 0.0]
    assert [value for _, value in run(Pool(4), nap, naps)] == naps


def test_jobs_run_at_the_same_time() -> None:
    meeting = threading.Barrier(4, timeout=60)
    arrivals = [value for _, value in run(Pool(4), lambda _: meeting.wait(), range(4))]
    assert sorted(map(int, map(str, arrivals))) == [0, 1, 2, 3]


def test_no_more_is_taken_than_needed_when_the_reader_stops() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with Pool(3).map(lambda item: item, items()) as outcomes:
        assert next(outcomes) == (0, 0)
    assert len(taken) == 4


def test_leaving_drops_what_was_not_begun_and_waits_for_the_rest() -> None:
    begun, done = [], []
    gate = threading.Event()
    before = workers()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            gate.wait(10)
        done.append(number)
        return number

    timer = threading.Timer(0.1, gate.set)
    with Pool(1).map(work, range(9)) as outcomes:
        assert next(outcomes) == (0, 0)
        timer.start()
    timer.join()
    assert begun == done
    assert len(done) <= 2
    assert workers() == before


def test_errors_of_this_package_are_outcomes() -> None:
    def look(number: int) -> int:
        if number == 1:
            msg = "no such map"
            raise MissingError(msg)
        return number

    outcomes = [value for _, value in run(Pool(2), look, range(3))]
    assert outcomes[0] == 0
    assert isinstance(outcomes[1], MissingError)
    assert outcomes[2] == 2


def test_other_errors_are_raised() -> None:
    with pytest.raises(ZeroDivisionError, match="division"):
        run(Pool(2), lambda number: 1 // number, [1, 0])


def test_raise_stops_at_the_first_failure() -> None:
    report = Pool(errors="raise").report()
    with pytest.raises(MissingError, match="gone") as caught:
        report.failed(failure(3), MissingError("gone"))
    assert caught.value.failures == (failure(3),)


def test_warn_collects_and_warns_once() -> None:
    report = Pool(errors="warn").report()
    for number in range(3):
        report.failed(failure(number), MissingError("gone"))
    with pytest.warns(NeuroVaultWarning, match=r"3 things .* fetched.*First: reason 0"):
        report.warn("fetched")
    assert [each.id for each in report.failures] == [0, 1, 2]


def test_skip_only_reports() -> None:
    report = Pool(errors="skip").report()
    report.failed(failure(3), MissingError("gone"))
    report.warn("fetched")
    assert [each.id for each in report.failures] == [3]


def test_a_server_that_only_fails_is_given_up() -> None:
    report = Pool(errors="skip").report()
    for number in range(MAX_FAILURES_IN_A_ROW):
        assert not report.exhausted
        report.failed(failure(number), ServerError("busy"))
    report.succeeded()  # from the store, say
    assert report.exhausted
    assert len(report.failures) == MAX_FAILURES_IN_A_ROW


def test_a_success_between_failures_keeps_the_run_alive() -> None:
    report = Pool(errors="skip").report()
    for number in range(3 * MAX_FAILURES_IN_A_ROW):
        report.failed(failure(number), ServerError("busy"))
        report.succeeded()
    assert len(report.failures) == 3 * MAX_FAILURES_IN_A_ROW
    assert not report.exhausted


def test_what_says_nothing_about_the_next_ends_no_run() -> None:
    report = Pool(errors="skip").report()
    for number in range(2 * MAX_FAILURES_IN_A_ROW):
        report.failed(failure(number), MissingError("gone"))
    assert len(report.failures) == 2 * MAX_FAILURES_IN_A_ROW
    assert not report.exhausted


def test_less_is_taken_ahead_as_soon_as_that_is_not_wanted() -> None:
    taken: list[int] = []
    given: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    def ahead() -> int:
        return 0 if len(given) >= 5 else 4

    with Pool(2).map(lambda item: item, items(), ahead=ahead) as outcomes:
        for item, _ in outcomes:
            given.append(item)
            beyond = len(taken) - len(given)
            assert beyond <= (6 if len(given) <= 8 else 2)
    assert given == list(range(20))


def test_what_waits_for_one_before_it_keeps_no_thread_idle() -> None:
    last = threading.Event()

    def job(item: int) -> bool:
        if item == 5:
            last.set()
        return last.wait(60) if item == 0 else True

    with Pool(1).map(job, range(50), spare=1, ahead=lambda: 3) as outcomes:
        assert next(outcomes) == (0, True)


@pytest.mark.parametrize(
    ("progress", "shown"), [(True, True), (False, False), (None, False)]
)
def test_a_bar_is_shown_where_asked(
    progress: bool | None, shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with Pool(progress=progress).bar(3000, "B") as bar:
        bar.update(3000)
    text = capsys.readouterr().err
    assert ("NeuroVault: 100%" in text) is shown
    assert ("3.00k/3.00k" in text) is shown


@pytest.mark.parametrize("workers", [0, 17, -1, 2.5, "many", None, True])
def test_workers_out_of_range(workers: object) -> None:
    with pytest.raises(ArgumentError, match="whole number from 1 to 16"):
        parse_workers(workers)


def test_an_unknown_policy() -> None:
    with pytest.raises(ArgumentError, match=r"'errors' must be one of 'raise'.*'stop'"):
        parse_errors("stop")


def test_a_bar_that_is_not_shown_waits_for_nobody() -> None:
    # NOTE: forked processes share this lock, and a killed one never releases it.
    with ThreadPoolExecutor(1) as thread, tqdm.get_lock():

        def use() -> None:
            with Pool(progress=False).bar(3000, "B") as bar:
                bar.update(3000)

        thread.submit(use).result(timeout=10)
