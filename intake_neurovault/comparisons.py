"""nilearn's comparisons: objects that stand where a value would, and test it.

They bear nilearn's names, arguments and attributes, and compare as nilearn's do, but
for what its own ways of comparing got wrong: no number is truncated or cast to the
type of the bound, null has no order, true is not 1. What they mean is said once, in
:mod:`intake_neurovault.filters`.
"""

from __future__ import annotations

from intake_neurovault.filters import parse_filter


class _Comparison:
    """A test that is asked with ``==``."""

    _shown: str

    # NOTE: parsed at once, so that a bound without a meaning is refused where it is
    # written and not where it is used.
    def _understand(self, shown: str = "()") -> None:
        name = type(self).__name__
        self._shown = shown
        self._test = parse_filter({"value": self}, kinds={}, where=name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Comparison):
            return type(self) is type(other) and self._test == other._test
        return self._test.matches({"value": other})

    def __hash__(self) -> int:
        return hash((type(self), self._test))

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self._shown}"


class _Order(_Comparison):
    """A test against one bound."""

    def __init__(self, bound: object) -> None:
        self.bound_ = bound
        self._understand(f"({bound!r})")


class IsNull(_Comparison):
    """Equal to what is absent, null, 0, false or empty.

    Examples
    --------
    >>> IsNull() == "", IsNull() == 0, IsNull() == "a"
    (True, True, False)
    """

    def __init__(self) -> None:
        self._understand()


class NotNull(_Comparison):
    """Equal to what is neither absent nor null, 0, false or empty.

    Examples
    --------
    >>> NotNull() == "a", NotNull() == ""
    (True, False)
    """

    def __init__(self) -> None:
        self._understand()


class NotEqual(_Comparison):
    """Equal to everything but one value.

    Parameters
    ----------
    negated : object
        The value.

    Examples
    --------
    >>> NotEqual("atlas") == "statistic_map", NotEqual("atlas") == "atlas"
    (True, False)
    """

    def __init__(self, negated: object) -> None:
        self.negated_ = negated
        self._understand(f"({negated!r})")


class GreaterOrEqual(_Order):
    """Equal to what is at least a bound.

    Parameters
    ----------
    bound : float or str
        A number, an ISO date, or text.

    Examples
    --------
    >>> GreaterOrEqual(20) == 20, GreaterOrEqual(20) == 19.9
    (True, False)
    """


class GreaterThan(_Order):
    """Equal to what is greater than a bound.

    Parameters
    ----------
    bound : float or str
        A number, an ISO date, or text.

    Examples
    --------
    >>> GreaterThan(5) == 5.9, GreaterThan("2016-01-01") == None
    (True, False)
    """


class LessOrEqual(_Order):
    """Equal to what is at most a bound.

    Parameters
    ----------
    bound : float or str
        A number, an ISO date, or text.

    Examples
    --------
    >>> LessOrEqual(7) == 7, LessOrEqual(7) == 7.9
    (True, False)
    """


class LessThan(_Order):
    """Equal to what is less than a bound.

    Parameters
    ----------
    bound : float or str
        A number, an ISO date, or text.

    Examples
    --------
    >>> LessThan(7) == 5, LessThan(7) == "a"
    (True, False)
    """


class IsIn(_Comparison):
    """Equal to any of several values.

    Parameters
    ----------
    *accepted
        The values.

    Examples
    --------
    >>> IsIn("Z map", "T map") == "T map", IsIn("Z map", "T map") == "F map"
    (True, False)
    """

    def __init__(self, *accepted: object) -> None:
        self.accepted_ = accepted
        self._understand(repr(accepted))


class NotIn(_Comparison):
    """Equal to everything but several values.

    Parameters
    ----------
    *rejected
        The values.

    Examples
    --------
    >>> NotIn("ROI/mask", "anatomical") == "Z map", NotIn(0, 1) == 0
    (True, False)
    """

    def __init__(self, *rejected: object) -> None:
        self.rejected_ = rejected
        self._understand(repr(rejected))


class Contains(_Comparison):
    """Equal to text with all of several parts, or a list with all of them.

    Parameters
    ----------
    *must_be_contained
        The parts.

    Examples
    --------
    >>> Contains("face", "house") == "face vs house", Contains("a", 0) == ["a", 1]
    (True, False)
    """

    def __init__(self, *must_be_contained: object) -> None:
        self.must_be_contained_ = must_be_contained
        self._understand(repr(must_be_contained))


class NotContains(_Comparison):
    """Equal to text with none of several parts, or a list with none of them.

    Parameters
    ----------
    *must_not_be_contained
        The parts.

    Examples
    --------
    >>> NotContains("ab") == "a_b", NotContains("ab") == "cab"
    (True, False)
    """

    def __init__(self, *must_not_be_contained: object) -> None:
        self.must_not_be_contained_ = must_not_be_contained
        self._understand(repr(must_not_be_contained))


class Pattern(_Comparison):
    """Equal to text that begins with a match of a regular expression.

    Parameters
    ----------
    pattern : str
        The expression.
    flags : int
        Flags of :mod:`re`: ``IGNORECASE``, ``MULTILINE``, ``DOTALL``, ``VERBOSE``.

    Examples
    --------
    >>> Pattern("[0-9]+$") == "2016", Pattern("[0-9]+$") == "in 2016"
    (True, False)
    """

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self.pattern_ = pattern
        self.flags_ = flags
        self._understand(f"(pattern={pattern!r}, flags={flags})")
