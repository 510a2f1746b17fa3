from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import AnswerError, ServerError, UnreachableError
from intake_neurovault.paging import SMALLEST, Cursor, Listing, Page, collect
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

    def __call__(self, offset: int, limit: int, policy: Policy) -> Page | Trouble:
        self.asked.append((offset, limit))
        self.before(self, len(self.asked))
        window = range(offset, min(offset + limit, len(self.rows)))
        if self.slow_from is not None and limit >= self.slow_from:
            return self.trouble(UnreachableError("no answer"), "slow", policy.slow)
        if any(row in self.poison for row in window):
            return self.trouble(ServerError("500"), "broken", policy.broken)
        self.spent += 1
        end = offset + min(limit, self.cap)
        count = len(self.rows) if self.count is None else self.count
        last = end >= len(self.rows)
        return Page(tuple(self.rows[offset:end]), count, last)

    def trouble(self, error: ServerError, kind: Kind, limit: int | None) -> Trouble:
        error.attempts = 5 if limit is None else limit
        self.spent += error.attempts
        return Trouble(error, kind)


def numbered(number: int) -> list[object]:
    return [{"id": 10 * place} for place in range(number)]


def listed(outcome: Listing | Trouble) -> list[int]:
    assert isinstance(outcome, Listing)
    return [record["id"] for record in outcome.records]


def gather(shelf: Shelf, *sizes: int) -> Listing | Trouble:
    return collect(shelf, POLICY, sizes=sizes or (200,), shown=SHOWN, collection_id=1)


@pytest.mark.parametrize("number", [0, 1, 199, 200, 201, 1100])
@pytest.mark.parametrize("cap", [70, 1000])
def test_a_quiet_list_is_read_once(number: int, cap: int) -> None:
    shelf = Shelf(numbered(number), cap=cap)
    outcome = gather(shelf, 200, 200)
    assert listed(outcome) == list(range(0, 10 * number, 10))
    assert outcome == Listing(outcome.records, number)
    assert outcome.complete
    assert len(shelf.asked) == max(1, -(-number // min(cap, 200)))


@given(
    number=st.integers(0, 450),
    size=st.integers(1, 250),
    cap=st.integers(1, 300),
    places=st.sets(st.integers(0, 449), max_size=6),
)
def test_only_the_records_that_cannot_be_served_are_missing(
    number: int, size: int, cap: int, places: set[int]
) -> None:
    poison = {place for place in places if place < number}
    shelf = Shelf(numbered(number), poison=poison, cap=cap)
    outcome = gather(shelf, size, size)
    expected = [10 * place for place in range(number) if place not in poison]
    assert listed(outcome) == expected
    assert isinstance(outcome, Listing)
    urls = [failure.url for failure in outcome.failures]
    assert urls == [f"{SHOWN}?limit=1&offset={place}" for place in sorted(poison)]
    assert outcome.complete is (not poison)
    pages = -(-number // min(size, cap)) + 1
    assert len(shelf.asked) <= pages + 20 * len(poison)


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
def test_pages_are_halved_after_a_timeout(slow_from: int, sizes: set[int]) -> None:
    shelf = Shelf(numbered(300), slow_from=slow_from)
    assert len(listed(gather(shelf))) == 300
    assert {limit for _, limit in shelf.asked} == sizes
    assert len([limit for _, limit in shelf.asked if limit >= slow_from]) <= 3


def test_a_server_that_never_answers_is_given_up_soon() -> None:
    shelf = Shelf(numbered(300), slow_from=1)
    outcome = gather(shelf, 200, 1000, 500)
    assert isinstance(outcome, Trouble)
    assert [limit for _, limit in shelf.asked] == [200, 100, 50, SMALLEST]
    assert shelf.spent == 8


def test_a_server_that_always_breaks_is_given_up_soon() -> None:
    shelf = Shelf(numbered(5000), poison=range(5000))
    outcome = gather(shelf, 200, 1000, 500)
    assert isinstance(outcome, Listing)
    assert outcome.records == ()
    assert not outcome.complete
    assert outcome.failures[-1].reason == "500 The list was read no further."
    assert shelf.spent < 150


def test_a_list_of_bad_records_is_given_up_in_the_end() -> None:
    shelf = Shelf(numbered(5000), poison=range(0, 5000, 2))
    outcome = gather(shelf, 200, 1000, 500)
    assert isinstance(outcome, Listing)
    assert len(outcome.failures) == 102
    assert len(outcome.records) > 90
    assert shelf.spent < 3000


def broken_at(kind: Kind, when: int) -> Callable[[int, int, Policy], Page | Trouble]:
    shelf = Shelf(numbered(1000))

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        if len(shelf.asked) >= when:
            return shelf.trouble(ServerError("gone"), kind, 3)
        return shelf(offset, limit, policy)

    return ask


def test_what_fails_at_once_is_trouble() -> None:
    ask = broken_at("passing", 0)
    outcome = collect(ask, POLICY, sizes=(200, 200), shown=SHOWN)
    assert isinstance(outcome, Trouble)
    assert str(outcome.error) == "gone"


def test_what_fails_later_leaves_a_part_and_a_report() -> None:
    ask = broken_at("final", 2)
    outcome = collect(ask, POLICY, sizes=(200, 200), shown=SHOWN)
    assert listed(outcome) == list(range(0, 4000, 10))
    assert isinstance(outcome, Listing)
    (failure,) = outcome.failures
    assert failure.reason == "gone The list was read no further."
    assert (failure.url, failure.attempts) == (SHOWN, 3)
    assert not outcome.complete


def swap_first_and_last(shelf: Shelf, number: int) -> None:
    if number == 2:
        shelf.rows.append(shelf.rows.pop(0))


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
        "The list shrank each time it was read; ask again later."
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


@pytest.mark.parametrize("number", [1, 3, 250])
def test_a_server_that_ignores_the_offset_is_not_asked_for_ever(number: int) -> None:
    asked = []

    def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
        asked.append(offset)
        return Page(tuple(numbered(number))[:limit], 10_000, False)

    outcome = collect(ask, POLICY, sizes=(200,), shown=SHOWN)
    assert len(listed(outcome)) == min(number, 200)
    assert len(asked) == 2


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
