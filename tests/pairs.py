"""Few cases in place of all combinations: every pair of values occurs in one."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Hashable, Iterable
from itertools import combinations, product

Case = tuple[Hashable, ...]


def pairs_of(case: Case) -> frozenset[tuple[int, Hashable, int, Hashable]]:
    """Every two values of a case, each with the place where it stands."""
    return frozenset(
        (one, case[one], other, case[other])
        for one, other in combinations(range(len(case)), 2)
    )


def combined(
    *dimensions: Iterable[Hashable], makes_sense: Callable[..., bool]
) -> list[Case]:
    """All combinations that make sense, the last dimension running fastest."""
    return [case for case in product(*dimensions) if makes_sense(*case)]


def pairwise(cases: list[Case]) -> list[Case]:
    """Choose cases until each pair of values that occurs in all occurs in a chosen one.

    Greedy: the case that brings the most new pairs comes next, of equals a seemingly
    random one, so that the cases chosen last are not all alike. What a case brings can
    only become less, so an old figure is looked at again only when it leads.
    """
    missing = frozenset[tuple[int, Hashable, int, Hashable]]().union(
        *map(pairs_of, cases)
    )
    heap = [
        (-len(pairs_of(case)), zlib.crc32(repr(case).encode()), place)
        for place, case in enumerate(cases)
    ]
    heapq.heapify(heap)
    chosen = []
    while missing:
        _, rank, place = heapq.heappop(heap)
        brings = pairs_of(cases[place]) & missing
        if heap and (now := (-len(brings), rank, place)) > heap[0]:
            heapq.heappush(heap, now)
            continue
        missing -= brings
        chosen.append(place)
    return [cases[place] for place in sorted(chosen)]
