"""The pages of a list: how one is read, and where the next one begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from intake_neurovault.errors import AnswerError
from intake_neurovault.resource import Resource
from intake_neurovault.retry import Kind, Policy, Trouble

SMALLEST = 25
"""Records below which a page that times out is not halved any more."""


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    rows: tuple[object, ...]
    """Its records."""
    count: int | None
    """How many records the whole list has."""
    last: bool
    """Whether no page follows."""

    @classmethod
    def parse(cls, answer: object, resource: Resource) -> Page | Trouble:
        """Read a page of the API.

        Parameters
        ----------
        answer : object
            What the JSON says.
        resource : Resource
            What was asked.

        Returns
        -------
        Page or Trouble
            The page, or that this is none.

        Examples
        --------
        >>> asked = Resource("http://a.org/", "http://a.org/", "The list")
        >>> Page.parse({"count": 1, "next": None, "results": [{"id": 7}]}, asked)
        Page(rows=({'id': 7},), count=1, last=True)
        """
        if isinstance(answer, Mapping):
            rows, count = answer.get("results"), answer.get("count")
            if isinstance(rows, list) and (count is None or type(count) is int):
                return cls(tuple(rows), count, not answer.get("next"))
        msg = (
            f"{resource.what}: {resource.shown} answered JSON that is not a page of "
            "NeuroVault's lists; check url=."
        )
        return Trouble(AnswerError(msg))


@dataclass(frozen=True)
class Cursor:
    """Where in a list the next page begins, and how long it may be."""

    offset: int = 0
    """Records before it."""
    size: int = 200
    """Records of a page while all goes well."""
    until: int | None = None
    """End of a stretch that is known to hold a record which cannot be served."""
    end: int | None = None
    """Where to stop; None for the end of the list."""

    @property
    def done(self) -> bool:
        """Whether the end is reached."""
        return self.end is not None and self.offset >= self.end

    @property
    def limit(self) -> int:
        """How many records to ask for.

        Examples
        --------
        >>> Cursor(100, 50).limit, Cursor(100, 50, until=110).limit
        (50, 5)
        """
        if self.until is None:
            rest = self.size if self.end is None else self.end - self.offset
            return min(self.size, rest)
        return max(1, (self.until - self.offset) // 2)

    def after(self, received: int) -> Cursor:
        """Move behind records that were received.

        Parameters
        ----------
        received : int
            How many.

        Returns
        -------
        Cursor
            The next place.

        Examples
        --------
        >>> Cursor(100, 50, until=102).after(1)
        Cursor(offset=101, size=50, until=102, end=None)
        """
        offset = self.offset + received
        done = self.until is None or offset >= self.until
        return replace(self, offset=offset, until=None if done else self.until)

    def failed(self, kind: Kind) -> Cursor | None:
        """Decide how to go on after a page that could not be had.

        Parameters
        ----------
        kind : str
            What may help.

        Returns
        -------
        Cursor or None
            A smaller page at the same place, or, if the page was a single record,
            the place behind it; None if a smaller page would not help.

        Examples
        --------
        >>> Cursor(0, 200).failed("broken").limit, Cursor(0, 200).failed("slow").limit
        (100, 100)
        >>> Cursor(7, 200, until=8).failed("broken")
        Cursor(offset=8, size=200, until=None, end=None)
        """
        if kind == "broken" or (kind == "slow" and self.until is not None):
            if self.limit == 1:
                return replace(self, offset=self.offset + 1, until=None)
            return replace(self, until=self.offset + self.limit)
        if kind == "slow" and self.limit > SMALLEST:
            return replace(self, size=max(SMALLEST, self.limit // 2))
        return None

    def patience(self, policy: Policy) -> Policy:
        """Give the policy for this page: hasty where a smaller page is tried next.

        Parameters
        ----------
        policy : Policy
            The policy for a request that must not fail.

        Returns
        -------
        Policy
            The policy for this page.

        Examples
        --------
        >>> Cursor(0, 200).patience(Policy(attempts=5)).broken
        2
        """
        if self.limit == 1:
            return policy
        halved = self.until is not None or self.limit > SMALLEST
        return replace(policy, broken=2, slow=1 if halved else None)


Ask = Callable[[int, int, Policy], Page | Trouble]
"""Asks for a page: offset, limit, and how often."""
