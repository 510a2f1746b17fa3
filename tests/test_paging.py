from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_neurovault.errors import AnswerError, ServerError, UnreachableError
from intake_neurovault.pages import SMALLEST, Cursor, Page
from intake_neurovault.paging import Listing, collect
from intake_neurovault.resource import Resource
from intake_neurovault.retry import Kind, Policy, Trouble

POLICY = Policy(attempts=5)
SHOWN = "http://a.org/api/collections/1/images/"
ASKED = Resource(SHOWN, SHOWN, "The list")


@dataclass
class Shelf:
    """A list behind a server that may fail, cap its pages, or be edited meanwhile."""

    rows: list[object]
    poison: Collection[int] = ()
    slow_from: int | None = None
    cap: int = 1000
    count: int | None = None
    before: Callable[[Shelf, int], None] = lambda shelf, number: None
    asked: list[tuple[int, int]] = field(default_factory=list)
    spent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, offset: int, limit: int, policy: Policy) -> Page | Trouble:
        with self.lock:
            return self.answer(offset, limit, policy)

    def answer(self, offset: int, limit: int, policy: Policy) -> Page | Trouble:
        self.asked.append((offset, limit))
        self.before(self, len(self.asked))
        window = range(offset, min(offset + limit, len(self.rows)))
        if self.slow_from is not None and limit >= self.slow_from:
            return self.trouble(UnreachableError("no answer"), "slow", policy)
        if any(row in self.poison for row in window):
            return self.trouble(ServerError("500"), "broken", policy)
        self.spent += 1
        end = offset + min(limit, self.cap)
        count = len(self.rows) if self.count is None else self.count
        last = end >= len(self.rows)
        return Page(tuple(self.rows[offset:end]), count, last)

    def trouble(self, error: ServerError, kind: Kind, policy: Policy) -> Trouble:
        error.attempts = 1
        while policy.allows(Trouble(error, kind), error.attempts):
            error.attempts += 1
        self.spent += error.attempts
        return Trouble(error, kind)


def numbered(number: int) -> list[object]:
    return [{"id": 10 * place} for place in range(number)]


def listed(outcome: Listing | Trouble) -> list[int]:
    assert isinstance(outcome, Listing)
    return [record["id"] for record in outcome.records]


def gather(shelf: Shelf, *sizes: int, at_once: int = 1) -> Listing | Trouble:
    return collect(
        shelf,
        POLICY,
        sizes=sizes or (200,),
        shown=SHOWN,
        collection_id=1,
        at_once=at_once,
    )


each_way = pytest.mark.parametrize("at_once", [1, 4])


@pytest.mark.parametrize("number", [0, 1, 199, 200, 201, 1100])
@pytest.mark.parametrize("cap", [70, 1000])
@pytest.mark.parametrize("at_once", [1, 2, 4, 16])
def test_a_quiet_list_is_read_once(number: int, cap: int, at_once: int) -> None:
    shelf = Shelf(numbered(number), cap=cap)
    outcome = gather(shelf, 200, 200, at_once=at_once)
    assert listed(outcome) == list(range(0, 10 * number, 10))
    assert outcome == Listing(outcome.records, number)
    assert outcome.complete
    assert len(shelf.asked) == max(1, -(-number // min(cap, 200)))


@given(
    number=st.integers(0, 450),
    size=st.integers(1, 250),
    cap=st.integers(1, 300),
    places=st.sets(st.integers(0, 449), max_size=6),
    at_once=st.integers(1, 6),
)
def test_only_the_records_that_cannot_be_served_are_missing(
    number: int, size: int, cap: int, places: set[int], at_once: int
) -> None:
    poison = {place for place in places if place < number}
    shelf = Shelf(numbered(number), poison=poison, cap=cap)
    outcome = gather(shelf, size, size, at_once=at_once)
    expected = [10 * place for place in range(number) if place not in poison]
    if poison and not expected:
        assert isinstance(outcome, Trouble)
        return
    assert listed(outcome) == expected
    assert isinstance(outcome, Listing)
    urls = [failure.url for failure in outcome.failures]
    assert urls == [f"{SHOWN}?limit=1&offset={place}" for place in sorted(poison)]
    assert outcome.complete is (not poison)
    pages = -(-number // min(size, cap)) + 1
    probes = 9 if 0 in poison else 0
    assert len(shelf.asked) <= pages + 20 * len(poison) + probes


def test_one_bad_record_of_a_page_costs_a_few_requests() -> None:
    shelf = Shelf(numbered(200), poison={137})
    outcome = gather(shelf)
    assert isinstance(outcome, Listing)
    assert [(f.id, f.collection_id, f.reason, f.attempts) for f in outcome.failures]
    assert outcome.failures[0].reason == "500"
    assert outcome.failures[0].attempts == 5
    assert len(shelf.asked) <= 12


@pytest.mark.parametrize(
    ("slow_from", "sizes"), [(201, {200}), (150, {200, 100}), (26, {200, 100, 50, 25})]
)
@each_way
def test_pages_are_halved_after_a_timeout(
    slow_from: int, sizes: set[int], at_once: int
) -> None:
    shelf = Shelf(numbered(300), slow_from=slow_from)
    assert len(listed(gather(shelf, at_once=at_once))) == 300
    assert {limit for _, limit in shelf.asked} == sizes
    assert len([limit for _, limit in shelf.asked if limit >= slow_from]) <= 3


@each_way
def test_a_server_that_never_answers_is_given_up_soon(at_once: int) -> None:
    shelf = Shelf(numbered(300), slow_from=1)
    outcome = gather(shelf, 200, 1000, 500, at_once=at_once)
    assert isinstance(outcome, Trouble)
    assert [limit for _, limit in shelf.asked] == [200, 100, 50, SMALLEST]
    assert shelf.spent == 8


@each_way
@pytest.mark.parametrize("number", [1, 2, 5, 9, 10, 500, 5000])
def test_a_list_that_gives_no_record_at_all_is_given_up_soon(
    number: int, at_once: int
) -> None:
    shelf = Shelf(numbered(number), poison=range(number))
    outcome = gather(shelf, 200, 1000, 500, at_once=at_once)
    assert isinstance(outcome, Trouble)
    assert str(outcome.error) == "500"
    assert shelf.spent <= 29


@each_way
def test_a_server_that_always_breaks_is_given_up_sooner(at_once: int) -> None:
    shelf = Shelf(numbered(5000))

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        shelf.asked.append((offset, limit))
        return shelf.trouble(ServerError("500"), "broken", policy)

    outcome = collect(ask, POLICY, sizes=(200, 1000), shown=SHOWN, at_once=at_once)
    assert isinstance(outcome, Trouble)
    assert [limit for _, limit in shelf.asked] == [200, 100, 50, 25, 12, 6, 3, 1, 1]


@each_way
@pytest.mark.parametrize("number", [2, 3, 30, 450])
def test_a_first_record_that_cannot_be_served_hides_no_other(
    number: int, at_once: int
) -> None:
    shelf = Shelf(numbered(number), poison={0})
    outcome = gather(shelf, 200, 1000, at_once=at_once)
    assert listed(outcome) == list(range(10, 10 * number, 10))
    assert isinstance(outcome, Listing)
    assert [each.url for each in outcome.failures] == [f"{SHOWN}?limit=1&offset=0"]


def test_a_list_of_bad_records_is_given_up_in_the_end() -> None:
    shelf = Shelf(numbered(5000), poison=range(0, 5000, 2))
    outcome = gather(shelf, 200, 1000, 500)
    assert isinstance(outcome, Listing)
    assert len(outcome.failures) == 102
    assert len(outcome.records) > 90
    assert shelf.spent < 3000


def broken_from(
    kind: Kind, place: int, shelf: Shelf | None = None
) -> Callable[[int, int, Policy], Page | Trouble]:
    served = shelf or Shelf(numbered(1000))

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        if offset + limit > place:
            served.asked.append((offset, limit))
            return served.trouble(ServerError("gone"), kind, policy)
        return served(offset, limit, policy)

    return ask


def test_what_fails_at_once_is_trouble() -> None:
    ask = broken_from("passing", 0)
    outcome = collect(ask, POLICY, sizes=(200, 200), shown=SHOWN)
    assert isinstance(outcome, Trouble)
    assert str(outcome.error) == "gone"


@each_way
def test_what_fails_later_leaves_a_part_and_a_report(at_once: int) -> None:
    ask = broken_from("passing", 400)
    outcome = collect(ask, POLICY, sizes=(200, 200), shown=SHOWN, at_once=at_once)
    assert listed(outcome) == list(range(0, 4000, 10))
    assert isinstance(outcome, Listing)
    (failure,) = outcome.failures
    assert failure.reason == "gone The list was read no further."
    assert (failure.url, failure.attempts) == (SHOWN, 5)
    assert not outcome.complete


def test_whoever_reads_ahead_stops_when_the_list_is_given_up() -> None:
    shelf = Shelf(numbered(5000))
    broken, gone = broken_from("broken", 200, shelf), threading.Event()

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        if offset == 200:
            gone.set()
            return Trouble(AnswerError("no page"))
        if offset:
            gone.wait(10)
            time.sleep(0.03)
        return broken(offset, limit, policy)

    outcome = collect(ask, POLICY, sizes=(200,), shown=SHOWN, at_once=4)
    assert len(listed(outcome)) == 200
    assert isinstance(outcome, Listing)
    assert [each.reason for each in outcome.failures] == [
        "no page The list was read no further."
    ]
    assert len(shelf.asked) < 10


def swap_first_and_last(shelf: Shelf, number: int) -> None:
    if number == 2:
        shelf.rows.append(shelf.rows.pop(0))


@dataclass
class Busy:
    """A list whose server takes a while, and counts how many wait at a time."""

    shelf: Shelf
    expected: int
    waiting: int = 0
    most: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, offset: int, limit: int, policy: Policy) -> Page | Trouble:
        with self.changed:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            self.changed.notify_all()
            if offset:
                self.changed.wait_for(lambda: self.most >= self.expected, 10)
        time.sleep(0.03)
        with self.changed:
            self.waiting -= 1
        return self.shelf(offset, limit, policy)


@pytest.mark.parametrize(
    ("number", "at_once", "most"),
    [(200, 4, 1), (400, 4, 1), (600, 4, 2), (2000, 4, 4), (2000, 2, 2), (1000, 1, 1)],
)
def test_behind_the_first_page_several_are_asked_for_at_a_time(
    number: int, at_once: int, most: int
) -> None:
    busy = Busy(Shelf(numbered(number)), expected=most)
    outcome = collect(busy, POLICY, sizes=(200,), shown=SHOWN, at_once=at_once)
    assert len(listed(outcome)) == number
    assert busy.most == most
    assert len(busy.shelf.asked) == number // 200


@given(
    number=st.integers(0, 60),
    size=st.integers(1, 20),
    cap=st.integers(1, 30),
    count=st.none() | st.integers(0, 90),
    places=st.sets(st.integers(0, 59), max_size=6),
    at_once=st.integers(2, 6),
)
def test_how_many_at_a_time_changes_nothing_of_the_list(
    number: int,
    size: int,
    cap: int,
    count: int | None,
    places: set[int],
    at_once: int,
) -> None:
    def read(at_once: int) -> Listing | Trouble:
        poison = {place for place in places if place < number}
        shelf = Shelf(numbered(number), poison=poison, cap=cap, count=count)
        return gather(shelf, size, 2 * size, at_once=at_once)

    one, several = read(1), read(at_once)
    if isinstance(one, Trouble):
        assert isinstance(several, Trouble)
    else:
        assert several == one


EDITS: dict[str, Callable[[list[object], int], object]] = {
    "removed": lambda rows, place: rows and rows.pop(place % len(rows)),
    "added": lambda rows, place: rows.insert(
        place % (len(rows) + 1), {"id": 1000 + len(rows)}
    ),
    "moved": lambda rows, place: rows and rows.append(rows.pop(place % len(rows))),
}


# NOTE: an exchange of one record for another between two pages cannot be seen.
@given(
    kind=st.sampled_from(sorted(EDITS)),
    number=st.integers(0, 60),
    size=st.integers(1, 20),
    edits=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 60)), max_size=5),
    at_once=st.integers(1, 6),
)
def test_a_list_edited_meanwhile_loses_nothing_silently(
    kind: str, number: int, size: int, edits: list[tuple[int, int]], at_once: int
) -> None:
    due = dict(edits)

    def edit(shelf: Shelf, request: int) -> None:
        if request in due:
            EDITS[kind](shelf.rows, due[request])

    shelf = Shelf(numbered(number), before=edit)
    outcome = gather(shelf, size, size, size, at_once=at_once)
    found = listed(outcome)
    assert found == sorted(set(found))
    assert len(shelf.asked) <= 3 * (2 * (number + 5) // size + 3 + at_once)
    assert isinstance(outcome, Listing)
    if outcome.complete:
        stayed = set(range(0, 10 * number, 10))
        stayed &= {row["id"] for row in shelf.rows if isinstance(row, dict)}
        assert stayed <= set(found)


@given(
    kind=st.sampled_from(["removed", "added"]),
    number=st.integers(1, 60),
    size=st.integers(1, 20),
    places=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    late=st.lists(st.booleans(), min_size=7, max_size=7),
    at_once=st.integers(2, 6),
)
def test_pages_that_come_out_of_order_lose_nothing_silently(
    kind: str,
    number: int,
    size: int,
    places: list[int],
    late: list[bool],
    at_once: int,
) -> None:
    before, after = numbered(number), numbered(number)
    for place in places:
        EDITS[kind](after, place)

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        rows = after if offset and late[offset % 7] else before
        some = tuple(rows[offset : offset + limit])
        return Page(some, len(rows), offset + limit >= len(rows))

    outcome = collect(ask, POLICY, sizes=(size,), shown=SHOWN, at_once=at_once)
    assert isinstance(outcome, Listing)
    if outcome.complete:
        both = [row["id"] for row in before if row in after]  # type: ignore[index]
        assert set(both) <= set(listed(outcome))


@each_way
def test_a_list_that_grows_is_read_to_its_new_end(at_once: int) -> None:
    def grow(shelf: Shelf, request: int) -> None:
        if request < 9:
            shelf.rows.extend({"id": 10_000 * request + n} for n in range(100))

    shelf = Shelf(numbered(600), before=grow)
    outcome = gather(shelf, 200, 200, at_once=at_once)
    assert len(listed(outcome)) == 1200
    assert isinstance(outcome, Listing)
    assert outcome.failures == ()


def test_a_list_that_shifts_is_read_again() -> None:
    shelf = Shelf(numbered(300), before=swap_first_and_last)
    outcome = gather(shelf, 100, 150)
    assert listed(outcome) == list(range(0, 3000, 10))
    assert outcome == Listing(outcome.records, 300)
    assert [limit for _, limit in shelf.asked] == [100, 100, 100, 150, 150]


def remove_first(shelf: Shelf, number: int) -> None:
    if number == 2:
        shelf.rows.pop(0)


def test_a_record_that_is_deleted_meanwhile_hides_no_other() -> None:
    shelf = Shelf(numbered(300), before=remove_first)
    outcome = gather(shelf, 100, 100)
    assert listed(outcome) == list(range(10, 3000, 10))
    assert outcome == Listing(outcome.records, 299)


def shrink(shelf: Shelf, number: int) -> None:
    shelf.rows.pop()


def test_a_list_that_never_holds_still_is_reported() -> None:
    shelf = Shelf(numbered(300), before=shrink)
    outcome = gather(shelf, 100, 100)
    assert isinstance(outcome, Listing)
    assert [failure.reason for failure in outcome.failures] == [
        "The list changed each time it was read; ask again later."
    ]


def test_a_count_above_what_is_listed_is_reported_after_all_passes() -> None:
    shelf = Shelf(numbered(5), count=7)
    outcome = gather(shelf, 200, 1000, 500)
    assert listed(outcome) == [0, 10, 20, 30, 40]
    assert isinstance(outcome, Listing)
    assert [failure.reason for failure in outcome.failures] == [
        "The server counts 7 records, but listed only 5."
    ]
    assert [limit for _, limit in shelf.asked] == [200, 1000, 500]


@each_way
@pytest.mark.parametrize("number", [1, 3, 250])
def test_a_server_that_ignores_the_offset_is_not_asked_for_ever(
    number: int, at_once: int
) -> None:
    asked = []

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        asked.append(offset)
        return Page(tuple(numbered(number))[:limit], 10_000, False)

    outcome = collect(ask, POLICY, sizes=(200,), shown=SHOWN, at_once=at_once)
    assert len(listed(outcome)) == min(number, 200)
    assert 2 <= len(asked) <= (2 if at_once == 1 else 2 * at_once + 2)


def one_new_record_a_page(
    asked: list[int], count: int | None, old: int
) -> Callable[[int, int, Policy], Page | Trouble]:
    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        asked.append(offset)
        known = [{"id": number} for number in range(min(old, limit - 1))]
        return Page((*known, {"id": 1000 + offset}), count, False)

    return ask


@each_way
@pytest.mark.parametrize("old", [0, 1, 199])
@pytest.mark.parametrize("count", [None, 0, 600, 10**9])
def test_a_list_that_trickles_for_ever_is_left(
    at_once: int, old: int, count: int | None
) -> None:
    asked: list[int] = []
    ask = one_new_record_a_page(asked, count, old)
    outcome = collect(ask, POLICY, sizes=(200, 1000, 500), shown=SHOWN, at_once=at_once)
    assert isinstance(outcome, Listing)
    (failure,) = outcome.failures
    pages = 530 if old == 199 else 521
    assert failure.reason == (
        f"The list comes to no end: after {pages + old} records on {pages} pages it "
        "was read no further; check url=."
    )
    assert (failure.url, failure.collection_id) == (SHOWN, None)
    assert not outcome.complete
    assert len(outcome.records) == pages + old
    assert pages <= len(asked) <= (pages if at_once == 1 else 2 * pages)


@each_way
@pytest.mark.parametrize(("number", "cap"), [(20_000, 50), (500, 1), (20_000, 25)])
def test_a_server_that_gives_shorter_pages_is_read_to_the_end(
    number: int, cap: int, at_once: int
) -> None:
    shelf = Shelf(numbered(number), cap=cap)
    outcome = gather(shelf, 200, 200, at_once=at_once)
    assert len(listed(outcome)) == number
    assert isinstance(outcome, Listing)
    assert outcome.complete
    assert len(shelf.asked) == number // cap


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    size=st.sampled_from([1, 10, 200, 1000]),
    at_once=st.sampled_from([1, 4]),
)
@settings(deadline=None, max_examples=30)
def test_however_a_list_trickles_its_requests_are_bounded(
    sizes: list[int], size: int, at_once: int
) -> None:
    asked: list[int] = []

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        asked.append(offset)
        number = min(limit, sizes[offset % len(sizes)], max(0, 5000 - offset))
        rows = tuple({"id": place} for place in range(offset, offset + number))
        return Page(rows, 10**9, False)

    outcome = collect(ask, POLICY, sizes=(size,), shown=SHOWN, at_once=at_once)
    assert isinstance(outcome, Listing)
    assert not outcome.complete
    least = min(size, SMALLEST)
    due = 501 + len(outcome.records) / least
    assert len(asked) <= due * (1 if at_once == 1 else 2)


@each_way
def test_a_count_far_too_high_costs_little(at_once: int) -> None:
    asked = []

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        asked.append(offset)
        return Page(tuple(numbered(450)[offset : offset + limit]), 10**12, False)

    outcome = collect(ask, POLICY, sizes=(200,), shown=SHOWN, at_once=at_once)
    assert len(listed(outcome)) == 450
    assert 4 <= len(asked) <= 4 + 2 * (at_once - 1)


@each_way
def test_a_count_that_is_too_low_ends_nothing(at_once: int) -> None:
    shelf = Shelf(numbered(1100), count=250)
    outcome = gather(shelf, 200, 200, at_once=at_once)
    assert len(listed(outcome)) == 1100
    assert len(shelf.asked) == 6


def test_an_empty_page_ends_the_list_whatever_follows() -> None:
    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        return Page(tuple(numbered(5)[offset : offset + 2]), None, False)

    outcome = collect(ask, POLICY, sizes=(2,), shown=SHOWN)
    assert isinstance(outcome, Listing)
    assert listed(outcome) == [0, 10, 20, 30, 40]
    assert outcome.complete


@pytest.mark.parametrize("row", [{}, {"id": "1"}, {"id": True}, {"id": None}, [], "x"])
def test_records_without_an_id_are_reported(row: object) -> None:
    shelf = Shelf([{"id": 1}, row, {"id": 3}])
    outcome = gather(shelf, 200, 200)
    assert listed(outcome) == [1, 3]
    assert isinstance(outcome, Listing)
    (failure,) = outcome.failures
    assert failure.reason == "The server listed a record without an id."
    assert failure.url == f"{SHOWN}?limit=1&offset=1"
    assert len(shelf.asked) == 1


@each_way
def test_records_none_of_which_has_an_id_are_not_asked_for_ever(at_once: int) -> None:
    asked = []

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        asked.append(offset)
        return Page(({},) * limit, None, False)

    outcome = collect(ask, POLICY, sizes=(200,), shown=SHOWN, at_once=at_once)
    assert isinstance(outcome, Listing)
    assert outcome.records == ()
    assert len(asked) <= 10


def test_records_come_ascending_and_once() -> None:
    shelf = Shelf([{"id": 3}, {"id": 1, "n": 1}, {"id": 1, "n": 2}, {"id": 2}], count=3)
    outcome = gather(shelf)
    assert isinstance(outcome, Listing)
    assert outcome.records == ({"id": 1, "n": 1}, {"id": 2}, {"id": 3})
    assert outcome.complete


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"count": 0, "next": None, "results": []}, Page((), 0, True)),
        ({"count": 9, "next": "x", "results": [1]}, Page((1,), 9, False)),
        ({"results": [1]}, Page((1,), None, True)),
    ],
)
def test_pages_are_read(answer: object, expected: Page) -> None:
    assert Page.parse(answer, ASKED) == expected


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "x",
        {},
        {"count": 1, "results": {}},
        {"count": "many", "results": []},
        {"count": True, "results": []},
        {"count": 1.5, "results": []},
    ],
)
def test_what_is_no_page_is_final_trouble(answer: object) -> None:
    outcome = Page.parse(answer, ASKED)
    assert isinstance(outcome, Trouble)
    assert isinstance(outcome.error, AnswerError)
    assert outcome.kind == "final"
    assert str(outcome.error) == (
        f"The list: {SHOWN} answered JSON that is not a page of NeuroVault's lists; "
        "check url=."
    )


@pytest.mark.parametrize(
    ("cursor", "kind", "expected"),
    [
        (Cursor(0, 200), "broken", Cursor(0, 200, until=200)),
        (Cursor(0, 200, until=100), "broken", Cursor(0, 200, until=50)),
        (Cursor(0, 200, until=100), "slow", Cursor(0, 200, until=50)),
        (Cursor(5, 200, until=7), "broken", Cursor(6, 200)),
        (Cursor(5, 200, until=6), "slow", Cursor(6, 200)),
        (Cursor(5, 1), "broken", Cursor(6, 1)),
        (Cursor(5, 200), "slow", Cursor(5, 100)),
        (Cursor(5, 30), "slow", Cursor(5, SMALLEST)),
        (Cursor(5, SMALLEST), "slow", None),
        (Cursor(5, 200), "passing", None),
        (Cursor(5, 200, until=7), "final", None),
    ],
)
def test_where_to_go_after_a_failure(
    cursor: Cursor, kind: Kind, expected: Cursor | None
) -> None:
    assert cursor.failed(kind) == expected


@pytest.mark.parametrize(
    ("cursor", "broken", "slow"),
    [
        (Cursor(0, 200), 2, 1),
        (Cursor(0, SMALLEST), 2, None),
        (Cursor(0, 200, until=10), 2, 1),
        (Cursor(0, 200, until=1), None, None),
        (Cursor(0, 1), None, None),
    ],
)
def test_pages_that_can_be_smaller_are_not_insisted_on(
    cursor: Cursor, broken: int | None, slow: int | None
) -> None:
    assert cursor.patience(POLICY) == replace(POLICY, broken=broken, slow=slow)
