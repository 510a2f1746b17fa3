"""nilearn's ``ResultFilter``: terms and functions in one, and combinations of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from intake_neurovault.conditions import VERDICTS
from intake_neurovault.filters import parse_filter

Test: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""A condition on the metadata of one image or collection."""


def any_record(_record: Mapping[str, Any]) -> bool:
    """Accept everything: what nilearn has in the place of a missing function.

    Parameters
    ----------
    _record : mapping
        Metadata.

    Returns
    -------
    bool
        True.

    Examples
    --------
    >>> any_record({"id": 3})
    True
    """
    return True


@dataclass(frozen=True)
class _Combined:
    """Several tests, and how the verdict follows from theirs; picklable if they are."""

    operator: str
    tests: tuple[Test, ...]

    def __call__(self, record: Mapping[str, Any]) -> bool:
        return VERDICTS[self.operator](bool(test(record)) for test in self.tests)


class ResultFilter:
    """A test of metadata: terms that must hold, and functions that must agree.

    Parameters
    ----------
    query_terms : mapping, optional
        Conditions on fields, as `search` takes them.
    callable_filter : callable, optional
        A function of the metadata.
    **kwargs
        More conditions on fields.

    Examples
    --------
    >>> wanted = ResultFilter(map_type="Z map").AND(lambda image: image["id"] > 3)
    >>> wanted({"id": 5, "map_type": "Z map"}), wanted({"id": 2, "map_type": "Z map"})
    (True, False)
    """

    def __init__(
        self,
        query_terms: Mapping[str, Any] | None = None,
        callable_filter: Test = any_record,
        **kwargs: Any,
    ) -> None:
        self.query_terms_: dict[str, Any] = {**(query_terms or {}), **kwargs}
        self.callable_filters_: list[Test] = []
        if callable_filter is not any_record:
            self.callable_filters_.append(callable_filter)
        self._understand()

    def _understand(self) -> None:
        self._terms = parse_filter(self.query_terms_, kinds={}, where="ResultFilter")

    def __call__(self, candidate: Mapping[str, Any]) -> bool:
        """Tell whether the metadata of an image or a collection fulfil everything."""
        tests = self.callable_filters_
        return self._terms.matches(candidate) and all(test(candidate) for test in tests)

    def OR(self, other_filter: Test) -> ResultFilter:  # noqa: N802  nilearn's name
        """Combine: at least one holds.

        Parameters
        ----------
        other_filter : callable
            A filter, or any function of the metadata.

        Returns
        -------
        ResultFilter
            A new filter, which later changes of this one do not touch.

        Examples
        --------
        >>> either = ResultFilter(id=1).OR(ResultFilter(id=2))
        >>> either({"id": 2}), either({"id": 3})
        (True, False)
        """
        return self._combined("$or", other_filter)

    def AND(self, other_filter: Test) -> ResultFilter:  # noqa: N802  nilearn's name
        """Combine: both hold.

        Parameters
        ----------
        other_filter : callable
            A filter, or any function of the metadata.

        Returns
        -------
        ResultFilter
            A new filter, which later changes of this one do not touch.

        Examples
        --------
        >>> both = ResultFilter(map_type="Z map").AND(ResultFilter(not_mni=False))
        >>> both({"map_type": "Z map", "not_mni": True})
        False
        """
        return self._combined("$and", other_filter)

    def XOR(self, other_filter: Test) -> ResultFilter:  # noqa: N802  nilearn's name
        """Combine: one holds, and not the other.

        Parameters
        ----------
        other_filter : callable
            A filter, or any function of the metadata.

        Returns
        -------
        ResultFilter
            A new filter, which later changes of this one do not touch.

        Examples
        --------
        >>> one = ResultFilter(a=1).XOR(ResultFilter(b=1))
        >>> one({"a": 1, "b": 2}), one({"a": 1, "b": 1})
        (True, False)
        """
        return self._combined("$xor", other_filter)

    def NOT(self) -> ResultFilter:  # noqa: N802  nilearn's name
        """Turn round: this does not hold.

        Returns
        -------
        ResultFilter
            A new filter, which later changes of this one do not touch.

        Examples
        --------
        >>> ResultFilter(map_type="Z map").NOT()({"map_type": "T map"})
        True
        """
        return self._combined("$not")

    def _combined(self, operator: str, *others: Test) -> ResultFilter:
        parts: tuple[Test, ...] = (self, *others)
        tests = tuple(_as_it_is_now(part) for part in parts)
        return ResultFilter(callable_filter=_Combined(operator, tests))

    def __getitem__(self, item: str) -> Any:
        return self.query_terms_[item]

    def __setitem__(self, item: str, value: object) -> None:
        self.query_terms_[item] = value
        self._understand()

    def __delitem__(self, item: str) -> None:
        self.query_terms_.pop(item, None)
        self._understand()

    def add_filter(self, callable_filter: Test) -> None:
        """Add a function that must agree.

        Parameters
        ----------
        callable_filter : callable
            A function of the metadata.

        Examples
        --------
        >>> wanted = ResultFilter(map_type="Z map")
        >>> wanted.add_filter(lambda image: image["id"] > 3)
        >>> wanted({"id": 2, "map_type": "Z map"})
        False
        """
        self.callable_filters_.append(callable_filter)

    def __str__(self) -> str:
        return type(self).__name__


# NOTE: nilearn copies all there is below, and fails where a function holds a lock;
# the functions themselves are shared here, what a filter says of them is not.
def _as_it_is_now(test: Test) -> Test:
    if not isinstance(test, ResultFilter):
        return test
    copy = ResultFilter(test.query_terms_)
    copy.callable_filters_.extend(test.callable_filters_)
    return copy
