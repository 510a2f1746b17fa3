"""The choice of few cases out of many, on which the fault matrix rests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pairs import Case, combined, pairs_of, pairwise


def anything(*_case: object) -> bool:
    return True


def covered(cases: list[Case]) -> set[object]:
    return set().union(*map(pairs_of, cases))


@pytest.mark.parametrize(
    ("sizes", "most"), [((2, 2, 2), 4), ((3, 3, 3, 3), 12), ((19, 7, 3, 2), 140)]
)
def test_few_cases_cover_every_pair(sizes: tuple[int, ...], most: int) -> None:
    cases = combined(*map(range, sizes), makes_sense=anything)
    chosen = pairwise(cases)
    assert covered(chosen) == covered(cases)
    assert len(chosen) <= most
    assert chosen == sorted(set(chosen))


def test_what_makes_no_sense_is_not_chosen() -> None:
    cases = combined("abc", range(3), "xyz", makes_sense=lambda a, n, x: a != x)
    assert len(cases) == 27
    cases = combined("abc", range(3), "abz", makes_sense=lambda a, n, x: a != x)
    chosen = pairwise(cases)
    assert not [case for case in chosen if case[0] == case[2]]
    assert set(chosen) < set(cases)
    assert covered(chosen) == covered(cases)


def test_a_pair_counts_by_its_places() -> None:
    assert pairs_of((1, 1, 2)) == {(0, 1, 1, 1), (0, 1, 2, 2), (1, 1, 2, 2)}


def test_nothing_gives_nothing() -> None:
    assert pairwise([]) == []


@given(st.sets(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=40))
def test_any_set_of_cases_is_covered(cases: set[tuple[int, int, int]]) -> None:
    ordered: list[Case] = sorted(cases)
    chosen = pairwise(ordered)
    assert covered(chosen) == covered(ordered)
    assert chosen == pairwise(ordered)
